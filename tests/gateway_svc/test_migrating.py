"""`python -m gateway_svc.migrations` on a PostgreSQL that is in use.

| while it runs                     | so                                                 |
|-----------------------------------|----------------------------------------------------|
| another one, longer than a        | it waits, then finds the work done; rows stay      |
| statement of a gateway may take   |                                                    |
| somebody holds a table of ours    | it gives up soon; nothing changed, payments go on  |
"""

import asyncio
import time

import pytest
from alembic import command
from sqlalchemy import Connection, text

from chassis.database import Database, DatabaseUnavailable
from gateway_svc.migrations import _LOCK, _config, require_newest, upgrade
from gateway_svc.migrations.__main__ import _migrate
from tests.support.ledger import Ledger, notice_for

_LONGER_THAN_A_STATEMENT_S = 5


def _to_the_second(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0002")


async def _paid_on_the_second(url: str) -> Database:
    database = Database(url=url)
    async with database.transaction() as connection:
        await connection.run_sync(_to_the_second)
    ledger = Ledger(database=database)
    await ledger.confirmation.record([notice_for(await ledger.bill())])
    return database


async def test_it_waits_for_another_one(empty_postgres_url: str) -> None:
    database = await _paid_on_the_second(empty_postgres_url)
    async with database.transaction() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        migrating = asyncio.create_task(_migrate(empty_postgres_url, restored=False))
        await asyncio.sleep(_LONGER_THAN_A_STATEMENT_S)
        assert not migrating.done()
    await migrating
    await require_newest(database=database)
    assert await Ledger(database=database).counts("outbox", "payments") == (2, 1)
    await database.close()


async def test_it_does_not_hold_up_payments_behind_somebody(empty_postgres_url: str) -> None:
    database = await _paid_on_the_second(empty_postgres_url)
    async with database.transaction() as connection:
        await connection.execute(text("LOCK TABLE outbox IN ROW EXCLUSIVE MODE"))
        started_s = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await _migrate(empty_postgres_url, restored=False)
        assert time.monotonic() - started_s < _LONGER_THAN_A_STATEMENT_S
    await _migrate(empty_postgres_url, restored=False)
    await require_newest(database=database)
    await upgrade(database=database)
    await database.close()
