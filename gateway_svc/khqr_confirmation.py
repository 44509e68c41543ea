"""The order of steps of a KHQR confirmation: book, check, ask the bank, record, answer.

Webhook, completer and poll take this one path. No transaction is open while the bank is asked,
one question per bill is in flight, and a caller that leaves cancels nothing but its waiting.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from chassis.admission import Bounds
from chassis.attempts import repeated
from chassis.database import CommitUnknown, Database
from chassis.errors import ServiceError
from chassis.group_commit import GroupCommit
from gateway_svc.banks.port import Bank
from gateway_svc.events import EventWriter
from gateway_svc.khqr_booking import book, is_final
from gateway_svc.khqr_questions import QUESTIONS_AT_ONCE, KhqrQuestions
from gateway_svc.khqr_store import (
    Booked,
    book_notices,
    find_bills,
    present_answer,
)
from gateway_svc.payment import NoticeState
from gateway_svc.verification import (
    CaseDecision,
    KhqrAnswer,
    KhqrNotice,
    Status,
)

_FIRST_PAUSE = timedelta(seconds=5)  # the completer's, if the process dies while it asks

_STATUSES = frozenset(Status)

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class KhqrOutcome:
    """The answer to a notice, and whether it was given before."""

    answer: KhqrAnswer
    replayed: bool


class KhqrConfirmation:
    """Confirms KHQR payments that the bank vouches for."""

    def __init__(
        self,
        *,
        database: Database,
        banks: Mapping[str, Bank],
        events: EventWriter,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        pause_after: Callable[[int], timedelta],
        committed: Callable[[], None],
        bounds: Bounds = QUESTIONS_AT_ONCE,
        recorded: Callable[[CaseDecision], None] = lambda _: None,
        commit: Callable[..., GroupCommit[Any, Any]] = GroupCommit,
    ) -> None:
        """Wire the parts; `bounds` say how many questions to one bank are under way at once.

        `recorded` hears of what each answer of a bank came to, once that is on disk;
        `commit` makes the writers.
        """
        self._database = database
        self._banks = banks
        self._clock = clock
        self.questions = KhqrQuestions(
            database=database,
            banks=banks,
            events=events,
            clock=clock,
            owner=new_id(),
            pause_after=pause_after,
            committed=committed,
            bounds=bounds,
            recorded=recorded,
            commit=commit,
        )
        self.bookings: GroupCommit[KhqrNotice, Booked] = commit(record=self._book)

    async def confirm(self, *, notice: KhqrNotice, ends_at_s: float) -> KhqrOutcome:
        """Return the answer to `notice`, by `ends_at_s` of the monotonic clock.

        :raises ServiceError: SERVER_UNAVAILABLE; the notice is kept and asked about later, or so
            many wait for the bank already that it was not taken at all.
        """
        booked = await self._booked(notice, ends_at_s)
        if booked.answer is not None and (
            is_final(booked.answer) or booked.state in {NoticeState.HELD, NoticeState.RECEIVED}
        ):
            return KhqrOutcome(
                answer=booked.answer, replayed=booked.before and is_final(booked.answer)
            )
        answer = None
        for _ in range(2):  # a question in flight may have been asked before this was told
            if answer is None:
                told = await self.questions.ask(
                    bill_id=notice.bill_id, bank_code=notice.bank_code, ends_at_s=ends_at_s
                )
                answer = told.get(booked.notice_id) or await self._present(booked.notice_id)
        if answer is None:
            raise ServiceError(
                reason="SERVER_UNAVAILABLE",
                message="The payment is being verified",
                retry_after_s=5,
            )
        return KhqrOutcome(answer=answer, replayed=False)

    async def _booked(self, notice: KhqrNotice, ends_at_s: float) -> Booked:
        if notice.status != Status.SUCCESS:  # it moves no money, and nobody is asked
            return await self.bookings.submit(notice)
        with self.questions.promised(bank_code=notice.bank_code, ends_at_s=ends_at_s):
            return await self.bookings.submit(notice)

    async def _present(self, notice_id: int) -> KhqrAnswer | None:
        async with self._database.reading() as connection:
            return await present_answer(connection=connection, notice_id=notice_id)

    async def _book(self, notices: Sequence[KhqrNotice]) -> list[Booked]:
        unheard: set[int] = set()
        on_disk = await repeated(work=lambda: self._attempt_to_book(notices, unheard))
        answers = [on_disk[notice.bank_code, notice.digest] for notice in notices]
        for notice, booked in zip(notices, answers, strict=True):
            if booked.state is NoticeState.HELD and not booked.before:
                _log.warning(
                    "khqr_notice_held",
                    bank=notice.bank_code,
                    bill_id=notice.bill_id,
                    # Another one is a stranger's text; the row has it.
                    status=notice.status if notice.status in _STATUSES else "unknown",
                    notice_request_id=notice.request_id,
                )
        return answers

    async def _attempt_to_book(
        self, notices: Sequence[KhqrNotice], unheard: set[int]
    ) -> Mapping[tuple[str, str], Booked]:
        """Return the notices on disk; `unheard` are the new ones of a commit nobody answered.

        What this very call booked then was not there before it.
        """
        booked: dict[tuple[str, str], Booked] = {}
        try:
            await self._book_once(notices, booked)
        except CommitUnknown:
            unheard |= {one.notice_id for one in booked.values() if not one.before}
            raise
        return {
            key: replace(one, before=one.before and one.notice_id not in unheard)
            for key, one in booked.items()
        }

    async def _book_once(
        self, notices: Sequence[KhqrNotice], booked: dict[tuple[str, str], Booked]
    ) -> None:
        now = self._clock()
        async with self._database.transaction(name="khqr_book") as connection:
            bills = await find_bills(
                connection=connection, bill_ids=[notice.bill_id for notice in notices]
            )
            booked |= await book_notices(
                connection=connection,
                booked=[
                    (
                        notice,
                        book(
                            notice=notice,
                            bill=bills.get(notice.bill_id),
                            account=self._banks[notice.bank_code].merchant(),
                        ),
                    )
                    for notice in notices
                ],
                at=now,
                ask_at=now + _FIRST_PAUSE,
            )
