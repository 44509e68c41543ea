"""The database's side of bills: what a payment does to them, and how one stands."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, select, update
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
    await _leave_open(connection, paid, BillState.PAID, "payment applied", at)
    await _leave_open(
        connection, closed, BillState.CLOSED, "obligation paid through another bill", at
    )


async def _leave_open(
    connection: AsyncConnection, leaving: Sequence[Bill], state: BillState, cause: str, at: datetime
) -> None:
    if not leaving:
        return
    ids = [bill.bill_id for bill in leaving]
    changed = (
        await connection.execute(
            _leaving(connection.dialect.name),
            {"ids": ids, "to": state, "moved_at": at, "cause": cause},
        )
    ).all()
    if len(changed) != len(ids):
        raise Overtaken


@lru_cache
def _leaving(dialect: str) -> Any:
    return (
        update(bills)
        .where(
            among(column=bills.c.id, name="ids", dialect=dialect), bills.c.state == BillState.OPEN
        )
        .values(
            state=bindparam("to"), state_at=bindparam("moved_at"), state_cause=bindparam("cause")
        )
        .returning(bills.c.id)
    )


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
