"""A transaction that asks PostgreSQL's driver keeps the promises of one through SQLAlchemy.

| what happens                                      | what is left                             |
|---------------------------------------------------|------------------------------------------|
| the block ends                                    | its work; its points are told in order   |
| the block fails, or is cancelled anywhere         | nothing; no connection is in a transaction |
| a broken constraint, at once or at the commit     | an IntegrityError, without the row       |
| a statement that is wrong                         | an error, not trouble of the database    |
| a moment that nobody can place                    | refused before anything is sent          |
| a slow statement, a lock held by another          | unavailable within its time              |
| two that wait for each other                      | one of them is told that it may repeat   |
| the server answers nothing any more               | nothing more is asked; unavailable       |
| the server drops a connection                     | unavailable; the others are replaced too |
| an error that nobody minded, then the end         | no commit                                |
| the schema changes beneath a statement            | it may be repeated, and then goes well   |
"""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from chassis.columns import UtcDateTime
from chassis.database import CommitUnknown, Database, DatabaseUnavailable, TransactionConflict
from chassis.direct import Direct, prepared
from chassis.sets import insert_given, rows_given

_METADATA = MetaData()
_PARENT = Table(
    "parent",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("word", Text, nullable=False, server_default="x"),
    Column("at", UtcDateTime),
)
_CHILD = Table(
    "child",
    _METADATA,
    Column("parent_id", ForeignKey(_PARENT.c.id, deferrable=True, initially="DEFERRED")),
)
_AT = datetime(2026, 11, 27, 9, 30, 0, 123456, tzinfo=UTC)
_MAKE = insert(_PARENT).values(id=bindparam("number", type_=Integer)).returning(_PARENT.c.id)
_MAKE_CHILD = insert(_CHILD).values(parent_id=bindparam("number", type_=Integer))
_CHANGE = (
    update(_PARENT).where(_PARENT.c.id == bindparam("number", type_=Integer)).values(word="changed")
)
_READ = select(_PARENT).order_by(_PARENT.c.id)
_SLEEP = select(func.pg_sleep(bindparam("seconds", type_=Integer)))
_WRONG = select(text("nothing FROM nowhere"))
_PROCESS = select(func.pg_backend_pid().label("process"))


@pytest.fixture
async def database(empty_postgres_url: str) -> AsyncIterator[Database]:
    """Return a database with two tables; its time-outs are short."""
    points: list[str] = []
    database = Database(
        url=empty_postgres_url,
        pool_size=4,
        statement_timeout_s=1.0,
        lock_timeout_s=0.3,
        reached=points.append,
    )
    async with database.transaction() as connection:
        await connection.run_sync(_METADATA.create_all)
    points.clear()
    database.points = points  # type: ignore[attr-defined] # where the tests find them
    yield database
    await database.close()


async def _ids(database: Database) -> list[int]:
    async with database.direct(name="look") as direct:
        return [row.id for row in await direct.fetch(statement=_READ, given={})]


async def _make(database: Database, number: int) -> None:
    async with database.direct(name="make") as direct:
        await direct.fetch(statement=_MAKE, given={"number": number})


async def _in_transaction(database: Database) -> int:
    """Return how many sessions hold a transaction open and do nothing."""
    async with database.reading() as connection:
        found = await connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND state LIKE 'idle in transaction%'"
            )
        )
    return int(found or 0)


async def test_work_is_kept_when_the_block_ends_and_its_points_are_told(database: Database) -> None:
    await _make(database, 1)
    assert database.points == ["make.before_commit", "make.after_commit"]  # type: ignore[attr-defined]
    assert await _ids(database) == [1]
    assert database.connections_in_use == 0


