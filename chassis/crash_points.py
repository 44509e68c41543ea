"""Named points of a program at which a drill may kill or freeze it.

A program reports each point that it reaches. On a laptop a drill arms one by putting a file of
that name into a folder; the first process to reach it takes the file away and dies, as if the
power had failed between two statements. Without a folder a point is a call of a function that
does nothing, and production refuses the folder.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

Reached = Callable[[str], None]

_FREEZE = "freeze"


def no_crash(_point: str) -> None:
    """Let the program go on."""


class CrashPoints:
    """Kills or freezes this process at the points that files in `folder` name."""

    def __init__(self, *, folder: Path, send_signal: Callable[[int, int], None] = os.kill) -> None:
        self._folder = folder
        self._send_signal = send_signal

    def __call__(self, point: str) -> None:
        """Return, unless `point` is armed: a file that says `freeze` stops, any other kills."""
        armed, taken = self._folder / point, self._folder / f".{point}.{os.getpid()}"
        try:
            armed.rename(taken)  # of two processes at one point only one succeeds
        except FileNotFoundError:
            return
        wish = taken.read_text(encoding="utf-8").strip()
        taken.unlink()
        self._send_signal(os.getpid(), signal.SIGSTOP if wish == _FREEZE else signal.SIGKILL)
