"""People who pay, each in a way of its own, and what their bank tells of it.

| bill channel | |
|---|---|
| plain | one notice |
| copies | three at once |
| twice | paid once more afterwards: the second is refused |
| race | two transfers at once: one is taken, one refused |
| wrong_amount | a notice that differs is refused, the right one is taken |
| replay | the same notice again after a while: the same answer |

| KHQR | |
|---|---|
| plain | one webhook |
| copies | five at once |
| never | no webhook at all: found by asking |
| microseconds | told again with other microseconds |
| before_paid | told before the money moves, then paid, then told again |
| failed_first | FAILED, then SUCCESS |
| both | the bill is paid in the app at the same moment |
"""

import asyncio
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.drill.ledger import Claim, Ledger
from tests.drill.sandbox_desk import SandboxDesk
from tests.drill.sender import GaveUp, Sender

BILL_MODES = ("plain", "copies", "twice", "race", "wrong_amount", "replay")
KHQR_MODES = (*("plain", "copies", "never", "microseconds", "before_paid", "failed_first", "both"),)
_TAKEN, _REFUSED = frozenset({200}), frozenset({409})
_EITHER = _TAKEN | _REFUSED
_NOT_YET = frozenset({422})
_LONGEST_REPLAY_S = 5.0
_BANK_TIME = timedelta(hours=7)
_PAID = "PAID"
_MERCHANT = "900000000290002"  # the laptop's
_EARLIER = timedelta(minutes=1)


