"""Tables that are analysed as they grow, as our gateway does, also where no gateway runs.

Without it a contender would be measured with the plans of its first, empty minute.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chassis.database import Database
from chassis.planner_statistics import LOOK_INTERVAL_S, PlannerStatistics
from chassis.process import repeat


@asynccontextmanager
async def analysed(*, url: str) -> AsyncIterator[None]:
    """Keep the tables of the database at `url` analysed."""
    database, stop = Database(url=url), asyncio.Event()
    statistics = PlannerStatistics(database=database)
    looking = asyncio.create_task(
        repeat(run_once=statistics.run_once, pause_s=LOOK_INTERVAL_S, stop=stop)
    )
    try:
        yield
    finally:
        stop.set()
        await looking
        await database.close()
