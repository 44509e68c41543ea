from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import MetaData, func, select
from sqlalchemy.exc import IntegrityError

from chassis import outbox
from chassis.database import Database
from chassis.outbox import Event, Published, outbox_table

_NOW = datetime(2025, 11, 15, 8, 30, tzinfo=UTC)
_LATER = _NOW + timedelta(seconds=10)
_TABLE = outbox_table(MetaData())


def _event(event_id: str, *, key: str = "P1", topic: str = "paid") -> Event:
    return Event(event_id=event_id, topic=topic, key=key, value=b'{"id":"%b"}' % event_id.encode())


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    database = Database(url=empty_database_url)
    async with database.transaction() as connection:
        await connection.run_sync(_TABLE.metadata.create_all)
    yield database
    await database.close()


async def _append(database: Database, *events: Event) -> None:
    async with database.transaction() as connection:
        await outbox.append(connection=connection, table=_TABLE, events=events, at=_NOW)


async def _claimed(
    database: Database, *, limit: int = 100, now: datetime = _NOW
) -> Sequence[outbox.OutboxRow]:
    async with database.reading() as connection:
        return await outbox.claim(connection=connection, table=_TABLE, limit=limit, now=now)


async def _claimed_ids(database: Database, *, now: datetime = _NOW) -> list[str]:
    return [row.event.event_id for row in await _claimed(database, now=now)]


async def _row_id(database: Database, event_id: str) -> int:
    async with database.reading() as connection:
        found = await connection.scalar(select(_TABLE.c.id).where(_TABLE.c.event_id == event_id))
    assert isinstance(found, int)
    return found


async def _park(database: Database, event_id: str) -> None:
    row_id = await _row_id(database, event_id)
    async with database.transaction() as connection:
        await outbox.park(
            connection=connection, table=_TABLE, row_id=row_id, at=_NOW, error="poison"
        )


async def _fail(database: Database, event_id: str, *, until: datetime) -> None:
    row_id = await _row_id(database, event_id)
    async with database.transaction() as connection:
        await outbox.mark_failed(
            connection=connection,
            table=_TABLE,
            row_id=row_id,
            next_attempt_at=until,
            error="down " * 1000,
        )


async def test_events_come_out_as_they_went_in_and_in_order(database: Database) -> None:
    whole = Event(event_id="a", topic="t", key="ភ", value=bytes(range(256)), request_id="r-1")
    await _append(database, whole, _event("b"))
    await _append(database, _event("c"))
    rows = await _claimed(database)
    assert rows[0].event == whole
    assert rows[0].attempts == 0
    assert [row.event.event_id for row in rows] == ["a", "b", "c"]
    assert len(await _claimed(database, limit=2)) == 2


async def test_no_events_is_no_statement(database: Database) -> None:
    await _append(database)
    assert await _claimed(database) == []


async def test_an_event_id_is_taken_once(database: Database) -> None:
    await _append(database, _event("a"))
    with pytest.raises(IntegrityError):
        await _append(database, _event("b"), _event("a"))
    assert await _claimed_ids(database) == ["a"]


async def test_a_published_row_is_not_claimed_again_and_says_where_it_went(
    database: Database,
) -> None:
    await _append(database, _event("a"), _event("b"))
    row_id = await _row_id(database, "a")
    async with database.transaction() as connection:
        await outbox.mark_published(
            connection=connection,
            table=_TABLE,
            rows=[Published(id=row_id, partition=3, offset=2**40)],
            at=_LATER,
        )
    assert await _claimed_ids(database) == ["b"]
    async with database.reading() as connection:
        row = (await connection.execute(select(_TABLE).where(_TABLE.c.id == row_id))).one()
    assert (row.published_at, row.published_partition, row.published_offset, row.attempts) == (
        _LATER,
        3,
        2**40,
        1,
    )


async def test_marks_say_where_each_row_went_and_the_first_stays(database: Database) -> None:
    await _append(database, *(_event(f"e{number}") for number in range(300)))
    rows = await _claimed(database, limit=300)
    for offset, count in ((1000, 256), (5000, 300)):
        async with database.transaction() as connection:
            await outbox.mark_published(
                connection=connection,
                table=_TABLE,
                rows=[
                    Published(id=row.id, partition=None if place % 2 else 3, offset=offset + place)
                    for place, row in enumerate(rows[:count])
                ],
                at=_LATER,
            )
    async with database.reading() as connection:
        found = await connection.execute(
            select(
                _TABLE.c.published_partition, _TABLE.c.published_offset, _TABLE.c.attempts
            ).order_by(_TABLE.c.id)
        )
    assert [tuple(row) for row in found] == [
        (None if place % 2 else 3, (1000 if place < 256 else 5000) + place, 1)
        for place in range(300)
    ]


async def test_a_row_that_waits_holds_back_the_later_ones_of_its_key(database: Database) -> None:
    await _append(
        database,
        _event("a1", key="A"),
        _event("b1", key="B"),
        _event("a2", key="A", topic="other"),
    )
    await _fail(database, "a1", until=_LATER)
    assert await _claimed_ids(database) == ["b1"]
    assert await _claimed_ids(database, now=_LATER) == ["a1", "b1", "a2"]
    assert (await _claimed(database, now=_LATER))[0].attempts == 1


async def test_a_row_that_commits_late_waits_with_its_key_and_goes_first(
    database: Database,
) -> None:
    await _append(database, _event("a1"), _event("a2"))
    await _fail(database, "a2", until=_LATER)
    assert await _claimed_ids(database) == []
    assert await _claimed_ids(database, now=_LATER) == ["a1", "a2"]


async def test_a_parked_row_parks_its_key_on_every_topic(database: Database) -> None:
    await _append(
        database,
        _event("a1", key="A", topic="one"),
        _event("a2", key="A", topic="two"),
        _event("b1", key="B", topic="two"),
        _event("a3", key="A", topic="one"),
    )
    await _park(database, "a2")
    assert await _claimed_ids(database, now=_LATER) == ["b1"]
    await _append(database, _event("a4", key="A", topic="three"))
    assert await _claimed_ids(database, now=_LATER) == ["b1"]


async def test_a_long_error_is_cut(database: Database) -> None:
    await _append(database, _event("a"))
    await _fail(database, "a", until=_LATER)
    async with database.reading() as connection:
        assert await connection.scalar(select(func.length(_TABLE.c.last_error))) == 500


async def test_a_row_that_commits_late_with_a_smaller_id_is_not_skipped(
    empty_postgres_url: str,
) -> None:
    database = Database(url=empty_postgres_url)
    async with database.transaction() as connection:
        await connection.run_sync(_TABLE.metadata.create_all)
    async with database.transaction() as slow:
        await outbox.append(
            connection=slow, table=_TABLE, events=[_event("slow", key="S")], at=_NOW
        )
        await _append(database, _event("quick", key="Q"))
        [quick] = await _claimed(database)
        assert quick.event.event_id == "quick"
        async with database.transaction() as connection:
            await outbox.mark_published(
                connection=connection,
                table=_TABLE,
                rows=[Published(id=quick.id, partition=None, offset=None)],
                at=_NOW,
            )
    [slow_row] = await _claimed(database)
    assert slow_row.event.event_id == "slow"
    assert slow_row.id < quick.id
    await database.close()
