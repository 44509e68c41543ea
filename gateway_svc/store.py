"""The database's side of a confirmation, first half: what a batch is about, its locks held."""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import cast, null, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.sets import rows_as, with_rows
from gateway_svc.law import Book
from gateway_svc.payment import Channel, Notice
from gateway_svc.rows import (
    bill_from,
    hold_obligations_of,
    is_concerned,
    known_notice_from,
    obligation_from,
)
from gateway_svc.tables import applications, bill_numbers, bills, notices, payments

_KNOWN = (
    *("bank_code", "natural_key", "bill_id", "policy_number"),
    *("amount_hundredths", "currency", "answer"),
)


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
