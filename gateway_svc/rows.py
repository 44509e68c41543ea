"""Rows of the tables <-> the words of a payment, and the SQL both halves of the store use."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Row,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.money import Currency, Money
from chassis.sets import among
from gateway_svc.answers import parse_answer
from gateway_svc.payment import (
    Bill,
    BillState,
    KnownNotice,
    Obligation,
)
from gateway_svc.tables import applications, bills, obligations


class Overtaken(Exception):
    """Another writer was faster: what was read no longer holds, and nothing is recorded."""


def insert_for(*, connection: AsyncConnection, table: Table) -> Any:
    """Return the INSERT of the connection's engine: the one that knows ON CONFLICT."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


async def lock_obligations(
    *, connection: AsyncConnection, ids: Iterable[int]
) -> dict[int, Obligation]:
    """Return the obligations `ids`, locked in the order of their ids, with what is paid."""
    ordered = sorted(set(ids))
    if not ordered:
        return {}
    dialect = connection.dialect.name
    rows = (await connection.execute(_locking(dialect), {"ids": ordered})).all()
    # A statement of its own, after the lock: it sees what the lock's last holder committed.
    found = {"ids": [row.id for row in rows]}
    paid = set((await connection.execute(_paid_among(dialect), found)).scalars())
    return {row.id: obligation_from(row, paid=row.id in paid) for row in rows}


@lru_cache
def _locking(dialect: str) -> Any:
    return (
        select(obligations)
        .where(among(column=obligations.c.id, name="ids", dialect=dialect))
        .order_by(obligations.c.id)
        .with_for_update()
    )


@lru_cache
def locking_of(dialect: str) -> Select[Any]:
    """Return the statement that locks the obligations of the bills `ids`, in their order."""
    concerned = select(bills.c.obligation_id).where(
        among(column=bills.c.id, name="ids", dialect=dialect)
    )
    return (
        select(obligations)
        .where(obligations.c.id.in_(concerned))
        .order_by(obligations.c.id)
        .with_for_update()
    )


@lru_cache
def _paid_among(dialect: str) -> Any:
    return select(applications.c.obligation_id).where(
        among(column=applications.c.obligation_id, name="ids", dialect=dialect)
    )


def is_concerned(*, bills_named: str, obligations_named: str, dialect: str) -> ColumnElement[bool]:
    """Return the condition of bills that are named, or open ones of obligations that are named."""
    return or_(
        among(column=bills.c.id, name=bills_named, dialect=dialect),
        and_(
            among(column=bills.c.obligation_id, name=obligations_named, dialect=dialect),
            bills.c.state == BillState.OPEN,
        ),
    )


async def count_events(
    *, connection: AsyncConnection, obligation_ids: Sequence[int], more: int
) -> None:
    """Count `more` events to each obligation's sequence."""
    statement, given = counting(
        obligation_ids=obligation_ids, more=more, dialect=connection.dialect.name
    )
    await connection.execute(statement, given)


def counting(
    *, obligation_ids: Sequence[int], more: int, dialect: str
) -> tuple[Update, dict[str, Any]]:
    """Return the statement of `count_events` and its parameters."""
    return _counting(dialect), {"counted": list(obligation_ids), "more": more}


@lru_cache
def _counting(dialect: str) -> Update:
    return (
        update(obligations)
        .where(among(column=obligations.c.id, name="counted", dialect=dialect))
        .values(event_sequence=obligations.c.event_sequence + bindparam("more", type_=Integer))
    )


def obligation_from(row: Row[Any], *, paid: bool) -> Obligation:
    """Return the obligation that `row` holds."""
    return Obligation(
        obligation_id=row.id,
        policy_number=row.policy_number,
        due_on=row.due_on,
        currency=Currency(row.currency),
        event_sequence=row.event_sequence,
        paid=paid,
    )


def bill_from(row: Row[Any], *, numbers: frozenset[str] = frozenset()) -> Bill:
    """Return the bill that `row` holds."""
    return Bill(
        bill_id=row.id,
        bank_code=row.bank_code,
        obligation_id=row.obligation_id,
        money=money_from(row),
        payer=row.payer,
        state=BillState(row.state),
        looked_up_at=row.looked_up_at,
        created_at=row.created_at,
        numbers=numbers,
    )


def known_notice_from(row: Row[Any]) -> KnownNotice:
    """Return what is known of the notice that `row` holds."""
    return KnownNotice(
        content=(row.bill_id, row.policy_number, money_from(row)), answer=parse_answer(row.answer)
    )


def money_from(row: Row[Any]) -> Money:
    """Return the amount of `row`."""
    return Money(hundredths=row.amount_hundredths, currency=Currency(row.currency))


def amount_columns(money: Money) -> dict[str, Any]:
    """Return `money` as the two columns it is stored in."""
    return {"amount_hundredths": money.hundredths, "currency": money.currency.value}
