"""A clock that ran more than a year ahead for one moment, then told the right time again.

| what was written meanwhile            | what holds an hour later                          |
|---------------------------------------|---------------------------------------------------|
| when an undecided notice is asked about | it was asked about and decided                  |
| when a code is polled                 | it was polled, the money was found                |
| when an event is tried again          | its key goes on                                   |
| when a notice came                    | a second claim is decided all the same            |
| when a premium was looked up          | a changed premium gets its bill                   |

Two clocks that are some milliseconds apart are no such clock: one question is in flight per bill.
"""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from chassis import outbox
from chassis.database import Database
from gateway_svc.code_store import Code
from gateway_svc.khqr_store import take_questions
from gateway_svc.tables import outbox as table
from gateway_svc.verification import Acknowledged
from tests.support.khqr_ledger import DOWN, PAID_AT, KhqrLedger, ScriptedBank, paid, told
from tests.support.ledger import notice_for

AHEAD = timedelta(days=400)
HOUR = timedelta(hours=1)


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[KhqrLedger]:
    database = Database(url=database_url)
    opened = KhqrLedger(database=database, bank=ScriptedBank(paid()))
    opened.start()
    try:
        yield opened
    finally:
        await opened.stop()
        await database.close()


async def test_a_notice_booked_by_it_is_asked_about(ledger: KhqrLedger) -> None:
    await ledger.bill()
    ledger.bank.answers = [DOWN, paid()]
    ledger.now += AHEAD
    await ledger.tell(told(received_at=ledger.now))
    ledger.now -= AHEAD - HOUR
    await ledger.completer.run_once()
    assert await ledger.counts("applications") == (1,)
    assert await ledger.completer.run_once() == 0


async def test_a_code_kept_by_it_is_polled(ledger: KhqrLedger) -> None:
    bill = await ledger.bill()
    expires_at = ledger.now + timedelta(minutes=30)
    ledger.now += AHEAD
    await ledger.codes.record(
        bank_code="AMK",
        bill_id=bill.bill_id,
        offered=Code(payload="0002", image=b"", expires_at=expires_at),
        request_id="r",
    )
    ledger.now -= AHEAD - HOUR
    await ledger.completer.run_once()
    assert await ledger.counts("applications") == (1,)
    assert await ledger.completer.run_once() == 0


async def test_an_event_that_failed_by_it_does_not_hold_back_its_key(ledger: KhqrLedger) -> None:
    await ledger.notice_writer.submit(notice_for(await ledger.bill()))
    async with ledger.database.transaction() as connection:
        await outbox.mark_failed(
            connection=connection,
            table=table,
            row_id=1,
            next_attempt_at=ledger.now + AHEAD,
            error="away",
        )
    async with ledger.database.reading() as connection:
        rows = await outbox.claim(
            connection=connection, table=table, limit=9, now=ledger.now + HOUR
        )
    assert [row.id for row in rows] == [1, 2]


async def test_a_second_claim_received_by_it_is_decided(ledger: KhqrLedger) -> None:
    await ledger.bill()
    await ledger.tell(told())
    second = await ledger.tell(
        told(paid_at=PAID_AT + timedelta(seconds=7), received_at=ledger.now + AHEAD)
    )
    assert isinstance(second.answer, Acknowledged)
    assert await ledger.rows("SELECT hold FROM khqr_notices ORDER BY id") == [
        (None,),
        ("POSSIBLE_SECOND_TRANSFER",),
    ]


async def test_a_premium_looked_up_by_it_can_change(ledger: KhqrLedger) -> None:
    first = await ledger.bill(looked_up_at=ledger.now + AHEAD)
    ledger.now += HOUR
    second = await ledger.bill(amount="180.00")
    assert (str(second.money), second.bill_id > first.bill_id) == ("180.00", True)
    ledger.now += HOUR
    assert (await ledger.bill(amount="180.00")).bill_id == second.bill_id


async def test_clocks_some_milliseconds_apart_ask_one_question(ledger: KhqrLedger) -> None:
    bill = await ledger.bill()
    length = timedelta(seconds=6)
    async with ledger.database.transaction() as connection:
        taken = [
            await take_questions(
                connection=connection,
                bill_ids=[bill.bill_id],
                owner=owner,
                now=ledger.now + timedelta(milliseconds=ahead_ms),
                length=length,
            )
            for owner, ahead_ms in (("ahead", 50), ("right", 10))
        ]
    assert taken == [{bill.bill_id}, set()]
