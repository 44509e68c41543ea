"""One kind of trouble at a time, and what it costs those who pay meanwhile.

| scenario | trouble | promised |
|----------|---------|----------|
| kafka-down | Kafka killed for a minute | confirmations go on; the backlog drains, in order |
| postgres-restart | PostgreSQL restarted | only 503 meanwhile; 200 again soon after |
| overload-bill | 3 x what is sustained for 30 s | goodput 0.8 of the peak, answers in 5 s |
| overload-khqr | 10 x the KHQR load, verify takes 50 ms | the same |

    python -m tests.drill --scenario overload-bill
"""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.load import open_loop
from benchmarks.stock import bill_requests, stock_bills
from tests.drill import books
from tests.drill.kafka_log import read_all
from tests.drill.outcome import Outcome, Scenario, connections_to, latency, port_of
from tests.drill.overload import overload_bill, overload_khqr
from tests.drill.world import World

_STEADY = 40.0  # confirmations a second while something is down
_ALLOWED = {200, 503}


async def kafka_down(world: World, rng: random.Random) -> Outcome:
    """Kill Kafka for a minute under a steady load and watch the backlog."""
    connections = connections_to(world=world)
    before_s, down_s, after_s = 20.0, 60.0, 20.0
    bills = await stock_bills(dsn=world.database_dsn, first=1, count=10_000)
    requests = bill_requests(bills=bills, token=world.token, port=port_of(world=world))
    loading = asyncio.create_task(
        open_loop(
            connections=connections,
            requests=requests,
            per_second=_STEADY,
            seconds=before_s + down_s + after_s,
            rng=rng,
        )
    )
    await asyncio.sleep(before_s)
    await asyncio.to_thread(world.kafka.kill)
    await asyncio.sleep(down_s)
    backlog = await books.unpublished(dsn=world.database_dsn)
    await asyncio.to_thread(world.kafka.start)
    back_s = time.monotonic()
    load = await loading
    drained_s = await _until_drained(world, back_s)
    deliveries = await read_all(bootstrap=world.kafka.direct)
    spans = {
        "before": load.good(until_s=before_s),
        "while down": load.good(since_s=before_s, until_s=before_s + down_s),
        "after": load.good(since_s=before_s + down_s),
    }
    broken = [f"answers {load.statuses}"] if set(load.statuses) != {200} else []
    broken += _out_of_order(deliveries)
    return Outcome(
        figures={
            "confirmations a second": _STEADY,
            "answers": dict(load.statuses),
            "events waiting when Kafka came back": backlog,
            "drained after (s)": round(drained_s, 1),
            "unique events": len({one.event_id for one in deliveries}),
            "latency p50 / p99 (ms)": {name: latency(answers=good) for name, good in spans.items()},
        },
        broken=broken,
    )


async def postgres_restart(world: World, rng: random.Random) -> Outcome:
    """Restart PostgreSQL three times under load and watch the answers."""
    connections, gaps_ms = connections_to(world=world), []
    bills = await stock_bills(dsn=world.database_dsn, first=1, count=6_000)
    requests = bill_requests(bills=bills, token=world.token, port=port_of(world=world))
    began_s = time.monotonic()
    loading = asyncio.create_task(
        open_loop(connections=connections, requests=requests, per_second=100, seconds=40, rng=rng)
    )
    backs_s = []
    for _ in range(3):
        await asyncio.sleep(8)
        await asyncio.to_thread(world.postgres.restart)
        backs_s.append(time.monotonic() - began_s)
    load = await loading
    for back_s in backs_s:
        first = min(
            (one.due_s + one.took_s for one in load.good() if one.due_s + one.took_s >= back_s),
            default=float("nan"),
        )
        gaps_ms.append(round((first - back_s) * 1000))
    broken = [] if set(load.statuses) <= _ALLOWED else [f"answers {load.statuses}"]
    return Outcome(
        figures={
            "confirmations a second": 100,
            "answers": dict(load.statuses),
            "first 200 after the server answers again (ms)": gaps_ms,
        },
        broken=broken,
    )


SCENARIOS: Mapping[str, Scenario] = {
    "kafka-down": kafka_down,
    "postgres-restart": postgres_restart,
    "overload-bill": overload_bill,
    "overload-khqr": overload_khqr,
}


def _out_of_order(deliveries: list[Any]) -> list[str]:
    last: dict[tuple[str, str], int] = {}
    broken = []
    for one in deliveries:
        sequence, place = one.said["sequence"], (one.topic, one.key)
        if sequence < last.get(place, 0):
            broken.append(f"{place}: {sequence} after {last[place]}")
        last[place] = max(sequence, last.get(place, 0))
    return broken


async def _until_drained(world: World, back_s: float) -> float:
    while await books.unpublished(dsn=world.database_dsn):
        await asyncio.sleep(0.2)
    return time.monotonic() - back_s
