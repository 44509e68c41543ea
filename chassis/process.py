"""A program's life: start, run until it is asked to stop, drain."""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from chassis.settings import Address

_log = structlog.get_logger()


class Process(Protocol):
    """Parts that are wired; nothing is open before `start`."""

    async def start(self) -> Address:
        """Listen and serve; return the real address."""

    async def stop(self) -> None:
        """Say "not ready", finish what was accepted, close."""


def run_until_stopped(*, make: Callable[[], Process]) -> None:
    """Run what `make` gives until SIGTERM or SIGINT, on uvloop where the platform has it.

    Whatever `make` and `start` raise is raised.
    """
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(_run(make))
    else:
        uvloop.run(_run(make))


def gather_wakeups() -> None:
    """Wait, when woken, until whoever has the core pauses, where the system knows how.

    A program that is woken for each message takes the core from those whose answers it waits for.
    Under SCHED_BATCH (sched(7)) it runs a few milliseconds later at most, only where cores are
    short, and meets more messages at once (figures in docs/reliability.md, overload).
    """
    with contextlib.suppress(AttributeError, OSError):  # not Linux, or forbidden in a container
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def spare_the_collector() -> None:
    """Keep what was made at the start out of Python's search for cycles, and search less often.

    A service makes few cycles, and a search looks at every object of a generation: with 700
    connections a tenth of the bridge's time. 20,000 small objects are some 3 MB.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def repeat(
    *, run_once: Callable[[], Awaitable[object]], pause_s: float, stop: asyncio.Event
) -> None:
    """Run again and again, with a pause between, until `stop` is set; no failure ends it."""
    while not stop.is_set():
        try:
            await run_once()
        except Exception:  # noqa: BLE001 - one bad round must not end the loop
            _log.exception("round_failed", of=getattr(run_once, "__qualname__", ""))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)


async def _run(make: Callable[[], Process]) -> None:
    gather_wakeups()
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    process = make()
    address = await process.start()
    spare_the_collector()
    _log.info("listening", addresses=[str(address)])
    await asked_to_stop.wait()
    _log.info("draining")
    await process.stop()
    _log.info("stopped")
