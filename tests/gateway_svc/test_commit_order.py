"""What is on disk when: nothing before the commit, everything with it, the answer after it.

| at the point | of a bill confirmation and of a KHQR record |
|--------------|---------------------------------------------|
| before the commit | no payment and no event is seen by anybody else; nobody has an answer |
| after the commit | payment and events are seen together; the answer leaves from here on |
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from chassis.database import Database
from tests.support.khqr_ledger import KhqrLedger, ScriptedBank, paid, told
from tests.support.ledger import Ledger, notice_for


class _Onlooker:
    """Looks at the database from another thread and connection at each point of `watched`."""

    def __init__(self, *, url: str, watched: str) -> None:
        self._url = url
        self._watched = watched
        self.seen: dict[str, tuple[int, int]] = {}  # payments and events, by point
        self.answered: dict[str, bool] = {}
        self.answer: asyncio.Future[Any] | None = None

    def __call__(self, point: str) -> None:
        name, _, when = point.partition(".")
        if name != self._watched:
            return
        with ThreadPoolExecutor(max_workers=1) as thread:
            self.seen[when] = thread.submit(asyncio.run, self._look()).result()
        self.answered[when] = self.answer is not None and self.answer.done()

    async def _look(self) -> tuple[int, int]:
        database = Database(url=self._url)
        async with database.reading() as connection:
            counts = [
                await connection.scalar(text(f"SELECT count(*) FROM {table}"))
                for table in ("payments", "outbox")
            ]
        await database.close()
        return counts[0] or 0, counts[1] or 0


Confirm = Callable[[Database], Coroutine[Any, Any, Any]]


async def _bill(database: Database) -> Any:
    ledger = Ledger(database=database)
    bill = await ledger.bill()
    ledger.start()
    try:
        return await ledger.notice_writer.submit(notice_for(bill))
    finally:
        await ledger.stop()


async def _khqr(database: Database) -> Any:
    ledger = KhqrLedger(database=database, bank=ScriptedBank(paid()))
    await ledger.bill()
    ledger.start()
    try:
        return await ledger.tell(told())
    finally:
        await ledger.stop()


_CHANNELS: dict[str, tuple[Confirm, str, int]] = {
    "bill": (_bill, "confirm", 2),
    "khqr": (_khqr, "khqr_record", 3),
}


@pytest.fixture
async def migrated_url(database_url: str) -> str:
    """Return the URL of a database with the schema."""
    database = Database(url=database_url)
    await database.close()
    return database_url


@pytest.mark.parametrize(("confirm", "point", "events"), _CHANNELS.values(), ids=_CHANNELS.keys())
async def test_payment_and_events_appear_with_the_commit_and_the_answer_after_it(
    migrated_url: str, confirm: Confirm, point: str, events: int
) -> None:
    onlooker = _Onlooker(url=migrated_url, watched=point)
    database = Database(url=migrated_url, reached=onlooker)
    onlooker.answer = asyncio.ensure_future(confirm(database))
    await onlooker.answer
    assert onlooker.seen == {"before_commit": (0, 0), "after_commit": (1, events)}
    assert onlooker.answered == {"before_commit": False, "after_commit": False}
    await database.close()
