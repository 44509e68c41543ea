import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from chassis.columns import COUNTED_ID, UtcDateTime
from chassis.database import Database, DatabaseUnavailable

_REFUSED_URLS = {
    "another engine": "mysql+pymysql://app:hush@db/app",
    "a driver that blocks": "postgresql+psycopg2://app:hush@db/app",
    "memory only": "sqlite+aiosqlite://",
    "no database": "postgresql+asyncpg://app:hush@db",
    "no URL": "hush",
}
_PHNOM_PENH = timezone(timedelta(hours=7))
_MOMENTS = [
    (datetime(2025, 11, 15, 8, 30, 0, 0, UTC), "2025-11-15T08:30:00.000000Z"),
    (datetime(2025, 11, 15, 8, 30, 0, 1, UTC), "2025-11-15T08:30:00.000001Z"),
    (datetime(2025, 11, 16, 0, 0, 0, 0, _PHNOM_PENH), "2025-11-15T17:00:00.000000Z"),
]

_metadata = MetaData()
_parent = Table("parent", _metadata, Column("id", Integer, primary_key=True))
_child = Table(
    "child",
    _metadata,
    Column("id", COUNTED_ID, primary_key=True, autoincrement=True),
    Column("parent_id", ForeignKey(_parent.c.id), nullable=False),
    Column("at", UtcDateTime),
)


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    database = Database(
        url=empty_database_url, pool_size=4, checkout_timeout_s=0.3, lock_timeout_s=0.3
    )
    async with database.transaction() as connection:
        await connection.run_sync(_metadata.create_all)
    yield database
    await database.close()


async def _ids(database: Database) -> list[int]:
    async with database.reading() as connection:
        return list(await connection.scalars(select(_parent.c.id).order_by(_parent.c.id)))


@pytest.mark.parametrize("url", _REFUSED_URLS.values(), ids=_REFUSED_URLS.keys())
def test_a_url_we_cannot_serve_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="a database URL") as refused:
        Database(url=url)
    assert "hush" not in str(refused.value)


