"""All that deciding a batch of notices needs, locked and read by PostgreSQL in one statement.

One statement sees the database as it was when it began, so what the last holder of a lock changed
may be missing, but for the locked rows themselves. Recording finds it out: a notice, a payment or
an application that landed, a bill that is open no longer, and one that is and was not seen, make
the batch `Overtaken`, and all of it is done again. What else may be missed changes no money, and
happened after the bank had sent its notice.
"""

from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from sqlalchemy import false, func, literal_column, or_, select

from chassis.direct import Direct, Row
from chassis.money import Currency
from chassis.sets import among, rows_as
from gateway_svc.known_notices import KNOWN, known_among, remember
from gateway_svc.law import Book
from gateway_svc.payment import BillState, Notice, Obligation
from gateway_svc.rows import bill_from, locking_of
from gateway_svc.tables import applications, bill_numbers, bills

_DIALECT = "postgresql"
_OWED = ("policy_number", "due_on", "event_sequence")  # what an obligation has and a bill has not


async def load_at_once(*, direct: Direct, notices: Sequence[Notice]) -> Book:
    """Return all that deciding `notices` needs, their obligations locked."""
    given = rows_as(name="keys", rows=sorted({notice.key for notice in notices}), dialect=_DIALECT)
    given["ids"] = sorted({notice.bill_id for notice in notices})
    rows = await direct.fetch(statement=_loading(), given=given)
    billed = [row for row in rows if row.id is not None]
    book = Book(
        obligations={row.obligation_id: _obligation_from(row) for row in billed},
        bills={row.id: bill_from(row, numbers=frozenset(row.numbers)) for row in billed},
    )
    for row in rows:
        if row.id is None:
            known = {name: getattr(row, f"known_{name}") for name in KNOWN}
            remember(book=book, row=SimpleNamespace(**known))
    return book


def _obligation_from(row: Row) -> Obligation:
    """Return what the bill of `row` bills."""
    return Obligation(
        obligation_id=row.obligation_id,
        policy_number=row.policy_number,
        due_on=row.due_on,
        currency=Currency(row.currency),  # a bill's is that of what it bills: a foreign key
        event_sequence=row.event_sequence,
        paid=row.paid is not None,
    )


@lru_cache
def _loading() -> Any:
    """Return the statement: a row for each bill, and one for each notice or number known."""
    locked = locking_of(_DIALECT).cte("locked")
    numbers = select(bill_numbers.c.number).where(bill_numbers.c.bill_id == bills.c.id)
    # Each obligation by itself, which OFFSET keeps the planner from turning into a join that may
    # read all bills, as in `chassis.sets.with_rows`.
    bill = (
        select(bills, func.array(numbers.scalar_subquery()).label("numbers"))
        .where(
            bills.c.obligation_id == locked.c.id,
            or_(
                among(column=bills.c.id, name="ids", dialect=_DIALECT),
                bills.c.state == BillState.OPEN,
            ),
        )
        .offset(literal_column("0"))
        .lateral("bill")
    )
    paid = (
        select(applications.c.obligation_id)
        .where(applications.c.obligation_id == locked.c.id)
        .scalar_subquery()
        .label("paid")
    )
    owed = (
        select(bill, *(locked.c[name] for name in _OWED), paid)
        .join_from(locked, bill, literal_column("true"))
        .subquery("owed")
    )
    known = known_among(_DIALECT).subquery("known")
    return select(owed, *(known.c[name].label(f"known_{name}") for name in KNOWN)).select_from(
        owed.join(known, false(), full=True)
    )
