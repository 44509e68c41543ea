"""Events of the outbox delivered once more, because a person asked for it.

A published row never changes, so a replay is a row of its own that points to it: the relay
delivers it after everything that is unpublished, with the same id and the same bytes, and
consumers that have it drop it. Within a request the events of a key go in the order of their
first delivery; an order of first deliveries cannot be broken by a second one.
Who asked, when, why and for what stands in `outbox_requests`, which only grows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.columns import COUNTED_ID, UtcDateTime
from chassis.outbox import Event, Published, event_from

OPEN = "delivered_at IS NULL AND refused_because IS NULL"
_ERROR_LENGTH = 500


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The outbox and what is asked of it."""

    outbox: Table
    requests: Table
    replays: Table


@dataclass(frozen=True, kw_only=True)
class Replay:
    """An event to be delivered once more."""

    request_id: int
    outbox_id: int
    event: Event


def replay_tables(metadata: MetaData, *, outbox: Table) -> Tables:
    """Return the tables `outbox_requests` and `outbox_replays`, added to `metadata`."""
    requests = Table(
        "outbox_requests",
        metadata,
        Column("id", COUNTED_ID, Identity(start=1), nullable=False),
        Column("kind", Text, nullable=False),
        Column("requested_at", UtcDateTime, nullable=False),
        Column("requested_by", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("selection", Text, nullable=False),
        Column("events", Integer, nullable=False),
        CheckConstraint("kind IN ('REPLAY', 'RELEASE')", name="kind"),
        CheckConstraint("reason <> ''", name="reason"),
        CheckConstraint("requested_by <> ''", name="requested_by"),
        PrimaryKeyConstraint("id"),
    )
    replays = Table(
        "outbox_replays",
        metadata,
        Column("request_id", COUNTED_ID, nullable=False),
        Column("outbox_id", COUNTED_ID, nullable=False),
        Column("delivered_at", UtcDateTime),
        Column("delivered_partition", Integer),
        Column("delivered_offset", COUNTED_ID),
        Column("refused_because", Text),
        ForeignKeyConstraint(["request_id"], ["outbox_requests.id"]),
        ForeignKeyConstraint(["outbox_id"], ["outbox.id"]),
        PrimaryKeyConstraint("request_id", "outbox_id"),
    )
    Index(
        "outbox_replays_open",
        replays.c.request_id,
        replays.c.outbox_id,
        sqlite_where=text(OPEN),
        postgresql_where=text(OPEN),
    )
    Index("outbox_replays_of_event", replays.c.outbox_id)
    return Tables(outbox=outbox, requests=requests, replays=replays)


async def claim(*, connection: AsyncConnection, tables: Tables, limit: int) -> Sequence[Replay]:
    """Return up to `limit` events to be delivered once more, in the order of requests."""
    outbox, replays = tables.outbox, tables.replays
    found = await connection.execute(
        select(replays.c.request_id.label("order_id"), replays.c.outbox_id, outbox)
        .join(outbox, outbox.c.id == replays.c.outbox_id)
        .where(replays.c.delivered_at.is_(None), replays.c.refused_because.is_(None))
        .order_by(replays.c.request_id, replays.c.outbox_id)
        .limit(limit)
    )
    return [
        Replay(
            request_id=row.order_id,
            outbox_id=row.outbox_id,
            event=event_from(row),
        )
        for row in found
    ]


async def mark_delivered(
    *,
    connection: AsyncConnection,
    tables: Tables,
    replay: Replay,
    place: Published,
    at: datetime,
) -> None:
    """Keep when and where an event went once more."""
    await _done(
        connection,
        tables,
        replay,
        delivered_at=at,
        delivered_partition=place.partition,
        delivered_offset=place.offset,
    )


async def mark_refused(
    *, connection: AsyncConnection, tables: Tables, replay: Replay, error: str
) -> None:
    """Keep why an event cannot be delivered any more; the others of its request go on."""
    await _done(connection, tables, replay, refused_because=error[:_ERROR_LENGTH])


async def count_open(*, connection: AsyncConnection, tables: Tables, most: int) -> int:
    """Return how many events still have to be delivered once more, `most` if there are more."""
    one = select(tables.replays.c.outbox_id).where(text(OPEN)).limit(most).subquery()
    return int(await connection.scalar(select(func.count()).select_from(one)) or 0)


async def _done(connection: AsyncConnection, tables: Tables, replay: Replay, **values: Any) -> None:
    replays = tables.replays
    await connection.execute(
        update(replays)
        .where(
            replays.c.request_id == replay.request_id,
            replays.c.outbox_id == replay.outbox_id,
            replays.c.delivered_at.is_(None),
            replays.c.refused_because.is_(None),
        )
        .values(**values)
    )
