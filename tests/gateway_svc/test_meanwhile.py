"""What others commit while a confirmation waits for its obligation, or was read before it.

PostgreSQL reads a batch in one statement, which sees the database as it was when it began: before
the wait. Recording must find out what it missed.

| meanwhile                                      | what is left                                  |
|------------------------------------------------|-----------------------------------------------|
| a bill was opened at another bank              | paid here, closed there                       |
| the premium changed                            | held: the bill is closed; nothing is paid     |
| the premium changed and changed back           | paid, by the bill that is open now            |
| the obligation's sequence was counted up       | the events go on from there                   |
| another notice of the same number was recorded | held beside it: they contradict each other    |
| nothing but the lock                           | paid                                          |
"""

import asyncio
import json
from dataclasses import replace

from sqlalchemy import text

from gateway_svc.payment import Bill, Confirmed, Decision, Hold
from tests.support.ledger import Ledger, notice_for

_OPEN = (
    "INSERT INTO bills (bank_code, obligation_id, amount_hundredths, currency, payer,"
    " looked_up_at, created_at, state, state_at, state_cause)"
    " SELECT '{bank}', obligation_id, {amount}, currency, payer, looked_up_at, created_at,"
    " 'OPEN', state_at, 'inquiry' FROM bills WHERE id = {bill}"
)
_NUMBER = "INSERT INTO bill_numbers (bill_id, number) SELECT max(id), 'P123456789' FROM bills"
_CLOSE = "UPDATE bills SET state = 'CLOSED', state_cause = 'premium changed' WHERE id = {bill}"
_COUNT = "UPDATE obligations SET event_sequence = event_sequence + 5"
_NOTICE = (
    "INSERT INTO notices (bank_code, channel, natural_key, contradicts, bill_id, policy_number,"
    " amount_hundredths, currency, payer, paid_at, received_at, body_digest, subject, request_id,"
    " answer, hold, flags, state, state_at, state_cause)"
    " VALUES ('AMK', 'BILL', 'T1', false, 888888, 'P123456789', 15000, 'USD', 'John Doe',"
    " '2025-10-07T05:00:00.000000Z', '2025-10-07T05:00:00.000000Z', 'x', 'amk', 'r',"
    """ '{"reason": "RESOURCE_NOT_FOUND", "message": "Bill not found", "details": ""}',"""
    " 'UNKNOWN_BILL', '', 'HELD', '2025-10-07T05:00:00.000000Z', 'UNKNOWN_BILL')"
)
_WAITS_S = 0.3


async def _confirmed_while(ledger: Ledger, bill: Bill, *changes: str) -> Decision:
    """Return the decision on a notice that waited while `changes` were made and committed."""
    lock = " FOR UPDATE" if ledger.database.dialect == "postgresql" else ""
    async with ledger.database.transaction() as connection:
        await connection.execute(text(f"SELECT * FROM obligations{lock}"))
        confirming = asyncio.create_task(ledger.confirmation.record([notice_for(bill)]))
        done, _ = await asyncio.wait([confirming], timeout=_WAITS_S)
        assert not done
        for change in changes:
            await connection.execute(text(change))
    [decision] = await confirming
    return decision


def _opened(bill: Bill, *, bank: str = "AMK", amount: int = 15000) -> tuple[str, str]:
    return (_OPEN.format(bank=bank, amount=amount, bill=bill.bill_id), _NUMBER)


def _closed(bill: Bill) -> str:
    return _CLOSE.format(bill=bill.bill_id)


async def test_a_bill_opened_at_another_bank_is_closed_with_the_payment(ledger: Ledger) -> None:
    bill = await ledger.bill()
    decision = await _confirmed_while(ledger, bill, *_opened(bill, bank="XYZ"))
    assert isinstance(decision.answer, Confirmed)
    assert await ledger.rows("SELECT bank_code, state FROM bills ORDER BY id") == [
        ("AMK", "PAID"),
        ("XYZ", "CLOSED"),
    ]
    assert await ledger.counts("notices", "payments", "applications", "outbox") == (1, 1, 1, 2)


async def test_a_premium_that_changed_holds_the_notice(ledger: Ledger) -> None:
    bill = await ledger.bill()
    changes = (_closed(bill), *_opened(bill, amount=18000))
    decision = await _confirmed_while(ledger, bill, *changes)
    assert decision.hold is Hold.BILL_CLOSED
    assert await ledger.rows("SELECT state FROM bills ORDER BY id") == [("CLOSED",), ("OPEN",)]
    assert await ledger.counts("notices", "payments", "applications", "outbox") == (1, 0, 0, 0)


async def test_a_premium_that_changed_and_changed_back_is_paid(ledger: Ledger) -> None:
    bill = await ledger.bill()
    decision = await _confirmed_while(ledger, bill, _closed(bill), *_opened(bill))
    assert isinstance(decision.answer, Confirmed)
    assert "late" in decision.flags
    assert await ledger.rows("SELECT state FROM bills ORDER BY id") == [("CLOSED",), ("CLOSED",)]
    assert await ledger.rows("SELECT bill_id FROM payments") == [(bill.bill_id,)]


async def test_a_notice_whose_number_another_one_took_is_held_beside_it(ledger: Ledger) -> None:
    """Neither is about a bill, so no lock of an obligation keeps them apart."""
    unknown = replace(await ledger.bill(), bill_id=999_999)
    async with ledger.database.transaction() as connection:
        await connection.execute(text(_NOTICE))
        notice = notice_for(unknown, transaction_id="T1")
        confirming = asyncio.create_task(ledger.confirmation.record([notice]))
        done, _ = await asyncio.wait([confirming], timeout=_WAITS_S)
        assert not done
    [decision] = await confirming
    assert decision.hold is Hold.CONTRADICTS
    assert await ledger.rows("SELECT bill_id, hold FROM notices ORDER BY id") == [
        (888_888, "UNKNOWN_BILL"),
        (999_999, "CONTRADICTS"),
    ]


async def test_events_go_on_from_the_sequence_that_was_counted_up(ledger: Ledger) -> None:
    bill = await ledger.bill()
    await _confirmed_while(ledger, bill, _COUNT)
    values = await ledger.rows("SELECT value FROM outbox ORDER BY id")
    assert [json.loads(value)["sequence"] for (value,) in values] == [6, 7]
    assert await ledger.rows("SELECT event_sequence FROM obligations") == [(7,)]


async def test_a_confirmation_that_only_waited_is_paid(ledger: Ledger) -> None:
    bill = await ledger.bill()
    decision = await _confirmed_while(ledger, bill)
    assert isinstance(decision.answer, Confirmed)
    assert await ledger.rows("SELECT state FROM bills") == [("PAID",)]
