"""Our two hops against what people would use instead: interleaved, every answer checked.

    python -m benchmarks                 # capacity, latency and CPU of every contender
    python -m benchmarks --rounds 5 --only ours,envoy

`make bench` runs it and draws the picture of `docs/benchmarks.md`.
"""

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # programs are started while gRPC is used

import uvloop

from benchmarks.contenders import NAMES, Contender, running
from benchmarks.document import write_part
from benchmarks.load import Load, closed_loop, open_loop, percentile
from benchmarks.report import picture, table
from benchmarks.steady_wal import SETTINGS, have_wal_at_hand
from tests.support.postgres_cluster import PostgresCluster

_AGAINST = "fastapi + orm"
_SETTINGS = {"max_connections": "300", "shared_buffers": "512MB", **SETTINGS}
_CALLERS = 32
_SETTLE_S = 1.0
_MOST_PER_SECOND = 4000  # bills are made for so many; nobody here comes near


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each turn")
    parser.add_argument("--only", default=",".join(NAMES), help="contenders, by commas")
    parser.add_argument("--rate", type=float, default=300.0, help="of the open loop, a second")
    parser.add_argument("--callers", type=int, default=_CALLERS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--document", type=Path, default=None, help="put the tables into it")
    parser.add_argument("--pictures", type=Path, default=None, help="draw into this folder")
    return parser.parse_args()


async def _closed(contender: Contender, callers: int, seconds: float) -> Load:
    connections = contender.connections(most=callers)
    requests = await contender.requests(count=int(_MOST_PER_SECOND * seconds))
    load = await closed_loop(
        connections=connections, requests=requests, callers=callers, seconds=seconds
    )
    connections.close()
    return _checked(contender, load)


async def _open(
    contender: Contender, rate: float, seconds: float, rng: random.Random
) -> tuple[Load, dict[str, float]]:
    connections = contender.connections(most=400)
    requests = await contender.requests(count=int(rate * seconds * 1.3) + 100)
    before = contender.cpu_s()
    load = await open_loop(
        connections=connections, requests=requests, per_second=rate, seconds=seconds, rng=rng
    )
    after = contender.cpu_s()
    connections.close()
    answered = max(1, len(load.answers))
    micros = {name: (after[name] - before[name]) / answered * 1e6 for name in after}
    return _checked(contender, load), micros


def _checked(contender: Contender, load: Load) -> Load:
    if set(load.statuses) != {200}:
        sys.exit(f"{contender.name}: answers {load.statuses}")
    return load


async def _bench(arguments: argparse.Namespace, folder: Path) -> None:
    postgres = PostgresCluster(folder=folder / "postgres", settings=_SETTINGS)
    await asyncio.to_thread(postgres.start)
    await have_wal_at_hand(dsn=postgres.base.render_as_string(hide_password=False))
    rng = random.Random(arguments.seed)
    per_second: dict[str, list[float]] = defaultdict(list)
    closed_p99: dict[str, list[float]] = defaultdict(list)
    p50: dict[str, list[float]] = defaultdict(list)
    p99: dict[str, list[float]] = defaultdict(list)
    micros: dict[str, list[float]] = defaultdict(list)
    try:
        async with AsyncExitStack() as stack:
            contenders = [
                await stack.enter_async_context(
                    running(name=name, folder=folder / str(place), postgres=postgres)
                )
                for place, name in enumerate(arguments.only.split(","))
            ]
            for one in contenders:
                await _closed(one, arguments.callers, 3)  # warm
            for number in range(arguments.rounds):
                for one in rng.sample(contenders, len(contenders)):
                    await asyncio.sleep(_SETTLE_S)
                    load = await _closed(one, arguments.callers, arguments.seconds)
                    per_second[one.name].append(len(load.answers) / arguments.seconds)
                    closed_p99[one.name].append(percentile(answers=load.answers, share=0.99))
                    load, used = await _open(one, arguments.rate, arguments.seconds, rng)
                    p50[one.name].append(percentile(answers=load.answers, share=0.5))
                    p99[one.name].append(percentile(answers=load.answers, share=0.99))
                    for name, value in used.items():
                        micros[f"{one.name} / {name}"].append(value)
                print(f"round {number + 1} of {arguments.rounds}", flush=True)
            for one in contenders:
                print(f"memory of {one.name}: {one.memory_mb()}")
    finally:
        await asyncio.to_thread(postgres.stop)
    rate, callers = f"Poisson {arguments.rate:g}/s", f"{arguments.callers} callers, closed loop"
    series = (
        (callers, "confirmations a second", per_second),
        (f"{callers}: p99", "ms", closed_p99),
        (f"{rate}: p50", "ms", p50),
        (f"{rate}: p99", "ms", p99),
        (f"{rate}: CPU a request", "us", micros),
    )
    tables = [
        table(title=title, unit=unit, found=found, against=_AGAINST)
        for title, unit, found in series
    ]
    write_part(document=arguments.document, name="capacity", text="\n\n".join(tables))
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        picture(
            title=callers,
            unit="confirmations a second",
            found=per_second,
            path=arguments.pictures / "capacity.png",
        )


def main() -> None:
    """Run the benchmark and print what was measured."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    for name in ("postgres", *(str(place) for place in range(len(NAMES)))):
        (folder / name).mkdir()
    folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
    try:
        uvloop.run(_bench(_arguments(), folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
