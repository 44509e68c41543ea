"""The order of steps of every confirmation: book, check, decide, record, answer.

On the bill channel nobody is asked, so all steps share one transaction; a refused notice
still leaves its row. The answer leaves only after the commit.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from chassis.attempts import repeated
from chassis.database import CommitUnknown, Database
from gateway_svc.events import EVENTS_PER_SETTLEMENT, EventWriter
from gateway_svc.payment import Decision, Notice
from gateway_svc.rows import Overtaken
from gateway_svc.store import opened_batch

_log = structlog.get_logger()


class Confirmation:
    """Decides notices and records what they come to, a batch in one transaction."""

    def __init__(
        self,
        *,
        database: Database,
        events: EventWriter,
        clock: Callable[[], datetime],
        committed: Callable[[], None],
    ) -> None:
        self._database = database
        self._events = events
        self._clock = clock
        self._committed = committed

    async def record(self, notices: Sequence[Notice]) -> list[Decision]:
        """Return the decision on each notice, after everything it changes is on disk.

        :raises DatabaseUnavailable: nothing of the batch is known to be recorded.
        :raises Overtaken: other writers were faster three times; nothing was recorded.
        """
        # Another process may land the same natural key between our read and our write.
        unheard: dict[int, Decision] = {}
        decisions = await repeated(
            work=lambda: self._attempt(notices, unheard), also_after=(Overtaken,)
        )
        self._committed()
        for decision in decisions:
            _report(decision)
        return decisions

    async def _attempt(
        self, notices: Sequence[Notice], unheard: dict[int, Decision]
    ) -> list[Decision]:
        """Return the decisions on `notices`; `unheard` are those of a commit nobody answered.

        What this very call recorded then is no replay, and who must hear of it has not yet.
        """
        decisions: list[Decision] = []
        try:
            await self._record_once(notices, decisions)
        except CommitUnknown:
            unheard |= {place: one for place, one in enumerate(decisions) if not one.replayed}
            raise
        return [
            unheard[place] if one.replayed and _is_same(unheard.get(place), one) else one
            for place, one in enumerate(decisions)
        ]

    async def _record_once(self, notices: Sequence[Notice], decisions: list[Decision]) -> None:
        now = self._clock()
        async with opened_batch(database=self._database) as batch:
            book = await batch.load(notices=notices)
            decisions += [book.decide(notice) for notice in notices]
            fresh = [decision for decision in decisions if not decision.replayed]
            if not fresh:
                return
            events = [
                event
                for decision in fresh
                for event in self._events.of_decision(decision=decision, at=now)
            ]
            await batch.record(
                decisions=fresh,
                events=events,
                events_per_settlement=EVENTS_PER_SETTLEMENT,
                at=now,
            )


def _is_same(unheard: Decision | None, found: Decision) -> bool:
    return unheard is not None and unheard.answer == found.answer


def _report(decision: Decision) -> None:
    """Say what needs a person or is odd; what went well is counted, not told."""
    notice = decision.notice
    if decision.replayed or not (decision.hold or decision.flags):
        return
    _log.warning(
        "notice_held" if decision.hold else "notice_flagged",
        bank=notice.bank_code,
        transaction_id=notice.transaction_id,
        bill_id=notice.bill_id,
        hold=decision.hold,
        flags=decision.flags,
        notice_request_id=notice.request_id,
    )
