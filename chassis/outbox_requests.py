"""What people ask of the outbox: deliver once more, let go what is parked.

Every request is kept: who, when, why, which events.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, func, insert, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Select

from chassis.replays import OPEN, Tables


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which events: those that fit all of what is given; times are of when they were written."""

    event_id: str | None = None
    key: str | None = None
    topic: str | None = None
    since: datetime | None = None
    until: datetime | None = None  # not included

    def stated(self) -> Mapping[str, str]:
        """Return what is given, as text."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in vars(self).items()
            if value is not None
        }


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a selection meets."""

    by_topic: Mapping[str, int]
    first: tuple[str, datetime] | None  # event id, written at
    last: tuple[str, datetime] | None

    @property
    def events(self) -> int:
        """Return how many there are."""
        return sum(self.by_topic.values())


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who asks for what, and why."""

    by: str
    reason: str
    at: datetime


async def find_published(
    *, connection: AsyncConnection, tables: Tables, selection: Selection
) -> Found:
    """Return what a replay of `selection` would deliver: what is unpublished goes by itself."""
    return await _found(connection, tables.outbox, _replayable(tables, selection))


async def find_parked(
    *, connection: AsyncConnection, tables: Tables, selection: Selection
) -> Found:
    """Return which parked events a release of `selection` would let go."""
    return await _found(connection, tables.outbox, _parked(tables, selection))


def published_rows(
    *, query: Select[Any], tables: Tables, selection: Selection, most: int
) -> Select[Any]:
    """Return `query`, over the outbox, for the first of what a replay would deliver."""
    return _first(query, tables, _replayable(tables, selection), most)


def parked_rows(
    *, query: Select[Any], tables: Tables, selection: Selection, most: int
) -> Select[Any]:
    """Return `query`, over the outbox, for the first of what a release would let go."""
    return _first(query, tables, _parked(tables, selection), most)


async def request_replay(
    *, connection: AsyncConnection, tables: Tables, selection: Selection, asked: Asked
) -> int:
    """Have the events of `selection` delivered once more; return how many those are."""
    found = await find_published(connection=connection, tables=tables, selection=selection)
    if not found.events:
        return 0
    number = await _request(
        connection, tables, kind="REPLAY", selection=selection, asked=asked, events=found.events
    )
    chosen = select(literal(number), tables.outbox.c.id).where(_replayable(tables, selection))
    await connection.execute(
        insert(tables.replays).from_select(["request_id", "outbox_id"], chosen)
    )
    return found.events


async def release(
    *, connection: AsyncConnection, tables: Tables, selection: Selection, asked: Asked
) -> int:
    """Let the parked events of `selection` be tried again now; return how many those are."""
    parked = _parked(tables, selection)
    found = await _found(connection, tables.outbox, parked)
    if not found.events:
        return 0
    await _request(
        connection, tables, kind="RELEASE", selection=selection, asked=asked, events=found.events
    )
    await connection.execute(
        update(tables.outbox).where(parked).values(parked_at=None, next_attempt_at=None)
    )
    return found.events


def _first(
    query: Select[Any], tables: Tables, chosen: ColumnElement[bool], most: int
) -> Select[Any]:
    return query.where(chosen).order_by(tables.outbox.c.id).limit(most)


async def _request(
    connection: AsyncConnection,
    tables: Tables,
    *,
    kind: str,
    selection: Selection,
    asked: Asked,
    events: int,
) -> int:
    number = await connection.scalar(
        insert(tables.requests)
        .values(
            kind=kind,
            requested_at=asked.at,
            requested_by=asked.by,
            reason=asked.reason,
            selection=json.dumps(selection.stated(), sort_keys=True),
            events=events,
        )
        .returning(tables.requests.c.id)
    )
    return int(number or 0)


async def _found(connection: AsyncConnection, outbox: Table, chosen: ColumnElement[bool]) -> Found:
    counted = await connection.execute(
        select(outbox.c.topic, func.count())
        .where(chosen)
        .group_by(outbox.c.topic)
        .order_by(outbox.c.topic)
    )
    by_topic = {row[0]: row[1] for row in counted}
    ends = []
    for order in (outbox.c.id, outbox.c.id.desc()):
        one = (
            await connection.execute(
                select(outbox.c.event_id, outbox.c.created_at)
                .where(chosen)
                .order_by(order)
                .limit(1)
            )
        ).first()
        ends.append((one.event_id, one.created_at) if one else None)
    return Found(by_topic=by_topic, first=ends[0], last=ends[1])


def _chosen(outbox: Table, selection: Selection) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if selection.event_id is not None:
        conditions.append(outbox.c.event_id == selection.event_id)
    if selection.key is not None:
        conditions.append(outbox.c.event_key == selection.key)
    if selection.topic is not None:
        conditions.append(outbox.c.topic == selection.topic)
    if selection.since is not None:
        conditions.append(outbox.c.created_at >= selection.since)
    if selection.until is not None:
        conditions.append(outbox.c.created_at < selection.until)
    if not conditions:
        raise ValueError("a selection of everything is a mistake")
    return conditions


def _replayable(tables: Tables, selection: Selection) -> ColumnElement[bool]:
    asked_already = (
        select(tables.replays.c.outbox_id)
        .where(tables.replays.c.outbox_id == tables.outbox.c.id, text(OPEN))
        .correlate(tables.outbox)
        .exists()
    )
    return and_(
        tables.outbox.c.published_at.is_not(None),
        ~asked_already,
        *_chosen(tables.outbox, selection),
    )


def _parked(tables: Tables, selection: Selection) -> ColumnElement[bool]:
    return and_(
        tables.outbox.c.published_at.is_(None),
        tables.outbox.c.parked_at.is_not(None),
        *_chosen(tables.outbox, selection),
    )
