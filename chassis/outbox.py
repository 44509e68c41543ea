"""Events written in the transaction of what they tell about, waiting to be published.

Rows are found by being unpublished, never by `id > last`: a row takes its id when it is
inserted and becomes visible when it commits, so a smaller id may appear after a larger one.
A row that must wait or is parked holds back its key, on every topic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    Update,
    bindparam,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.columns import COUNTED_ID, UtcDateTime
from chassis.due import LONGEST_WAIT, is_ahead
from chassis.sets import given_rows, insert_given, insert_set, rows_given

_ERROR_LENGTH = 500
_PLACE = "place"
_CLAIMED = ("id", "attempts", "event_id", "topic", "event_key", "value", "request_id")
_APPENDED = ("event_id", "topic", "event_key", "value", "request_id", "created_at")

# The rows that were tried in vain: few, whatever the size of the backlog.
WAITING = "published_at IS NULL AND (parked_at IS NOT NULL OR next_attempt_at IS NOT NULL)"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened; `value` is published byte for byte, `key` keeps the order."""

    event_id: str
    topic: str
    key: str
    value: bytes
    request_id: str = ""


@dataclass(frozen=True, kw_only=True)
class OutboxRow:
    """An event that is not published yet, and how often that was tried."""

    id: int
    attempts: int
    event: Event


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where a row's event went, as far as the publisher knows."""

    id: int
    partition: int | None
    offset: int | None


def outbox_table(metadata: MetaData) -> Table:
    """Return the table `outbox`, added to `metadata`."""
    table = Table(
        "outbox",
        metadata,
        Column("id", COUNTED_ID, primary_key=True, autoincrement=True),
        Column("event_id", Text, nullable=False, unique=True),
        Column("topic", Text, nullable=False),
        Column("event_key", Text, nullable=False),
        Column("value", LargeBinary, nullable=False),
        Column("request_id", Text, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        Column("published_at", UtcDateTime),
        Column("published_partition", Integer),
        Column("published_offset", COUNTED_ID),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("next_attempt_at", UtcDateTime),
        Column("last_error", Text),
        Column("parked_at", UtcDateTime),
        sqlite_autoincrement=True,  # an id is never given twice, even if old rows are deleted
    )
    unpublished = table.c.published_at.is_(None)
    Index("outbox_unpublished", table.c.id, sqlite_where=unpublished, postgresql_where=unpublished)
    waiting = text(WAITING)
    Index("outbox_waiting", table.c.event_key, sqlite_where=waiting, postgresql_where=waiting)
    return table


async def append(
    *, connection: AsyncConnection, table: Table, events: Sequence[Event], at: datetime
) -> None:
    """Add `events`, in their order, to the transaction of `connection`."""
    await insert_set(
        connection=connection,
        table=table,
        rows=_rows(events, at),
        skip_conflicts=False,  # an event that is there already is a fault, not a repeat
    )


def appending(
    *, table: Table, events: Sequence[Event], at: datetime
) -> tuple[postgresql.Insert, dict[str, Any]]:
    """Return what `append` does as a statement of PostgreSQL, and its parameters."""
    statement = insert_given(table=table, name="event", columns=_APPENDED)
    return statement, rows_given(name="event", columns=_APPENDED, rows=_rows(events, at))


def _rows(events: Sequence[Event], at: datetime) -> list[dict[str, Any]]:
    return [
        {
            "event_id": event.event_id,
            "topic": event.topic,
            "event_key": event.key,
            "value": event.value,
            "request_id": event.request_id,
            "created_at": at,
        }
        for event in events
    ]


async def claim(
    *, connection: AsyncConnection, table: Table, limit: int, now: datetime
) -> Sequence[OutboxRow]:
    """Return up to `limit` rows that may be published now, in the order of their ids."""
    found = await connection.execute(
        _claiming(table), {"now": now, "far": now + LONGEST_WAIT, "most": limit}
    )
    return [
        OutboxRow(
            id=row.id,
            attempts=row.attempts,
            event=event_from(row),
        )
        for row in found
    ]


@lru_cache
def _claiming(table: Table) -> Any:
    """Return the statement, made once: making it costs more than all else of a small claim."""
    waiting = table.alias("waiting")
    moment = UtcDateTime()
    # A set that is made once and asked for each row, not a question per row: with 200,000
    # unpublished rows of five keys that is 3 ms instead of a second (without end, if all wait).
    held_back = select(waiting.c.event_key).where(
        waiting.c.published_at.is_(None),
        or_(
            waiting.c.parked_at.is_not(None),
            is_ahead(
                column=waiting.c.next_attempt_at,
                now=bindparam("now", type_=moment),
                far=bindparam("far", type_=moment),
            ),
        ),
    )
    return (
        select(*(table.c[name] for name in _CLAIMED))
        .where(table.c.published_at.is_(None), table.c.event_key.not_in(held_back))
        .order_by(table.c.id)
        .limit(bindparam("most", type_=Integer))
    )


def event_from(row: Row[Any]) -> Event:
    """Return the event that `row` of the outbox holds."""
    return Event(
        event_id=row.event_id,
        topic=row.topic,
        key=row.event_key,
        value=row.value,
        request_id=row.request_id,
    )


async def mark_published(
    *, connection: AsyncConnection, table: Table, rows: Sequence[Published], at: datetime
) -> None:
    """Keep when and where the events of `rows` went; they are not claimed again."""
    if not rows:
        return
    dialect = connection.dialect.name
    places = [{"id": row.id, "partition": row.partition, "offset": row.offset} for row in rows]
    given: Any
    if dialect == "postgresql":
        given = {"at": at, **rows_given(name=_PLACE, columns=places[0], rows=places)}
    else:
        given = [
            {"at": at, **{f"{_PLACE}_{name}": value for name, value in one.items()}}
            for one in places
        ]
    await connection.execute(_marking(table, dialect), given)


@lru_cache
def _marking(table: Table, dialect: str) -> Update:
    """Return the statement, made once: on PostgreSQL one for all rows, else one for each."""
    types = {"id": COUNTED_ID, "partition": Integer(), "offset": COUNTED_ID}
    place: Any
    if dialect == "postgresql":
        place = given_rows(name=_PLACE, types=types).c
    else:
        place = {name: bindparam(f"{_PLACE}_{name}", type_=kind) for name, kind in types.items()}
    return (
        update(table)
        .where(table.c.id == place["id"], table.c.published_at.is_(None))
        .values(
            published_at=bindparam("at", type_=UtcDateTime()),
            published_partition=place["partition"],
            published_offset=place["offset"],
            attempts=table.c.attempts + 1,
            next_attempt_at=None,
        )
    )


async def mark_failed(
    *, connection: AsyncConnection, table: Table, row_id: int, next_attempt_at: datetime, error: str
) -> None:
    """Keep why a row was not published, and hold its key back until `next_attempt_at`."""
    await connection.execute(
        update(table)
        .where(table.c.id == row_id, table.c.published_at.is_(None))
        .values(
            attempts=table.c.attempts + 1,
            next_attempt_at=next_attempt_at,
            last_error=error[:_ERROR_LENGTH],
        )
    )


async def park(
    *, connection: AsyncConnection, table: Table, row_id: int, at: datetime, error: str
) -> None:
    """Set a row aside for a person: nothing of its key is published until it is released."""
    await connection.execute(
        update(table)
        .where(table.c.id == row_id, table.c.published_at.is_(None))
        .values(
            attempts=table.c.attempts + 1,
            parked_at=at,
            next_attempt_at=None,
            last_error=error[:_ERROR_LENGTH],
        )
    )
