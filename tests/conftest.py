"""Engines for every test: a SQLite file, PostgreSQL, and Kafka."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chassis.redaction import known_secrets
from tests.support.kafka import KafkaOfSession, kafka_of_session
from tests.support.kafka_broker import KafkaBroker
from tests.support.postgres import (
    PostgresServer,
    fresh_postgres_url,
    postgres_server,
)
from tests.support.postgres_cluster import PostgresNotRunnable
from tests.support.schema import make_schema

_engines: dict[str, str] = {}  # what ran, for the last lines of the report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which engines the tests met."""
    if _engines:
        seen = ", ".join(f"{name}: {version}" for name, version in sorted(_engines.items()))
        terminalreporter.write_line(f"engines: {seen}")


@pytest.fixture(autouse=True)
def secrets_of_its_own() -> Iterator[None]:
    """Let each test know only its own secrets: a process has a dozen, all tests have thousands."""
    lasting, renewed = set(known_secrets._lasting), dict(known_secrets._renewed)
    yield
    known_secrets._lasting, known_secrets._renewed = lasting, renewed
    known_secrets._pattern = None


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


@pytest.fixture(scope="session")
def postgres_with_schema(postgres: PostgresServer) -> Iterator[str]:
    """Return the name of a database with the newest schema and nothing else, to be copied."""
    name = postgres.fresh_database()
    make_schema(url=postgres.url(database=name))
    yield name
    postgres.drop_database(name=name)


@pytest.fixture(scope="session")
def sqlite_with_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite file with the newest schema and nothing else, to be copied."""
    file = tmp_path_factory.mktemp("schema") / "schema.sqlite"
    make_schema(url=f"sqlite+aiosqlite:///{file}")
    return file


@pytest.fixture
def empty_postgres_url(postgres: PostgresServer, request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh, empty PostgreSQL database."""
    return fresh_postgres_url(server=postgres, request=request)


@pytest.fixture
def postgres_url(
    postgres: PostgresServer, postgres_with_schema: str, request: pytest.FixtureRequest
) -> str:
    """Return the URL of a fresh PostgreSQL database with the newest schema."""
    return fresh_postgres_url(server=postgres, request=request, like=postgres_with_schema)


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that does not exist yet."""
    _engines["SQLite"] = sqlite3.sqlite_version
    return f"sqlite+aiosqlite:///{tmp_path / 'test.sqlite'}"


@pytest.fixture
def sqlite_url(empty_sqlite_url: str, tmp_path: Path, sqlite_with_schema: Path) -> str:
    """Return the URL of a fresh SQLite file with the newest schema."""
    shutil.copyfile(sqlite_with_schema, tmp_path / "test.sqlite")
    return empty_sqlite_url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh, empty database, once per engine."""
    name = "empty_sqlite_url" if request.param == "sqlite" else "empty_postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh database with the newest schema, once per engine."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaOfSession]:
    """Return the session's Kafka: a broker where one runs, else a mock that says why."""
    with kafka_of_session(environ=dict(os.environ)) as found:
        _engines["Kafka"] = found.called
        yield found


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka: KafkaOfSession) -> str:
    """Return `host:port` of the session's Kafka."""
    return kafka.bootstrap


@pytest.fixture
async def topic(kafka: KafkaOfSession) -> str:
    """Return the name of a topic of the session's Kafka that is this test's own."""
    return await kafka.fresh_topic()


@pytest.fixture
def real_kafka(kafka: KafkaOfSession) -> KafkaOfSession:
    """Return the session's Kafka where it is a broker; what only one can show skips a mock."""
    if kafka.mock_because is not None:
        pytest.skip(f"only a broker can show it: {kafka.mock_because}")
    return kafka


@pytest.fixture
def make_broker(
    real_kafka: KafkaOfSession,  # noqa: ARG001 - asked for its skip
    tmp_path: Path,
) -> Iterator[Callable[[], KafkaBroker]]:
    """Return a maker of brokers that a test may kill; they end with the test."""
    made: list[KafkaBroker] = []

    def make() -> KafkaBroker:
        made.append(KafkaBroker(tmp_path / f"broker-{len(made)}"))
        return made[-1]

    yield make
    for broker in made:
        broker.kill()
