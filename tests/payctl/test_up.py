"""The supervisor over fake parts in processes of their own, ended in every way."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_DRIVER = Path(__file__).with_name("fake_up.py")
_BOUND_S = 25


@dataclass
class Running:
    """A `payctl up` under test and its files."""

    process: subprocess.Popen[bytes]
    var: Path

    def said(self) -> str:
        return (self.var / "said.txt").read_text()

    def wait(self) -> int:
        return self.process.wait(timeout=_BOUND_S)

    def until_ready(self) -> None:
        until(lambda: "Ready." in self.said() or self.process.poll() is not None)
        assert "Ready." in self.said(), self.said()

    def pid(self, name: str) -> int:
        return int((self.var / f"{name}.pid").read_text())

    def stopped_in_order(self) -> list[str]:
        return (self.var / "order").read_text().split()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start `payctl up` over two fake parts; whatever happens, nothing stays behind."""
    started: list[Running] = []

    def start(first: str = "well", second: str = "well", **environ: str) -> Running:
        with (tmp_path / "said.txt").open("wb") as said:
            process = subprocess.Popen(  # our own program
                [sys.executable, str(_DRIVER), first, second],
                env={**os.environ, "VAR_DIR": str(tmp_path), **environ},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        started.append(Running(process=process, var=tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        for name in ("first", "second"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(one.pid(name), signal.SIGKILL)


def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; fail if it does not in time."""
    end_s = time.monotonic() + _BOUND_S
    while not condition():
        assert time.monotonic() < end_s, "waited too long"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether the process runs; one that only waits to be reaped does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_last_started_first(
    up: Callable[..., Running], number: signal.Signals
) -> None:
    running = up()
    running.until_ready()
    pids = [running.pid("first"), running.pid("second")]
    running.process.send_signal(number)
    assert running.wait() == 0
    assert running.stopped_in_order() == ["second", "first"]
    assert not any(is_alive(pid) for pid in pids)


def test_later_parts_learn_the_real_addresses(up: Callable[..., Running]) -> None:
    running = up()
    running.until_ready()
    url = (running.var / "second.url").read_text().strip()
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 # our own server
        first_url = answer.read().decode()
    with urllib.request.urlopen(first_url, timeout=5) as answer:  # noqa: S310 # as above
        assert answer.status == 200


def test_a_variable_that_is_set_wins(up: Callable[..., Running]) -> None:
    running = up(FIRST_URL="http://elsewhere")
    running.until_ready()
    url = (running.var / "second.url").read_text().strip()
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 # our own server
        assert answer.read() == b"http://elsewhere"


def test_a_part_that_ends_at_once_is_named_with_the_end_of_its_log(
    up: Callable[..., Running],
) -> None:
    running = up("well", "dies-at-once")
    assert running.wait() == 1
    assert "second exited with 1" in running.said()
    assert "the moon is wrong" in running.said()
    assert running.stopped_in_order() == ["first"]
    assert not is_alive(running.pid("first"))


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_part_that_dies_later_takes_the_rest_along(up: Callable[..., Running], name: str) -> None:
    running = up()
    running.until_ready()
    os.kill(running.pid(name), signal.SIGKILL)
    assert running.wait() == 1
    assert f"{name} was killed by signal 9" in running.said()
    assert not any(is_alive(running.pid(one)) for one in ("first", "second"))


def test_a_part_that_is_never_well_is_given_up(up: Callable[..., Running]) -> None:
    running = up("well", "never-well")
    assert running.wait() == 1
    assert "second was not ready within 3 s" in running.said()
    assert not any(is_alive(running.pid(one)) for one in ("first", "second"))


def test_a_part_that_will_not_stop_is_killed_and_said(up: Callable[..., Running]) -> None:
    running = up("well", "stubborn")
    running.until_ready()
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    assert "second did not stop in time: killed" in running.said()
    assert not any(is_alive(running.pid(one)) for one in ("first", "second"))


def test_ctrl_c_while_starting_stops_what_was_started(up: Callable[..., Running]) -> None:
    running = up("well", "never-well")
    until((running.var / "second.pid").exists)
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    assert not any(is_alive(running.pid(one)) for one in ("first", "second"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_kill_9_leaves_no_orphan(up: Callable[..., Running]) -> None:
    running = up("stubborn", "stubborn")
    running.until_ready()
    pids = [running.pid("first"), running.pid("second")]
    running.process.kill()
    running.wait()
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_taken_address_is_named_with_the_variable_that_moves_it(
    up: Callable[..., Running],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        running = up(SECOND_LISTEN=address)
        assert running.wait() == 2
    (line,) = running.said().splitlines()
    assert address in line
    assert "SECOND_LISTEN" in line
    assert not (running.var / "first.pid").exists()


def test_a_second_one_on_the_same_files_is_refused(up: Callable[..., Running]) -> None:
    first = up()
    first.until_ready()
    second = up()
    assert second.wait() == 2
    assert "running already" in second.said()
    assert is_alive(first.pid("first"))


def test_a_second_start_keeps_the_log_of_the_first(up: Callable[..., Running]) -> None:
    for _ in range(2):
        running = up()
        running.until_ready()
        running.process.send_signal(signal.SIGTERM)
        assert running.wait() == 0
    log = running.var / "log"
    assert "listening" in (log / "first.log").read_text()
    assert "listening" in (log / "first.log.1").read_text()


def test_a_key_file_without_our_key_is_refused(up: Callable[..., Running], tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"keys": []}')
    running = up(JWT_KEYS_FILE=str(tmp_path / "other.json"))
    assert running.wait() == 2
    assert "JWT_KEYS_FILE" in running.said()


def test_production_is_refused(up: Callable[..., Running]) -> None:
    running = up(ENVIRONMENT="production")
    assert running.wait() == 2
    assert "ENVIRONMENT" in running.said()
    assert not (running.var / "first.pid").exists()


def test_tls_is_refused_by_the_variable_that_asks_for_it(up: Callable[..., Running]) -> None:
    running = up(GATEWAY_TLS_KEY_PATH="some.key")
    assert running.wait() == 2
    assert "GATEWAY_TLS_KEY_PATH: payctl up speaks plain text" in running.said()
