"""The store alone: what group commit makes of callers, beside the database's own limit.

    python -m benchmarks.store

| contender | what it is |
|-----------|------------|
| pgbench, 20 clients | a transaction for each confirmation, table by table, fsync on |
| pgbench at once, 20 clients | the same in our two statements |
| ours, 1 / 20 / 128 callers | GroupCommit over PostgreSQL, fsync on |
| ours alone, 1 / 20 callers | the same, a transaction for each |
| SQLite, 20 callers | GroupCommit over a file, synchronous=FULL |
| SQLite alone, 20 callers | the same, a transaction for each |
"""

import argparse
import asyncio
import random
import re
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from sqlalchemy import text

from benchmarks.analysed import analysed
from benchmarks.document import write_part
from benchmarks.report import table
from benchmarks.steady_wal import SETTINGS, have_wal_at_hand
from benchmarks.stock import StockedBill, stock_bills
from chassis.database import Database
from chassis.group_commit import GroupCommit
from chassis.money import Currency, Money
from chassis.process import spare_the_collector
from gateway_svc.confirmation import Confirmation
from gateway_svc.events import EventWriter
from gateway_svc.inquiry import LookupRecorder
from gateway_svc.migrations import upgrade
from gateway_svc.payment import Confirmed, Lookup, Notice, Premium
from tests.support.postgres_cluster import PostgresCluster

_SETTINGS = {"max_connections": "300", "shared_buffers": "512MB", **SETTINGS}
_LIMIT = "pgbench, 20 clients"
_SCRIPTS = {
    _LIMIT: "pgbench_confirm.sql",
    "pgbench at once, 20 clients": "pgbench_at_once.sql",
}
_BILLS = 20_000
_BILLS_OF_A_FILE = 8_000

Measured = tuple[float, float]  # confirmations a second, p50 in milliseconds


class Store:
    """Our store over one database, and bills to pay."""

    def __init__(self, *, url: str) -> None:
        self.database = Database(url=url)
        self._ids = 0
        self.confirmation = Confirmation(
            database=self.database,
            events=EventWriter(prefix="bench", new_id=self._new_id),
            clock=lambda: datetime.now(tz=UTC),
            committed=lambda: None,
        )
        self.bills: list[StockedBill] = []

    def _new_id(self) -> str:
        self._ids += 1
        return f"{id(self)}-{self._ids}"

    async def stock(self, *, dsn: str, first: int, count: int) -> None:
        """Make `count` bills in the PostgreSQL at `dsn`."""
        self.bills += await stock_bills(dsn=dsn, first=first, count=count)

    def notice(self) -> Notice:
        """Return the notice that pays the next bill."""
        bill, now = self.bills.pop(), datetime.now(tz=UTC)
        return Notice(
            bank_code="AMK",
            transaction_id=f"L{bill.bill_id}",
            bill_id=bill.bill_id,
            policy_number=bill.policy,
            money=Money(hundredths=150, currency=Currency.USD),
            payer="Load Payer",
            paid_at=now,
            received_at=now,
            body_digest="0" * 64,
            subject="amk",
            request_id="r",
        )

    async def measure(self, *, callers: int, most: int, seconds: float) -> Measured:
        """Let `callers` confirm one bill after another; batches hold at most `most`."""
        writer: GroupCommit[Notice, object] = GroupCommit(
            record=self.confirmation.record,
            most=most,
            writers=2 if self.database.dialect == "postgresql" and most > 1 else 1,
        )
        writer.start()
        took_s: list[float] = []
        ends_at_s = time.monotonic() + seconds

        async def call() -> None:
            while (began_s := time.monotonic()) < ends_at_s:
                decision = await writer.submit(self.notice())
                assert isinstance(getattr(decision, "answer", None), Confirmed)
                took_s.append(time.monotonic() - began_s)

        began_s = time.monotonic()
        await asyncio.gather(*(call() for _ in range(callers)))
        length_s = time.monotonic() - began_s
        await writer.stop()
        return len(took_s) / length_s, statistics.median(took_s) * 1000


async def open_store(*, url: str) -> Store:
    """Return our store over the database at `url`, its schema up to date."""
    store = Store(url=url)
    await upgrade(database=store.database)
    return store


async def _postgres_store(postgres: PostgresCluster) -> Store:
    url = postgres.base.set(drivername="postgresql+asyncpg", database="ours")
    return await open_store(url=url.render_as_string(hide_password=False))


async def _sqlite_store(folder: Path) -> Store:
    return await open_store(url=f"sqlite+aiosqlite:///{folder / 'bench.sqlite'}")


async def _stock_sqlite(store: Store, *, first: int, count: int) -> None:
    recorder = LookupRecorder(database=store.database, clock=lambda: datetime.now(tz=UTC))
    for start in range(first, first + count, 200):
        found = await recorder.record(
            [
                Lookup(
                    bank_code="AMK",
                    number=f"L{number:09d}",
                    premium=Premium(
                        policy_number=f"L{number:09d}",
                        payer="Load Payer",
                        money=Money(hundredths=150, currency=Currency.USD),
                        due_on=datetime(2027, 6, 30, tzinfo=UTC).date(),
                    ),
                    looked_up_at=datetime.now(tz=UTC),
                )
                for number in range(start, start + 200)
            ]
        )
        store.bills += [
            StockedBill(bill_id=bill.bill_id, policy=f"L{number:09d}")
            for number, bill in enumerate(found, start=start)
            if bill is not None
        ]


