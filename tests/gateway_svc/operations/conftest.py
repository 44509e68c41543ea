"""The operators' service over a migrated database, on each engine."""

from collections.abc import AsyncIterator

import pytest

from chassis.database import Database
from tests.gateway_svc.operations.stage import Stage
from tests.support.khqr_ledger import ScriptedBank, paid


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    """Return the ledgers and the operators' service; the bank says "paid" of 150.00."""
    opened = Stage(database=database, bank=ScriptedBank(paid()))
    opened.start()
    try:
        yield opened
    finally:
        await opened.stop()
