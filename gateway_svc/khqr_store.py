"""The database's side of a KHQR notice: book it, lease the question, record the bank's answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.due import is_due
from chassis.sets import among, insert_set, inserting, rows_as, with_rows
from gateway_svc.answers import khqr_answer_text, parse_khqr_answer
from gateway_svc.khqr_booking import Booking
from gateway_svc.khqr_tables import codes, khqr_notices, questions
from gateway_svc.payment import Bill, NoticeState
from gateway_svc.rows import amount_columns, bill_from
from gateway_svc.tables import bills
from gateway_svc.verification import KhqrAnswer, KhqrNotice

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Booked:
    """A notice on disk: its present answer, and whether it was there before."""

    notice_id: int
    state: NoticeState
    answer: KhqrAnswer | None
    before: bool


@dataclass(frozen=True, kw_only=True)
class DueQuestion:
    """A bill the bank should be asked about now."""

    bill_id: int
    bank_code: str


async def find_bills(*, connection: AsyncConnection, bill_ids: Sequence[int]) -> dict[int, Bill]:
    """Return the bills there are among `bill_ids`."""
    rows = await connection.execute(
        _bills_among(connection.dialect.name), {"ids": sorted(set(bill_ids))}
    )
    return {row.id: bill_from(row) for row in rows}


@lru_cache
def _bills_among(dialect: str) -> Any:
    return select(bills).where(among(column=bills.c.id, name="ids", dialect=dialect))


async def book_notices(
    *,
    connection: AsyncConnection,
    booked: Sequence[tuple[KhqrNotice, Booking]],
    at: datetime,
    ask_at: datetime,
) -> dict[tuple[str, str], Booked]:
    """Return each notice as it is on disk, by bank and digest: the first one stays.

    A notice that is to be asked about is due at `ask_at`, so that a process that dies
    while asking leaves it to the completer.
    """
    wanted = {(notice.bank_code, notice.digest): (notice, booking) for notice, booking in booked}
    landed = await insert_set(
        connection=connection,
        table=khqr_notices,
        rows=[
            _columns(notice, booking, at, ask_at) for _, (notice, booking) in sorted(wanted.items())
        ],
        returning=("id",),
    )
    new = {row.id for row in landed}
    dialect = connection.dialect.name
    rows = await connection.execute(
        _notices_among(dialect), rows_as(name="keys", rows=sorted(wanted), dialect=dialect)
    )
    return {
        (row.bank_code, row.digest): Booked(
            notice_id=row.id,
            state=NoticeState(row.state),
            answer=parse_khqr_answer(row.answer),
            before=row.id not in new,
        )
        for row in rows
    }


@lru_cache
def _notices_among(dialect: str) -> Any:
    return with_rows(
        wanted=select(khqr_notices),
        columns=(khqr_notices.c.bank_code, khqr_notices.c.digest),
        name="keys",
        dialect=dialect,
    )


async def present_answer(*, connection: AsyncConnection, notice_id: int) -> KhqrAnswer | None:
    """Return what the notice would be answered now, None while nothing is known."""
    text = (
        await connection.execute(
            select(khqr_notices.c.answer).where(khqr_notices.c.id == notice_id)
        )
    ).scalar_one()
    return parse_khqr_answer(text)


async def take_questions(
    *,
    connection: AsyncConnection,
    bill_ids: Sequence[int],
    owner: str,
    now: datetime,
    length: timedelta,
) -> frozenset[int]:
    """Return which bills `owner` may ask the bank about; nobody else may until then."""
    insert, given = inserting(
        table=questions,
        rows=[
            {"bill_id": bill_id, "owner": owner, "leased_until": now + length}
            for bill_id in sorted(set(bill_ids))  # in one order, so that nobody waits in a circle
        ],
        dialect=connection.dialect.name,
    )
    taken = await connection.execute(
        insert.on_conflict_do_update(
            index_elements=[questions.c.bill_id],
            set_={"owner": owner, "leased_until": now + length},
            # A lease that ends much later than any can was given by a clock that ran ahead. Not
            # just later: the clocks of two processes are some milliseconds apart. Our own was left
            # by a question whose end nobody heard: one question of ours per bill is in flight.
            where=or_(
                questions.c.owner == owner,
                questions.c.leased_until <= now,
                questions.c.leased_until > now + 2 * length,
            ),
        ).returning(questions.c.bill_id),
        given,
    )
    return frozenset(taken.scalars())


async def leave_questions(
    *, connection: AsyncConnection, bill_ids: Sequence[int], owner: str
) -> None:
    """Let others ask about the bills, whatever their clocks say."""
    await connection.execute(
        _leaving(connection.dialect.name), {"ids": list(bill_ids), "asker": owner}
    )


@lru_cache
def _leaving(dialect: str) -> Any:
    # In the order in which they are taken, or two gateways stand in each other's way.
    own = (
        select(questions.c.bill_id)
        .where(
            among(column=questions.c.bill_id, name="ids", dialect=dialect),
            questions.c.owner == bindparam("asker"),
        )
        .order_by(questions.c.bill_id)
        .with_for_update()
    )
    return update(questions).where(questions.c.bill_id.in_(own)).values(leased_until=_LONG_AGO)


async def defer_questions(
    *, connection: AsyncConnection, bill_ids: Sequence[int], now: datetime, until: datetime
) -> None:
    """Move what is due about `bill_ids` to `until`, unless its answer says otherwise.

    A question that always fails thus never stands before the others for long. A notice that
    somebody works on is passed over: who holds it may wait for another of these.
    """
    due = (
        select(khqr_notices.c.id)
        .where(
            khqr_notices.c.bill_id.in_(list(bill_ids)),
            is_due(column=khqr_notices.c.next_attempt_at, now=now),
        )
        .with_for_update(skip_locked=True)
    )
    await connection.execute(
        update(khqr_notices).where(khqr_notices.c.id.in_(due)).values(next_attempt_at=until)
    )


async def due_questions(
    *, connection: AsyncConnection, bank_codes: Sequence[str], now: datetime, most: int
) -> list[DueQuestion]:
    """Return bills with a notice that is due to be asked about, the longest due first."""
    rows = await connection.execute(
        select(khqr_notices.c.bill_id, bills.c.bank_code)
        .join(bills, bills.c.id == khqr_notices.c.bill_id)
        .where(
            is_due(column=khqr_notices.c.next_attempt_at, now=now),
            bills.c.bank_code.in_(bank_codes),
        )
        .group_by(khqr_notices.c.bill_id, bills.c.bank_code)
        .order_by(func.min(khqr_notices.c.next_attempt_at))
        .limit(most)
    )
    return [DueQuestion(bill_id=row.bill_id, bank_code=row.bank_code) for row in rows]


async def due_polls(
    *, connection: AsyncConnection, bank_codes: Sequence[str], now: datetime, most: int
) -> list[DueQuestion]:
    """Return bills whose code is live or lately was, and due to be asked about unasked."""
    rows = await connection.execute(
        select(codes.c.bill_id, bills.c.bank_code)
        .join(bills, bills.c.id == codes.c.bill_id)
        .where(is_due(column=codes.c.next_poll_at, now=now), bills.c.bank_code.in_(bank_codes))
        .group_by(codes.c.bill_id, bills.c.bank_code)
        .order_by(func.min(codes.c.next_poll_at))
        .limit(most)
    )
    return [DueQuestion(bill_id=row.bill_id, bank_code=row.bank_code) for row in rows]


def _columns(
    notice: KhqrNotice, booking: Booking, at: datetime, ask_at: datetime
) -> dict[str, Any]:
    money = (
        amount_columns(notice.money)
        if notice.money
        else {"amount_hundredths": None, "currency": None}
    )
    return {
        "bank_code": notice.bank_code,
        "digest": notice.digest,
        "bill_id": notice.bill_id,
        "merchant_number": notice.merchant_number,
        "status": notice.status,
        **money,
        "paid_at": notice.paid_at,
        "received_at": notice.received_at,
        "body_digest": notice.body_digest,
        "subject": notice.subject,
        "request_id": notice.request_id,
        "answer": khqr_answer_text(booking.answer),
        "hold": booking.hold,
        "next_attempt_at": ask_at if booking.ask else None,
        "state": booking.state,
        "state_at": at,
        "state_cause": booking.hold or "booked",
    }
