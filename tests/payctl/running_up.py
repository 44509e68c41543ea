"""A `payctl up` with the real parts on free ports, and what it printed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOUND_S = 60
_ANYWHERE = {
    "SANDBOX_LISTEN": "127.0.0.1:0",
    "GATEWAY_LISTEN": "127.0.0.1:0",
    "KHQR_LISTEN": "127.0.0.1:0",
    "BRIDGE_LISTEN": "127.0.0.1:0,127.0.0.1:0",
}
# A laptop's own settings must not reach into the test.
_OURS = ("VAR_DIR", "ENVIRONMENT", "DATABASE_URL", "EVENTS_URL", "TOPIC_PREFIX", "BANKS_FILE")


@dataclass
class Running:
    """A `payctl up` that said it is ready."""

    process: subprocess.Popen[bytes]
    page: str

    def address(self, name: str) -> str:
        """Return the address that is printed beside `name`."""
        found = re.search(rf"^  {re.escape(name)}\s+(http\S+)", self.page, re.MULTILINE)
        assert found, f"no {name} is printed"
        return found[1]

    def tokens(self) -> dict[str, str]:
        """Return the operators' tokens by name."""
        return dict(re.findall(r"^  (\w+)\s+(eyJ\S+)$", self.page, re.MULTILINE))

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