@dataclass(kw_only=True)
class Customers:
    """Makes policies and pays for them until told to stop."""

    sender: Sender
    desk: SandboxDesk
    ledger: Ledger
    rng: random.Random
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    think_s: float = 0.1
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def run(self, *, bill_workers: int, khqr_workers: int) -> None:
        """Pay until `stop` is set and every claim has its answer."""
        await asyncio.gather(
            *(self._work("BILL") for _ in range(bill_workers)),
            *(self._work("KHQR") for _ in range(khqr_workers)),
        )

    async def _work(self, channel: str) -> None:
        while not self.stop.is_set():
            mode = self.rng.choice(BILL_MODES if channel == "BILL" else KHQR_MODES)
            self.ledger.modes[f"{channel} {mode}"] += 1
            policy = f"D{next(self._numbers):09d}"
            try:
                await (self._pay_bill if channel == "BILL" else self._pay_code)(policy, mode)
            except GaveUp:
                self.ledger.violated(f"7: {channel} {mode} of {policy}: no final answer in time")
            await asyncio.sleep(self.rng.random() * self.think_s)

    async def _pay_bill(self, policy: str, mode: str) -> None:
        bill = await self._bill(policy)
        if bill is None:
            return
        if mode == "race":
            await self._race(bill)
            return
        first = self._bill_claim(bill, "1")
        match mode:
            case "copies":
                await asyncio.gather(*(self.sender.confirm(first) for _ in range(3)))
            case "twice":
                await self.sender.confirm(first)
                await self.sender.confirm(self._bill_claim(bill, "2", may_be=_REFUSED))
            case "wrong_amount":
                wrong = Decimal(bill["amount"]) + 1
                await self.sender.confirm(
                    self._bill_claim(bill, "0", amount=wrong, may_be=_REFUSED)
                )
                await self.sender.confirm(first)
            case "replay":
                await self.sender.confirm(first)
                await asyncio.sleep(self.rng.random() * _LONGEST_REPLAY_S)
                await self.sender.confirm(first)
            case _:
                await self.sender.confirm(first)

    async def _race(self, bill: Any) -> None:
        claims = [self._bill_claim(bill, text, may_be=_EITHER) for text in "12"]
        answers = await asyncio.gather(*map(self.sender.confirm, claims))
        if sorted(answers) != sorted(_EITHER):
            self.ledger.violated(f"2: two transfers for bill {bill['id']}: {answers}")

    async def _pay_code(self, policy: str, mode: str) -> None:
        bill = await self._bill(policy)
        if bill is None:
            return
        path = f"/khqr?bankCode=AMK&billNumber={policy}"
        if await self.sender.ask(path) is None:
            self.ledger.violated(f"7: no code for {policy}")
            return
        self.ledger.codes += 1
        if mode == "before_paid":
            await self._tell_too_early(bill)
            return
        if mode == "both":
            await asyncio.gather(
                self._pay_and_tell(bill, mode),
                self.sender.confirm(self._bill_claim(bill, "1", may_be=_EITHER)),
            )
        else:
            await self._pay_and_tell(bill, mode)

    async def _pay_and_tell(self, bill: Any, mode: str) -> None:
        body = await self.desk.pay_code(bill_id=bill["id"], gives_up=self.sender.gives_up)
        if mode == "never":
            await self._until_paid(bill)
            return
        claim = self._khqr_claim(bill, body)
        match mode:
            case "copies":
                await asyncio.gather(*(self.sender.confirm(claim) for _ in range(5)))
            case "microseconds":
                await self._tell(claim)
                await self._tell(self._khqr_claim(bill, _other_microseconds(body)))
            case "failed_first":
                await self._tell(self._khqr_claim(bill, _with_status(body, "FAILED")))
                await self._tell(claim)
            case _:
                await self._tell(claim)

    async def _tell(self, claim: Claim) -> None:
        await self.sender.confirm(claim, also_again=_NOT_YET)

    async def _tell_too_early(self, bill: Any) -> None:
        """Claim money that has not moved, then move it: refused for now, then taken."""
        early = self._khqr_claim(bill, _claimed(bill))
        telling = asyncio.create_task(self._tell(early))
        await asyncio.sleep(self.rng.random() * 2)
        if telling.done():
            self.ledger.violated(f"3: bill {bill['id']}: taken though no money had moved")
        body = await self.desk.pay_code(bill_id=bill["id"], gives_up=self.sender.gives_up)
        await asyncio.gather(telling, self._tell(self._khqr_claim(bill, body)))

    async def _until_paid(self, bill: Any) -> None:
        while True:
            found = await self.sender.ask(f"/AMK/payments/{bill['id']}")
            if found is not None and found["status"] == _PAID:
                return
            if self.sender.gives_up():
                raise GaveUp
            await asyncio.sleep(1)

    async def _bill(self, policy: str) -> Any:
        amount, currency = self._premium()
        await self.desk.open_policy(
            number=policy, amount=amount, currency=currency, gives_up=self.sender.gives_up
        )
        bills = await self._ask_at_once(f"/AMK/payments?query={policy}")
        if not bills or len({bill["id"] for bill in bills}) != 1:
            self.ledger.violated(f"2: inquiries for {policy} answered {bills}")
            return None
        self.ledger.bills += 1
        return bills[0]

    async def _ask_at_once(self, path: str) -> Sequence[Any]:
        """Ask once, or twice at the same moment."""
        copies = self.rng.choice((1, 1, 2))
        found = await asyncio.gather(*(self.sender.ask(path) for _ in range(copies)))
        return [one for one in found if one is not None]

    def _premium(self) -> tuple[str, str]:
        if self.rng.random() < 0.3:
            return str(self.rng.randrange(1, 90) * 100), "KHR"
        return f"{self.rng.randrange(1, 10)}.{self.rng.randrange(100):02d}", "USD"

    def _bill_claim(
        self,
        bill: Any,
        suffix: str,
        *,
        amount: Decimal | None = None,
        may_be: frozenset[int] = _TAKEN,
    ) -> Claim:
        transaction_id = f"T{bill['id']}-{suffix}"
        paid = Decimal(bill["amount"]) if amount is None else amount
        body = (
            f'{{"id":{bill["id"]},"policyNumber":"{bill["policyNumber"]}","amount":{paid},'
            f'"currency":"{bill["currency"]}","bankTransactionId":"{transaction_id}",'
            f'"payer":"Drill Payer","paidDate":"{_bank_now():%Y%m%d%H%M%S}"}}'
        )
        claim = Claim(
            channel="BILL",
            policy=bill["policyNumber"],
            bill_id=bill["id"],
            amount=paid,
            currency=bill["currency"],
            transaction_id=transaction_id,
            body=body.encode(),
            may_be=may_be,
        )
        self.ledger.claims.append(claim)
        return claim

    def _khqr_claim(self, bill: Any, body: bytes) -> Claim:
        claim = Claim(
            channel="KHQR",
            policy=bill["policyNumber"],
            bill_id=bill["id"],
            amount=Decimal(bill["amount"]),
            currency=bill["currency"],
            transaction_id="",
            body=body,
        )
        self.ledger.claims.append(claim)
        return claim


def _bank_now() -> datetime:
    return datetime.now(tz=UTC) + _BANK_TIME


def _claimed(bill: Any) -> bytes:
    """Return a webhook about money that has not moved, as somebody would invent it."""
    return (
        f'{{"invoice_number":"{bill["id"]}","status":"SUCCESS",'
        f'"merchant_number":"{_MERCHANT}","paid_amount":{bill["amount"]},'
        f'"currency":"{bill["currency"]}",'
        f'"paid_datetime":"{_bank_now() - _EARLIER:%Y-%m-%d %H:%M:%S.%f}"}}'
    ).encode()


def _other_microseconds(body: bytes) -> bytes:
    """Return the same webhook, told with the next microsecond of the same second."""
    said = json.loads(body, parse_float=Decimal)
    time, _, fraction = said["paid_datetime"].partition(".")
    other = f"{time}.{(int(fraction) + 1) % 1_000_000:06d}"
    return body.replace(said["paid_datetime"].encode(), other.encode())


def _with_status(body: bytes, status: str) -> bytes:
    return body.replace(b'"SUCCESS"', f'"{status}"'.encode())
