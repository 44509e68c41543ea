"""KHQR through the whole system, the bank near and 50 ms away.

    python -m benchmarks.khqr

| turn | what a call is |
|------|----------------|
| confirm | the bank's webhook: booked, the bank is asked, recorded, answered |
| generate | a code for a policy that has none: what is due, the bank's code, read, recorded |

Bridge, two gateways, the KHQR service, the sandbox, PostgreSQL and Kafka share the machine with
the load; the bank and Kafka are reached through proxies of ours, which cost some of it too.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import uvloop

from benchmarks.document import write_part
from benchmarks.load import Connections, closed_loop, percentile
from benchmarks.report import table
from benchmarks.stock import khqr_requests, stock_bills, stock_transfers
from tests.drill.world import World, start_world

_DELAYS_S = (0.0, 0.05)
_WARM_S = 4.0
_MOST = {"confirm": 700, "generate": 250}  # calls a second, at the most: what is made to be used
_AGAINST = "confirm, 0 ms"


class _Stock:
    """Makes what the next turn needs."""

    def __init__(self, *, world: World, http: aiohttp.ClientSession) -> None:
        self._world = world
        self._http = http
        self._port = int(world.bridge_url.rpartition(":")[2])
        self._made = 0

    async def requests(self, *, kind: str, count: int) -> Iterator[bytes]:
        """Return `count` calls, each to be made once."""
        first, self._made = self._made + 1, self._made + count
        if kind == "confirm":
            bills = await stock_bills(dsn=self._world.database_dsn, first=first, count=count)
            await stock_transfers(file=self._world.folder / "sandbox.sqlite", bills=bills)
            return khqr_requests(bills=bills, token=self._world.token, port=self._port)
        policies = [f"G{number:09d}" for number in range(first, first + count)]
        places = asyncio.Semaphore(16)
        await asyncio.gather(*(self._open(policy, places) for policy in policies))
        return (self._generate(policy) for policy in policies)

    async def _open(self, policy: str, places: asyncio.Semaphore) -> None:
        premium = {"payer": "Load Payer", "amount": "1.50", "currency": "USD"}
        async with (
            places,
            self._http.post(
                f"{self._world.sandbox_url}/sandbox/policies",
                json={"number": policy, "dueDate": "2027-06-30", **premium},
            ) as answer,
        ):
            answer.raise_for_status()

    def _generate(self, policy: str) -> bytes:
        return (
            f"GET /khqr?bankCode=AMK&billNumber={policy} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self._world.token}\r\n\r\n"
        ).encode()


async def _bench(arguments: argparse.Namespace, folder: Path) -> None:
    world = await start_world(folder=folder / "world")
    rates: dict[str, list[float]] = defaultdict(list)
    p50: dict[str, list[float]] = defaultdict(list)
    p99: dict[str, list[float]] = defaultdict(list)
    rng = random.Random(arguments.seed)
    turns = [(kind, delay_s) for kind in _MOST for delay_s in _DELAYS_S]
    try:
        async with aiohttp.ClientSession() as http:
            stock = _Stock(world=world, http=http)
            connections = Connections(port=int(world.bridge_url.rpartition(":")[2]), most=64)
            for number in range(arguments.rounds + 1):
                for kind, delay_s in rng.sample(turns, len(turns)):
                    seconds = arguments.seconds if number else _WARM_S
                    requests = await stock.requests(kind=kind, count=int(_MOST[kind] * seconds))
                    world.links["bank"].weather.delay_s = delay_s / 2  # there and back
                    load = await closed_loop(
                        connections=connections,
                        requests=requests,
                        callers=arguments.callers,
                        seconds=seconds,
                    )
                    if set(load.statuses) != {200}:
                        sys.exit(f"{kind}: answers {load.statuses}")
                    if number:
                        name = f"{kind}, {delay_s * 1000:.0f} ms"
                        rates[name].append(len(load.answers) / seconds)
                        p50[name].append(percentile(answers=load.answers, share=0.5))
                        p99[name].append(percentile(answers=load.answers, share=0.99))
                print(f"round {number} of {arguments.rounds}", flush=True)
            connections.close()
    finally:
        await world.stop()
    callers = f"{arguments.callers} callers"
    tables = [
        table(title=callers, unit="calls a second", found=_ordered(rates), against=_AGAINST),
        table(title=f"{callers}: p50", unit="ms", found=_ordered(p50), against=_AGAINST),
        table(title=f"{callers}: p99", unit="ms", found=_ordered(p99), against=_AGAINST),
    ]
    write_part(document=arguments.document, name="khqr", text="\n\n".join(tables))


def _ordered(found: dict[str, list[float]]) -> dict[str, list[float]]:
    return dict(sorted(found.items()))


def main() -> None:
    """Run the benchmark and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.khqr", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--document", type=Path, default=None, help="put the tables into it")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
    try:
        uvloop.run(_bench(arguments, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
