"""A loop that runs until it is stopped.

| a round | the loop |
|---------|----------|
| ends well | pauses and runs it again |
| raises | logs it, pauses and runs it again |
| is the last before the stop | ends after it |

A program waits for the core when it is woken (SCHED_BATCH).
"""

import asyncio
import os
import subprocess
import sys

from chassis.process import repeat

_PROGRAM = """
import os, signal
from chassis.process import run_until_stopped

class Sleeper:
    async def start(self):
        print(os.sched_getscheduler(0))
        os.kill(os.getpid(), signal.SIGTERM)
    async def stop(self):
        pass

run_until_stopped(make=Sleeper)
"""


async def test_a_round_that_fails_does_not_end_the_loop() -> None:
    rounds: list[int] = []
    stop = asyncio.Event()

    async def run_once() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 3:
            stop.set()
        if len(rounds) == 1:
            raise ZeroDivisionError

    await asyncio.wait_for(repeat(run_once=run_once, pause_s=0.0, stop=stop), 5)
    assert rounds == [0, 1, 2]


async def test_a_stop_ends_the_pause() -> None:
    stop = asyncio.Event()

    async def run_once() -> None:
        asyncio.get_running_loop().call_later(0.01, stop.set)

    await asyncio.wait_for(repeat(run_once=run_once, pause_s=3600.0, stop=stop), 5)


def test_a_program_waits_for_the_core_when_it_is_woken() -> None:
    said = subprocess.run(
        [sys.executable, "-c", _PROGRAM], check=True, capture_output=True, timeout=20
    ).stdout
    assert int(said.split()[0]) == os.SCHED_BATCH
