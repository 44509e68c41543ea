"""Our system on an empty database beside the same on one with millions of paid bills.

    python -m benchmarks.full                    # ten million; a quarter of an hour to make them
    python -m benchmarks.full --bills 100000     # to see that it works

It needs 4 GB of disk for each million.
"""

import argparse
import asyncio
import os
import random
import shutil
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # programs are started while gRPC is used

import asyncpg
import uvloop

from benchmarks.contenders import Contender, running
from benchmarks.document import write_part
from benchmarks.history import grow
from benchmarks.load import closed_loop, percentile
from benchmarks.report import table
from benchmarks.store import open_store
from tests.support.postgres_cluster import PostgresCluster

_SETTINGS = {"max_connections": "300", "shared_buffers": "2GB", "max_wal_size": "16GB"}
_EMPTY = "empty database"
_CALLERS = (32, 128)
_STOCK = 3500  # open bills for each second of a turn: more than are paid in one

_Found = dict[str, dict[str, list[float]]]


async def _make_history(bills: int, dsn: str) -> None:
    """Confirm a bill by the store itself, and copy it."""
    store = await open_store(url=dsn.replace("postgresql://", "postgresql+asyncpg://"))
    await store.stock(dsn=dsn, first=999_999_999, count=1)
    await store.confirmation.record([store.notice()])
    await store.database.close()
    began_s = time.monotonic()
    await grow(dsn=dsn, bills=bills)
    connection = await asyncpg.connect(dsn, timeout=10)
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    print(
        f"{bills} paid bills: {size / 1e9:.1f} GB, {time.monotonic() - began_s:.0f} s", flush=True
    )


async def _turn(contender: Contender, callers: int, seconds: float) -> tuple[float, float]:
    stocked = int(_STOCK * seconds)
    requests = await contender.requests(count=stocked)
    connections = contender.connections(most=callers)
    load = await closed_loop(
        connections=connections, requests=requests, callers=callers, seconds=seconds
    )
    connections.close()
    good = load.good()
    if len(good) != len(load.answers):
        raise RuntimeError(f"{contender.name}: answers {load.statuses}")
    if len(good) == stocked:
        raise RuntimeError(f"{contender.name}: all {stocked} bills were paid before the turn ended")
    return len(good) / seconds, percentile(answers=good, share=0.99)


async def _bench(arguments: argparse.Namespace, folder: Path) -> _Found:
    postgres = PostgresCluster(folder=folder / "postgres", settings=_SETTINGS)
    await asyncio.to_thread(postgres.start)
    full = f"{arguments.bills:,} paid bills"
    rng = random.Random(arguments.seed)
    found: _Found = defaultdict(lambda: defaultdict(list))
    try:
        async with AsyncExitStack() as stack:
            contenders = {}
            for name in (_EMPTY, full):
                own = folder / name.replace(" ", "-").replace(",", "")
                own.mkdir()
                prepare = partial(_make_history, arguments.bills) if name == full else None
                contenders[name] = await stack.enter_async_context(
                    running(name="ours", folder=own, postgres=postgres,
                            database=own.name, prepare=prepare)
                )  # fmt: skip
            for number in range(arguments.rounds):
                for name in rng.sample(sorted(contenders), len(contenders)):
                    for callers in _CALLERS:
                        rate, p99 = await _turn(contenders[name], callers, arguments.seconds)
                        found[f"{callers} callers: confirmations a second"][name].append(rate)
                        found[f"{callers} callers: p99 (ms)"][name].append(p99)
                print(f"round {number + 1} of {arguments.rounds}", flush=True)
            for name, contender in contenders.items():
                for program, size_mb in contender.memory_mb().items():
                    found[f"memory of the {program} (MB)"][name].append(size_mb)
    finally:
        await asyncio.to_thread(postgres.stop)
    return found


def main() -> None:
    """Run the benchmark and print medians, spreads and ratios to the empty database."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full", description=__doc__)
    parser.add_argument("--bills", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each turn")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--document", type=Path, default=None, help="put the tables into it")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    (folder / "postgres").mkdir()
    folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
    try:
        found = uvloop.run(_bench(arguments, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tables = [
        table(title=title, unit="seen", found=series, against=_EMPTY)
        for title, series in found.items()
    ]
    write_part(document=arguments.document, name="full", text="\n\n".join(tables))


if __name__ == "__main__":
    main()