async def test_work_is_undone_when_the_block_fails_and_the_connection_goes_on(
    database: Database,
) -> None:
    processes = set()

    async def work() -> None:
        async with database.direct(name="work") as direct:
            [row] = await direct.fetch(statement=_PROCESS, given={})
            processes.add(row.process)
            await direct.fetch(statement=_MAKE, given={"number": 1})
            raise RuntimeError("stop")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="stop"):
            await work()
    assert await _ids(database) == []
    assert len(processes) == 1
    assert await _in_transaction(database) == 0


async def test_cancelled_transactions_leak_nothing(database: Database) -> None:
    chance = random.Random(7)  # noqa: S311 - the same pauses on every run

    async def work(number: int) -> None:
        async with database.direct(name="work") as direct:
            await direct.fetch(statement=_MAKE, given={"number": number})
            await direct.fetch(statement=_MAKE_CHILD, given={"number": number})

    for number in range(60):
        if number % 5 == 0:
            await database.close()  # so that opening a connection is cancelled as well
        task = asyncio.create_task(work(number))
        await asyncio.sleep(chance.random() * 0.008)
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        assert outcome is None or isinstance(outcome, asyncio.CancelledError)
    assert database.connections_in_use == 0
    assert await _in_transaction(database) == 0
    async with database.reading() as connection:
        children = list(await connection.scalars(select(_CHILD.c.parent_id)))
    assert sorted(children) == await _ids(database)  # never the half of one
    await asyncio.wait_for(work(1000), timeout=5)


async def test_cancelled_between_two_statements_it_gives_no_open_transaction_back(
    database: Database,
) -> None:
    made = asyncio.Event()

    async def work() -> None:
        async with database.direct(name="work") as direct:
            await direct.fetch(statement=_MAKE, given={"number": 1})
            made.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await made.wait()
    assert await _in_transaction(database) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await _in_transaction(database) == 0
    assert await _ids(database) == []
    await _make(database, 1)


async def test_a_broken_constraint_is_an_integrity_error_without_the_row(
    database: Database,
) -> None:
    await _make(database, 987654)
    with pytest.raises(IntegrityError) as refused:
        await _make(database, 987654)
    assert "987654" not in str(refused.value)


async def test_a_constraint_broken_at_the_commit_is_an_integrity_error_too(
    database: Database,
) -> None:
    processes = set()

    async def work() -> None:
        async with database.direct(name="work") as direct:
            processes.update(await direct.fetch(statement=_PROCESS, given={}))
            await direct.fetch(statement=_MAKE_CHILD, given={"number": 404})

    for _ in range(2):
        with pytest.raises(IntegrityError):
            await work()
    assert len(processes) == 1  # the connection goes on
    assert await _in_transaction(database) == 0
    await _make(database, 1)


async def test_a_fault_of_ours_is_not_called_trouble(database: Database) -> None:
    with pytest.raises(DBAPIError):
        async with database.direct(name="work") as direct:
            await direct.fetch(statement=_WRONG, given={})


async def test_moments_come_and_go_as_utc_and_one_that_nobody_can_place_is_refused(
    database: Database,
) -> None:
    several = insert_given(table=_PARENT, name="given", columns=("id", "at"))

    def rows(at: datetime) -> dict[str, Any]:
        return rows_given(name="given", columns=("id", "at"), rows=[{"id": 1, "at": at}])

    naive = _AT.replace(tzinfo=None)
    with pytest.raises(ValueError, match="aware"):
        async with database.direct(name="work") as direct:
            await direct.fetch(statement=several, given=rows(naive))
    async with database.direct(name="work") as direct:
        await direct.fetch(statement=several, given=rows(_AT))
        [row] = await direct.fetch(statement=_READ, given={})
    assert (row.at, row.at.tzinfo) == (_AT, UTC)


async def test_a_statement_is_made_once_and_lacks_nothing() -> None:
    assert prepared(_MAKE) is prepared(_MAKE)
    assert prepared(_CHANGE).arguments({"number": 7}).count("changed") == 1
    with pytest.raises(KeyError):
        prepared(_MAKE).arguments({})


