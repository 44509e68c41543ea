"""The customer's phone and a code: show it as the app does, scan it, pay it.

What the bank then tells the insurer depends on the fault that the bill meets: each is a
short script of notices.
"""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from amk_sandbox.bills import refused_look_up
from amk_sandbox.codes import Code, Codes, CodeState
from amk_sandbox.faults import Effect, Fault, Faults, Point
from amk_sandbox.insurer import TIMEOUT_S, Answer, Insurer
from amk_sandbox.notices import Claim, Notice, Notices
from amk_sandbox.qr_image import read_png
from amk_sandbox.refusal import Refusal
from amk_sandbox.store import Store
from amk_sandbox.transfers import Channel, SentBy, Transfer, Transfers
from chassis.money import Money

_OK = 200
_UNREADABLE = 502
_LATE_S = 3
_UNIT_HUNDREDTHS = 100  # a dollar, a riel
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One notice of a script."""

    moves_money: bool = True  # a transfer of its own; else it tells of the one before it
    status: str = "SUCCESS"
    more_hundredths: int = 0
    more_microseconds: int = 0
    copies: int = 1
    forged: bool = False
    after_s: int | None = 0  # None: never


_SCRIPTS: dict[Effect | None, tuple[_Step, ...]] = {
    None: (_Step(),),
    Effect.FIVE: (_Step(copies=5),),
    Effect.LATE: (_Step(after_s=_LATE_S),),
    Effect.NEVER: (_Step(after_s=None),),
    Effect.FORGED: (_Step(forged=True),),
    Effect.MICROSECONDS: (_Step(), _Step(moves_money=False, more_microseconds=1)),
    Effect.WRONG_AMOUNT: (_Step(more_hundredths=_UNIT_HUNDREDTHS),),
    Effect.FAILED_FIRST: (_Step(moves_money=False, status="FAILED"), _Step()),
    Effect.PAID_TWICE: (_Step(), _Step()),
    Effect.NO_TRANSFER: (_Step(moves_money=False),),
}


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What paying a code came to: the transfers and the notices, in their order."""

    code: Code
    transfers: list[Transfer]
    notices: list[Notice]


class Scanning:
    """The phone that shows, scans and pays codes."""

    def __init__(
        self,
        *,
        store: Store,
        codes: Codes,
        transfers: Transfers,
        notices: Notices,
        faults: Faults,
        insurer: Insurer,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._codes = codes
        self._transfers = transfers
        self._notices = notices
        self._faults = faults
        self._insurer = insurer
        self._clock = clock

    async def show(self, *, query: str) -> Code:
        """Return the code that the insurer's app shows for `query`, read from its image.

        :raises Refusal: the insurer gives none, or an image that is none of our codes.
        """
        answer = await self._insurer.ask_code(query=query)
        if answer.status != _OK:
            raise refused_look_up(answer=answer)
        image = _image(answer)
        text = read_png(image=image)
        code = self._codes.scanned(payload=text) if text is not None else None
        if code is None:
            raise Refusal(
                status=_UNREADABLE,
                code="UNREADABLE_CODE",
                message="The insurer's image is none of the bank's codes",
            )
        return self._codes.keep_shown(code=code, image=image, query=query)

    async def pay(self, *, bill_id: int, code_id: int | None, again: bool) -> Scan:
        """Return what came of scanning and paying the bill's code, the latest without an id.

        `again` pays a bill that already has a transfer: a code can be paid twice.

        :raises Refusal: no code; expired; already paid; not enough money.
        """
        code = self._codes.of_bill(bill_id=bill_id, code_id=code_id)
        if code.state(now=self._clock()) is CodeState.EXPIRED:
            raise Refusal(status=409, code="CODE_EXPIRED", message="The code has expired")
        if not again:
            self._transfers.refuse_paid(bill_id=bill_id)
        policy = self._codes.policy_of(bill_id=bill_id)
        fault = self._faults.take(point=Point.WEBHOOK, policy=policy, bill_id=bill_id)
        transfers: list[Transfer] = []
        notices: list[Notice] = []
        for step in _SCRIPTS[fault.effect if fault else None]:
            with self._store.transaction():
                if step.moves_money:
                    transfers.append(self._book(code))
                number = self._write(code, transfers[-1] if transfers else None, step, fault)
            if step.after_s == 0:
                await self._notices.send(number=number, by=SentBy.BANK)
            notices.append(self._notices.find(number=number))
        numbers = [one.bank_transaction_id for one in transfers]
        return Scan(
            code=self._codes.of_bill(bill_id=bill_id, code_id=code.id),
            transfers=[self._transfers.find(bank_transaction_id=number) for number in numbers],
            notices=notices,
        )

    def _book(self, code: Code) -> Transfer:
        number = self._transfers.book(
            bill_id=code.bill_id,
            channel=Channel.KHQR,
            amount=code.amount,
            paid_at=self._next_paid_at(code),
            body=lambda _: b"",  # its notices have their own
        )
        self._codes.count_payment(code=code)
        return self._transfers.find(bank_transaction_id=number)

    def _next_paid_at(self, code: Code) -> datetime:
        """Return now, or a second after the bill's transfer before: no two share a second."""
        now, before = self._clock(), self._transfers.latest_of(bill_id=code.bill_id)
        if before is None:
            return now
        return max(now, datetime.fromisoformat(before.paid_at) + timedelta(seconds=1))

    def _write(
        self, code: Code, transfer: Transfer | None, step: _Step, fault: Fault | None
    ) -> int:
        paid_at = datetime.fromisoformat(transfer.paid_at) if transfer else self._clock()
        microsecond = (paid_at.microsecond + step.more_microseconds) % _MICROSECONDS
        return self._notices.write(
            claim=Claim(
                bill_id=code.bill_id,
                merchant_id=self._codes.merchant.merchant_id,
                amount=Money(
                    hundredths=code.amount.hundredths + step.more_hundredths,
                    currency=code.amount.currency,
                ),
                paid_at=paid_at.replace(microsecond=microsecond),
                status=step.status,
            ),
            bank_transaction_id=transfer.bank_transaction_id if transfer else None,
            fault=fault.code if fault else None,
            forged=step.forged,
            copies=step.copies,
            # Should the process end before the first try, the schedule does it.
            after_s=step.after_s if step.after_s != 0 else TIMEOUT_S,
        )


def _image(answer: Answer) -> bytes:
    try:
        return base64.b64decode(json.loads(answer.text)["data"]["qrCode"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise Refusal(
            status=_UNREADABLE,
            code="UNREADABLE_ANSWER",
            message="The insurer's answer has no image",
        ) from None
