"""Everything on record about one bill: so many statements, however much there is of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway_svc.khqr_tables import codes, khqr_notices, verifications
from gateway_svc.operations.event_json import event_member
from gateway_svc.operations.exception import Exceptional, Kind
from gateway_svc.operations.exception_reader import exceptions_among
from gateway_svc.operations.selects import (
    payments_about,
    select_bills,
    select_codes,
    select_events,
    select_khqr_notices,
    select_notices,
    select_payments,
    select_verifications,
)
from gateway_svc.tables import bill_numbers, bills, journal, notices, outbox, payments

_MOST = 200  # of each thing: one bill has a handful, a hostile bank might make more
_MOST_STEPS = 2000


@dataclass(frozen=True, kw_only=True)
class CaseRecord:
    """The rows of one bill; `bill` is None where there is none."""

    bill: Any | None
    numbers: Sequence[str]
    notices: Sequence[Any]
    khqr_notices: Sequence[Any]
    verifications: Sequence[Any]
    payments: Sequence[Any]
    codes: Sequence[Any]
    events: Sequence[Any]
    exceptions: Sequence[Exceptional]
    journal: Sequence[Any]
    other_bill_ids: Sequence[int]


async def load_case_record(*, connection: AsyncConnection, bill_id: int) -> CaseRecord | None:
    """Return what is on record about a bill, None where nobody ever named it."""
    bill = (await connection.execute(select_bills().where(bills.c.id == bill_id))).one_or_none()
    claims = await _rows(
        connection, select_notices().where(notices.c.bill_id == bill_id), notices.c.id
    )
    khqr_claims = await _rows(
        connection,
        select_khqr_notices().where(khqr_notices.c.bill_id == bill_id),
        khqr_notices.c.id,
    )
    if bill is None and not claims and not khqr_claims:
        return None
    led_to = [row.led_to for row in claims if row.led_to is not None]
    led_to += [row.payment_id for row in khqr_claims if row.payment_id is not None]
    led_to += (await connection.execute(payments_about([bill_id]))).scalars()
    money = await _rows(
        connection, select_payments().where(payments.c.id.in_(sorted(set(led_to)))), payments.c.id
    )
    drawn = await _rows(connection, select_codes().where(codes.c.bill_id == bill_id), codes.c.id)
    exceptions = await exceptions_among(
        connection=connection,
        ids={
            Kind.NOTICE: [row.id for row in claims],
            Kind.KHQR: [row.id for row in khqr_claims],
            Kind.PAYMENT: [row.id for row in money],
        },
    )
    numbers = await connection.execute(
        select(bill_numbers.c.number).where(bill_numbers.c.bill_id == bill_id)
    )
    entities = {
        "bills": [bill_id],
        "notices": [row.id for row in claims],
        "khqr_notices": [row.id for row in khqr_claims],
        "payments": [row.id for row in money],
        "codes": [row.id for row in drawn],
        "proposals": [one.proposal_id for each in exceptions for one in each.proposals],
    }
    return CaseRecord(
        bill=bill,
        numbers=list(numbers.scalars()),
        notices=claims,
        khqr_notices=khqr_claims,
        verifications=await _rows(
            connection,
            select_verifications().where(verifications.c.bill_id == bill_id),
            verifications.c.id,
        ),
        payments=money,
        codes=drawn,
        events=await _events(connection, bill, bill_id),
        exceptions=exceptions,
        journal=await _journal(connection, entities),
        other_bill_ids=await _others(connection, bill),
    )


async def _rows(connection: AsyncConnection, query: Any, order: Any) -> Sequence[Any]:
    return (await connection.execute(query.order_by(order).limit(_MOST))).all()


async def _events(connection: AsyncConnection, bill: Any | None, bill_id: int) -> Sequence[Any]:
    """Return the events that tell of the bill: they are among those of its policy."""
    if bill is None:
        return ()
    tells_of = event_member(name="billId", dialect=connection.dialect.name)
    query = select_events().where(
        outbox.c.event_key == bill.policy_number, tells_of == str(bill_id)
    )
    return await _rows(connection, query, outbox.c.id)


async def _journal(connection: AsyncConnection, entities: dict[str, list[int]]) -> Sequence[Any]:
    pairs = [(entity, number) for entity, numbers in entities.items() for number in numbers]
    rows = await connection.execute(
        select(journal)
        .where(tuple_(journal.c.entity, journal.c.entity_id).in_(pairs))
        .order_by(journal.c.id)
        .limit(_MOST_STEPS)
    )
    return rows.all()


async def _others(connection: AsyncConnection, bill: Any | None) -> Sequence[int]:
    if bill is None:
        return ()
    rows = await connection.execute(
        select(bills.c.id)
        .where(bills.c.obligation_id == bill.obligation_id, bills.c.id != bill.id)
        .order_by(bills.c.id)
        .limit(_MOST)
    )
    return list(rows.scalars())