async def test_work_is_kept_when_the_block_ends(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(insert(_parent).values(id=1))
    assert await _ids(database) == [1]


async def test_work_is_undone_when_the_block_fails(database: Database) -> None:
    async def work() -> None:
        async with database.transaction() as connection:
            await connection.execute(insert(_parent).values(id=1))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await work()
    assert await _ids(database) == []
    assert database.connections_in_use == 0


async def test_a_broken_constraint_stays_an_integrity_error(database: Database) -> None:
    for values in ({"parent_id": 404}, {"parent_id": None}):
        with pytest.raises(IntegrityError):
            async with database.transaction() as connection:
                await connection.execute(insert(_child).values(**values))


async def test_an_error_does_not_repeat_the_row(database: Database) -> None:
    with pytest.raises(IntegrityError) as refused:
        async with database.transaction() as connection:
            await connection.execute(insert(_child).values(parent_id=987654))
    assert "987654" not in str(refused.value)


async def test_a_fault_of_ours_is_not_called_trouble(database: Database) -> None:
    with pytest.raises(DBAPIError):
        async with database.transaction() as connection:
            await connection.execute(text("SELECT * FROM nowhere"))


async def test_reading_refuses_to_write(database: Database) -> None:
    with pytest.raises(DBAPIError):
        async with database.reading() as connection:
            await connection.execute(insert(_parent).values(id=1))
    assert await _ids(database) == []


async def test_reading_goes_on_while_another_writes(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(insert(_parent).values(id=1))
        assert await _ids(database) == []
    assert await _ids(database) == [1]


async def test_reading_sees_one_state_whatever_is_committed_meanwhile(database: Database) -> None:
    async with database.reading() as connection:
        for number in range(2):
            assert list(await connection.scalars(select(_parent.c.id))) == []
            async with database.transaction() as other:
                await other.execute(insert(_parent).values(id=number))
    assert await _ids(database) == [0, 1]


@pytest.mark.parametrize(("moment", "stored"), _MOMENTS)
async def test_a_moment_comes_back_in_utc(
    database: Database, moment: datetime, stored: str
) -> None:
    async with database.transaction() as connection:
        await connection.execute(insert(_parent).values(id=1))
        await connection.execute(insert(_child).values(parent_id=1, at=moment))
        found = await connection.scalar(select(_child.c.at).where(_child.c.at == moment))
        raw = await connection.scalar(text("SELECT at FROM child"))
    assert found == moment
    assert found.tzinfo is UTC
    assert raw == (stored if database.dialect == "sqlite" else moment)


async def test_moments_sort(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(insert(_parent).values(id=1))
        for moment, _stored in reversed(_MOMENTS):
            await connection.execute(insert(_child).values(parent_id=1, at=moment))
        found = list(await connection.scalars(select(_child.c.at).order_by(_child.c.at)))
    assert found == sorted(moment for moment, _stored in _MOMENTS)


async def test_a_moment_nobody_can_place_is_refused(database: Database) -> None:
    naive = datetime(2025, 11, 15)  # noqa: DTZ001 - the naive one is what is tried
    with pytest.raises(Exception, match="must be aware"):
        async with database.transaction() as connection:
            await connection.execute(select(_child.c.id).where(_child.c.at == naive))


async def test_cancelled_transactions_leak_nothing(database: Database) -> None:
    chance = random.Random(7)  # noqa: S311 - the same pauses on every run

    async def work(number: int) -> None:
        async with database.transaction() as connection:
            await connection.execute(insert(_parent).values(id=number))
            await connection.execute(insert(_child).values(parent_id=number))

    for number in range(60):
        if number % 5 == 0:
            await database.close()  # so that opening a connection is cancelled as well
        task = asyncio.create_task(work(number))
        await asyncio.sleep(chance.random() * 0.008)
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        assert outcome is None or isinstance(outcome, asyncio.CancelledError)
    assert database.connections_in_use == 0
    async with database.reading() as connection:
        children = list(await connection.scalars(select(_child.c.parent_id)))
    assert sorted(children) == await _ids(database)  # never the half of one
    await asyncio.wait_for(work(1000), timeout=5)


async def test_an_exhausted_pool_is_unavailable_within_its_timeout(database: Database) -> None:
    release, held = asyncio.Event(), asyncio.Barrier(5)

    async def hold() -> None:
        async with database.reading() as connection:
            await connection.execute(text("SELECT 1"))
            await held.wait()
            await release.wait()

    holders = [asyncio.create_task(hold()) for _ in range(4)]
    await asyncio.wait_for(held.wait(), timeout=5)
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="TimeoutError"):
        await database.ping()
    assert 0.2 < time.monotonic() - began < 2
    release.set()
    await asyncio.gather(*holders)
    await database.ping()


async def test_a_lock_held_by_another_process_is_unavailable_within_its_timeout(
    database: Database, empty_database_url: str
) -> None:
    other = Database(url=empty_database_url)
    try:
        async with other.transaction() as first:
            await first.execute(insert(_parent).values(id=1))
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match=r"SQLITE_BUSY|55P03"):
                async with database.transaction() as second:
                    await second.execute(insert(_parent).values(id=1))
            assert 0.2 < time.monotonic() - began < 2
        assert database.connections_in_use == 0
    finally:
        await other.close()


async def test_writers_of_one_process_wait_for_each_other(database: Database) -> None:
    async def add(number: int) -> None:
        async with database.transaction() as connection:
            await connection.execute(insert(_parent).values(id=number))

    await asyncio.gather(*(add(number) for number in range(20)))
    assert await _ids(database) == list(range(20))


async def test_sqlite_holds_the_write_lock_from_the_start(empty_sqlite_url: str) -> None:
    first, second = (
        Database(url=empty_sqlite_url),
        Database(url=empty_sqlite_url, lock_timeout_s=0.1),
    )
    await second.ping()
    async with first.transaction():
        with pytest.raises(DatabaseUnavailable, match="SQLITE_BUSY"):
            async with second.transaction():
                pytest.fail("two write at once")
        await second.ping()
    await first.close()
    await second.close()


async def test_sqlite_keeps_its_promises_on_every_connection(empty_sqlite_url: str) -> None:
    database = Database(url=empty_sqlite_url)
    for opened in (database.transaction, database.reading):
        async with opened() as connection:
            found = {
                name: await connection.scalar(text(f"PRAGMA {name}"))
                for name in ("foreign_keys", "journal_mode", "synchronous")
            }
        assert found == {"foreign_keys": 1, "journal_mode": "wal", "synchronous": 2}
    await database.close()


async def test_reading_leaves_no_mark_on_the_connection(empty_postgres_url: str) -> None:
    database = Database(url=empty_postgres_url, pool_size=1)
    await database.ping()
    async with database.transaction() as connection:
        level = await connection.scalar(text("SHOW transaction_isolation"))
        read_only = await connection.scalar(text("SHOW transaction_read_only"))
    assert (level, read_only) == ("read committed", "off")
    await database.close()
