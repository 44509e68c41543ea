"""What the gateway's database holds when all is over, read past the proxies."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg

_HUNDRED = 100

_PAYMENTS = """
SELECT p.transaction_id, p.channel, p.bill_id, p.obligation_id, p.amount_hundredths, p.currency,
       p.state, b.amount_hundredths AS billed_hundredths, b.currency AS billed_currency,
       o.policy_number, a.obligation_id AS applied_to
FROM payments p
LEFT JOIN bills b ON b.id = p.bill_id
LEFT JOIN applications a ON a.payment_id = p.id
LEFT JOIN obligations o ON o.id = a.obligation_id
"""
_OUTBOX = """
SELECT event_id, topic, event_key, value, published_at IS NOT NULL AS published,
       parked_at IS NOT NULL AS parked
FROM outbox ORDER BY id
"""
_JOURNAL = "SELECT entity, entity_id, from_state, to_state FROM journal ORDER BY id"


@dataclass(frozen=True, kw_only=True)
class PaymentRow:
    """A movement of money as the gateway recorded it."""

    transaction_id: str
    channel: str
    bill_id: int | None
    amount: Decimal
    currency: str
    state: str
    billed: tuple[Decimal, str] | None
    policy: str | None
    obligation_id: int | None
    applied_to: int | None


@dataclass(frozen=True, kw_only=True)
class OutboxRow:
    """An event as it was committed."""

    event_id: str
    topic: str
    key: str
    value: bytes
    published: bool
    parked: bool


@dataclass(frozen=True, kw_only=True)
class Move:
    """An entry of the journal."""

    entity: str
    entity_id: int
    from_state: str | None
    to_state: str


@dataclass(frozen=True, kw_only=True)
class Books:
    """The whole of it."""

    payments: list[PaymentRow]
    outbox: list[OutboxRow]
    journal: list[Move]


async def read_books(*, dsn: str) -> Books:
    """Return what the database holds, from one moment."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return Books(
                payments=[_payment(row) for row in await connection.fetch(_PAYMENTS)],
                outbox=[
                    OutboxRow(
                        event_id=row["event_id"],
                        topic=row["topic"],
                        key=row["event_key"],
                        value=row["value"],
                        published=row["published"],
                        parked=row["parked"],
                    )
                    for row in await connection.fetch(_OUTBOX)
                ],
                journal=[Move(**dict(row)) for row in await connection.fetch(_JOURNAL)],
            )
    finally:
        await connection.close()


async def unpublished(*, dsn: str) -> int:
    """Return how many events wait for the relay."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        found: int = await connection.fetchval(
            "SELECT count(*) FROM outbox WHERE published_at IS NULL"
        )
    finally:
        await connection.close()
    return found


def _payment(row: Any) -> PaymentRow:
    billed = row["billed_hundredths"]
    return PaymentRow(
        transaction_id=row["transaction_id"],
        channel=row["channel"],
        bill_id=row["bill_id"],
        amount=_amount(row["amount_hundredths"]),
        currency=row["currency"],
        state=row["state"],
        billed=None if billed is None else (_amount(billed), row["billed_currency"]),
        policy=row["policy_number"],
        obligation_id=row["obligation_id"],
        applied_to=row["applied_to"],
    )


def _amount(hundredths: int) -> Decimal:
    return Decimal(hundredths) / _HUNDRED
