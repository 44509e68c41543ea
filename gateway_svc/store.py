"""The database's side of a confirmation: load what a batch is about, record what it came to.

Every function works on a set inside the caller's transaction and decides nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import cast, null, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.money import Money
from chassis.sets import insert_set, rows_as, with_rows
from gateway_svc.answers import answer_text
from gateway_svc.bill_store import settle_bills
from gateway_svc.code_store import retire_codes
from gateway_svc.law import Book
from gateway_svc.payment import (
    BillState,
    Channel,
    Decision,
    Notice,
    PaymentState,
    Settlement,
)
from gateway_svc.rows import (
    Overtaken,
    amount_columns,
    bill_from,
    count_events,
    hold_obligations_of,
    is_concerned,
    known_notice_from,
    money_from,
    obligation_from,
)
from gateway_svc.tables import applications, bill_numbers, bills, notices, payments

_Content = tuple[str, str, int, str, Money]
_CONTENT = (
    *("id", "bank_code", "natural_key", "bill_id", "policy_number"),
    *("amount_hundredths", "currency"),
)
_KNOWN = (*_CONTENT[1:], "answer")


async def load_book(*, connection: AsyncConnection, notices: Sequence[Notice]) -> Book:
    """Return all that deciding `notices` needs, their obligations locked."""
    claimed = sorted({notice.bill_id for notice in notices})
    dialect = connection.dialect.name
    locked = await hold_obligations_of(connection=connection, bill_ids=claimed)
    # After the lock, in a statement of its own: it sees what the lock's last holder committed.
    rows = (
        await connection.execute(
            _bills_of(dialect), {"claimed": claimed, "locked": [row.id for row in locked]}
        )
    ).all()
    paid = {row.obligation_id for row in rows if row.paid is not None}
    numbers: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        if row.number is not None:
            numbers[row.id].add(row.number)
    book = Book(
        obligations={row.id: obligation_from(row, paid=row.id in paid) for row in locked},
        bills={row.id: bill_from(row, numbers=frozenset(numbers[row.id])) for row in rows},
    )
    await _load_known(connection=connection, book=book, sought=notices)
    return book


async def _load_known(*, connection: AsyncConnection, book: Book, sought: Sequence[Notice]) -> None:
    dialect = connection.dialect.name
    keys = rows_as(name="keys", rows=sorted({notice.key for notice in sought}), dialect=dialect)
    for row in await connection.execute(_known(dialect), keys):
        key = (row.bank_code, row.natural_key)
        if row.answer is None:
            book.taken.add(key)
        else:
            book.known.setdefault(key, []).append(known_notice_from(row))


@lru_cache
def _bills_of(dialect: str) -> Any:
    """Return the statement for the bills, a row for each number that one was asked for by."""
    # For each bill by itself: a join may be planned to read all that was ever applied, and so may
    # EXISTS.
    paid = (
        select(applications.c.obligation_id)
        .where(applications.c.obligation_id == bills.c.obligation_id)
        .scalar_subquery()
    )
    return (
        select(bills, bill_numbers.c.number, paid.label("paid"))
        .outerjoin(bill_numbers, bill_numbers.c.bill_id == bills.c.id)
        .where(is_concerned(bills_named="claimed", obligations_named="locked", dialect=dialect))
    )


@lru_cache
def _known(dialect: str) -> Any:
    """Return the statement for notices of the bill channel, and payments of the other one."""
    noticed = with_rows(
        wanted=select(*(notices.c[name] for name in _KNOWN)).where(
            notices.c.channel == Channel.BILL
        ),
        columns=(notices.c.bank_code, notices.c.natural_key),
        name="keys",
        dialect=dialect,
    )
    taken = with_rows(
        wanted=select(
            payments.c.bank_code,
            payments.c.transaction_id,
            *(cast(null(), notices.c[name].type).label(name) for name in _KNOWN[2:]),
        ).where(payments.c.channel == Channel.KHQR),
        columns=(payments.c.bank_code, payments.c.transaction_id),
        name="keys",
        dialect=dialect,
    )
    return union_all(noticed, taken)


async def record_decisions(
    *,
    connection: AsyncConnection,
    decisions: Sequence[Decision],
    at: datetime,
    events_per_settlement: int,
) -> None:
    """Record the notices of `decisions` and all that they settle.

    :raises Overtaken: a notice, payment or application of another writer landed first, or a
        bill is no longer open; the caller's transaction must be rolled back.
    """
    if not decisions:
        return
    notice_ids = await _insert_notices(connection, decisions, at)
    settled = [
        (decision, decision.settlement)
        for decision in sorted(decisions, key=lambda one: one.notice.key)
        if decision.settlement is not None
    ]
    if not settled:
        return
    payment_ids = await _insert_payments(connection, settled, notice_ids, at)
    await _insert_applications(connection, settled, notice_ids, payment_ids, at)
    await settle_bills(
        connection=connection,
        paid=[one.bill for _, one in settled if one.bill.state is BillState.OPEN],
        closed=[bill for _, one in settled for bill in one.closed],
        at=at,
    )
    await retire_codes(
        connection=connection,
        obligation_ids=[one.obligation.obligation_id for _, one in settled],
        paid_bill_ids=[one.bill.bill_id for _, one in settled],
        through=Channel.BILL,
        at=at,
    )
    await count_events(
        connection=connection,
        obligation_ids=[one.obligation.obligation_id for _, one in settled],
        more=events_per_settlement,
    )


async def _insert_notices(
    connection: AsyncConnection, decisions: Sequence[Decision], at: datetime
) -> dict[_Content, int]:
    # In the order of the natural keys, so that two writers never wait for each other.
    ordered = sorted(decisions, key=lambda one: (one.notice.key, one.contradicts))
    landed = await insert_set(
        connection=connection,
        table=notices,
        rows=[_notice_columns(decision, at) for decision in ordered],
        returning=_CONTENT,
    )
    _all_landed(landed, ordered)
    return {
        (row.bank_code, row.natural_key, row.bill_id, row.policy_number, money_from(row)): row.id
        for row in landed
    }


async def _insert_payments(
    connection: AsyncConnection,
    settled: Sequence[tuple[Decision, Settlement]],
    notice_ids: dict[_Content, int],
    at: datetime,
) -> dict[int, int]:
    landed = await insert_set(
        connection=connection,
        table=payments,
        rows=[
            {
                "bank_code": decision.notice.bank_code,
                "transaction_id": decision.notice.transaction_id,
                "channel": Channel.BILL,
                "notice_id": notice_ids[_content(decision.notice)],
                "bill_id": settlement.bill.bill_id,
                "obligation_id": settlement.obligation.obligation_id,
                **amount_columns(decision.notice.money),
                "paid_at": decision.notice.paid_at,
                "recorded_at": at,
                "assurance": "BANK_NOTICE",
                "state": PaymentState.APPLIED,
                "state_at": at,
                "state_cause": "late bill notice" if settlement.late else "bill notice",
            }
            for decision, settlement in settled
        ],
        returning=("id", "notice_id"),
    )
    _all_landed(landed, settled)
    return {row.notice_id: row.id for row in landed}


async def _insert_applications(
    connection: AsyncConnection,
    settled: Sequence[tuple[Decision, Settlement]],
    notice_ids: dict[_Content, int],
    payment_ids: dict[int, int],
    at: datetime,
) -> None:
    landed = await insert_set(
        connection=connection,
        table=applications,
        rows=[
            {
                "obligation_id": settlement.obligation.obligation_id,
                "payment_id": payment_ids[notice_ids[_content(decision.notice)]],
                "applied_at": at,
            }
            for decision, settlement in settled
        ],
        returning=("obligation_id",),
    )
    _all_landed(landed, settled)


def _notice_columns(decision: Decision, at: datetime) -> dict[str, Any]:
    notice = decision.notice
    return {
        "bank_code": notice.bank_code,
        "channel": Channel.BILL,
        "natural_key": notice.transaction_id,
        "contradicts": decision.contradicts,
        "bill_id": notice.bill_id,
        "policy_number": notice.policy_number,
        **amount_columns(notice.money),
        "payer": notice.payer,
        "paid_at": notice.paid_at,
        "received_at": notice.received_at,
        "body_digest": notice.body_digest,
        "subject": notice.subject,
        "request_id": notice.request_id,
        "answer": answer_text(decision.answer),
        "hold": decision.hold,
        "flags": " ".join(decision.flags),
        "state": decision.state,
        "state_at": at,
        "state_cause": decision.hold or "decided",
    }


def _content(notice: Notice) -> _Content:
    return (
        notice.bank_code,
        notice.transaction_id,
        notice.bill_id,
        notice.policy_number,
        notice.money,
    )


def _all_landed(landed: Sequence[Any], meant: Sequence[Any]) -> None:
    if len(landed) != len(meant):
        raise Overtaken
