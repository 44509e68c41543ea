"""Finishes what is undecided, and finds payments whose webhook never came.

Undecided notices are asked about after growing pauses, without an end; bills whose code is
live or lately was are polled. "Unknown" never becomes "failed" by a timer, and never "paid"
without an explicit yes.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from chassis.database import Database, DatabaseUnavailable
from chassis.process import repeat
from gateway_svc.code_store import expire_codes, schedule_polls
from gateway_svc.khqr_questions import KhqrQuestions
from gateway_svc.khqr_store import DueQuestion, defer_questions, due_polls, due_questions

_QUESTION_S = 4.0  # nobody waits for the answer
_UNTIL_ANSWERED = timedelta(minutes=1)  # then it is due again though nothing was recorded
_AT_ONCE = 4  # questions to the banks side by side

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class PollPlan:
    """When bills with a code are asked about though nobody told of a payment."""

    first: timedelta = timedelta(seconds=20)
    longest: timedelta = timedelta(minutes=5)
    after_expiry: timedelta = timedelta(hours=1)
    most: int = 20  # questions a round: the budget of a bank


class Completer:
    """Asks the banks about what is due to be asked."""

    def __init__(
        self,
        *,
        database: Database,
        questions: KhqrQuestions,
        clock: Callable[[], datetime],
        plan: PollPlan,
        idle: timedelta = timedelta(seconds=1),
    ) -> None:
        self._database = database
        self._questions = questions
        self._clock = clock
        self._plan = plan
        self._idle = idle

    async def run_once(self) -> int:
        """Ask about what is due now and return about how many bills.

        :raises DatabaseUnavailable: what is due stays due.
        """
        now = self._clock()
        banks = self._questions.bank_codes
        async with self._database.reading() as connection:
            waiting = await due_questions(
                connection=connection, bank_codes=banks, now=now, most=self._plan.most
            )
            polled = await due_polls(
                connection=connection, bank_codes=banks, now=now, most=self._plan.most
            )
        if waiting or polled:
            async with self._database.transaction(name="complete") as connection:
                await defer_questions(
                    connection=connection,
                    bill_ids=[one.bill_id for one in waiting],
                    now=now,
                    until=now + _UNTIL_ANSWERED,
                )
                await expire_codes(connection=connection, now=now)
                await schedule_polls(
                    connection=connection,
                    bill_ids=[one.bill_id for one in polled],
                    now=now,
                    first=self._plan.first,
                    longest=self._plan.longest,
                    after_expiry=self._plan.after_expiry,
                )
        due = list({one.bill_id: one for one in (*waiting, *polled)}.values())
        await self._ask_all(due)
        return len(due)

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until `stop` is set."""
        await repeat(run_once=self._round, pause_s=self._idle.total_seconds(), stop=stop)

    async def _round(self) -> None:
        try:
            await self.run_once()
        except DatabaseUnavailable:
            pass  # the health watch tells of it; what is due stays due
        except Exception:  # noqa: BLE001 - one bad round must not end the loop
            _log.exception("completer_failed")

    async def _ask_all(self, due: Sequence[DueQuestion]) -> None:
        places = asyncio.Semaphore(_AT_ONCE)

        async def ask(one: DueQuestion) -> None:
            async with places:
                ends_at_s = time.monotonic() + _QUESTION_S
                await self._questions.ask(
                    bill_id=one.bill_id,
                    bank_code=one.bank_code,
                    ends_at_s=ends_at_s,
                    waited_for=False,
                )

        for outcome in await asyncio.gather(*map(ask, due), return_exceptions=True):
            if isinstance(outcome, Exception):
                _log.warning("question_failed", cause=type(outcome).__name__)
