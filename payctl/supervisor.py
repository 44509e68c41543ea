"""Children under one supervisor: started, watched, and stopped in order; none is left."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from payctl import tether
from payctl.parts import Part

_POLL_S = 0.05
_LAST_LINES = 20


class PartFailed(Exception):
    """A part did not start or did not stay; the text says which, and the end of its log."""


@dataclass(frozen=True, kw_only=True)
class _Child:
    part: Part
    process: asyncio.subprocess.Process
    log: Path


class Supervisor:
    """The children of one `payctl up`."""

    def __init__(
        self,
        *,
        log_folder: Path,
        say: Callable[[str], None],
        hurry: asyncio.Event,
        start_limit_s: float,
        stop_limit_s: float,
    ) -> None:
        self._log_folder = log_folder
        self._say = say
        self._hurry = hurry
        self._start_limit_s = start_limit_s
        self._stop_limit_s = stop_limit_s
        self._children: list[_Child] = []

    async def start(
        self, *, part: Part, environ: Mapping[str, str], configured: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Start `part` and return its real addresses once it says it is well.

        `configured` are the addresses it was told to listen on.

        :raises PartFailed: it ended, or was not well in time.
        """
        child = await self._spawn(part, environ)
        self._children.append(child)
        deadline_s = time.monotonic() + self._start_limit_s
        while time.monotonic() < deadline_s:
            if child.process.returncode is not None:
                raise PartFailed(_obituary(child))
            addresses = _listening(child.log) or _fixed(configured)
            if addresses and await part.probe(reachable(address=addresses[0])):
                return tuple(reachable(address=address) for address in addresses)
            await asyncio.sleep(_POLL_S)
        raise PartFailed(
            f"{part.name} was not ready within {self._start_limit_s:g} s.{_end_of(child.log)}"
        )

    async def first_death(self) -> str:
        """Return, once a child has ended, which one it was and the end of its log."""
        waits = {asyncio.create_task(one.process.wait()): one for one in self._children}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return _obituary(waits[done.pop()])
        finally:
            for wait in waits:
                wait.cancel()

    async def stop(self) -> None:
        """Stop the children, the last started first: SIGTERM, then SIGKILL when time is up."""
        for child in reversed(self._children):
            await self._stop(child)
        self._children.clear()

    async def _stop(self, child: _Child) -> None:
        process = child.process
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        ended = asyncio.create_task(process.wait())
        hurried = asyncio.create_task(self._hurry.wait())
        await asyncio.wait(
            {ended, hurried}, timeout=self._stop_limit_s, return_when=asyncio.FIRST_COMPLETED
        )
        hurried.cancel()
        if not ended.done():
            self._say(f"{child.part.name} did not stop in time: killed (SIGKILL).")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await ended

    async def _spawn(self, part: Part, environ: Mapping[str, str]) -> _Child:
        self._log_folder.mkdir(parents=True, exist_ok=True)
        log = self._log_folder / f"{part.name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", tether.__file__, str(os.getpid())),
                *(sys.executable, *part.arguments),
                env=dict(environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C goes to the supervisor alone, which stops the parts in order.
                process_group=0,
            )
        return _Child(part=part, process=process, log=log)


def reachable(*, address: str) -> str:
    """Return where a part that listens on `address` is reached from this machine."""
    host, _, port = address.rpartition(":")
    everywhere = host in ("0.0.0.0", "[::]")  # noqa: S104 # read, not bound
    return f"127.0.0.1:{port}" if everywhere else address


def _fixed(configured: tuple[str, ...]) -> tuple[str, ...]:
    return () if any(address.endswith(":0") for address in configured) else configured


def _listening(log: Path) -> tuple[str, ...]:
    """Return the addresses in the `listening` line of a log, none before it is written."""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if '"listening"' not in line:
            continue
        try:
            document: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict) and document.get("event") == "listening":
            return tuple(str(address) for address in document.get("addresses", ()))
    return ()


def _obituary(child: _Child) -> str:
    code = child.process.returncode
    how = (
        f"was killed by signal {-code}" if code is not None and code < 0 else f"exited with {code}"
    )
    return f"{child.part.name} {how}.{_end_of(child.log)}"


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
    if not lines:
        return f" Its log {log} is empty."
    return "\n".join([f" The end of its log {log}:", *(f"  | {line}" for line in lines)])
