"""How the outbox stands: what waits, what is parked, what people asked of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.replays import OPEN
from gateway_svc.operations.selects import select_events
from gateway_svc.tables import outbox, replays

_MOST = 100_000  # beyond it a depth says "far too many"; counting on would cost what it warns of
_MOST_PARKED = 100
_ORDERS = 20
_LATELY = 1000  # rows among which the last published one is looked for


@dataclass(frozen=True, kw_only=True)
class OutboxDepth:
    """How much waits to be published, and since when."""

    unpublished: int
    oldest_at: datetime | None
    parked: int


@dataclass(frozen=True, kw_only=True)
class OutboxStanding:
    """The outbox, its parked keys and its orders."""

    depth: OutboxDepth
    last_published_at: datetime | None
    parked: Sequence[Any]  # the first event of each key
    waiting: dict[str, int]  # by key
    orders: Sequence[Any]


async def read_depth(*, connection: AsyncConnection) -> OutboxDepth:
    """Return how much waits, over the partial indexes."""
    unpublished = outbox.c.published_at.is_(None)
    some = select(outbox.c.id).where(unpublished).limit(_MOST).subquery()
    depth = await connection.scalar(select(func.count()).select_from(some)) or 0
    oldest_at = await connection.scalar(
        select(outbox.c.created_at).where(unpublished).order_by(outbox.c.id).limit(1)
    )
    parked = await connection.scalar(
        select(func.count()).where(unpublished, outbox.c.parked_at.is_not(None))
    )
    return OutboxDepth(unpublished=depth, oldest_at=oldest_at, parked=parked or 0)


async def read_outbox(*, connection: AsyncConnection) -> OutboxStanding:
    """Return how the outbox stands."""
    parked = (
        await connection.execute(
            select_events()
            .where(outbox.c.published_at.is_(None), outbox.c.parked_at.is_not(None))
            .order_by(outbox.c.parked_at, outbox.c.id)
            .limit(_MOST_PARKED)
        )
    ).all()
    first = {row.event_key: row for row in reversed(parked)}
    firsts = sorted(first.values(), key=lambda row: (row.parked_at, row.id))
    return OutboxStanding(
        depth=await read_depth(connection=connection),
        last_published_at=await _last_published_at(connection),
        parked=firsts,
        waiting=await _waiting(connection, list(first)),
        orders=await _orders(connection),
    )


async def _last_published_at(connection: AsyncConnection) -> datetime | None:
    """Return when an event was last published: among the newest, else just before what waits."""
    lately = select(outbox.c.published_at).order_by(outbox.c.id.desc()).limit(_LATELY).subquery()
    found: datetime | None = await connection.scalar(select(func.max(lately.c.published_at)))
    if found is None:
        oldest = select(func.min(outbox.c.id)).where(outbox.c.published_at.is_(None))
        found = await connection.scalar(
            select(outbox.c.published_at)
            .where(outbox.c.id < oldest.scalar_subquery())
            .order_by(outbox.c.id.desc())
            .limit(1)
        )
    return found


async def _waiting(connection: AsyncConnection, keys: Sequence[str]) -> dict[str, int]:
    rows = await connection.execute(
        select(outbox.c.event_key, func.count())
        .where(outbox.c.published_at.is_(None), outbox.c.event_key.in_(keys))
        .group_by(outbox.c.event_key)
    )
    return {row[0]: row[1] for row in rows}


async def _orders(connection: AsyncConnection) -> Sequence[Any]:
    again = replays.replays
    outstanding = (
        select(func.count())
        .where(again.c.request_id == replays.requests.c.id, text(OPEN))
        .scalar_subquery()
    )
    rows = await connection.execute(
        select(replays.requests, outstanding.label("outstanding"))
        .order_by(replays.requests.c.id.desc())
        .limit(_ORDERS)
    )
    return rows.all()
