"""What is done again.

| the attempt ended with | it is |
|------------------------|-------|
| a deadlock, a serialization failure | undone: done again |
| a connection that broke during the commit | unknown: done again, found by key |
| what the caller names | done again |
| a database that is away | the caller's 503, at once |
| anything else | raised |
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from chassis.attempts import repeated
from chassis.database import CommitUnknown, Database, DatabaseUnavailable, TransactionConflict


class _Other(Exception):
    pass


_OUTCOMES: dict[str, tuple[Exception, int]] = {
    "conflict": (TransactionConflict(), 2),
    "unknown": (CommitUnknown(), 2),
    "named": (_Other(), 2),
    "away": (DatabaseUnavailable(), 1),
    "a fault": (ZeroDivisionError(), 1),
}


def _failing_once(problem: Exception) -> tuple[Callable[[], Awaitable[str]], list[int]]:
    tries: list[int] = []

    async def work() -> str:
        tries.append(len(tries))
        if len(tries) == 1:
            raise problem
        return "done"

    return work, tries


@pytest.mark.parametrize(("problem", "expected"), _OUTCOMES.values(), ids=_OUTCOMES.keys())
async def test_what_is_done_again(problem: Exception, expected: int) -> None:
    work, tries = _failing_once(problem)
    outcome = await asyncio.gather(
        repeated(work=work, also_after=(_Other,), pauses_s=(0.0, 0.0)), return_exceptions=True
    )
    assert len(tries) == expected
    assert list(outcome) == (["done"] if expected == 2 else [problem])


async def test_attempts_end() -> None:
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        raise TransactionConflict

    with pytest.raises(TransactionConflict):
        await repeated(work=work, pauses_s=(0.0, 0.0))
    assert tries == 3


async def test_two_that_lock_crosswise_both_land(empty_postgres_url: str) -> None:
    database = Database(url=empty_postgres_url)
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE counted (id int PRIMARY KEY, n int)"))
        await connection.execute(text("INSERT INTO counted VALUES (1, 0), (2, 0)"))
    deadlocks = 0

    async def add(first: int, second: int) -> None:
        nonlocal deadlocks

        async def work() -> None:
            nonlocal deadlocks
            try:
                async with database.transaction() as connection:
                    for row in (first, second):
                        await connection.execute(
                            text("UPDATE counted SET n = n + 1 WHERE id = :id"), {"id": row}
                        )
                        await asyncio.sleep(0.2)
            except TransactionConflict:
                deadlocks += 1
                raise

        await repeated(work=work)

    await asyncio.gather(add(1, 2), add(2, 1))
    async with database.reading() as connection:
        rows = await connection.execute(text("SELECT id, n FROM counted ORDER BY id"))
        assert [tuple(row) for row in rows] == [(1, 2), (2, 2)]
    assert deadlocks == 1
    await database.close()