async def test_a_slow_statement_is_ended(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="57014"):
        async with database.direct(name="work") as direct:
            await direct.fetch(statement=_SLEEP, given={"seconds": 30})
    await _make(database, 1)


async def test_a_lock_that_another_holds_is_unavailable_within_its_time(
    database: Database,
) -> None:
    await _make(database, 1)
    async with database.direct(name="holder") as holder:
        await holder.fetch(statement=_CHANGE, given={"number": 1})
        with pytest.raises(DatabaseUnavailable, match="55P03"):
            async with database.direct(name="waiter") as waiter:
                await waiter.fetch(statement=_CHANGE, given={"number": 1})


async def test_of_two_that_wait_for_each_other_one_may_repeat(
    empty_postgres_url: str, database: Database
) -> None:
    patient = Database(url=empty_postgres_url, lock_timeout_s=5.0)
    for number in (1, 2):
        await _make(database, number)
    both = asyncio.Barrier(2)

    async def work(first: int, second: int) -> None:
        async with patient.direct(name="work") as direct:
            await direct.fetch(statement=_CHANGE, given={"number": first})
            await both.wait()
            await direct.fetch(statement=_CHANGE, given={"number": second})

    outcomes = await asyncio.gather(work(1, 2), work(2, 1), return_exceptions=True)
    assert sorted(type(one).__name__ for one in outcomes) == ["NoneType", "TransactionConflict"]
    await patient.close()


class _Silent:
    """A driver whose server has gone quiet."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def execute(self, command: str) -> str:
        self.asked.append(command)
        return command.partition(" ")[0]

    async def fetch(self, *_arguments: object, **_options: object) -> list[Any]:
        raise TimeoutError

    def is_closed(self) -> bool:
        return False


async def test_a_server_that_answers_nothing_is_not_asked_again() -> None:
    driver = _Silent()
    direct = Direct(driver=driver, trouble=lambda reason, _: DatabaseUnavailable(reason))
    await direct.begin()
    with pytest.raises(DatabaseUnavailable, match="TimeoutError"):
        await direct.fetch(statement=_READ, given={})
    await direct.undo()
    assert len(driver.asked) == 1
    assert not direct.is_clean


async def test_what_the_server_dropped_is_unavailable_and_then_all_of_it_replaced(
    database: Database, empty_postgres_url: str
) -> None:
    other = Database(url=empty_postgres_url)
    everybody = asyncio.Barrier(4)

    async def work() -> None:
        async with database.direct(name="work"):
            await everybody.wait()

    await asyncio.gather(*(work() for _ in range(4)))  # four connections rest in the pool
    async with other.transaction() as killer:
        await killer.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    await other.close()
    await asyncio.sleep(0.1)
    with pytest.raises(DatabaseUnavailable):
        await _make(database, 1)
    for number in range(4):
        await _make(database, number)
    assert database.connections_in_use == 0


async def test_after_an_error_that_nobody_minded_there_is_no_commit(database: Database) -> None:
    async def work(direct: Direct) -> None:
        await direct.fetch(statement=_MAKE, given={"number": 1})
        with pytest.raises(DBAPIError):
            await direct.fetch(statement=_WRONG, given={})

    with pytest.raises(CommitUnknown):
        async with database.direct(name="work") as direct:
            await work(direct)
    assert await _ids(database) == []
    assert "work.after_commit" not in database.points  # type: ignore[attr-defined]


async def test_a_statement_whose_table_has_changed_may_be_repeated(database: Database) -> None:
    everything = select(text("*")).select_from(_PARENT)

    async def work() -> None:
        async with database.direct(name="work") as direct:
            await direct.fetch(statement=everything, given={})

    await work()
    async with database.transaction() as connection:
        await connection.execute(text("ALTER TABLE parent ADD COLUMN more text"))
    with pytest.raises(TransactionConflict):
        await work()
    await work()
