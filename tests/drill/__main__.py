"""Kills, freezes and cuts everything while people pay, and checks that nothing is lost or doubled.

    python -m tests.drill --kills 40 --seconds 300 --seed 7

Ends with exit code 1 and the broken promises if there is one. The promises are those of
`judge.py`; each 2xx is checked against the database's own commit time the moment it arrives.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # programs are started while gRPC is used

import aiohttp
import uvloop

from tests.drill.books import read_books, unpublished
from tests.drill.chaos import Chaos
from tests.drill.customers import Customers
from tests.drill.judge import judged
from tests.drill.kafka_log import read_all
from tests.drill.ledger import Ledger
from tests.drill.report import figures, printed
from tests.drill.sandbox_desk import SandboxDesk
from tests.drill.scenarios import SCENARIOS
from tests.drill.sender import Sender
from tests.drill.witness import Witness
from tests.drill.world import World, start_world
from tests.support.kafka_jars import KafkaNotRunnable
from tests.support.postgres_cluster import PostgresNotRunnable

_ANSWER_LIMIT_S = 60.0  # after the last repair, for every claim
_DELIVERY_LIMIT_S = 30.0  # after the last repair, for every event
_QUIET_S = 5.0  # people pay a little longer than the harm lasts
_NOT_RUNNABLE = 3


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="stop after so many kills (-9)")
    parser.add_argument("--kafka-kills", type=int, default=3, help="of them of Kafka, at most")
    parser.add_argument("--seconds", type=float, default=300, help="stop after so long at most")
    parser.add_argument("--seed", type=int, default=None, help="repeat an earlier draw")
    parser.add_argument("--pause", type=float, default=1.0, help="mean seconds between two faults")
    parser.add_argument("--bill-workers", type=int, default=8)
    parser.add_argument("--khqr-workers", type=int, default=5)
    parser.add_argument("--points", default="", help="kill at these points alone, by commas")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default=None)
    parser.add_argument("--report", type=Path, default=None, help="write the figures as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the folder, with all logs")
    return parser.parse_args()


async def _drill(arguments: argparse.Namespace, seed: int, folder: Path) -> int:
    world = await start_world(folder=folder)
    ledger = Ledger()
    try:
        began_s = time.monotonic()
        chaos = Chaos(
            world=world,
            rng=random.Random(f"chaos {seed}"),
            kills=arguments.kills,
            kafka_kills=arguments.kafka_kills,
            ends_at_s=began_s + arguments.seconds,
            pause_s=arguments.pause,
            points=tuple(filter(None, arguments.points.split(","))),
        )
        desk, drained_s = await _pay_through(world, chaos, ledger, arguments, seed)
        books = await read_books(dsn=world.database_dsn)
        deliveries = await read_all(bootstrap=world.kafka.direct)
        ledger.violations += judged(
            claims=ledger.claims,
            transfers=desk.transfers(),
            books=books,
            deliveries=deliveries,
        )
        found = figures(
            seed=seed,
            seconds=time.monotonic() - began_s,
            ledger=ledger,
            books=books,
            deliveries=deliveries,
            chaos=chaos,
            world=world,
            drained_s=drained_s,
        )
    finally:
        await world.stop()
    print(printed(found=found, violations=ledger.violations), flush=True)
    if arguments.report is not None:
        arguments.report.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 1 if ledger.violations else 0


async def _scenario(arguments: argparse.Namespace, seed: int, folder: Path) -> int:
    world = await start_world(folder=folder)
    try:
        outcome = await SCENARIOS[arguments.scenario](world, random.Random(seed))
    finally:
        await world.stop()
    print(printed(found=outcome.figures, violations=outcome.broken), flush=True)
    return 1 if outcome.broken else 0


async def _pay_through(
    world: World, chaos: Chaos, ledger: Ledger, arguments: argparse.Namespace, seed: int
) -> tuple[SandboxDesk, float]:
    """Let people pay while harm is done and a little longer; return how long events took."""
    repaired_at_s: float | None = None

    def gives_up() -> bool:
        return repaired_at_s is not None and time.monotonic() > repaired_at_s + _ANSWER_LIMIT_S

    witness = Witness(dsn=world.database_dsn, ledger=ledger)
    rng = random.Random(f"people {seed}")
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        desk = SandboxDesk(http=http, url=world.sandbox_url, file=world.folder / "sandbox.sqlite")
        customers = Customers(
            sender=Sender(
                http=http,
                base_url=world.bridge_url,
                token=world.token,
                ledger=ledger,
                witness=witness,
                rng=rng,
                gives_up=gives_up,
            ),
            desk=desk,
            ledger=ledger,
            rng=rng,
        )
        paying = asyncio.create_task(
            customers.run(bill_workers=arguments.bill_workers, khqr_workers=arguments.khqr_workers)
        )
        await chaos.run()
        ledger.violations += [f"7: {what}" for what in chaos.failed]
        repaired_at_s = time.monotonic()
        print(f"repaired after {chaos.killed} kills; people pay a little longer", flush=True)
        await asyncio.sleep(_QUIET_S)
        customers.stop.set()
        await paying
        await witness.close()
    return desk, await _drained(world, ledger, repaired_at_s)


async def _drained(world: World, ledger: Ledger, repaired_at_s: float) -> float:
    """Return how long after the last repair every event was published."""
    limit_s = max(repaired_at_s, time.monotonic() - 1) + _DELIVERY_LIMIT_S
    while time.monotonic() < limit_s:
        if await unpublished(dsn=world.database_dsn) == 0:
            break
        await asyncio.sleep(0.2)
    else:
        ledger.violated(f"4: events wait {_DELIVERY_LIMIT_S:g} s after the last repair")
    return time.monotonic() - repaired_at_s


def main() -> int:
    """Run one drill; the exit code is 0 only if every promise was kept."""
    arguments = _arguments()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="drill-", dir="/tmp"))
    folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
    code = 1
    try:
        run = _scenario if arguments.scenario else _drill
        code = uvloop.run(run(arguments, seed, folder / "world"))
    except (KafkaNotRunnable, PostgresNotRunnable) as reason:
        print(f"no drill: {reason}", flush=True)
        code = _NOT_RUNNABLE
    finally:
        if code and arguments.keep:
            print(f"logs are in {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
