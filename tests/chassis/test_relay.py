import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import MetaData, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from chassis import outbox
from chassis.database import Database, DatabaseUnavailable
from chassis.outbox import Event, outbox_table
from chassis.publisher import LogPublisher, Publisher, PublishFailed
from chassis.relay import Relay
from tests.support.events import Clock, Listener

_TABLE = outbox_table(MetaData())
_START = datetime(2025, 11, 15, 8, 30, tzinfo=UTC)
_DOWN = PublishFailed(error="down")
_POISON = PublishFailed(error="never", poison=True)
_PAUSES_S = [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (50, 60)]


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    database = Database(url=empty_database_url)
    async with database.transaction() as connection:
        await connection.run_sync(_TABLE.metadata.create_all)
    yield database
    await database.close()


@pytest.fixture
def clock() -> Clock:
    return Clock(now=_START)


@pytest.fixture
def listener() -> Listener:
    return Listener()


def _relay(database: Database, publisher: Publisher, clock: Clock, *, most: int = 256) -> Relay:
    return Relay(
        database=database,
        table=_TABLE,
        publisher=publisher,
        clock=clock,
        random=lambda: 0.0,
        most=most,
        idle_s=30,
        first_pause_s=1,
    )


async def _append(database: Database, *names: str) -> None:
    """Append events named like `A1`: the letter is the key."""
    events = [
        Event(
            event_id=name, topic=f"t{number % 2}", key=name[0], value=b'{"id":"%b"}' % name.encode()
        )
        for number, name in enumerate(names)
    ]
    async with database.transaction() as connection:
        await outbox.append(connection=connection, table=_TABLE, events=events, at=_START)


async def _unpublished(database: Database) -> int:
    async with database.reading() as connection:
        found = await connection.scalar(
            select(func.count()).select_from(_TABLE).where(_TABLE.c.published_at.is_(None))
        )
    assert isinstance(found, int)
    return found


@asynccontextmanager
async def _running(relay: Relay) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(relay.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, timeout=5)


async def _eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_everything_is_published_once_and_in_order(
    database: Database, listener: Listener, clock: Clock
) -> None:
    relay = _relay(database, listener, clock, most=2)
    await _append(database, "A1", "B1", "A2", "B2", "A3")
    assert [await relay.run_once() for _ in range(4)] == [2, 2, 1, 0]
    assert listener.ids == ["A1", "B1", "A2", "B2", "A3"]
    assert await _unpublished(database) == 0


async def test_ids_that_commit_in_another_order_are_all_published(
    empty_postgres_url: str, listener: Listener, clock: Clock
) -> None:
    database = Database(url=empty_postgres_url)
    async with database.transaction() as connection:
        await connection.run_sync(_TABLE.metadata.create_all)
    relay = _relay(database, listener, clock)

    async def append(connection: AsyncConnection, name: str) -> None:
        event = Event(event_id=name, topic="t", key=name[0], value=b"1")
        await outbox.append(connection=connection, table=_TABLE, events=[event], at=_START)

    async with AsyncExitStack() as first, AsyncExitStack() as second:
        await append(await first.enter_async_context(database.transaction()), "A1")
        await append(await second.enter_async_context(database.transaction()), "B1")
        assert await relay.run_once() == 0
        await second.aclose()  # the later id commits first
        assert await relay.run_once() == 1
        await _append(database, "C1")
        assert await relay.run_once() == 1
        await first.aclose()
        assert await relay.run_once() == 1
    assert listener.ids == ["B1", "C1", "A1"]
    assert await _unpublished(database) == 0
    await database.close()


async def test_no_connection_is_held_while_publishing(
    database: Database, listener: Listener, clock: Clock
) -> None:
    held: list[int] = []
    listener.while_publishing = lambda: held.append(database.connections_in_use)
    await _append(database, "A1")
    assert await _relay(database, listener, clock).run_once() == 1
    assert held == [0]


async def test_a_publisher_that_is_down_loses_nothing_and_keeps_the_order(
    database: Database, listener: Listener, clock: Clock
) -> None:
    relay = _relay(database, listener, clock, most=3)
    await _append(database, "A1", "B1", "A2")
    listener.down = _DOWN
    for _ in range(12):
        assert await relay.run_once() == 0
        clock.forward(seconds=20)
    await _append(database, "B2", "A3", "C1")
    listener.down = None
    for _ in range(4):
        await relay.run_once()
        clock.forward(seconds=60)
    for key in "ABC":
        mine = [name for name in listener.ids if name.startswith(key)]
        assert mine == sorted(mine)
    assert sorted(listener.ids) == ["A1", "A2", "A3", "B1", "B2", "C1"]
    assert await _unpublished(database) == 0


async def test_a_row_that_fails_holds_back_its_key_and_no_other(
    database: Database, listener: Listener, clock: Clock
) -> None:
    relay = _relay(database, listener, clock)
    await _append(database, "A1", "A2", "B1", "A3")
    listener.fails["A2"] = _DOWN
    assert await relay.run_once() == 2
    listener.fails.clear()
    assert await relay.run_once() == 0  # A2 waits for its time, and A3 behind it
    assert listener.ids == ["A1", "B1"]
    async with database.reading() as connection:
        attempts = list(await connection.scalars(select(_TABLE.c.attempts).order_by(_TABLE.c.id)))
    assert attempts == [1, 1, 1, 0]
    clock.forward(seconds=1)
    assert await relay.run_once() == 2
    assert listener.ids == ["A1", "B1", "A2", "A3"]


