"""The database's side of bills: what a payment does to them, and how one stands."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Update, bindparam, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.sets import among
from gateway_svc.payment import Bill, BillStanding, BillState, PaymentState
from gateway_svc.rows import Overtaken, bill_from, obligation_from
from gateway_svc.tables import bills, obligations, payments


async def settle_bills(
    *, connection: AsyncConnection, paid: Sequence[Bill], closed: Sequence[Bill], at: datetime
) -> None:
    """Move open bills to PAID or CLOSED, all of them or none.

    :raises Overtaken: one is no longer open; the caller's transaction must be rolled back.
    """
    if not paid and not closed:
        return
    statement, given = settling(paid=paid, closed=closed, at=at, dialect=connection.dialect.name)
    changed = (await connection.execute(statement, given)).all()
    if len(changed) != len(paid) + len(closed):
        raise Overtaken


def settling(
    *, paid: Sequence[Bill], closed: Sequence[Bill], at: datetime, dialect: str
) -> tuple[Update, dict[str, Any]]:
    """Return the statement that moves those bills, of which each must be open, and its parameters.

    It returns the numbers of those that moved.
    """
    closing = [bill.bill_id for bill in closed]
    leaving = [*(bill.bill_id for bill in paid), *closing]
    return _settling(dialect), {"leaving": leaving, "closing": closing, "left_at": at}


@lru_cache
def _settling(dialect: str) -> Update:
    is_closing = among(column=bills.c.id, name="closing", dialect=dialect)
    moved = (
        update(bills)
        .where(
            among(column=bills.c.id, name="leaving", dialect=dialect),
            bills.c.state == BillState.OPEN,
        )
        .values(
            state=case((is_closing, BillState.CLOSED.value), else_=BillState.PAID.value),
            state_at=bindparam("left_at"),
            state_cause=case(
                (is_closing, "obligation paid through another bill"), else_="payment applied"
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
