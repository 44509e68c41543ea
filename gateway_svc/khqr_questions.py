"""Questions to a bank: one per bill in flight, so many at once, each answer recorded.

Webhook, completer and poll ask here. No transaction is open while the bank is asked, and a
caller that leaves cancels nothing but its waiting. A bank that answers slower than it is told
would be asked by everybody at once, and everybody would run out of time: so many are asked, and
few wait.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import structlog

from chassis.admission import Admission, Bounds, Overloaded
from chassis.attempts import repeated
from chassis.database import Database
from chassis.errors import ServiceError
from chassis.group_commit import GroupCommit
from chassis.single_flight import SingleFlight
from gateway_svc.banks.port import Bank
from gateway_svc.case_loading import Answered
from gateway_svc.case_recording import CaseRecorder
from gateway_svc.events import EventWriter
from gateway_svc.khqr_store import leave_questions, take_questions
from gateway_svc.verification import CaseDecision, KhqrAnswer

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

KhqrAnswers = Mapping[int, KhqrAnswer]
_NOTHING_NEW: KhqrAnswers = MappingProxyType({})

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
        recorded: Callable[[CaseDecision], None],
        commit: Callable[..., GroupCommit[Any, Any]] = GroupCommit,
    ) -> None:
        """Wire the parts; `recorded` hears of each decision, `commit` makes the writers."""
        self._database = database
        self._banks = banks
        self._clock = clock
        self._owner = owner
        self._asking: SingleFlight[int, KhqrAnswers] = SingleFlight()
        self._places = Admission(bounds=bounds, clock=time.monotonic)
        self._promised: Counter[str] = Counter()
        self.recorder = CaseRecorder(
            database=database,
            events=events,
            clock=clock,
            owner=owner,
            pause_after=pause_after,
            committed=committed,
            recorded=recorded,
        )
        self._takes: GroupCommit[int, bool] = commit(record=self.take)
        self._records: GroupCommit[Answered, CaseDecision] = commit(record=self.recorder.record)
        self.writers: Mapping[str, GroupCommit[Any, Any]] = {
            "khqr_questions": self._takes,
            "khqr_answers": self._records,
        }

    @property
    def bank_codes(self) -> list[str]:
        """The banks that can be asked."""
        return [code for code, bank in self._banks.items() if bank.verifier is not None]

    def start(self) -> None:
        """Start what records."""
        for writer in self.writers.values():
            writer.start()

    async def close(self) -> None:
        """Stop asking; what banks have said is recorded."""
        await self._asking.close()
        for writer in self.writers.values():
            await writer.stop()

    async def _ask(self, bill_id: int, bank_code: str, ends_at_s: float) -> KhqrAnswers:
        verifier = self._banks[bank_code].verifier
        if (
            verifier is None
            or time.monotonic() >= ends_at_s
            or not await self._taken(bill_id, ends_at_s)
        ):
            return _NOTHING_NEW
        try:
            finding = await verifier.verify(bill_id=bill_id, ends_at_s=ends_at_s)
        except BaseException:
            await self._leave(bill_id)
            raise
        decision = await self._records.submit(Answered(bill_id=bill_id, finding=finding))
        return {
            change.notice.notice_id: change.answer
            for change in decision.changes
            if change.answer is not None
        }

    async def _taken(self, bill_id: int, ends_at_s: float) -> bool:
        """Return whether we may ask; False once somebody else has asked meanwhile."""
        waited = False
        while time.monotonic() < ends_at_s:
            if await self._takes.submit(bill_id):
                if waited:  # their answer is on disk: let the next one ask
                    await self._leave(bill_id)
                return not waited
            waited = True
            await asyncio.sleep(_LOOK_AGAIN_S)
        return False

    async def take(self, bill_ids: Sequence[int]) -> list[bool]:
        """Return of each bill whether we may ask about it; nobody else may until then."""
        return await repeated(work=partial(self._take_once, bill_ids))

    async def _take_once(self, bill_ids: Sequence[int]) -> list[bool]:
        async with self._database.transaction(name="khqr_take") as connection:
            taken = await take_questions(
                connection=connection,
                bill_ids=bill_ids,
                owner=self._owner,
                now=self._clock(),
                length=_LEASE,
            )
        return [bill_id in taken for bill_id in bill_ids]

    async def _leave(self, bill_id: int) -> None:
        async with self._database.transaction(name="khqr_leave") as connection:
            await leave_questions(connection=connection, bill_ids=[bill_id], owner=self._owner)

    async def ask(
        self, *, bill_id: int, bank_code: str, ends_at_s: float, waited_for: bool = True
    ) -> KhqrAnswers:
        """Ask the bank about a bill and record what it says, unless somebody asks already.

        Return the answers that notices of the bill have got by it, by their ids.
        Whoever comes while the question is in flight waits for its record and asks nothing.
        Where too many wait for the bank nobody is asked: what is due stays due. `waited_for`
        says that a caller waits for the answer.
        """
        return await self._asking.fly(
            key=bill_id,
            call=lambda: self._ask_in_turn(
                bill_id, bank_code, ends_at_s - _RECORDING_S, waited_for=waited_for
            ),
        )

    @contextmanager
    def promised(self, *, bank_code: str, ends_at_s: float) -> Iterator[None]:
        """Enter if the bank can be asked in time; until left, nobody else is told the same place.

        Booking takes a while: all who come meanwhile would find the same place free, be booked,
        and find it taken.

        :raises ServiceError: SERVER_UNAVAILABLE; so many wait for it already.
        """
        kind = _kind(bank_code, waited_for=True)
        try:
            self._places.check(
                kind=kind, vital=True, ends_at_s=ends_at_s, ahead=self._promised[kind]
            )
        except Overloaded as overload:
            raise ServiceError(
                reason="SERVER_UNAVAILABLE",
                message="Too many payments are being verified",
                retry_after_s=overload.retry_after_s,
                overloaded=True,
            ) from None
        self._promised[kind] += 1
        try:
            yield
        finally:
            self._promised[kind] -= 1

    async def _ask_in_turn(
        self, bill_id: int, bank_code: str, ends_at_s: float, *, waited_for: bool
    ) -> KhqrAnswers:
        kind = _kind(bank_code, waited_for=waited_for)
        try:
            async with self._places.turn(kind=kind, vital=waited_for, ends_at_s=ends_at_s):
                return await self._ask(bill_id, bank_code, ends_at_s)
        except Overloaded:
            _log.info("question_postponed", bank=bank_code, bill_id=bill_id)
            return _NOTHING_NEW


def _kind(bank_code: str, *, waited_for: bool) -> str:
    return f"{bank_code}, {'waited for' if waited_for else 'later'}"
