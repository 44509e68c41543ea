"""The database's side of bills: what a payment does to them, and how one stands."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Update, bindparam, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.sets import among
from gateway_svc.payment import Bill, BillStanding, BillState, PaymentState
from gateway_svc.rows import Overtaken, bill_from, obligation_from
from gateway_svc.tables import bills, obligations, payments


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """The bills that are open no longer once their obligations are paid."""

    obligation_ids: Sequence[int]
    paid: Sequence[Bill]  # themselves
    closed: Sequence[Bill]  # through others

    def check(self, moved: Iterable[int]) -> None:
        """Compare with what was open when they were moved.

        :raises Overtaken: one was open no longer, or one was that was not seen; the caller's
            transaction must be rolled back.
        """
        if {bill.bill_id for bill in (*self.paid, *self.closed)} != set(moved):
            raise Overtaken


async def settle_bills(*, connection: AsyncConnection, leaving: Leaving, at: datetime) -> None:
    """Move the open bills of paid obligations to PAID or CLOSED, all of them or none.

    :raises Overtaken: as `Leaving.check`.
    """
    statement, given = settling(leaving=leaving, at=at, dialect=connection.dialect.name)
    leaving.check((await connection.execute(statement, given)).scalars())


def settling(*, leaving: Leaving, at: datetime, dialect: str) -> tuple[Update, dict[str, Any]]:
    """Return the statement of `settle_bills`, which returns what it moved, and its parameters."""
    given = {
        "settled_of": list(leaving.obligation_ids),
        "settled_paid": [bill.bill_id for bill in leaving.paid],
        "settled_at": at,
    }
    return _settling(dialect), given


@lru_cache
def _settling(dialect: str) -> Update:
    is_paid = among(column=bills.c.id, name="settled_paid", dialect=dialect)
    moved = (
        update(bills)
        .where(
            among(column=bills.c.obligation_id, name="settled_of", dialect=dialect),
            bills.c.state == BillState.OPEN,
        )
        .values(
            state=case((is_paid, BillState.PAID.value), else_=BillState.CLOSED.value),
            state_at=bindparam("settled_at"),
            state_cause=case(
                (is_paid, "payment applied"), else_="obligation paid through another bill"
            ),
        )
    )
    return moved.returning(bills.c.id)


async def find_standing(
    *, connection: AsyncConnection, bank_code: str, bill_id: int
) -> BillStanding | None:
    """Return how the bill stands at this bank, or None where there is no such bill."""
    bill_row = (
        await connection.execute(
            select(bills).where(bills.c.id == bill_id, bills.c.bank_code == bank_code)
        )
    ).one_or_none()
    if bill_row is None:
        return None
    obligation_row = (
        await connection.execute(
            select(obligations).where(obligations.c.id == bill_row.obligation_id)
        )
    ).one()
    paying = (
        await connection.execute(
            select(payments.c.transaction_id).where(
                payments.c.bill_id == bill_id, payments.c.state == PaymentState.APPLIED
            )
        )
    ).scalar_one_or_none()
    return BillStanding(
        bill=bill_from(bill_row),
        obligation=obligation_from(obligation_row, paid=paying is not None),
        transaction_id=paying,
    )
