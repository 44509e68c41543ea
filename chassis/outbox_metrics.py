"""How the outbox does: how much waits, since when, how much for a person; who relays it.

Depth and age are measured by a loop over the partial indexes, not in the scrape: ten scrapers
cost no more than none.
"""

from collections.abc import Callable, Collection
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import replays
from chassis.database import Database, DatabaseUnavailable
from chassis.leadership import Leadership
from chassis.relay import FAILED, PARKED, PUBLISHED, REPLAYED
from chassis.replays import Tables

_log = structlog.get_logger()

# Beyond it the number says "far too many"; counting on would cost what it warns of.
_MOST = 100_000
_OTHER = "other"  # a topic that is none of ours: labels stay bounded


class OutboxMetrics:
    """The gauges and counters of one outbox and its relay."""

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        database: Database,
        tables: Tables,
        topics: Collection[str],
        leadership: Leadership,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._tables = tables
        self._topics = frozenset(topics)
        self._clock = clock
        self._depth = Gauge(
            "outbox_unpublished_events",
            f"Events that are not published yet; {_MOST} stands for that many or more.",
            registry=registry,
        )
        self._age = Gauge(
            "outbox_oldest_unpublished_age_seconds",
            "Age of the oldest unpublished event that waits for no person; 0 if there is none.",
            registry=registry,
        )
        self._parked = Gauge(
            "outbox_parked_events", "Events that wait for a person.", registry=registry
        )
        self._replays = Gauge(
            "outbox_replays_pending",
            "Published events that a person wants delivered once more.",
            registry=registry,
        )
        self._measured = Gauge(
            "outbox_measured_timestamp_seconds",
            "When the numbers above were measured last.",
            registry=registry,
        )
        Gauge(
            "relay_is_leader", "1 where this process relays the outbox.", registry=registry
        ).set_function(lambda: float(leadership.tenure is not None))
        self._events = Counter(
            "relay_events_total",
            "Events by what became of them: published, failed (tried again), parked, replayed.",
            ("topic", "outcome"),
            registry=registry,
        )
        self._counted = {  # a rate needs a zero to start from
            (topic, outcome): self._events.labels(topic, outcome)
            for topic in self._topics
            for outcome in (PUBLISHED, FAILED, PARKED, REPLAYED)
        }

    def heard(self, topic: str, outcome: str) -> None:
        """Count what became of an event."""
        counted = self._counted.get((topic, outcome)) or self._events.labels(_OTHER, outcome)
        counted.inc()

    async def run_once(self) -> int:
        """Measure the outbox; return how many events are not published, or 0 if unknown."""
        try:
            async with self._database.reading() as connection:
                return await self._measure(connection)
        except DatabaseUnavailable as problem:  # the last numbers stay, with their time
            _log.warning("outbox_not_measured", why=str(problem))
        except Exception:  # noqa: BLE001 - a measurement must not end the measuring
            _log.exception("outbox_not_measured")
        return 0

    async def _measure(self, connection: AsyncConnection) -> int:
        outbox, now = self._tables.outbox, self._clock()
        unpublished = outbox.c.published_at.is_(None)
        parked = outbox.c.parked_at.is_not(None)
        depth = await _count(connection, outbox, unpublished)
        waits_for_a_person = await _count(connection, outbox, unpublished, parked)
        other = outbox.alias("other")
        parked_keys = select(other.c.event_key).where(
            other.c.published_at.is_(None), other.c.parked_at.is_not(None)
        )
        # Ids are given in the order of writing, near enough for an age in seconds.
        oldest = await connection.scalar(
            select(outbox.c.created_at)
            .where(unpublished, outbox.c.event_key.not_in(parked_keys))
            .order_by(outbox.c.id)
            .limit(1)
        )
        pending = await replays.count_open(connection=connection, tables=self._tables, most=_MOST)
        self._depth.set(depth)
        self._parked.set(waits_for_a_person)
        self._age.set(max(0.0, (now - oldest).total_seconds()) if oldest else 0.0)
        self._replays.set(pending)
        self._measured.set(now.timestamp())
        return depth


async def _count(
    connection: AsyncConnection, outbox: Table, *conditions: ColumnElement[bool]
) -> int:
    some = select(outbox.c.id).where(*conditions).limit(_MOST).subquery()
    return int(await connection.scalar(select(func.count()).select_from(some)) or 0)
