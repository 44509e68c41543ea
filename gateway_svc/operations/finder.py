"""Finds the bills that a number or an id leads to."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway_svc.khqr_tables import khqr_notices
from gateway_svc.operations.selects import bills_of_policy, select_payments
from gateway_svc.payment import Channel
from gateway_svc.tables import bill_numbers, bills, notices, outbox, payments
from payments.gateway.v1 import operations_service_pb2 as pb

MOST = 100
_LOOKED_AT = MOST + 1  # one more, to know that there are more
_LARGEST_BILL = 10**18


async def find_bills(
    *, connection: AsyncConnection, text: str, bank_codes: Sequence[str]
) -> dict[int, "pb.FoundAs.ValueType"]:
    """Return the bills that `text` leads to, each with what the text is of it.

    The newest bills come first; of more than 101 the rest is left out.
    """
    looks = (
        (pb.FOUND_AS_BILL, _bills_named),
        (pb.FOUND_AS_POLICY, bills_of_number),
        (
            pb.FOUND_AS_TRANSACTION,
            lambda **named: bills_of_transaction(bank_codes=bank_codes, **named),
        ),
        (pb.FOUND_AS_REQUEST, bills_of_request),
        (pb.FOUND_AS_EVENT, bills_of_event),
    )
    found: dict[int, pb.FoundAs.ValueType] = {}
    for found_as, look in looks:
        for bill_id in sorted(await look(connection=connection, text=text), reverse=True):
            found.setdefault(bill_id, found_as)
    return dict(list(found.items())[:_LOOKED_AT])


async def bills_of_number(*, connection: AsyncConnection, text: str) -> set[int]:
    """Return the bills of a policy, those asked for by a number, and claims of it that are held."""
    asked_for = select(bill_numbers.c.bill_id).where(bill_numbers.c.number == text)
    claimed = select(notices.c.bill_id).where(
        notices.c.state == "HELD", notices.c.policy_number == text
    )
    return await _ids(connection, bills_of_policy(text), asked_for, claimed)


async def bills_of_transaction(
    *, connection: AsyncConnection, text: str, bank_codes: Sequence[str]
) -> set[int]:
    """Return the bills that a transfer was of, was sent for, or was claimed of."""
    rows = await connection.execute(
        select_payments().where(
            payments.c.bank_code.in_(bank_codes), payments.c.transaction_id == text
        )
    )
    paid = rows.all()
    claimed = await _ids(
        connection,
        select(notices.c.bill_id).where(
            notices.c.bank_code.in_(bank_codes),
            notices.c.channel == Channel.BILL,
            notices.c.natural_key == text,
        ),
    )
    return claimed | {row.sent_for for row in paid if row.sent_for is not None}


async def bills_of_request(*, connection: AsyncConnection, text: str) -> set[int]:
    """Return the bills that one request was about.

    A decided bill notice is found by its events: its table has no index for this, which every
    confirmation would pay for.
    """
    claimed = await _ids(
        connection,
        select(khqr_notices.c.bill_id).where(khqr_notices.c.request_id == text),
        select(notices.c.bill_id).where(notices.c.state == "HELD", notices.c.request_id == text),
    )
    return claimed | await _bills_of_events(connection, outbox.c.request_id == text)


async def bills_of_event(*, connection: AsyncConnection, text: str) -> set[int]:
    """Return the bill that an event tells of."""
    return await _bills_of_events(connection, outbox.c.event_id == text)


async def _bills_named(*, connection: AsyncConnection, text: str) -> set[int]:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) < _LARGEST_BILL:
        return set()
    number = int(text)
    return await _ids(
        connection,
        select(bills.c.id).where(bills.c.id == number),
        select(notices.c.bill_id).where(notices.c.bill_id == number),
        select(khqr_notices.c.bill_id).where(khqr_notices.c.bill_id == number),
    )


async def _bills_of_events(connection: AsyncConnection, chosen: ColumnElement[bool]) -> set[int]:
    rows = await connection.execute(
        select(outbox.c.value).where(chosen).order_by(outbox.c.id.desc()).limit(_LOOKED_AT)
    )
    return {int(json.loads(row.value)["billId"]) for row in rows}


async def _ids(connection: AsyncConnection, *queries: Any) -> set[int]:
    wanted = union(*queries).subquery()
    [column] = wanted.c
    rows = await connection.execute(select(column).order_by(column.desc()).limit(_LOOKED_AT))
    return set(rows.scalars())
