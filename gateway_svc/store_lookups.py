"""The database's side of an inquiry: turn look-ups into bills, a set in one transaction."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.sets import among, insert_set, rows_as, with_rows
from gateway_svc.code_store import supersede_codes
from gateway_svc.law import Billing, decide_billing
from gateway_svc.payment import Bill, BillState, Lookup, Obligation
from gateway_svc.rows import Overtaken, amount_columns, bill_from, lock_obligations
from gateway_svc.tables import bill_numbers, bills, obligations

_Key = tuple[str, date, str]


async def record_lookups(
    *, connection: AsyncConnection, lookups: Sequence[Lookup], at: datetime
) -> list[Bill | None]:
    """Return the bill that answers each look-up, or None where its obligation is paid.

    :raises Overtaken: another writer changed an open bill; nothing may be committed.
    """
    ids = await _obligation_ids(connection, sorted({_key(one) for one in lookups}), at)
    locked = await lock_obligations(connection=connection, ids=ids.values())
    answers: dict[int, Bill | None] = {}
    for places in _rounds(lookups):
        answers |= await _record_round(
            connection,
            {place: (lookups[place], locked[ids[_key(lookups[place])]]) for place in places},
            at,
        )
    return [answers[place] for place in range(len(lookups))]


def _rounds(lookups: Sequence[Lookup]) -> Iterator[list[int]]:
    """Yield the places of `lookups` so that one bank asks about one obligation once a round.

    Copies in one batch thus see the bill that the one before them made.
    """
    waiting = list(range(len(lookups)))
    while waiting:
        taken: dict[tuple[str, _Key], int] = {}
        for place in waiting:
            taken.setdefault((lookups[place].bank_code, _key(lookups[place])), place)
        yield list(taken.values())
        waiting = [place for place in waiting if place not in taken.values()]


async def _obligation_ids(
    connection: AsyncConnection, keys: Sequence[_Key], at: datetime
) -> dict[_Key, int]:
    found = await _find_obligations(connection, keys)
    missing = [key for key in keys if key not in found]
    if missing:
        await insert_set(
            connection=connection,
            table=obligations,
            rows=[
                {
                    "policy_number": policy_number,
                    "due_on": due_on,
                    "currency": currency,
                    "created_at": at,
                }
                for policy_number, due_on, currency in missing
            ],
        )
        found |= await _find_obligations(connection, missing)
    return found


async def _find_obligations(connection: AsyncConnection, keys: Sequence[_Key]) -> dict[_Key, int]:
    dialect = connection.dialect.name
    rows = await connection.execute(
        _sought(dialect), rows_as(name="keys", rows=keys, dialect=dialect)
    )
    return {(row.policy_number, row.due_on, row.currency): row.id for row in rows}


@lru_cache
def _sought(dialect: str) -> Any:
    columns = (obligations.c.policy_number, obligations.c.due_on, obligations.c.currency)
    return with_rows(wanted=select(obligations), columns=columns, name="keys", dialect=dialect)


async def _record_round(
    connection: AsyncConnection,
    asked: dict[int, tuple[Lookup, Obligation]],
    at: datetime,
) -> dict[int, Bill | None]:
    unpaid = {place: pair for place, pair in asked.items() if not pair[1].paid}
    if not unpaid:
        return dict.fromkeys(asked)
    open_bills = await _open_bills(connection, [one.obligation_id for _, one in unpaid.values()])
    billings = {
        place: decide_billing(
            open_bill=open_bills.get((lookup.bank_code, obligation.obligation_id)),
            money=lookup.premium.money,
            looked_up_at=lookup.looked_up_at,
        )
        for place, (lookup, obligation) in unpaid.items()
    }
    await _close_replaced(connection, list(billings.values()), at)
    await _affirm(connection, {place: (billings[place], unpaid[place][0]) for place in unpaid})
    made = await _make_bills(
        connection,
        {place: unpaid[place] for place in unpaid if billings[place].bill is None},
        at,
    )
    answers = {place: made.get(place) or billings[place].bill for place in unpaid}
    await _remember_numbers(connection, [(answers[place], unpaid[place][0]) for place in unpaid])
    return dict.fromkeys(asked) | answers


async def _open_bills(
    connection: AsyncConnection, obligation_ids: Sequence[int]
) -> dict[tuple[str, int], Bill]:
    rows = await connection.execute(
        _open_among(connection.dialect.name), {"ids": list(obligation_ids)}
    )
    return {(row.bank_code, row.obligation_id): bill_from(row) for row in rows}


@lru_cache
def _open_among(dialect: str) -> Any:
    return select(bills).where(
        among(column=bills.c.obligation_id, name="ids", dialect=dialect),
        bills.c.state == BillState.OPEN,
    )


async def _close_replaced(
    connection: AsyncConnection, billings: Sequence[Billing], at: datetime
) -> None:
    replaced = [billing.closes.bill_id for billing in billings if billing.closes is not None]
    if not replaced:
        return
    closed = (
        await connection.execute(
            update(bills)
            .where(bills.c.id.in_(replaced), bills.c.state == BillState.OPEN)
            .values(state=BillState.CLOSED, state_at=at, state_cause="premium changed")
            .returning(bills.c.id)
        )
    ).all()
    if len(closed) != len(replaced):
        raise Overtaken
    await supersede_codes(connection=connection, bill_ids=replaced, at=at)


async def _affirm(connection: AsyncConnection, decided: dict[int, tuple[Billing, Lookup]]) -> None:
    """Keep when an unchanged amount was last looked up: an older look-up must not undo it."""
    for billing, lookup in decided.values():
        if billing.affirms and billing.bill is not None:
            await connection.execute(
                update(bills)
                .where(bills.c.id == billing.bill.bill_id)
                .values(looked_up_at=lookup.looked_up_at)
            )


async def _make_bills(
    connection: AsyncConnection,
    wanted: dict[int, tuple[Lookup, Obligation]],
    at: datetime,
) -> dict[int, Bill]:
    if not wanted:
        return {}
    rows = await insert_set(
        connection=connection,
        table=bills,
        rows=[
            {
                "bank_code": lookup.bank_code,
                "obligation_id": obligation.obligation_id,
                **amount_columns(lookup.premium.money),
                "payer": lookup.premium.payer,
                "looked_up_at": lookup.looked_up_at,
                "created_at": at,
                "state": BillState.OPEN,
                "state_at": at,
                "state_cause": "inquiry",
            }
            for lookup, obligation in wanted.values()
        ],
        returning=tuple(column.name for column in bills.c),
    )
    if len(rows) != len(wanted):
        raise Overtaken
    made = {(row.bank_code, row.obligation_id): bill_from(row) for row in rows}
    return {
        place: made[lookup.bank_code, obligation.obligation_id]
        for place, (lookup, obligation) in wanted.items()
    }


async def _remember_numbers(
    connection: AsyncConnection, answered: Sequence[tuple[Bill | None, Lookup]]
) -> None:
    asked = sorted(
        {
            (bill.bill_id, number)
            for bill, lookup in answered
            if bill is not None
            for number in (lookup.number, lookup.premium.policy_number)
        }
    )
    await insert_set(
        connection=connection,
        table=bill_numbers,
        rows=[{"bill_id": bill_id, "number": number} for bill_id, number in asked],
    )


def _key(lookup: Lookup) -> _Key:
    premium = lookup.premium
    return (premium.policy_number, premium.due_on, premium.money.currency.value)
