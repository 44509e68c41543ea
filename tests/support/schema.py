"""The newest schema, made once: a migration for each of a thousand tests is most of their time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from chassis.database import Database
from gateway_svc.migrations import upgrade


def make_schema(*, url: str) -> None:
    """Migrate the empty database at `url`, whether or not an event loop runs here."""

    async def make() -> None:
        database = Database(url=url)
        try:
            await upgrade(database=database)
        finally:
            await database.close()

    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, make()).result()
