"""`payctl up` with the real parts: its printed commands, copied as they are into a shell."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_BOUND_S = 60
_ANYWHERE = {
    "SANDBOX_LISTEN": "127.0.0.1:0",
    "GATEWAY_LISTEN": "127.0.0.1:0",
    "KHQR_LISTEN": "127.0.0.1:0",
    "BRIDGE_LISTEN": "127.0.0.1:0,127.0.0.1:0",
}
# A laptop's own settings must not reach into the test.
_OURS = ("VAR_DIR", "ENVIRONMENT", "DATABASE_URL", "EVENTS_URL", "TOPIC_PREFIX", "BANKS_FILE")

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="the printed commands call curl, which is not installed"
)


@dataclass
class Running:
    """A `payctl up` that said it is ready."""

    process: subprocess.Popen[bytes]
    page: str

    def answers(self) -> list[Any]:
        """Return the answers of the printed commands, run as they are printed."""
        _, separator, commands = self.page.partition("export TOKEN=")
        run = subprocess.run(
            ["/bin/sh"],
            input=separator + commands,
            capture_output=True,
            text=True,
            check=True,
            timeout=_BOUND_S,
        )
        lines = run.stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextlib.contextmanager
def payctl_up(var: Path) -> Iterator[Running]:
    """Run `payctl up` until the block ends; Ctrl-C must end it well."""
    said = var / "said.txt"
    environ = {name: value for name, value in os.environ.items() if name not in _OURS}
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "payctl", "up"],
            env={**environ, **_ANYWHERE, "VAR_DIR": str(var)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        end_s = time.monotonic() + _BOUND_S
        while "# 7." not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < end_s, said.read_text()
            time.sleep(0.05)
        yield Running(process=process, page=said.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=_BOUND_S) == 0
        assert "killed" not in said.read_text()
    finally:
        process.kill()
        process.wait()


def test_the_printed_commands_work_as_printed_on_a_first_and_a_second_start(
    tmp_path: Path,
) -> None:
    with payctl_up(tmp_path) as first:
        bill, paid, nothing, payment, by_code = first.answers()
    assert bill["data"]["policyNumber"] == "P123456789"
    assert paid["transfer"]["state"] == "CONFIRMED"
    assert nothing["error"] == {
        "code": "RESOURCE_NOT_FOUND",
        "message": "No premium due",
        "details": "Query: P123456789",
    }
    assert (payment["data"]["id"], payment["data"]["status"]) == (bill["data"]["id"], "PAID")
    assert payment["data"]["transactionId"] == paid["transfer"]["bankTransactionId"]

    assert by_code["data"]["status"] == "PAID"

    with payctl_up(tmp_path) as second:
        other, paid, nothing, payment, by_code = second.answers()
    assert other["data"]["policyNumber"] != "P123456789"  # that one is paid already
    assert paid["transfer"]["state"] == "CONFIRMED"
    assert nothing["error"]["message"] == "No premium due"
    assert payment["data"]["status"] == by_code["data"]["status"] == "PAID"
