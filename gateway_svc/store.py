"""The database's side of a confirmation: a batch in one transaction, loaded, decided, recorded.

On PostgreSQL in one statement each, on SQLite, where a statement costs next to nothing, table by
table. Both keep the same promises, and decide nothing.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.direct import Direct
from chassis.outbox import Event
from gateway_svc.law import Book
from gateway_svc.loading_at_once import load_at_once
from gateway_svc.loading_by_table import load_by_table
from gateway_svc.payment import Decision, Notice
from gateway_svc.recording_at_once import record_at_once
from gateway_svc.recording_by_table import record_by_table


class Batch(Protocol):
    """A transaction that some notices share."""

    async def load(self, *, notices: Sequence[Notice]) -> Book:
        """Return all that deciding `notices` needs; nobody else changes it until the end."""

    async def record(
        self,
        *,
        decisions: Sequence[Decision],
        events: Sequence[Event],
        events_per_settlement: int,
        at: datetime,
    ) -> None:
        """Record `decisions`, of which there is one, and the `events` that tell of them.

        :raises Overtaken: a notice, payment or application of another writer landed first, or
            other bills are open than were seen; the transaction must be rolled back.
        """


@asynccontextmanager
async def opened_batch(*, database: Database) -> AsyncIterator[Batch]:
    """Yield a batch that is committed at the end, or rolled back on any error.

    :raises DatabaseUnavailable: as `Database.transaction`.
    """
    name = "confirm"
    if database.dialect == "postgresql":
        async with database.direct(name=name) as direct:
            yield _AtOnce(direct)
    else:
        async with database.transaction(name=name) as connection:
            yield _ByTable(connection)


class _AtOnce:
    def __init__(self, direct: Direct) -> None:
        self._direct = direct

    async def load(self, *, notices: Sequence[Notice]) -> Book:
        return await load_at_once(direct=self._direct, notices=notices)

    async def record(
        self,
        *,
        decisions: Sequence[Decision],
        events: Sequence[Event],
        events_per_settlement: int,
        at: datetime,
    ) -> None:
        await record_at_once(
            direct=self._direct,
            decisions=decisions,
            events=events,
            events_per_settlement=events_per_settlement,
            at=at,
        )


class _ByTable:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def load(self, *, notices: Sequence[Notice]) -> Book:
        return await load_by_table(connection=self._connection, notices=notices)

    async def record(
        self,
        *,
        decisions: Sequence[Decision],
        events: Sequence[Event],
        events_per_settlement: int,
        at: datetime,
    ) -> None:
        await record_by_table(
            connection=self._connection,
            decisions=decisions,
            events=events,
            events_per_settlement=events_per_settlement,
            at=at,
        )
