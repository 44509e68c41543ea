"""How a customer gets a code: bill, live code, bank, check, record, in this order.

Nothing is kept here: the gateway keeps the codes, so that any number of these processes hand
out the same one.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from chassis.errors import ServiceError
from chassis.single_flight import SingleFlight
from khqr_svc.banks.factory import require_currency
from khqr_svc.banks.port import BankNotUnderstood, BankUnavailable, KhqrBank, OutOfTime
from khqr_svc.code import Bill, Code, CodeRefused, expiry_of_checked
from khqr_svc.gateway import Gateway
from khqr_svc.image import ImageUnreadable, draw_code, read_code
from khqr_svc.joining import joined

_RETRY_AFTER_S = 5.0
_RECORDING_S = 0.5  # of the deadline, kept for reading and recording what the bank drew
_RECORDING_SHARE = 5  # but no more than one part in five of what is left

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A code to hand out, and the bill it asks for."""

    bill: Bill
    code: Code


class Generation:
    """Hands out the one live code of a bill, whoever asks at once."""

    def __init__(
        self,
        *,
        gateway: Gateway,
        clock: Callable[[], datetime],
        timer: Callable[[], float],
    ) -> None:
        """`clock` gives aware UTC moments, `timer` monotonic seconds for deadlines."""
        self._gateway = gateway
        self._clock = clock
        self._timer = timer
        self._flights: SingleFlight[tuple[str, int], Code] = SingleFlight()

    async def generate(self, *, bank: KhqrBank, number: str, deadline: float) -> Generated:
        """Return a code of `bank` for what is due on the policy or application `number`.

        :raises ServiceError: the gateway's reason, such as RESOURCE_NOT_FOUND;
            MERCHANT_NOT_BIND; AMK_UNKNOWN_ERROR (the bank's code is not what was asked for);
            SERVER_UNAVAILABLE.
        """
        bill = await self._gateway.inquire(bank_code=bank.code, number=number, deadline=deadline)
        require_currency(bank=bank, currency=bill.money.currency)
        try:
            code = await joined(
                flights=self._flights,
                key=(bank.code, bill.bill_id),
                call_until=lambda until: self._live_or_new(bank, bill, until),
                deadline=deadline,
                clock=self._timer,
            )
        except OutOfTime as problem:
            raise _unavailable(problem) from None
        return Generated(bill=bill, code=code)

    async def close(self) -> None:
        """Stop what is under way."""
        await self._flights.close()

    async def _live_or_new(self, bank: KhqrBank, bill: Bill, deadline: float) -> Code:
        # Inside the joined call: who comes after it ended finds the code it recorded.
        live = await self._gateway.live_code(
            bank_code=bank.code, bill_id=bill.bill_id, deadline=deadline
        )
        if live is not None and live.is_reusable(now=self._clock()):
            return live
        try:
            code = await self._checked(bank, bill, deadline)
        except BankUnavailable as problem:
            usable = live is not None and live.is_live(now=self._clock())
            _log.warning(
                "khqr_generator_unavailable", bank=bank.code, why=str(problem), live_code=usable
            )
            if live is not None and usable:
                return live
            if isinstance(problem, OutOfTime):
                raise  # another caller may have more time
            raise _unavailable(problem) from None
        return await self._gateway.record(
            bank_code=bank.code, bill_id=bill.bill_id, code=code, deadline=deadline
        )

    async def _checked(self, bank: KhqrBank, bill: Bill, deadline: float) -> Code:
        """Return a code that the bank drew and that asks for `bill`."""
        payload = ""
        try:
            drawn = await bank.draw(bill=bill, deadline=self._ask_until(deadline))
            image = drawn.image
            if image is None:
                image = await asyncio.to_thread(draw_code, drawn.payload or "")
            payload = await asyncio.to_thread(read_code, image)
            expires_at = expiry_of_checked(
                payload=payload,
                claimed=drawn.payload,
                bill=bill,
                account=bank.account,
                checks=bank.checks,
                now=self._clock(),
            )
        except (BankNotUnderstood, ImageUnreadable) as problem:
            _log.error("khqr_answer_not_understood", alert=True, bank=bank.code, why=str(problem))
            raise _not_understood(bank) from None
        except CodeRefused as problem:
            _log.error(
                "khqr_code_refused",
                alert=True,
                bank=bank.code,
                bill_id=bill.bill_id,
                why=str(problem),
                # Bakong's key of a transaction: by it the bank finds what it drew.
                md5=hashlib.md5(payload.encode(), usedforsecurity=False).hexdigest(),
            )
            raise _not_understood(bank) from None
        return Code(payload=payload, image=image, expires_at=expires_at)

    def _ask_until(self, deadline: float) -> float:
        share_s = (deadline - self._timer()) / _RECORDING_SHARE
        return deadline - min(_RECORDING_S, share_s)


def _unavailable(problem: BankUnavailable) -> ServiceError:
    return ServiceError(
        reason="SERVER_UNAVAILABLE",
        message="The bank does not answer now",
        retry_after_s=problem.retry_after_s or _RETRY_AFTER_S,
    )


def _not_understood(bank: KhqrBank) -> ServiceError:
    return ServiceError(
        reason="AMK_UNKNOWN_ERROR",
        message="The bank's answer was not understood",
        details=f"Bank: {bank.code}",
    )
