"""Questions to a bank: one per bill in flight, so many at once, each answer recorded.

Webhook, completer and poll ask here. No transaction is open while the bank is asked, and a
caller that leaves cancels nothing but its waiting. A bank that answers slower than it is told
would be asked by everybody at once, and everybody would run out of time: so many are asked, and
few wait.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog

from chassis.admission import Admission, Bounds, Overloaded
from chassis.attempts import repeated
from chassis.database import Database
from chassis.errors import ServiceError
from chassis.outbox import append
from chassis.single_flight import SingleFlight
from gateway_svc.banks.port import Bank
from gateway_svc.case_store import load_case, record_case
from gateway_svc.events import EventWriter
from gateway_svc.khqr_law import decide_case
from gateway_svc.khqr_store import leave_question, take_question
from gateway_svc.rows import Overtaken
from gateway_svc.tables import outbox
from gateway_svc.verification import CaseDecision, Finding, Verification

_RECORDING_S = 0.7  # asking ends this long before the deadline, so that recording fits
_LEASE = timedelta(seconds=6)  # longer than any question may take
_LOOK_AGAIN_S = 0.1  # while another process asks
# 32 places are 320 questions a second at a bank that takes 100 ms. What nobody waits for (the
# completer, polls) is asked only while three quarters of them are free.
QUESTIONS_AT_ONCE = Bounds(
    most=32,
    kept_for_vital=24,
    most_of_one_kind=32,
    waiting=0,
    waiting_vital=24,
    patience_vital_s=1.5,
)

_log = structlog.get_logger()


class KhqrQuestions:
    """Asks the banks, and records what they say."""

    def __init__(
        self,
        *,
        database: Database,
        banks: Mapping[str, Bank],
        events: EventWriter,
        clock: Callable[[], datetime],
        owner: str,
        pause_after: Callable[[int], timedelta],
        committed: Callable[[], None],
        bounds: Bounds,
    ) -> None:
        self._database = database
        self._banks = banks
        self._events = events
        self._clock = clock
        self._owner = owner
        self._pause_after = pause_after
        self._committed = committed
        self._asking: SingleFlight[int, None] = SingleFlight()
        self._places = Admission(bounds=bounds, clock=time.monotonic)

    @property
    def bank_codes(self) -> list[str]:
        """The banks that can be asked."""
        return [code for code, bank in self._banks.items() if bank.verifier is not None]

    async def close(self) -> None:
        """Stop asking."""
        await self._asking.close()

    async def _ask(self, bill_id: int, bank_code: str, ends_at_s: float) -> None:
        verifier = self._banks[bank_code].verifier
        if (
            verifier is None
            or time.monotonic() >= ends_at_s
            or not await self._taken(bill_id, ends_at_s)
        ):
            return
        try:
            finding = await verifier.verify(bill_id=bill_id, ends_at_s=ends_at_s)
        except BaseException:
            async with self._database.transaction(name="khqr_leave") as connection:
                await leave_question(connection=connection, bill_id=bill_id, owner=self._owner)
            raise
        await self._record(bill_id, finding)

    async def _taken(self, bill_id: int, ends_at_s: float) -> bool:
        """Return whether we may ask; False once somebody else has asked meanwhile."""
        waited = False
        while time.monotonic() < ends_at_s:
            async with self._database.transaction(name="khqr_take") as connection:
                if await take_question(
                    connection=connection,
                    bill_id=bill_id,
                    owner=self._owner,
                    now=self._clock(),
                    length=_LEASE,
                ):
                    if waited:  # their answer is on disk: let the next one ask
                        await leave_question(
                            connection=connection, bill_id=bill_id, owner=self._owner
                        )
                    return not waited
            waited = True
            await asyncio.sleep(_LOOK_AGAIN_S)
        return False

    async def ask(
        self, *, bill_id: int, bank_code: str, ends_at_s: float, waited_for: bool = True
    ) -> None:
        """Ask the bank about a bill and record what it says, unless somebody asks already.

        Whoever comes while the question is in flight waits for its record and asks nothing.
        Where too many wait for the bank nobody is asked: what is due stays due. `waited_for`
        says that a caller waits for the answer.
        """
        await self._asking.fly(
            key=bill_id,
            call=lambda: self._ask_in_turn(
                bill_id, bank_code, ends_at_s - _RECORDING_S, waited_for=waited_for
            ),
        )

    def refuse_overload(self, *, bank_code: str, ends_at_s: float) -> None:
        """Return if the bank can be asked in time, were somebody to ask now.

        :raises ServiceError: SERVER_UNAVAILABLE; so many wait for it already.
        """
        try:
            self._places.check(
                kind=_kind(bank_code, waited_for=True), vital=True, ends_at_s=ends_at_s
            )
        except Overloaded as overload:
            raise ServiceError(
                reason="SERVER_UNAVAILABLE",
                message="Too many payments are being verified",
                retry_after_s=overload.retry_after_s,
                overloaded=True,
            ) from None

    async def _ask_in_turn(
        self, bill_id: int, bank_code: str, ends_at_s: float, *, waited_for: bool
    ) -> None:
        kind = _kind(bank_code, waited_for=waited_for)
        try:
            async with self._places.turn(kind=kind, vital=waited_for, ends_at_s=ends_at_s):
                await self._ask(bill_id, bank_code, ends_at_s)
        except Overloaded:
            _log.info("question_postponed", bank=bank_code, bill_id=bill_id)

    async def _record(self, bill_id: int, finding: Finding) -> CaseDecision:
        decision = await repeated(
            work=lambda: self._record_once(bill_id, finding), also_after=(Overtaken,)
        )
        self._committed()
        _report(decision)
        return decision

    async def _record_once(self, bill_id: int, finding: Finding) -> CaseDecision:
        now = self._clock()
        named = finding.transaction_id if isinstance(finding, Verification) else None
        async with self._database.transaction(name="khqr_record") as connection:
            case = await load_case(connection=connection, bill_id=bill_id, named=named)
            decision = decide_case(case=case, finding=finding, now=now)
            events = self._events.of_case(
                decision=decision,
                request_id=case.notices[0].request_id if case.notices else "",
                at=now,
            )
            await record_case(
                connection=connection,
                decision=decision,
                at=now,
                next_attempt_at={
                    notice.notice_id: now + self._pause_after(notice.asked)
                    for notice in case.notices
                },
                events=len(events),
            )
            await leave_question(connection=connection, bill_id=bill_id, owner=self._owner)
            await append(connection=connection, table=outbox, events=events, at=now)
        return decision


def _kind(bank_code: str, *, waited_for: bool) -> str:
    return f"{bank_code}, {'waited for' if waited_for else 'later'}"


def _report(decision: CaseDecision) -> None:
    """Say what needs a person."""
    bill = decision.case.bill
    for change in decision.changes:
        if change.hold is not None and change.hold != change.notice.hold:
            _log.warning(
                "khqr_notice_held",
                bank=bill.bank_code,
                bill_id=bill.bill_id,
                hold=change.hold,
                notice_request_id=change.notice.request_id,
            )
    if decision.payment is not None and decision.payment.applied_to is None:
        _log.warning(
            "payment_unapplied",
            bank=bill.bank_code,
            bill_id=bill.bill_id,
            transaction_id=decision.payment.transaction_id,
        )
