"""The operators' service over a migrated database, on each engine."""

from collections.abc import AsyncIterator

import pytest

from chassis.database import Database
from tests.gateway_svc.operations.stage import Stage, fill
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


@pytest.fixture
async def filled(database: Database) -> AsyncIterator[Stage]:
    """Return the same with three policies in it; see `fill`."""
    bank = ScriptedBank(paid(transaction_id="K1"), paid(transaction_id="K2"))
    opened = Stage(database=database, bank=bank)
    opened.start()
    await fill(opened)
    try:
        yield opened
    finally:
        await opened.stop()
