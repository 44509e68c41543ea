"""One leads, whatever happens to the leader (on a real PostgreSQL).

| what happens to the leader                    | what holds                                   |
|-----------------------------------------------|----------------------------------------------|
| nothing                                       | the others do not lead, and do no work       |
| it steps down, or dies (SIGKILL)              | another leads at its next look               |
| its backend is ended between publish and mark | it marks nothing; the other publishes again  |
| it shows no sign of life                      | the server ends its session; another leads   |
| it is frozen (SIGSTOP) and thaws              | it does not write, and follows               |
| it is frozen inside the transaction of a mark | the server undoes it; another marks          |
| its connection comes back by itself           | a new session is no leader                   |

Followed through to the end: nobody marks twice, the first mark stays, and the first
deliveries of a key are in order over the change of leader.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import MetaData, select, text

from chassis import outbox
from chassis.database import Database, DatabaseUnavailable
from chassis.delivery import Delivery, Outcome, Publisher
from chassis.leadership import AdvisoryLeadership, Alone, LeadershipLost, leadership_of
from chassis.outbox import Event, outbox_table
from chassis.relay import Relay
from payctl import tether
from tests.support.events import Clock, Listener

_TABLE = outbox_table(MetaData())
_START = datetime(2025, 11, 15, 8, 30, tzinfo=UTC)
_KEY = 42
_IDLE_LIMIT_S = 1.0
_PROGRAM = Path(__file__).parents[1] / "support" / "leading_relay.py"


@pytest.fixture
async def database(empty_postgres_url: str) -> AsyncIterator[Database]:
    database = Database(url=empty_postgres_url)
    async with database.transaction() as connection:
        await connection.run_sync(_TABLE.metadata.create_all)
    yield database
    await database.close()


@asynccontextmanager
async def _two(database: Database) -> AsyncIterator[Sequence[AdvisoryLeadership]]:
    both = [
        AdvisoryLeadership(database=database, key=_KEY, idle_limit_s=_IDLE_LIMIT_S)
        for _number in range(2)
    ]
    try:
        yield both
    finally:
        for one in both:
            await one.close()


def _relay(database: Database, leadership: AdvisoryLeadership, publisher: Publisher) -> Relay:
    return Relay(
        database=database,
        table=_TABLE,
        publisher=publisher,
        clock=Clock(now=_START),
        random=lambda: 0.0,
        leadership=leadership,
    )


async def _append(database: Database, *names: str) -> None:
    events = [Event(event_id=name, topic="t", key=name[0], value=b"1") for name in names]
    async with database.transaction() as connection:
        await outbox.append(connection=connection, table=_TABLE, events=events, at=_START)


async def _marks(database: Database) -> list[tuple[str, int, int]]:
    """Return event id, offset and attempts of what is marked."""
    async with database.reading() as connection:
        found = await connection.execute(
            select(_TABLE.c.event_id, _TABLE.c.published_offset, _TABLE.c.attempts)
            .where(_TABLE.c.published_at.is_not(None))
            .order_by(_TABLE.c.id)
        )
    return [tuple(row) for row in found]


async def _end_sessions(database: Database) -> int:
    """End the sessions of leaders and followers as an operator would."""
    async with database.transaction() as connection:
        ended = await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'leadership' AND datname = current_database()"
            )
        )
        return len(ended.all())


async def _until_it_leads(leadership: AdvisoryLeadership, *, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not await leadership.run_once():  # noqa: ASYNC110 - it is we who ask
            await asyncio.sleep(0.05)


async def test_one_leads_and_the_other_does_nothing(database: Database) -> None:
    async with _two(database) as (first, second):
        assert [await first.run_once(), await second.run_once()] == [1, 0]
        assert [await first.run_once(), await second.run_once()] == [1, 0]
        listeners = Listener(), Listener()
        await _append(database, "A1")
        follower = _relay(database, second, listeners[1])
        follower.nudge()
        assert not follower._nudged.is_set()
        assert await follower.run_once() == 0
        assert await _relay(database, first, listeners[0]).run_once() == 1
        assert (listeners[0].ids, listeners[1].ids) == (["A1"], [])


async def test_the_next_look_finds_that_the_leader_has_stepped_down(database: Database) -> None:
    async with _two(database) as (first, second):
        assert [await first.run_once(), await second.run_once()] == [1, 0]
        await first.close()
        assert first.tenure is None
        await _until_it_leads(second, within_s=2)
        assert await first.run_once() == 0


async def test_a_session_ended_between_publish_and_mark_marks_nothing(database: Database) -> None:
    async with _two(database) as (first, second):
        assert await first.run_once() == 1
        await _append(database, "A1", "B1", "A2")
        new = Listener()
        new.got.append(Event(event_id="-", topic="t", key="-", value=b""))  # other offsets

        class Ending(Listener):
            async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
                outcomes = await super().publish(events)
                assert await _end_sessions(database) == 1
                return outcomes

        ending = Ending()
        with pytest.raises(DatabaseUnavailable):
            await _relay(database, first, ending).run_once()
        assert ending.ids
        assert await _marks(database) == []
        assert first.tenure is None
        assert await second.run_once() == 1
        assert await first.run_once() == 0
        assert await _relay(database, second, new).run_once() == 3
        # Everything once more, in the order of the first time; the marks are the second's.
        assert ending.ids == ["A1", "B1", "A2"]
        assert new.ids[1:] == ending.ids
        assert await _marks(database) == [("A1", 2, 1), ("B1", 3, 1), ("A2", 4, 1)]


async def test_a_leader_without_a_sign_of_life_is_replaced_and_marks_nothing(
    database: Database,
) -> None:
    async with _two(database) as (first, second):
        assert [await first.run_once(), await second.run_once()] == [1, 0]
        await _append(database, "A1", "A2")
        new = Listener()

        class Sleeping(Listener):
            async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
                outcomes = await super().publish(events)
                # The first shows no sign of life meanwhile, the second stands again and again.
                await _until_it_leads(second, within_s=5)
                assert first.tenure is None  # nobody told it: its own clock does
                assert await _relay(database, second, new).run_once() == 2
                return [Delivery(partition=9, offset=999) for _outcome in outcomes]

        with pytest.raises(LeadershipLost):
            await _relay(database, first, Sleeping()).run_once()
        assert await _marks(database) == [("A1", 1, 1), ("A2", 2, 1)]
        assert [await first.run_once(), await second.run_once()] == [0, 1]


async def test_the_server_alone_would_stop_a_leader_whose_own_clock_stood(
    database: Database,
) -> None:
    first = AdvisoryLeadership(
        database=database, key=_KEY, idle_limit_s=_IDLE_LIMIT_S, clock_s=lambda: 0.0
    )
    assert await first.run_once() == 1
    await asyncio.sleep(_IDLE_LIMIT_S * 2)
    tenure = first.tenure
    assert tenure is not None  # it believes that it leads
    with pytest.raises(DatabaseUnavailable):
        async with tenure.transaction(name="relay_mark") as connection:
            await connection.execute(text("SELECT 1"))
    assert first.tenure is None
    with pytest.raises(LeadershipLost):  # and it does not come back by a connection of another day
        async with tenure.transaction(name="relay_mark"):
            pass
    await first.close()


async def test_a_leader_frozen_inside_its_mark_commits_nothing(database: Database) -> None:
    first = AdvisoryLeadership(
        database=database, key=_KEY, idle_limit_s=_IDLE_LIMIT_S, clock_s=lambda: 0.0
    )
    async with _two(database) as (second, _third):
        assert await first.run_once() == 1
        await _append(database, "A1")
        tenure = first.tenure
        assert tenure is not None

        async def mark() -> None:
            async with tenure.transaction(name="relay_mark") as connection:
                await connection.execute(
                    _TABLE.update().values(published_at=_START, published_offset=999)
                )
                await _until_it_leads(second, within_s=5)
                assert await _relay(database, second, Listener()).run_once() == 1

        with pytest.raises(DatabaseUnavailable):
            await mark()
        assert await _marks(database) == [("A1", 1, 1)]
    await first.close()


async def test_signs_of_life_keep_a_leader_while_it_publishes_slowly(database: Database) -> None:
    async with _two(database) as (first, second):
        assert await first.run_once() == 1
        await _append(database, "A1")

        class Slow(Listener):
            async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
                for _step in range(8):
                    await asyncio.sleep(_IDLE_LIMIT_S / 4)
                    assert [await first.run_once(), await second.run_once()] == [1, 0]
                return await super().publish(events)

        assert await _relay(database, first, Slow()).run_once() == 1


async def test_stepping_down_in_the_middle_of_a_mark_waits_for_it(database: Database) -> None:
    async with _two(database) as (first, second):
        assert await first.run_once() == 1
        tenure = first.tenure
        assert tenure is not None
        async with tenure.transaction(name="relay_mark") as connection:
            closing = asyncio.create_task(first.close())
            await connection.execute(text("SELECT pg_sleep(0.3)"))
            assert await second.run_once() == 0
        await closing
        await _until_it_leads(second, within_s=2)


async def test_a_database_that_is_away_ends_a_tenure_and_not_the_process(
    database: Database,
) -> None:
    away = Database(url="postgresql+asyncpg://nobody@127.0.0.1:1/none", connect_timeout_s=0.2)
    leadership = AdvisoryLeadership(database=away, key=_KEY)
    assert await leadership.run_once() == 0
    assert leadership.tenure is None
    await leadership.close()
    async with _two(database) as (first, _second):
        assert await first.run_once() == 1
        assert await _end_sessions(database) == 1
        assert await first.run_once() == 0  # finds out
        assert await first.run_once() == 1  # and stands again


async def test_a_file_has_one_leader(empty_sqlite_url: str, database: Database) -> None:
    file = Database(url=empty_sqlite_url)
    assert isinstance(leadership_of(database=file, key=_KEY), Alone)
    assert isinstance(leadership_of(database=database, key=_KEY), AdvisoryLeadership)
    await file.close()


# --- as processes -------------------------------------------------------------------------


@asynccontextmanager
async def _process(
    url: str, log: Path, *, pause_s: float
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", tether.__file__, str(os.getpid()),  # it ends with us
        sys.executable, str(_PROGRAM), url, str(log), str(pause_s), str(_KEY), str(_IDLE_LIMIT_S),
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": ".:generated"},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _eventually(condition: Callable[[], bool], *, within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


def _delivered(log: Path) -> list[str]:
    if not log.exists():
        return []
    return [json.loads(line)["event_id"] for line in log.read_text().splitlines()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_process_that_dies_or_freezes_while_it_publishes_is_replaced(
    database: Database, empty_postgres_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    names = [f"{key}{place:02}" for place in range(20) for key in "ABC"]
    await _append(database, *names)
    logs = tmp_path / "first", tmp_path / "second"
    async with _process(empty_postgres_url, logs[0], pause_s=0.05) as first:
        await _eventually(lambda: len(_delivered(logs[0])) > 8)
        async with _process(empty_postgres_url, logs[1], pause_s=0.001):
            await asyncio.sleep(_IDLE_LIMIT_S * 2)
            assert _delivered(logs[1]) == []  # it follows
            assert len(_delivered(logs[0])) < len(names)
            began = asyncio.get_running_loop().time()
            first.send_signal(number)
            await _eventually(lambda: len(_delivered(logs[1])) > 0)
            took_s = asyncio.get_running_loop().time() - began
            assert took_s < _IDLE_LIMIT_S + 3
            await _eventually(lambda: set(_delivered(logs[1])) >= set(names[-3:]))
            second_marks = None
            async with asyncio.timeout(10):
                while second_marks is None or len(second_marks) < len(names):
                    second_marks = await _marks(database)
                    await asyncio.sleep(0.05)
            if number == signal.SIGSTOP:
                first.send_signal(signal.SIGCONT)  # it thaws in the middle of its list
                await _eventually(lambda: set(_delivered(logs[0])) == set(names))
                await asyncio.sleep(_IDLE_LIMIT_S)
                assert first.returncode is None  # it lives on as a follower
            assert await _marks(database) == second_marks
    delivered = _delivered(logs[0]) + _delivered(logs[1])
    assert set(delivered) == set(names)
    # In the order of time: the first's until it stopped, then the second's.
    for key in "ABC":
        firsts = list(dict.fromkeys(name for name in delivered if name.startswith(key)))
        assert firsts == sorted(firsts)
