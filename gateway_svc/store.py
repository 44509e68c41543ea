"""The database's side of a confirmation: a batch in one transaction, loaded, decided, recorded.

On PostgreSQL in one statement each, on SQLite, where a statement costs next to nothing, table by
table. Both keep the same promises, and decide nothing.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from chassis.database import Database
from chassis.outbox import Event
from gateway_svc.law import Book
from gateway_svc.loading_at_once import load_at_once
from gateway_svc.loading_by_table import load_by_table
from gateway_svc.payment import Decision, Notice
from gateway_svc.recording_at_once import record_at_once
from gateway_svc.recording_by_table import record_by_table


class Load(Protocol):
    """How a batch is loaded."""

    async def __call__(self, *, notices: Sequence[Notice]) -> Book:
        """Return all that deciding `notices` needs, their obligations locked until the end."""


class Record(Protocol):
    """How what was decided is recorded."""

    async def __call__(
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


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A transaction that some notices share."""

    load: Load
    record: Record


@asynccontextmanager
async def opened_batch(*, database: Database) -> AsyncIterator[Batch]:
    """Yield a batch that is committed at the end, or rolled back on any error.

    :raises DatabaseUnavailable: as `Database.transaction`.
    """
    name = "confirm"
    if database.dialect == "postgresql":
        async with database.direct(name=name) as direct:
            yield Batch(
                load=partial(load_at_once, direct=direct),
                record=partial(record_at_once, direct=direct),
            )
    else:
        async with database.transaction(name=name) as connection:
            yield Batch(
                load=partial(load_by_table, connection=connection),
                record=partial(record_by_table, connection=connection),
            )
