import asyncio
import socket
import time

import pytest
from sqlalchemy import text

from chassis.database import Database, DatabaseUnavailable
from tests.support.postgres import PostgresServer, start_postgres
from tests.support.postgres_cluster import PostgresNotRunnable


async def test_a_slow_statement_is_ended(empty_postgres_url: str) -> None:
    database = Database(url=empty_postgres_url, statement_timeout_s=0.2)
    with pytest.raises(DatabaseUnavailable, match="57014"):
        async with database.transaction() as connection:
            await connection.execute(text("SELECT pg_sleep(30)"))
    await database.ping()
    await database.close()


async def test_a_connection_the_server_dropped_is_unavailable_and_then_replaced(
    empty_postgres_url: str,
) -> None:
    database = Database(url=empty_postgres_url)
    other = Database(url=empty_postgres_url)

    async def work() -> None:
        async with database.transaction() as connection:
            process = await connection.scalar(text("SELECT pg_backend_pid()"))
            async with other.transaction() as killer:
                await killer.execute(text("SELECT pg_terminate_backend(:it)"), {"it": process})
            await connection.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        await work()
    await database.ping()
    assert database.connections_in_use == 0
    await database.close()
    await other.close()


async def test_nobody_listening_is_unavailable_and_the_text_holds_no_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    database = Database(url=f"postgresql+asyncpg://app:hush@127.0.0.1:{port}/app")
    with pytest.raises(DatabaseUnavailable) as unavailable:
        await asyncio.wait_for(database.ping(), timeout=5)
    assert "hush" not in str(unavailable.value)
    assert isinstance(unavailable.value.__cause__, OSError)
    await database.close()


async def test_a_server_that_never_answers_is_unavailable_within_its_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections, says nothing
        port = listener.getsockname()[1]
        database = Database(
            url=f"postgresql+asyncpg://app@127.0.0.1:{port}/app", connect_timeout_s=0.3
        )
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
        assert time.monotonic() - began < 2
        await database.close()


async def test_a_stopped_server_is_unavailable(postgres: PostgresServer) -> None:
    assert postgres.version  # no cluster of its own where PostgreSQL cannot run at all
    try:
        own = await asyncio.to_thread(start_postgres)
    except PostgresNotRunnable as reason:
        pytest.skip(str(reason))
    try:
        database = Database(url=own.url(database="postgres"))
        await database.ping()
        await asyncio.to_thread(own.stop)
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable):
                await database.ping()
            assert time.monotonic() - began < 5
        await database.close()
    finally:
        await asyncio.to_thread(own.stop)
