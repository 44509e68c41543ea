"""Engines for every test: a SQLite file, PostgreSQL, and a stand-in for Kafka."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kafka import mock_cluster
from tests.support.postgres import (
    PostgresServer,
    fresh_postgres_url,
    postgres_server,
)
from tests.support.postgres_cluster import PostgresNotRunnable

_engines: dict[str, str] = {}  # what ran, for the last lines of the report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which engines the tests met."""
    if _engines:
        seen = ", ".join(f"{name}: {version}" for name, version in sorted(_engines.items()))
        terminalreporter.write_line(f"engines: {seen}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Return the session's PostgreSQL server; tests that need it skip where none can run."""
    try:
        server = postgres_server(environ=dict(os.environ))
    except PostgresNotRunnable as reason:
        _engines["PostgreSQL"] = f"not run ({reason})"
        pytest.skip(str(reason))
    _engines["PostgreSQL"] = server.version
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def postgres_url(postgres: PostgresServer, request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh, empty PostgreSQL database."""
    return fresh_postgres_url(server=postgres, request=request)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that does not exist yet."""
    _engines["SQLite"] = sqlite3.sqlite_version
    return f"sqlite+aiosqlite:///{tmp_path / 'test.sqlite'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh database, once per engine."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """Return `host:port` of a Kafka that is only a mock."""
    _engines["Kafka"] = "mock cluster of librdkafka"
    with mock_cluster() as bootstrap:
        yield bootstrap
