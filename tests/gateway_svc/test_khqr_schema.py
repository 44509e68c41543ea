"""The law of KHQR in the database itself: raw SQL tries to break it and is refused.

The database holds bill 150001, paid by code (payment 1, verification 1), bill 150002, open with
a live code, and verification 2 of it, which says "not paid".
"""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from chassis.database import Database
from gateway_svc.code_store import Code
from tests.support.khqr_ledger import NOT_PAID, KhqrLedger, ScriptedBank, paid, told

AT = "'2025-10-07T05:00:00.000000Z'"
KHQR_PAYMENT = (
    "INSERT INTO payments (bank_code, transaction_id, channel, bill_id, obligation_id, "
    "amount_hundredths, currency, paid_at, recorded_at, assurance, state, state_at, state_cause) "
    f"VALUES ('AMK', 'B9', 'KHQR', 150002, 2, 15000, 'USD', {AT}, {AT}, 'BANK_VERIFIED', "
    f"'APPLIED', {AT}, 'psql')"
)
APPLICATION = f"INSERT INTO applications VALUES (2, 2, {AT})"


def verification(
    *, bill: int = 150002, was_paid: str = "TRUE", number: str = "'B9'", because: str = "NULL"
) -> str:
    return (
        "INSERT INTO verifications (bank_code, bill_id, paid, transaction_id, amount_hundredths, "
        "currency, asked_at, foreign_because, answer_digest) "
        f"VALUES ('AMK', {bill}, {was_paid}, {number}, 15000, 'USD', {AT}, {because}, 'd')"
    )


def proof(*, of: int = 3, amount: int = 15000) -> str:
    return f"INSERT INTO proofs VALUES (2, {of}, {amount}, 'USD')"


ILLEGAL = {
    "code money applied without a proof": [KHQR_PAYMENT, APPLICATION],
    "a proof that says not paid": [verification(was_paid="FALSE"), KHQR_PAYMENT, proof()],
    "a proof about another bill": [verification(bill=150001), KHQR_PAYMENT, proof()],
    "a proof of another transfer": [verification(number="'B8'"), KHQR_PAYMENT, proof()],
    "a proof that is not about us": [verification(because="'other'"), KHQR_PAYMENT, proof()],
    "a proof of another amount": [verification(), KHQR_PAYMENT, proof(amount=14999)],
    "a verification that proves twice": [KHQR_PAYMENT, proof(of=1)],
    "a proof taken away": ["DELETE FROM proofs"],
    "a proof moved": ["UPDATE proofs SET verification_id = 2"],
    "a verification changed": ["UPDATE verifications SET paid = TRUE, amount_hundredths = 1"],
    "a verification deleted": ["DELETE FROM verifications"],
    "a second live code": [
        "INSERT INTO codes (bill_id, payload, image, expires_at, created_at, state, state_at, "
        f"state_cause) VALUES (150002, 'x', 'x', {AT}, {AT}, 'LIVE', {AT}, 'psql')"
    ],
    "a code's text changed": ["UPDATE codes SET payload = 'x'"],
    "an ended code revived": ["UPDATE codes SET state = 'LIVE' WHERE bill_id = 150001"],
    "a final answer changed": ["UPDATE khqr_notices SET answer = 'x' WHERE state = 'DONE'"],
    "a settled notice undone": ["UPDATE khqr_notices SET state = 'RECEIVED' WHERE state = 'DONE'"],
    "a settled notice cut off": ["UPDATE khqr_notices SET payment_id = NULL WHERE state = 'DONE'"],
    "a notice's claim changed": ["UPDATE khqr_notices SET amount_hundredths = 1"],
    "a notice deleted": ["DELETE FROM khqr_notices"],
    "a bill called paid that nothing pays": ["UPDATE bills SET state = 'PAID' WHERE id = 150002"],
    "an open bill of a paid obligation": [
        "INSERT INTO bills (bank_code, obligation_id, amount_hundredths, currency, payer, "
        "looked_up_at, created_at, state, state_at, state_cause) "
        f"VALUES ('AMK', 1, 15000, 'USD', 'J', {AT}, {AT}, 'OPEN', {AT}, 'psql')"
    ],
    "a sequence set back": ["UPDATE obligations SET event_sequence = 0 WHERE id = 1"],
    "an event lost before it is told": ["DELETE FROM outbox"],
    "how sure we were, rewritten": ["UPDATE payments SET assurance = 'BANK_NOTICE'"],
    "a number that was asked for, forgotten": ["DELETE FROM bill_numbers"],
}


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[KhqrLedger]:
    database = Database(url=database_url)
    opened = KhqrLedger(database=database, bank=ScriptedBank(paid(), NOT_PAID))
    opened.start()
    for policy in ("P123456789", "P222222222"):
        bill = await opened.bill(policy=policy)
        expires_at = opened.now + timedelta(minutes=30)
        await opened.codes.record(
            bank_code="AMK",
            bill_id=bill.bill_id,
            offered=Code(payload=policy, image=b"png", expires_at=expires_at),
            request_id="r",
        )
        await opened.tell(told(bill.bill_id))
    try:
        yield opened
    finally:
        await opened.stop()
        await database.close()


async def attack(ledger: KhqrLedger, statements: list[str]) -> None:
    async with ledger.database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement))


@pytest.mark.parametrize("attempt", ILLEGAL)
async def test_the_database_refuses(ledger: KhqrLedger, attempt: str) -> None:
    with pytest.raises(IntegrityError):
        await attack(ledger, ILLEGAL[attempt])
    assert await ledger.counts("applications", "proofs", "payments") == (1, 1, 1)


async def test_the_database_takes_money_that_the_bank_vouched_for(ledger: KhqrLedger) -> None:
    """The attacks above must fail for what is wrong with them, not for their form."""
    await attack(ledger, [verification(), KHQR_PAYMENT, proof(), APPLICATION])
    await attack(ledger, ["UPDATE bills SET state = 'PAID' WHERE id = 150002"])


async def test_a_replaced_notice_is_refused_by_its_own_key_too(ledger: KhqrLedger) -> None:
    if ledger.database.dialect == "postgresql":
        pytest.skip("INSERT OR REPLACE is SQLite's alone")
    columns = "bank_code, digest, bill_id, merchant_number, status, received_at, body_digest"
    with pytest.raises(IntegrityError):
        await attack(
            ledger,
            [
                f"INSERT OR REPLACE INTO khqr_notices ({columns}, subject, request_id, state, "
                f"state_at, state_cause) SELECT {columns}, subject, request_id, 'RECEIVED', "
                "state_at, 'psql' FROM khqr_notices WHERE id = 1"
            ],
        )
