"""What waits for a bank or for a person, over all gateways: measured by a loop, not in a scrape.

Every question is answered by a partial index that holds the open rows alone, so it costs the
same beside a million decided ones.
"""

from collections.abc import Callable
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Row, Select, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database, DatabaseUnavailable
from gateway_svc.khqr_tables import khqr_notices
from gateway_svc.operations.exception import Kind
from gateway_svc.operations.exception_reader import is_open
from gateway_svc.payment import Channel, Hold, NoticeState
from gateway_svc.tables import notices, payments
from gateway_svc.verification import KhqrHold

_log = structlog.get_logger()

_MOST = 10_000  # beyond it a number says "far too many"
_OPEN = (NoticeState.RECEIVED, NoticeState.VERIFYING)
_UNAPPLIED = "UNAPPLIED_PAYMENT"  # real money that pays nothing yet
_HOLDS = {
    Channel.BILL: tuple(one.value for one in Hold),
    Channel.KHQR: (*(one.value for one in KhqrHold), _UNAPPLIED),
}


class WorkMetrics:
    """The gauges of open notices and exceptions."""

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        database: Database,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._clock = clock
        self._open = Gauge(
            "notices_open",
            f"KHQR notices that wait for the bank's word, by state; {_MOST} is that many or more.",
            ("state",),
            registry=registry,
        )
        self._oldest_open = Gauge(
            "notices_oldest_age_seconds",
            "Age of the oldest notice that waits for the bank's word, by state; 0 if none.",
            ("state",),
            registry=registry,
        )
        self._exceptions = Gauge(
            "exceptions_open",
            "Money that needs a person: held notices and unapplied payments, by why;"
            f" {_MOST} is that many or more.",
            ("channel", "hold"),
            registry=registry,
        )
        self._oldest_exception = Gauge(
            "exceptions_oldest_age_seconds",
            "Age of the oldest exception; 0 if there is none.",
            registry=registry,
        )
        self._measured = Gauge(
            "work_measured_timestamp_seconds",
            "When the numbers of open notices and exceptions were measured last.",
            registry=registry,
        )

    async def run_once(self) -> int:
        """Measure; return how many notices and payments are open, 0 if unknown."""
        try:
            async with self._database.reading() as connection:
                return await self._measure(connection)
        except DatabaseUnavailable as problem:  # the last numbers stay, with their time
            _log.warning("work_not_measured", why=str(problem))
        except Exception:  # noqa: BLE001 - a measurement must not end the measuring
            _log.exception("work_not_measured")
        return 0

    async def _measure(self, connection: AsyncConnection) -> int:
        now = self._clock()
        waiting = await _rows(connection, _waiting())
        for state in _OPEN:
            of_state = [one.since for one in waiting if one.label == state]
            self._open.labels(state.value).set(len(of_state))
            self._oldest_open.labels(state.value).set(_age_s(of_state, now))
        held = [
            (Channel.BILL, await _rows(connection, _held_bills())),
            (Channel.KHQR, await _rows(connection, _held_codes())),
            (Channel.KHQR, await _rows(connection, _unapplied())),
        ]
        counts = {(channel, hold): 0 for channel, holds in _HOLDS.items() for hold in holds}
        for channel, rows in held:
            for one in rows:
                counts[channel, one.label] += 1
        for (channel, hold), count in counts.items():
            self._exceptions.labels(channel.value, hold).set(count)
        since = [one.since for _, rows in held for one in rows]
        self._oldest_exception.set(_age_s(since, now))
        self._measured.set(now.timestamp())
        return len(waiting) + len(since)


def _waiting() -> Select[tuple[str, datetime]]:
    return (
        select(khqr_notices.c.state.label("label"), khqr_notices.c.received_at.label("since"))
        # A PENDING notice stays RECEIVED and is asked about by nobody: it waits for nothing.
        .where(khqr_notices.c.state.in_(_OPEN), khqr_notices.c.next_attempt_at.is_not(None))
        .order_by(khqr_notices.c.id)
        .limit(_MOST)
    )


def _held_bills() -> Select[tuple[str, datetime]]:
    return (
        select(notices.c.hold.label("label"), notices.c.received_at.label("since"))
        .where(is_open(Kind.NOTICE))
        .order_by(notices.c.id)
        .limit(_MOST)
    )


def _held_codes() -> Select[tuple[str, datetime]]:
    return (
        select(khqr_notices.c.hold.label("label"), khqr_notices.c.received_at.label("since"))
        .where(is_open(Kind.KHQR))
        .order_by(khqr_notices.c.id)
        .limit(_MOST)
    )


def _unapplied() -> Select[tuple[str, datetime]]:
    return (
        select(literal(_UNAPPLIED).label("label"), payments.c.recorded_at.label("since"))
        .where(is_open(Kind.PAYMENT))
        .order_by(payments.c.id)
        .limit(_MOST)
    )


async def _rows(
    connection: AsyncConnection, query: Select[tuple[str, datetime]]
) -> list[Row[tuple[str, datetime]]]:
    return list(await connection.execute(query))


def _age_s(since: list[datetime], now: datetime) -> float:
    return max(0, (now - min(since, default=now)).total_seconds())
