"""What banks say, decided and recorded: all that came meanwhile in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from chassis.attempts import repeated
from chassis.database import Database
from chassis.outbox import append
from gateway_svc.case_loading import Answered, load_cases, obligations_of
from gateway_svc.case_store import record_cases
from gateway_svc.events import EventWriter
from gateway_svc.khqr_law import decide_case
from gateway_svc.khqr_store import leave_questions
from gateway_svc.rows import Overtaken
from gateway_svc.tables import outbox
from gateway_svc.verification import CaseDecision, Verification

_log = structlog.get_logger()


class CaseRecorder:
    """Decides answers of the banks and records what they come to."""

    def __init__(
        self,
        *,
        database: Database,
        events: EventWriter,
        clock: Callable[[], datetime],
        owner: str,
        pause_after: Callable[[int], timedelta],
        committed: Callable[[], None],
        recorded: Callable[[CaseDecision], None],
    ) -> None:
        """Wire the parts; `owner` holds the questions; `recorded` hears of each decision."""
        self._database = database
        self._events = events
        self._clock = clock
        self._owner = owner
        self._pause_after = pause_after
        self._committed = committed
        self._recorded = recorded

    async def record(self, answered: Sequence[Answered]) -> list[CaseDecision]:
        """Return what each answer comes to, after all of it is on disk.

        Recorded a second time, an answer changes nothing: its notices are decided by then.

        :raises DatabaseUnavailable: not all of it is known to be recorded.
        :raises Overtaken: other writers were faster three times.
        """
        async with self._database.reading() as connection:
            obligations = await obligations_of(
                connection=connection, bill_ids=[one.bill_id for one in answered]
            )
        decisions: dict[int, CaseDecision] = {}
        for wave in _waves(answered, obligations):
            made = await repeated(
                work=partial(self._record_once, wave, obligations), also_after=(Overtaken,)
            )
            decisions |= {one.case.bill.bill_id: one for one in made}
            # At once: if a later wave breaks, all are tried again, and these then are not new.
            self._committed()
            for decision in made:
                self._recorded(decision)
                _report(decision)
        return [decisions[one.bill_id] for one in answered]

    async def _record_once(
        self, answered: Sequence[Answered], obligations: Mapping[int, int]
    ) -> list[CaseDecision]:
        now = self._clock()
        async with self._database.transaction(name="khqr_record") as connection:
            cases = await load_cases(
                connection=connection, answered=answered, obligations=obligations
            )
            decisions = [
                decide_case(case=case, finding=one.finding, now=now)
                for case, one in zip(cases, answered, strict=True)
            ]
            events = {
                one.case.obligation.obligation_id: self._events.of_case(
                    decision=one,
                    request_id=one.case.notices[0].request_id if one.case.notices else "",
                    at=now,
                )
                for one in decisions
            }
            await record_cases(
                connection=connection,
                decisions=decisions,
                at=now,
                next_attempt_at={
                    notice.notice_id: now + self._pause_after(notice.asked)
                    for case in cases
                    for notice in case.notices
                },
                events={number: len(own) for number, own in events.items()},
            )
            await leave_questions(
                connection=connection,
                bill_ids=[one.bill_id for one in answered],
                owner=self._owner,
            )
            await append(
                connection=connection,
                table=outbox,
                events=[event for own in events.values() for event in own],
                at=now,
            )
        return decisions


def _waves(
    answered: Sequence[Answered], obligations: Mapping[int, int]
) -> list[Sequence[Answered]]:
    """Return the answers in lists that can be decided side by side.

    What one comes to may change what another does where both are of one obligation, or where
    the bank names one transaction for both.
    """
    waves: list[tuple[list[Answered], set[object]]] = []
    for one in answered:
        shared: set[object] = {obligations[one.bill_id], *([one.named] if one.named else [])}
        for members, taken in waves:
            if taken.isdisjoint(shared):
                members.append(one)
                taken.update(shared)
                break
        else:
            waves.append(([one], shared))
    return [members for members, _ in waves]


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
    finding = decision.finding
    contradicts = isinstance(finding, Verification) and (
        finding.foreign or (finding.paid and decision.payment is None and decision.known is None)
    )
    if contradicts and not decision.changes:
        # A poll, with no notice to hold: the answer is kept, and somebody must hear of it.
        _log.warning("verification_contradicts", bank=bill.bank_code, bill_id=bill.bill_id)
    if decision.payment is not None and decision.payment.applied_to is None:
        _log.warning(
            "payment_unapplied",
            bank=bill.bank_code,
            bill_id=bill.bill_id,
            transaction_id=decision.payment.transaction_id,
        )