@pytest.mark.parametrize(("failures", "pause_s"), _PAUSES_S)
async def test_pauses_double_up_to_a_minute(
    database: Database, listener: Listener, clock: Clock, failures: int, pause_s: int
) -> None:
    relay = _relay(database, listener, clock)
    await _append(database, "A1")
    async with database.transaction() as connection:
        await connection.execute(_TABLE.update().values(attempts=failures - 1))
    listener.down = replace(_DOWN, alert=True)
    await relay.run_once()
    async with database.reading() as connection:
        row = (await connection.execute(select(_TABLE))).one()
    assert row.next_attempt_at == _START + timedelta(seconds=pause_s)
    assert (row.attempts, row.last_error) == (failures, "down")


async def test_after_brokers_were_away_nothing_waits_longer_than_five_seconds(
    database: Database, listener: Listener, clock: Clock
) -> None:
    relay = _relay(database, listener, clock)
    await _append(database, "A1", "B1")
    async with database.transaction() as connection:
        await connection.execute(_TABLE.update().values(attempts=20))
    listener.down = _DOWN
    await relay.run_once()
    listener.down = None
    clock.forward(seconds=5)
    assert await relay.run_once() == 2


async def test_chance_takes_up_to_half_of_a_pause(
    database: Database, listener: Listener, clock: Clock
) -> None:
    relay = Relay(
        database=database, table=_TABLE, publisher=listener, clock=clock, random=lambda: 1.0
    )
    await _append(database, "A1")
    listener.down = _DOWN
    await relay.run_once()
    async with database.reading() as connection:
        at = await connection.scalar(select(_TABLE.c.next_attempt_at))
    assert at == _START + timedelta(seconds=0.5)


async def test_a_publisher_that_breaks_is_trouble_and_not_the_end(
    database: Database, listener: Listener, clock: Clock
) -> None:
    relay = _relay(database, listener, clock)
    await _append(database, "A1")
    listener.down = ZeroDivisionError("a bug")
    assert await relay.run_once() == 0
    listener.down = None
    clock.forward(seconds=1)
    assert await relay.run_once() == 1


async def test_poison_parks_its_key_on_every_topic_and_others_go_on(
    database: Database, listener: Listener, clock: Clock
) -> None:
    relay = _relay(database, listener, clock)
    await _append(database, "A1", "A2", "A3", "B1")
    listener.fails["A2"] = _POISON
    with capture_logs() as logs:
        assert await relay.run_once() == 2
    [line] = [one for one in logs if one["event"] == "outbox_parked"]
    assert (line["log_level"], line["event_id"], line["error"]) == ("error", "A2", "never")
    listener.fails.clear()
    await _append(database, "A4", "A5", "B2")
    clock.forward(seconds=86400)
    while await relay.run_once():
        pass
    assert listener.ids == ["A1", "B1", "B2"]
    assert await _unpublished(database) == 4


async def test_a_crash_between_publishing_and_marking_repeats_equal_bytes(
    database: Database, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    await _append(database, "A1", "B1")

    async def crash(**_named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as power_cut:
        power_cut.setattr(outbox, "mark_published", crash)
        with pytest.raises(KeyboardInterrupt):
            await _relay(database, LogPublisher(path=path), clock).run_once()
    assert await _unpublished(database) == 2
    assert await _relay(database, LogPublisher(path=path), clock).run_once() == 2
    lines = (await asyncio.to_thread(path.read_bytes)).splitlines()
    assert len(lines) == 4
    assert lines[:2] == lines[2:]


async def test_the_loop_publishes_what_a_nudge_tells_of(
    database: Database, listener: Listener, clock: Clock
) -> None:
    relay = _relay(database, listener, clock)  # would sleep for 30 s otherwise
    async with _running(relay):
        await _append(database, "A1")
        relay.nudge()
        await _eventually(lambda: listener.ids == ["A1"])
        await _append(database, "A2")
        relay.nudge()
        await _eventually(lambda: listener.ids == ["A1", "A2"])


async def test_the_loop_outlives_trouble_with_the_database(
    database: Database, listener: Listener, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(
        database=database,
        table=_TABLE,
        publisher=listener,
        clock=clock,
        random=lambda: 0.0,
        first_pause_s=0.01,
        longest_pause_s=0.02,
    )
    broken = [DatabaseUnavailable("down"), ZeroDivisionError("a bug")]
    claim = outbox.claim

    async def unreliable(**named: object) -> object:
        if broken:
            raise broken.pop()
        return await claim(**named)  # type: ignore[arg-type] # handed through as it came

    monkeypatch.setattr(outbox, "claim", unreliable)
    await _append(database, "A1")
    async with _running(relay):
        await _eventually(lambda: listener.ids == ["A1"])
    assert not broken


async def test_a_nudge_does_not_shorten_the_pause_after_trouble(
    database: Database, listener: Listener, clock: Clock
) -> None:
    rounds: list[int] = []
    listener.while_publishing = lambda: rounds.append(1)
    listener.down = _DOWN
    relay = _relay(database, listener, clock)
    await _append(database, "A1", "B1")
    async with _running(relay):
        await _eventually(lambda: len(rounds) == 1)
        clock.forward(seconds=60)
        for _ in range(20):
            relay.nudge()
            await asyncio.sleep(0.005)
        assert len(rounds) == 1
