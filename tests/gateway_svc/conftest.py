"""A migrated database on each engine, and the gateway's use cases over it."""

from collections.abc import AsyncIterator

import pytest

from chassis.database import Database
from tests.support.ledger import Ledger


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return a migrated database, once per engine."""
    opened = Database(url=database_url)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def ledger(database: Database) -> AsyncIterator[Ledger]:
    """Return the gateway's use cases over `database`, with writers as in production."""
    opened = Ledger(database=database)
    opened.start()
    try:
        yield opened
    finally:
        await opened.stop()
