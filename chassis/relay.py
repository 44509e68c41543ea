"""The loop that takes events from the outbox to the publisher, at least once and in order.

It publishes first and marks afterwards: a crash between the two publishes the same bytes
again. It never gives up: trouble is tried again after growing pauses, without an end; an
event that no publisher will ever take is parked, which holds its key back until a person
has looked. No transaction is open while publishing. Of several replicas one leads: it reads
and marks over the connection that makes it the leader, so that one which lost its leadership
while it published marks nothing. Its successor publishes those events once more, from the
first unmarked one of each key, so the first deliveries of a key stay in order.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox, replays
from chassis.crash_points import Reached, no_crash
from chassis.database import Database, DatabaseUnavailable
from chassis.delivery import Delivery, Outcome, Publisher, PublishFailed
from chassis.leadership import Alone, Leadership, Tenure
from chassis.outbox import Event, OutboxRow, Published
from chassis.replays import Replay, Tables

_log = structlog.get_logger()

_LONGEST_ROUND_PAUSE_S = 5.0  # new keys are tried this soon although others fail
_PAUSES_DOUBLE_UP_TO = 16  # times; keeps 2**n small

Heard = Callable[[str, str], None]  # of a topic: one of those below

PUBLISHED, FAILED, PARKED, REPLAYED = "published", "failed", "parked", "replayed"


def unheard(_topic: str, _outcome: str) -> None:
    """Count nothing."""


class Relay:
    """Moves what is unpublished; `random` gives 0 to 1, lengths are in seconds."""

    def __init__(
        self,
        *,
        database: Database,
        table: Table,
        publisher: Publisher,
        clock: Callable[[], datetime],
        random: Callable[[], float],
        most: int = 256,
        idle_s: float = 1.0,
        breath_s: float = 0.05,
        first_pause_s: float = 1.0,
        longest_pause_s: float = 60.0,
        reached: Reached = no_crash,
        leadership: Leadership | None = None,
        heard: Heard = unheard,
        replays: Tables | None = None,
    ) -> None:
        """Wire the loop; without `leadership` it is the only one of this outbox."""
        self._replays = replays
        self._leadership = leadership or Alone(database=database)
        self._heard = heard
        self._table = table
        self._publisher = publisher
        self._clock = clock
        self._random = random
        self._most = most
        self._idle_s = idle_s
        self._breath_s = breath_s
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._reached = reached
        self._nudged = asyncio.Event()
        self._fruitless_rounds = 0

    def nudge(self) -> None:
        """Tell the loop that rows were committed, so that it need not wait to find out.

        A follower has nothing to do with them.
        """
        if self._leadership.tenure is not None:
            self._nudged.set()

    async def run_once(self) -> int:
        """Publish what may be published now, up to one list, and return how many events went.

        A follower does nothing and returns 0.

        :raises DatabaseUnavailable: what was published but not marked is published again.
        :raises LeadershipLost: the same, and another does it.
        """
        tenure = self._leadership.tenure
        if tenure is None:
            self._fruitless_rounds = 0
            return 0
        async with tenure.reading() as connection:
            rows = await outbox.claim(
                connection=connection, table=self._table, limit=self._most, now=self._clock()
            )
        if not rows:
            return await self._replay(tenure)
        self._reached("relay.before_publish")
        outcomes = await self._outcomes([row.event for row in rows])
        self._reached("relay.after_acknowledgement")
        async with tenure.transaction(name="relay_mark") as connection:
            published = await self._mark(connection, rows, outcomes)
        self._count(rows, outcomes)
        parked = any(_is_poison(one) for one in outcomes)
        self._fruitless_rounds = 0 if published or parked else self._fruitless_rounds + 1
        return published

    async def _replay(self, tenure: Tenure) -> int:
        """Deliver once more what was asked for, up to one list; what failed comes first again."""
        found: Sequence[Replay] = ()
        if self._replays is not None:
            async with tenure.reading() as connection:
                found = await replays.claim(
                    connection=connection, tables=self._replays, limit=self._most
                )
        if self._replays is None or not found:
            self._fruitless_rounds = 0
            return 0
        self._reached("relay.before_replay")
        outcomes = await self._outcomes([one.event for one in found])
        self._reached("relay.after_replay_acknowledgement")
        now = self._clock()
        async with tenure.transaction(name="relay_mark_replays") as connection:
            for one, outcome in zip(found, outcomes, strict=True):
                if isinstance(outcome, Delivery):
                    place = Published(
                        id=one.outbox_id, partition=outcome.partition, offset=outcome.offset
                    )
                    await replays.mark_delivered(
                        connection=connection, tables=self._replays, replay=one, place=place, at=now
                    )
                elif outcome.poison:
                    await replays.mark_refused(
                        connection=connection, tables=self._replays, replay=one, error=outcome.error
                    )
        delivered = [one for one in outcomes if isinstance(one, Delivery)]
        for one, outcome in zip(found, outcomes, strict=True):
            if isinstance(outcome, Delivery):
                self._heard(one.event.topic, REPLAYED)
            elif outcome.tried:
                facts = {"event_id": one.event.event_id, "topic": one.event.topic}
                _log.error("replay_waits", refused=outcome.poison, error=outcome.error, **facts)
        went_on = delivered or any(_is_poison(one) for one in outcomes)
        self._fruitless_rounds = 0 if went_on else self._fruitless_rounds + 1
        return len(delivered)

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until `stop` is set; the list under way is finished and marked."""
        while not stop.is_set():
            self._nudged.clear()
            try:
                published = await self.run_once()
            except DatabaseUnavailable as problem:
                published = self._fruitless(cause=str(problem), exc_info=False)
            except Exception as problem:  # noqa: BLE001 - whatever it is, events must go on
                published = self._fruitless(cause=type(problem).__name__, exc_info=True)
            if self._fruitless_rounds:
                await self._pause(stop, seconds=self._round_pause_s(), wake=None)
            elif not published:
                await self._pause(stop, seconds=self._idle_s, wake=self._nudged)
            elif published < self._most:
                # A round costs about the same for one event as for fifty: let some gather.
                await self._pause(stop, seconds=self._breath_s, wake=None)

    def _fruitless(self, *, cause: str, exc_info: bool) -> int:
        self._fruitless_rounds += 1
        _log.warning("relay_round_failed", cause=cause, exc_info=exc_info)
        return 0

    async def _outcomes(self, events: Sequence[Event]) -> Sequence[Outcome]:
        try:
            return await self._publisher.publish(events)
        except Exception as problem:  # noqa: BLE001 - a broken publisher is trouble, not the end
            _log.exception("publisher_broke")
            return [PublishFailed(error=type(problem).__name__)] * len(events)

    async def _mark(
        self, connection: AsyncConnection, rows: Sequence[OutboxRow], outcomes: Sequence[Outcome]
    ) -> int:
        now = self._clock()
        published: list[Published] = []
        failed_keys: set[str] = set()
        none_went = not any(isinstance(one, Delivery) for one in outcomes)
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, Delivery):
                published.append(
                    Published(id=row.id, partition=outcome.partition, offset=outcome.offset)
                )
            elif row.event.key not in failed_keys:  # the later ones of the key were not tried
                failed_keys.add(row.event.key)
                # Where none went the brokers are away, whatever this row is: once they are back
                # it must not wait out a pause that only tells how long they were gone.
                is_own_fault = outcome.alert or not none_went
                longest_s = self._longest_pause_s if is_own_fault else self._longest_round_s
                await self._mark_failed(connection, row, outcome, now, longest_s=longest_s)
        await outbox.mark_published(
            connection=connection, table=self._table, rows=published, at=now
        )
        return len(published)

    async def _mark_failed(
        self,
        connection: AsyncConnection,
        row: OutboxRow,
        failure: PublishFailed,
        now: datetime,
        *,
        longest_s: float,
    ) -> None:
        facts = {"event_id": row.event.event_id, "topic": row.event.topic, "error": failure.error}
        if failure.poison:
            _log.error("outbox_parked", outbox_id=row.id, **facts)
            await outbox.park(
                connection=connection, table=self._table, row_id=row.id, at=now, error=failure.error
            )
            return
        pause_s = self._pause_s(failures=row.attempts + 1, longest_s=longest_s)
        # What waits for a person (a topic to make, a right to give) is louder than a broker away.
        log = _log.error if failure.alert else _log.warning
        log("outbox_row_waits", attempts=row.attempts + 1, pause_s=pause_s, **facts)
        await outbox.mark_failed(
            connection=connection,
            table=self._table,
            row_id=row.id,
            next_attempt_at=now + timedelta(seconds=pause_s),
            error=failure.error,
        )

    def _count(self, rows: Sequence[OutboxRow], outcomes: Sequence[Outcome]) -> None:
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, Delivery):
                self._heard(row.event.topic, PUBLISHED)
            elif outcome.tried:
                self._heard(row.event.topic, PARKED if outcome.poison else FAILED)

    def _round_pause_s(self) -> float:
        return self._pause_s(failures=self._fruitless_rounds, longest_s=self._longest_round_s)

    @property
    def _longest_round_s(self) -> float:
        return min(_LONGEST_ROUND_PAUSE_S, self._longest_pause_s)

    def _pause_s(self, *, failures: int, longest_s: float) -> float:
        """Return a pause that doubles with each failure, up to half of it taken off by chance."""
        doubled = self._first_pause_s * 2.0 ** min(failures - 1, _PAUSES_DOUBLE_UP_TO)
        return min(doubled, longest_s) * (1 - self._random() / 2)

    async def _pause(
        self, stop: asyncio.Event, *, seconds: float, wake: asyncio.Event | None
    ) -> None:
        """Wait for `seconds`, or less if `stop` or `wake` is set."""
        waits = [asyncio.ensure_future(one.wait()) for one in (stop, wake) if one is not None]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _is_poison(outcome: Outcome) -> bool:
    return isinstance(outcome, PublishFailed) and outcome.poison
