"""More than can be done: what is offered, what is done of it, and when it is normal again."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from benchmarks.load import Connections, Load, closed_loop, open_loop, percentile
from benchmarks.stock import (
    StockedBill,
    bill_requests,
    khqr_requests,
    stock_bills,
    stock_transfers,
)
from tests.drill.cores import set_apart
from tests.drill.cpu import cpu_s, ms_each
from tests.drill.outcome import Outcome, connections_to, latency, port_of
from tests.drill.world import World

_OVERLOAD_S = 30.0
_PEAK_S = 20.0  # the best of three: over less, chance alone makes one of them better
_SUSTAIN_S = 10.0
_CALM_S = 10.0
_CALM_SHARE = 0.3  # of the peak, when it is calm again
_CALLERS = (32, 96, 192)  # of the closed loops that find the peak; the bridge takes 256 calls
_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)  # of the peak, tried as sustained
_LEAST_GOODPUT = 0.8
_LATEST_ANSWER_MS = 5000
_NORMAL_AGAIN_S = 10.0
_VERIFY_DELAY_S = 0.05

_Make = Callable[[World, int, int], Awaitable[Iterator[bytes]]]


async def overload_bill(world: World, rng: random.Random) -> Outcome:
    """Confirm bills at three times the rate that can be sustained."""
    return await _overload(world, rng, factor=3, make=_bill_stock, rates=(200_000, 80_000))


async def overload_khqr(world: World, rng: random.Random) -> Outcome:
    """Tell of codes at ten times the rate that can be sustained, the bank 50 ms away."""
    world.links["bank"].weather.delay_s = _VERIFY_DELAY_S / 2  # there and back
    return await _overload(world, rng, factor=10, make=_khqr_stock, rates=(200_000, 80_000))


async def _bill_stock(world: World, first: int, count: int) -> Iterator[bytes]:
    bills = await stock_bills(dsn=world.database_dsn, first=first, count=count)
    return bill_requests(bills=bills, token=world.token, port=port_of(world=world))


async def _khqr_stock(world: World, first: int, count: int) -> Iterator[bytes]:
    bills: list[StockedBill] = await stock_bills(dsn=world.database_dsn, first=first, count=count)
    await stock_transfers(file=world.folder / "sandbox.sqlite", bills=bills)
    return khqr_requests(bills=bills, token=world.token, port=port_of(world=world))


async def _overload(
    world: World, rng: random.Random, *, factor: int, make: _Make, rates: tuple[int, int]
) -> Outcome:
    cores = set_apart(strangers=[world.programs["sandbox"].pid])
    connections = connections_to(world=world)
    most, warm = rates
    # A server that has met no rows plans for none; making the stock analyses what is there.
    cold = await make(world, 1, warm // 10)
    await closed_loop(connections=connections, requests=cold, callers=32, seconds=4)
    stock = await make(world, 500_000, warm)
    before = cpu_s(world=world)
    found = await _peaks(connections, stock)
    peak = max(found, key=lambda load: len(load.good()))
    peak_ms = ms_each(
        before=before,
        after=cpu_s(world=world),
        answers=sum(len(load.good()) for load in found),
    )
    peak_per_second = len(peak.good()) / _PEAK_S
    steady = await make(world, 800_000, int(peak_per_second * _SUSTAIN_S * len(_SHARES)) + 1000)
    per_second = await _sustained(connections, steady, peak_per_second, rng)
    wanted = min(most, int(per_second * factor * _OVERLOAD_S * 1.1) + 1000)
    requests = await make(world, 1_000_000, wanted)
    calm_s = _NORMAL_AGAIN_S + _CALM_S
    after = await make(world, 5_000_000, int(per_second * _CALM_SHARE * calm_s * 1.3) + 200)
    memory = _Memory(world)
    watching = asyncio.create_task(memory.watch())
    before = cpu_s(world=world)
    over = await open_loop(
        connections=connections,
        requests=requests,
        per_second=per_second * factor,
        seconds=_OVERLOAD_S,
        rng=rng,
    )
    over_ms = ms_each(before=before, after=cpu_s(world=world), answers=len(over.good()))
    calm = await open_loop(
        connections=connections,
        requests=after,
        per_second=per_second * _CALM_SHARE,
        seconds=calm_s,
        rng=rng,
    )
    watching.cancel()
    outcome = _weighed(peak, over, calm, peak_per_second, memory)
    outcome.figures |= {
        "sustained (a second, all 200)": round(per_second),
        "offered (a second)": round(per_second * factor),
        "cores": cores,
        "CPU of an accepted one (ms)": {"peak": peak_ms, "overload": over_ms},
    }
    return outcome


async def _peaks(connections: Connections, requests: Iterator[bytes]) -> list[Load]:
    """Return what more and more callers come to; more of them than the last gain nothing."""
    return [
        await closed_loop(
            connections=connections, requests=requests, callers=callers, seconds=_PEAK_S
        )
        for callers in _CALLERS
    ]


async def _sustained(
    connections: Connections, requests: Iterator[bytes], peak: float, rng: random.Random
) -> float:
    """Return the largest rate of arrivals tried at which everything is answered 200.

    Callers who come by chance do not wait for each other, as those that find the peak do.

    :raises RuntimeError: at none of them.
    """
    for share in _SHARES:
        load = await open_loop(
            connections=connections,
            requests=requests,
            per_second=peak * share,
            seconds=_SUSTAIN_S,
            rng=rng,
        )
        if len(load.good()) == len(load.answers):
            return peak * share
        await asyncio.sleep(1)  # until what waited is done
    raise RuntimeError(f"nothing is sustained, not even {_SHARES[-1]:.0%} of the peak")


def _weighed(peak: Load, over: Load, calm: Load, per_second: float, memory: "_Memory") -> Outcome:
    good = over.good()
    goodput = len(good) / _OVERLOAD_S
    late = calm.good(since_s=_NORMAL_AGAIN_S)
    later = [one for one in calm.answers if one.due_s >= _NORMAL_AGAIN_S]
    broken = []
    if goodput < _LEAST_GOODPUT * per_second:
        broken.append(f"goodput {goodput:.0f}/s of {per_second:.0f}/s")
    if percentile(answers=good, share=1) > _LATEST_ANSWER_MS:
        broken.append(f"an accepted answer took {percentile(answers=good, share=1):.0f} ms")
    if len(late) < 0.99 * len(later):
        broken.append(f"{len(later) - len(late)} of {len(later)} refused when calm again")
    return Outcome(
        figures={
            "peak (200/s)": round(per_second),
            "goodput (200/s)": round(goodput),
            "of the peak": round(goodput / per_second, 2),
            "answers": dict(over.statuses),
            "latency p50 / p99 (ms)": {
                "peak": latency(answers=peak.good()),
                "accepted under overload": latency(answers=good),
                "calm again": latency(answers=late),
            },
            "longest accepted answer (ms)": round(percentile(answers=good, share=1)),
            "refusals p50 / p99 (ms)": latency(
                answers=[one for one in over.answers if one.status != 200]
            ),
            "memory, largest (MB)": memory.largest_mb,
        },
        broken=broken,
    )


class _Memory:
    """The resident memory of each program, the largest seen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.largest_mb: Counter[str] = Counter()

    async def watch(self) -> None:
        """Look twice a second until cancelled."""
        while True:
            for name, program in self._world.programs.items():
                now_mb = _resident_mb(pid=program.pid)
                self.largest_mb[name] = max(self.largest_mb[name], now_mb)
            await asyncio.sleep(0.5)


def _resident_mb(*, pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024
