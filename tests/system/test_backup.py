"""Backup and restore, as `docs/reliability.md` tells an operator to do it.

| backup | disaster | what is there after the restore |
|--------|----------|---------------------------------|
| `pg_dump` while people pay | the database is dropped | all that was committed before it |
| base backup, archived log | the server and its folder are gone | all up to the last segment |

Then a repeated notice gets its first answer, and new bills are paid. `--restored` keeps them from
numbers that the bank knows as those of bills made after the backup.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from chassis.database import Database
from gateway_svc.migrations import require_newest, upgrade
from gateway_svc.migrations.restored import SKIPPED, skip_bill_numbers
from gateway_svc.payment import Confirmed
from tests.support.ledger import Ledger, notice_for
from tests.support.postgres import PostgresServer
from tests.support.postgres_cluster import PostgresCluster, PostgresNotRunnable

_TABLES = ("obligations", "bills", "notices", "payments", "applications", "outbox", "journal")


@pytest.fixture
def folder(postgres: PostgresServer) -> Iterator[Path]:
    """Return a folder that PostgreSQL's user may look into, where PostgreSQL can run."""
    assert postgres.version
    made = Path(tempfile.mkdtemp(prefix="backup-", dir="/tmp"))
    made.chmod(0o777)  # PostgreSQL runs as another user where we are root
    yield made
    shutil.rmtree(made, ignore_errors=True)


def _cluster(folder: Path, **settings: str) -> PostgresCluster:
    folder.mkdir()
    cluster = PostgresCluster(folder=folder, settings=settings)
    try:
        cluster.start()
    except PostgresNotRunnable as reason:
        pytest.skip(str(reason))
    return cluster


@asynccontextmanager
async def _ledger(cluster: PostgresCluster, *, database: str) -> AsyncIterator[Ledger]:
    url = cluster.base.set(drivername="postgresql+asyncpg", database=database)
    opened = Database(url=url.render_as_string(hide_password=False))
    await upgrade(database=opened)
    ledger = Ledger(database=opened)
    ledger.start()
    try:
        yield ledger
    finally:
        await ledger.stop()
        await opened.close()


async def _pay(ledger: Ledger, number: int) -> None:
    policy = f"P{number:09d}"
    bill = await ledger.bill(policy=policy)
    notice = notice_for(bill, transaction_id=f"T{number}", policy_number=policy)
    assert isinstance((await ledger.notice_writer.submit(notice)).answer, Confirmed)


async def _replay(ledger: Ledger, number: int) -> bool:
    """Repeat the notice of a payment; tell whether its first answer came back."""
    rows = await ledger.rows(f"SELECT bill_id FROM notices WHERE natural_key = 'T{number}'")
    policy = f"P{number:09d}"
    [bill_id] = rows[0]
    [[amount]] = await ledger.rows(f"SELECT amount_hundredths FROM bills WHERE id = {bill_id}")
    assert amount == 15000
    bill = await ledger.bill(policy="P999999999")  # any other one: only its words are used
    notice = notice_for(bill, transaction_id=f"T{number}", policy_number=policy, bill_id=bill_id)
    return (await ledger.notice_writer.submit(notice)).replayed


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110 - PostgreSQL tells no event of ours
            await asyncio.sleep(0.05)


async def _is_archived(segment: Path) -> bool:
    return await asyncio.to_thread(segment.exists)


async def _has_recovered(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return not await connection.fetchval("SELECT pg_is_in_recovery()")
    finally:
        await connection.close()


async def test_a_dump_taken_while_people_pay_restores_to_a_gateway_that_goes_on(
    folder: Path,
) -> None:
    cluster = _cluster(folder / "one")
    try:
        cluster.run("createdb", "live")
        async with _ledger(cluster, database="live") as ledger:
            for number in range(1, 6):
                await _pay(ledger, number)
            dumping = asyncio.create_task(
                asyncio.to_thread(cluster.run, "pg_dump", "-Fc", "-f", str(folder / "dump"), "live")
            )
            number = 5
            while not dumping.done():
                number += 1
                await _pay(ledger, number)
            await dumping
        cluster.run("dropdb", "--force", "live")
        cluster.run("createdb", "restored")
        cluster.run("pg_restore", "--exit-on-error", "-d", "restored", str(folder / "dump"))
        async with _ledger(cluster, database="restored") as ledger:
            await require_newest(database=ledger.database)
            payments, applications, events = await ledger.counts(
                "payments", "applications", "outbox"
            )
            assert payments == applications >= 5
            assert events == 2 * payments
            assert await _replay(ledger, 5)
            await skip_bill_numbers(database=ledger.database)
            await _pay(ledger, number + 1)
            highest = await ledger.rows("SELECT max(id) FROM bills")
            assert highest[0][0] > 150_000 + SKIPPED
    finally:
        cluster.stop()


async def test_a_base_backup_and_the_archived_log_bring_everything_back(folder: Path) -> None:
    archive = folder / "archive"
    archive.mkdir()
    archive.chmod(0o777)
    command = f"test ! -f {archive}/%f && cp %p {archive}/%f"
    cluster = _cluster(folder / "one", archive_mode="on", archive_command=command)
    try:
        cluster.run("createdb", "live")
        async with _ledger(cluster, database="live") as ledger:
            await _pay(ledger, 1)
            cluster.run("pg_basebackup", "-D", str(folder / "base"), "-c", "fast", "-X", "none")
            for number in range(2, 9):
                await _pay(ledger, number)
            before = await ledger.counts(*_TABLES)
            [[segment]] = await ledger.rows("SELECT pg_walfile_name(pg_switch_wal())")
            await _until(lambda: _is_archived(archive / segment))
        cluster.kill()
        shutil.rmtree(folder / "one" / "data")
    finally:
        cluster.stop()
    os.rename(folder / "base", folder / "one" / "data")  # noqa: PTH104 - not across file systems
    (folder / "one" / "data" / "recovery.signal").touch()
    again = PostgresCluster(
        folder=folder / "one",
        settings={"restore_command": f"cp {archive}/%f %p", "archive_mode": "off"},
    )
    again.start()
    try:
        url = again.base.set(drivername="postgresql").render_as_string(hide_password=False)
        await _until(lambda: _has_recovered(url))  # until then it answers, and refuses to write
        async with _ledger(again, database="live") as ledger:
            assert await ledger.counts(*_TABLES) == before
            assert await _replay(ledger, 8)
            await _pay(ledger, 9)
    finally:
        again.stop()
