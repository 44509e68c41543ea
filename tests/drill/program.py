"""One process of the system under drill: started, watched, started again whenever it dies."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from payctl import tether

_PROBE_PAUSE_S = 0.1
_STOP_LIMIT_S = 15.0


@dataclass(kw_only=True)
class Lives:
    """What became of a program, for the report; lengths in seconds."""

    deaths: int = 0
    freezes: int = 0
    recoveries_s: list[float] = field(default_factory=list)  # from the new start to healthy


class Program:
    """A program that is meant to run; nobody but the drill stops it for good."""

    def __init__(
        self,
        *,
        name: str,
        arguments: tuple[str, ...],
        environ: Mapping[str, str],
        log: Path,
        probe: Callable[[], Awaitable[bool]],
        command: tuple[str, ...] = (sys.executable,),
    ) -> None:
        self.name = name
        self.lives = Lives()
        self._command = command
        self._arguments = arguments
        self._environ = environ
        self._log = log
        self._probe = probe
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._healthy = asyncio.Event()
        self._wanted = True

    async def start(self) -> None:
        """Start it, watch it from now on, and return once it is healthy."""
        self._watch = asyncio.create_task(self._keep_alive(), name=f"keep {self.name} alive")
        await self.healthy(within_s=60)

    async def healthy(self, *, within_s: float) -> None:
        """Return once it says it is well.

        :raises TimeoutError: it did not in time.
        """
        async with asyncio.timeout(within_s):
            await self._healthy.wait()

    @property
    def is_healthy(self) -> bool:
        """Whether it was well when it was last asked."""
        return self._healthy.is_set()

    @property
    def pid(self) -> int:
        """The id of its process, the present one."""
        return self._process.pid if self._process is not None else 0

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal and return whether it was there to get it."""
        if self._process is None or self._process.returncode is not None:
            return False
        if number is signal.SIGSTOP:
            self.lives.freezes += 1
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
            return True
        return False

    async def stop(self) -> None:
        """Stop it for good: SIGTERM, then SIGKILL."""
        self._wanted = False
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _STOP_LIMIT_S)
        self.send(signal.SIGKILL)
        if self._watch is not None:
            await self._watch

    async def _keep_alive(self) -> None:
        while self._wanted:
            began_s = time.monotonic()
            self._process = await self._spawn()
            ended = asyncio.create_task(self._process.wait())
            well = asyncio.create_task(self._until_well())
            await asyncio.wait({ended, well}, return_when=asyncio.FIRST_COMPLETED)
            if well.done() and self.lives.deaths:
                self.lives.recoveries_s.append(time.monotonic() - began_s)
            await ended
            well.cancel()
            self._healthy.clear()
            self.lives.deaths += self._wanted

    async def _until_well(self) -> None:
        while not await self._probe():
            await asyncio.sleep(_PROBE_PAUSE_S)
        self._healthy.set()

    async def _spawn(self) -> asyncio.subprocess.Process:
        with self._log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", tether.__file__, str(os.getpid())),
                *(*self._command, *self._arguments),
                env=dict(self._environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
