"""All that deciding a batch of notices needs, read table by table, as SQLite wants it.

Its one writer has the whole database: there is nothing to lock.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.sets import rows_as
from gateway_svc.known_notices import known_among, remember
from gateway_svc.law import Book
from gateway_svc.payment import Notice
from gateway_svc.rows import bill_from, is_concerned, locking_of, obligation_from
from gateway_svc.tables import applications, bill_numbers, bills


async def load_by_table(*, connection: AsyncConnection, notices: Sequence[Notice]) -> Book:
    """Return all that deciding `notices` needs."""
    claimed = sorted({notice.bill_id for notice in notices})
    dialect = connection.dialect.name
    locked = (await connection.execute(locking_of(dialect), {"ids": claimed})).all()
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
    keys = rows_as(name="keys", rows=sorted({notice.key for notice in notices}), dialect=dialect)
    for row in await connection.execute(known_among(dialect), keys):
        remember(book=book, row=row)
    return book


@lru_cache
def _bills_of(dialect: str) -> Any:
    """Return the statement for the bills, a row for each number that one was asked for by."""
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
