"""Connections that rested are asked whether they live; those just used are not.

| the connection | the server | the next work |
|---|---|---|
| rested a second | has ended it | is done, over a new one |
| rested a second | is there | is done, after one question |
| was just used | is there | is done, no question is asked |
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from chassis.rested import ping_rested


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
async def engine(empty_postgres_url: str, hand: Hand) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(empty_postgres_url, poolclass=AsyncAdaptedQueuePool, pool_size=2)
    ping_rested(engine=made.sync_engine, timer=hand)
    yield made
    await made.dispose()


async def _backend(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def _ended(empty_postgres_url: str, pid: int) -> None:
    other = create_async_engine(empty_postgres_url)
    async with other.connect() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
    await other.dispose()


async def test_one_that_the_server_ended_while_it_rested_is_replaced(
    engine: AsyncEngine, hand: Hand, empty_postgres_url: str
) -> None:
    first = await _backend(engine)
    await _ended(empty_postgres_url, first)
    hand.now_s += 1
    assert await _backend(engine) != first


@pytest.mark.parametrize(("rested_s", "questions"), [(0.9, 0), (1.0, 1), (60.0, 1)])
async def test_only_one_that_rested_is_asked(
    engine: AsyncEngine,
    hand: Hand,
    rested_s: float,
    questions: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    ping = engine.dialect.do_ping

    def count(connection: Any) -> bool:
        asked.append(connection)
        return bool(ping(connection))

    monkeypatch.setattr(engine.dialect, "do_ping", count)
    first = await _backend(engine)
    assert not asked, "a new one has just been opened"
    hand.now_s += rested_s
    assert await _backend(engine) == first
    assert len(asked) == questions


async def test_questions_are_no_statements_of_ours(engine: AsyncEngine, hand: Hand) -> None:
    seen: list[str] = []
    event.listen(
        engine.sync_engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_rest: seen.append(statement),
    )
    await _backend(engine)
    hand.now_s += 5
    await _backend(engine)
    assert seen == ["SELECT pg_backend_pid()"] * 2
