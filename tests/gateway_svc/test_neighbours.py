"""A premium that somebody holds locked, such as a gateway that froze while it recorded.

Its notices are told "later"; all others that came in the same moment are confirmed, and nobody
waits for each of the stuck ones in turn.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from chassis.database import Database, DatabaseUnavailable
from gateway_svc.payment import Confirmed
from tests.support.ledger import Ledger, notice_for

LOCK_TIMEOUT_S = 0.5
STUCK, NEIGHBOURS = 5, 5


@pytest.fixture
async def ledger(postgres_url: str) -> AsyncIterator[Ledger]:
    database = Database(url=postgres_url, lock_timeout_s=LOCK_TIMEOUT_S)
    yield Ledger(database=database)
    await database.close()


async def test_a_locked_premium_keeps_back_no_neighbour(ledger: Ledger) -> None:
    stuck = await ledger.bill(policy="P000000000")
    notices = [
        notice_for(stuck, transaction_id=f"stuck {number}", policy_number="P000000000")
        for number in range(STUCK)
    ]
    for number in range(1, NEIGHBOURS + 1):
        bill = await ledger.bill(policy=f"P{number:09d}")
        notices.append(
            notice_for(bill, transaction_id=f"T{number}", policy_number=f"P{number:09d}")
        )
    async with ledger.database.transaction() as connection:
        await connection.execute(
            text("SELECT 1 FROM obligations WHERE id = :id FOR UPDATE"),
            {"id": stuck.obligation_id},
        )
        submitted = [asyncio.create_task(ledger.notice_writer.submit(one)) for one in notices]
        await asyncio.sleep(0)
        started_s = time.monotonic()
        await ledger.notice_writer.run_once()
        took_s = time.monotonic() - started_s
        outcomes = await asyncio.gather(*submitted, return_exceptions=True)
    assert all(isinstance(one, DatabaseUnavailable) for one in outcomes[:STUCK])
    assert [
        isinstance(one.answer, Confirmed)
        for one in outcomes[STUCK:]
        if not isinstance(one, BaseException)
    ] == [True] * NEIGHBOURS
    assert took_s < LOCK_TIMEOUT_S * STUCK  # the batch and then the stuck ones, side by side
    assert await ledger.counts("payments", "applications") == (NEIGHBOURS, NEIGHBOURS)
