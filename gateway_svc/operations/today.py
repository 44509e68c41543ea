"""How today stands, counted over indexes; asked by many, counted once every few seconds."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.money import Currency, Money
from chassis.single_flight import SingleFlight
from gateway_svc.khqr_tables import khqr_notices
from gateway_svc.operations.case_summary import BY_DECISION
from gateway_svc.operations.exception_reader import count_open
from gateway_svc.payment import Channel, NoticeState, PaymentState
from gateway_svc.tables import notices, payments

PHNOM_PENH = timezone(timedelta(hours=7))  # no daylight saving
_STRETCH_S = 300
_STRETCHES = 288
_FRESH_FOR_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What came in today in one currency, and in how many payments."""

    money: Money
    payments: int


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Payments of five minutes by channel."""

    at: datetime
    bill: int
    khqr: int


@dataclass(frozen=True, kw_only=True)
class Today:
    """The numbers that an operator asks for."""

    at: datetime
    collected: tuple[Collected, ...]
    payments: int
    notices_confirmed: int
    notices_ended: int
    waiting: int
    waiting_since: datetime | None
    open_exceptions: int
    arrivals: tuple[Arrivals, ...]


class TodayReader:
    """Counts today; an answer is good for two seconds, whoever asks."""

    def __init__(
        self, *, database: Database, clock: Callable[[], datetime], timer: Callable[[], float]
    ) -> None:
        """`clock` gives moments, `timer` monotonic seconds."""
        self._database = database
        self._clock = clock
        self._timer = timer
        self._flight: SingleFlight[str, Today] = SingleFlight()
        self._counted_at_s: float | None = None
        self._last: Today | None = None

    async def today(self) -> Today:
        """Return how today stands.

        :raises DatabaseUnavailable: nobody can count.
        """
        counted_at_s = self._counted_at_s
        is_fresh = counted_at_s is not None and self._timer() - counted_at_s < _FRESH_FOR_S
        if self._last is not None and is_fresh:
            return self._last
        return await self._flight.fly(key="today", call=self._counted)

    async def close(self) -> None:
        """Stop counting."""
        await self._flight.close()

    async def _counted(self) -> Today:
        now = self._clock()
        async with self._database.reading() as connection:
            counted = await _count(connection, now)
        self._counted_at_s, self._last = self._timer(), counted
        return counted


def midnight(now: datetime) -> datetime:
    """Return when the day of `now` began in Phnom Penh."""
    return now.astimezone(PHNOM_PENH).replace(hour=0, minute=0, second=0, microsecond=0)


async def _count(connection: AsyncConnection, now: datetime) -> Today:
    start = midnight(now)
    by_currency = await _of_today(connection, start)
    bill_ended, bill_confirmed = await _ended(
        connection,
        moment=notices.c.received_at,
        ended=notices.c.state.in_((NoticeState.DONE, NoticeState.HELD)),
        # A notice that people voided is DONE too, and no payment.
        confirmed=(notices.c.state == NoticeState.DONE)
        & notices.c.state_cause.in_(("decided", f"{BY_DECISION}: APPLY")),
        start=start,
    )
    khqr_ended, khqr_confirmed = await _ended(
        connection,
        moment=khqr_notices.c.received_at,
        ended=khqr_notices.c.state.in_((NoticeState.DONE, NoticeState.HELD)),
        confirmed=khqr_notices.c.payment_id.is_not(None),
        start=start,
    )
    waiting, waiting_since = await _waiting(connection)
    return Today(
        at=now,
        collected=tuple(
            Collected(
                money=Money(hundredths=by_currency.get((one.value, True), (0, 0))[1], currency=one),
                payments=by_currency.get((one.value, True), (0, 0))[0],
            )
            for one in Currency
        ),
        payments=sum(count for count, _ in by_currency.values()),
        notices_confirmed=bill_confirmed + khqr_confirmed,
        notices_ended=bill_ended + khqr_ended,
        waiting=waiting,
        waiting_since=waiting_since,
        open_exceptions=await count_open(connection=connection),
        arrivals=await _arrivals(connection, now),
    )


async def _of_today(
    connection: AsyncConnection, start: datetime
) -> dict[tuple[str, bool], tuple[int, int]]:
    """Return (count, hundredths) by currency and whether the money pays a bill."""
    applied = payments.c.state == PaymentState.APPLIED
    rows = await connection.execute(
        select(
            payments.c.currency,
            applied.label("applied"),
            func.count(),
            # A sum of 64-bit numbers is a NUMERIC on PostgreSQL; as text no driver rounds it.
            cast(func.sum(payments.c.amount_hundredths), Text),
        )
        .where(payments.c.recorded_at >= start)
        .group_by(payments.c.currency, applied)
    )
    return {(row[0], bool(row[1])): (row[2], int(row[3])) for row in rows}


async def _ended(
    connection: AsyncConnection,
    *,
    moment: ColumnElement[Any],
    ended: ColumnElement[bool],
    confirmed: ColumnElement[bool],
    start: datetime,
) -> tuple[int, int]:
    row = (
        await connection.execute(
            select(func.count(), func.count().filter(confirmed)).where(moment >= start, ended)
        )
    ).one()
    return row[0], row[1]


async def _waiting(connection: AsyncConnection) -> tuple[int, datetime | None]:
    row = (
        await connection.execute(
            select(func.count(), func.min(khqr_notices.c.received_at)).where(
                khqr_notices.c.next_attempt_at.is_not(None),
                khqr_notices.c.state.in_((NoticeState.RECEIVED, NoticeState.VERIFYING)),
            )
        )
    ).one()
    return row[0], row[1]


async def _arrivals(connection: AsyncConnection, now: datetime) -> tuple[Arrivals, ...]:
    last = int(now.timestamp()) // _STRETCH_S
    first = last - _STRETCHES + 1
    start = datetime.fromtimestamp(first * _STRETCH_S, tz=now.tzinfo)
    stretch = _stretch_of(payments.c.recorded_at, connection.dialect.name)
    rows = await connection.execute(
        select(stretch, payments.c.channel, func.count())
        .where(payments.c.recorded_at >= start)
        .group_by(stretch, payments.c.channel)
    )
    counts = {(row[0], row[1]): row[2] for row in rows}
    return tuple(
        Arrivals(
            at=datetime.fromtimestamp(number * _STRETCH_S, tz=now.tzinfo),
            bill=counts.get((number, Channel.BILL), 0),
            khqr=counts.get((number, Channel.KHQR), 0),
        )
        for number in range(first, last + 1)
    )


def _stretch_of(moment: ColumnElement[Any], dialect: str) -> ColumnElement[int]:
    """Return the number of the five minutes that a moment lies in."""
    if dialect == "postgresql":
        return cast(func.floor(func.extract("epoch", moment)), BigInteger) // _STRETCH_S
    # SQLite rounds a fraction, the last millisecond of a second into the next: it is cut off.
    second = func.substr(cast(moment, Text), 1, len("2025-10-07T05:00:00"))
    return cast(func.strftime("%s", second), BigInteger) // _STRETCH_S
