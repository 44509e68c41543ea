"""A loop that runs until it is stopped.

| a round | the loop |
|---------|----------|
| ends well | pauses and runs it again |
| raises | logs it, pauses and runs it again |
| is the last before the stop | ends after it |
"""

import asyncio

from chassis.process import repeat


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
