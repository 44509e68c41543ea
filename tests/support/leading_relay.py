"""A relay as a process of its own, to be killed and frozen: it writes each event to a file.

python leading_relay.py DATABASE_URL LOG PAUSE_S LOCK_KEY IDLE_LIMIT_S
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import MetaData

from chassis.database import Database
from chassis.delivery import Delivery, Outcome
from chassis.leadership import AdvisoryLeadership
from chassis.outbox import Event, outbox_table
from chassis.process import repeat
from chassis.relay import Relay


class _Slow:
    """Takes its time over each event, so that there is a middle to be killed in."""

    def __init__(self, *, path: Path, pause_s: float) -> None:
        self._path = path
        self._pause_s = pause_s

    async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
        outcomes = []
        for event in events:
            await asyncio.sleep(self._pause_s)
            with self._path.open("a") as file:
                file.write(json.dumps({"event_id": event.event_id}) + "\n")
            outcomes.append(Delivery(partition=0, offset=0))
        return outcomes

    async def close(self) -> None: ...


async def _main(url: str, log: str, pause_s: str, key: str, idle_limit_s: str) -> None:
    database = Database(url=url)
    leadership = AdvisoryLeadership(
        database=database, key=int(key), idle_limit_s=float(idle_limit_s)
    )
    relay = Relay(
        database=database,
        table=outbox_table(MetaData()),
        publisher=_Slow(path=Path(log), pause_s=float(pause_s)),
        clock=lambda: datetime.now(tz=UTC),
        random=lambda: 0.0,
        idle_s=0.05,
        first_pause_s=0.05,
        leadership=leadership,
    )
    stop = asyncio.Event()
    await asyncio.gather(
        relay.run(stop),
        repeat(run_once=leadership.run_once, pause_s=float(idle_limit_s) / 5, stop=stop),
    )


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