def _pgbench(postgres: PostgresCluster, *, script: str, clients: int, seconds: float) -> Measured:
    done = postgres.output(
        "pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "2",
        "-T", str(max(1, round(seconds))), "-f", str(Path(__file__).with_name(script)), "peer",
    )  # fmt: skip
    found = re.search(r"tps = ([0-9.]+)", done)
    latency = re.search(r"latency average = ([0-9.]+) ms", done)
    failed = re.search(r"number of failed transactions: ([0-9]+)", done)
    if not found or not latency or not failed or failed[1] != "0":
        raise RuntimeError(done)
    return float(found[1]), float(latency[1])


async def _prepare_peer(postgres: PostgresCluster) -> str:
    url = postgres.base.set(drivername="postgresql+asyncpg", database="peer")
    database = Database(url=url.render_as_string(hide_password=False))
    await upgrade(database=database)
    async with database.transaction() as connection:
        await connection.execute(text("CREATE SEQUENCE bench_bill START 150001"))
    await database.close()
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


async def _bench(arguments: argparse.Namespace, folder: Path) -> dict[str, list[Measured]]:
    postgres = PostgresCluster(folder=folder / "postgres", settings=_SETTINGS)
    await asyncio.to_thread(postgres.start)
    await have_wal_at_hand(dsn=postgres.base.render_as_string(hide_password=False))
    found: dict[str, list[Measured]] = defaultdict(list)
    rng = random.Random(arguments.seed)
    made = 0
    stack = AsyncExitStack()
    try:
        for name in ("ours", "peer"):
            await asyncio.to_thread(postgres.run, "createdb", name)
        peer_dsn = await _prepare_peer(postgres)
        ours = await _postgres_store(postgres)
        ours_dsn = peer_dsn.replace("/peer", "/ours")
        file = await _sqlite_store(folder)
        for dsn in (ours_dsn, peer_dsn):
            url = dsn.replace("postgresql://", "postgresql+asyncpg://")
            await stack.enter_async_context(analysed(url=url))
        spare_the_collector()  # as the gateway does

        def pgbench(script: str) -> Callable[[], Awaitable[Measured]]:
            return lambda: asyncio.to_thread(
                _pgbench, postgres, script=script, clients=20, seconds=arguments.seconds
            )

        def measure(store: Store, callers: int, most: int) -> Callable[[], Awaitable[Measured]]:
            return lambda: store.measure(callers=callers, most=most, seconds=arguments.seconds)

        turns: dict[str, Callable[[], Awaitable[Measured]]] = {
            **{name: pgbench(script) for name, script in _SCRIPTS.items()},
            "ours, 1 caller": measure(ours, 1, 64),
            "ours alone, 1 caller": measure(ours, 1, 1),
            "ours, 20 callers": measure(ours, 20, 64),
            "ours alone, 20 callers": measure(ours, 20, 1),
            "ours, 128 callers": measure(ours, 128, 64),
            "SQLite, 20 callers": measure(file, 20, 64),
            "SQLite alone, 20 callers": measure(file, 20, 1),
        }
        for number in range(arguments.rounds):
            for name in rng.sample(sorted(turns), len(turns)):
                if name.startswith("pgbench"):
                    await stock_bills(dsn=peer_dsn, first=made + 1, count=_BILLS)
                    made += _BILLS
                elif name.startswith("SQLite"):
                    wanted = _BILLS_OF_A_FILE - len(file.bills)
                    await _stock_sqlite(file, first=made + 1, count=wanted)
                    made += wanted + 200  # whole lists of 200 are made
                else:
                    wanted = _BILLS - len(ours.bills)
                    ours.bills += await stock_bills(dsn=ours_dsn, first=made + 1, count=wanted)
                    made += wanted
                found[name].append(await turns[name]())
            print(f"round {number + 1} of {arguments.rounds}", flush=True)
        await ours.database.close()
        await file.database.close()
    finally:
        await stack.aclose()
        await asyncio.to_thread(postgres.stop)
    return found


def main() -> None:
    """Run the benchmark and print medians, spreads and ratios to pgbench."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--document", type=Path, default=None, help="put the tables into it")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    (folder / "postgres").mkdir()
    folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
    try:
        found = uvloop.run(_bench(arguments, folder))  # the loop of the gateway
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rates = {name: [rate for rate, _ in turns] for name, turns in sorted(found.items())}
    p50 = {name: [one for _, one in turns] for name, turns in sorted(found.items())}
    tables = [
        table(title="the store alone", unit="confirmations a second", found=rates, against=_LIMIT),
        table(title="the store alone: p50", unit="ms", found=p50, against=_LIMIT),
    ]
    write_part(document=arguments.document, name="store", text="\n\n".join(tables))


if __name__ == "__main__":
    main()
