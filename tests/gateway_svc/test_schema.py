"""The law in the database itself: raw SQL tries to break it on each engine and is refused.

Every statement runs against a database that holds one paid obligation (bill 150001, payment 1),
one open bill of another obligation (150002), and one held notice.
"""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from chassis.database import Database
from gateway_svc.migrations import SchemaBehind, require_newest, upgrade
from gateway_svc.proposal_tables import metadata
from tests.support.ledger import Ledger, notice_for

AT = "'2025-10-07T05:00:00.000000Z'"
STATE = f"{AT}, 'psql'"


def insert_bill(**changes: str) -> str:
    columns = {
        "bank_code": "'AMK'",
        "obligation_id": "2",
        "amount_hundredths": "18000",
        "currency": "'USD'",
        "payer": "'J'",
        "looked_up_at": AT,
        "created_at": AT,
        "state": "'CLOSED'",
        "state_at": AT,
        "state_cause": "'psql'",
    } | changes
    return f"INSERT INTO bills ({', '.join(columns)}) VALUES ({', '.join(columns.values())})"


def insert_payment(**changes: str) -> str:
    columns = {
        "bank_code": "'AMK'",
        "transaction_id": "'T9'",
        "channel": "'BILL'",
        "bill_id": "150002",
        "amount_hundredths": "15000",
        "currency": "'USD'",
        "paid_at": AT,
        "recorded_at": AT,
        "assurance": "'BANK_NOTICE'",
        "state": "'UNAPPLIED'",
        "state_at": AT,
        "state_cause": "'psql'",
    } | changes
    return f"INSERT INTO payments ({', '.join(columns)}) VALUES ({', '.join(columns.values())})"


APPLIED = {"state": "'APPLIED'", "obligation_id": "2"}
ILLEGAL = {
    "a second application of one obligation": [
        insert_payment(bill_id="150001", obligation_id="1", state="'APPLIED'"),
        f"INSERT INTO applications VALUES (1, 2, {AT})",
    ],
    "a second application of one payment": [f"INSERT INTO applications VALUES (2, 1, {AT})"],
    "an application without a payment": [f"INSERT INTO applications VALUES (2, 99, {AT})"],
    "an application of an unapplied payment": [
        insert_payment(),
        f"INSERT INTO applications VALUES (2, 2, {AT})",
    ],
    "an application without an obligation": [
        insert_payment(**APPLIED),
        f"INSERT INTO applications VALUES (99, 2, {AT})",
    ],
    "a payment applied without an application": [insert_payment(**APPLIED)],
    "a payment applied without naming its obligation": [insert_payment(state="'APPLIED'")],
    "an unapplied payment with an obligation": [insert_payment(obligation_id="2")],
    "an application replaced": [
        insert_payment(**APPLIED),
        "UPDATE applications SET payment_id = 2 WHERE obligation_id = 1",
    ],
    "an application deleted": ["DELETE FROM applications"],
    "a payment of another amount than its bill": [insert_payment(amount_hundredths="14999")],
    "a payment of another currency than its bill": [insert_payment(currency="'KHR'")],
    "a payment at another bank than its bill": [insert_payment(bank_code="'XYZ'")],
    "a payment of a bill that pays another obligation": [
        insert_payment(state="'APPLIED'", obligation_id="1")
    ],
    "a payment of no bill there is": [insert_payment(bill_id="999")],
    "a transfer recorded twice": [insert_payment(transaction_id="'T1'")],
    "a transfer without a number": [insert_payment(transaction_id="''")],
    "a second payment of one notice": [insert_payment(notice_id="1")],
    "a payment of nothing": [insert_payment(bill_id="NULL", amount_hundredths="0")],
    "a negative payment": [insert_payment(bill_id="NULL", amount_hundredths="-1")],
    "a payment in half a riel": [
        insert_payment(bill_id="NULL", currency="'KHR'", amount_hundredths="150")
    ],
    "a payment in another currency": [insert_payment(bill_id="NULL", currency="'EUR'")],
    "a payment in a state there is not": [insert_payment(state="'MAYBE'")],
    "a payment's amount changed": ["UPDATE payments SET amount_hundredths = 1"],
    "a payment's transfer changed": ["UPDATE payments SET transaction_id = 'T8'"],
    "a payment taken back": ["UPDATE payments SET state = 'UNAPPLIED', obligation_id = NULL"],
    "a payment deleted": ["DELETE FROM payments"],
    "a second open bill of one bank and obligation": [insert_bill(state="'OPEN'")],
    "a bill in another currency than its obligation": [insert_bill(currency="'KHR'")],
    "a bill of no obligation": [insert_bill(obligation_id="99")],
    "a bill of nothing": [insert_bill(amount_hundredths="0")],
    "a bill beyond sixteen digits": [insert_bill(amount_hundredths="1000000000000000001")],
    "a bill below the first number": [insert_bill(id="150000")],
    "a bill in a state there is not": [insert_bill(state="'MAYBE'")],
    "a paid bill opened": ["UPDATE bills SET state = 'OPEN' WHERE id = 150001"],
    "a paid bill closed": ["UPDATE bills SET state = 'CLOSED' WHERE id = 150001"],
    "a bill's amount changed": ["UPDATE bills SET amount_hundredths = 1 WHERE id = 150002"],
    "a bill's obligation changed": ["UPDATE bills SET obligation_id = 1 WHERE id = 150002"],
    "a bill deleted": ["DELETE FROM bills WHERE id = 150002"],
    "an obligation twice": [
        "INSERT INTO obligations (policy_number, due_on, currency, created_at) "
        f"VALUES ('P123456789', '2025-11-15', 'USD', {AT})"
    ],
    "an obligation's policy changed": ["UPDATE obligations SET policy_number = 'P'"],
    "an obligation deleted": ["DELETE FROM obligations"],
    "a notice's claim changed": ["UPDATE notices SET amount_hundredths = 1"],
    "a notice undone": ["UPDATE notices SET state = 'RECEIVED' WHERE id = 1"],
    "a held notice without a cause": ["UPDATE notices SET hold = NULL WHERE state = 'HELD'"],
    "a notice deleted": ["DELETE FROM notices"],
    "a held notice ended by one person": [
        "UPDATE notices SET state = 'DONE', hold = NULL WHERE id = 2"
    ],
    "the journal changed": ["UPDATE journal SET cause = 'nothing happened'"],
    "the journal deleted": ["DELETE FROM journal"],
    "an event changed": ["UPDATE outbox SET value = 'x'"],
}
ILLEGAL_ON_ONE = {
    "postgresql": {
        f"{table} emptied": [f"TRUNCATE {table} CASCADE"]
        for table in ("obligations", "bills", "notices", "payments", "applications", "journal")
    },
    "sqlite": {
        "a fraction of a hundredth": [insert_bill(amount_hundredths="15000.5")],
        "an amount in words": [insert_bill(amount_hundredths="'a lot'")],
        "a payment replaced": [insert_payment(id="1").replace("INSERT", "INSERT OR REPLACE")],
        "the journal replaced": [
            "INSERT OR REPLACE INTO journal (id, entity, entity_id, to_state, cause, at) "
            f"VALUES (1, 'bills', 1, 'OPEN', 'x', {AT})"
        ],
    },
}


PROPOSAL_OF_VOID = (
    "INSERT INTO proposals (exception_id, notice_id, hold, held_since, action, reason, "
    "proposed_by, proposed_at, request_id, state, state_at, state_cause) VALUES "
    f"('notice-2', 2, 'UNKNOWN_BILL', {AT}, 'VOID', 'no such bill', 'dara', {AT}, 'r', "
    f"'PROPOSED', {STATE})"
)
APPROVED_VOID = [
    PROPOSAL_OF_VOID,
    "UPDATE proposals SET state = 'APPROVED', decided_by = 'sophea', "
    f"decided_at = {AT}, decision_reason = 'right'",
    "UPDATE notices SET state = 'DONE', hold = NULL WHERE id = 2",
]


@pytest.fixture
async def paid(ledger: Ledger) -> Ledger:
    bill = await ledger.bill()
    await ledger.bill(policy="P222222222")
    await ledger.confirmation.record(
        [notice_for(bill), notice_for(bill, transaction_id="T2", bill_id=999)]
    )
    return ledger


async def attack(ledger: Ledger, statements: list[str]) -> None:
    async with ledger.database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def everything(ledger: Ledger) -> list[object]:
    return [await ledger.rows(f"SELECT * FROM {name} ORDER BY 1") for name in metadata.tables]


@pytest.mark.parametrize("attempt", ILLEGAL)
async def test_the_database_refuses(paid: Ledger, attempt: str) -> None:
    before = await everything(paid)
    with pytest.raises(IntegrityError):
        await attack(paid, ILLEGAL[attempt])
    assert await everything(paid) == before


async def test_the_database_refuses_what_its_engine_alone_would_allow(paid: Ledger) -> None:
    before = await everything(paid)
    accepted = []
    for attempt, statements in ILLEGAL_ON_ONE[paid.database.dialect].items():
        try:
            await attack(paid, statements)
        except DBAPIError:
            continue
        accepted.append(attempt)
    assert accepted == []
    assert await everything(paid) == before


@pytest.mark.parametrize(
    "statements",
    [
        [insert_bill()],
        [insert_payment()],
        [insert_payment(bill_id="NULL")],
        [insert_payment(**APPLIED), f"INSERT INTO applications VALUES (2, 2, {AT})"],
        ["UPDATE bills SET state = 'CLOSED' WHERE id = 150002"],
        APPROVED_VOID,
    ],
)
async def test_the_database_takes_what_is_legal(paid: Ledger, statements: list[str]) -> None:
    """The attacks above must fail for what is wrong with them, not for their form."""
    await attack(paid, statements)


async def test_the_journal_tells_what_a_person_did_in_sql(paid: Ledger) -> None:
    await attack(
        paid,
        [
            f"UPDATE bills SET state = 'CLOSED', state_at = {AT}, state_cause = 'ticket 7' "
            "WHERE id = 150002"
        ],
    )
    assert (await paid.rows("SELECT * FROM journal ORDER BY id DESC"))[0][1:6] == (
        "bills",
        150002,
        "OPEN",
        "CLOSED",
        "ticket 7",
    )


async def test_the_migrated_schema_is_what_the_code_says(database: Database) -> None:
    def differences(connection: Connection) -> Any:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_an_empty_database_is_behind_and_a_migrated_one_is_not(
    empty_database_url: str,
) -> None:
    database = Database(url=empty_database_url)
    with pytest.raises(SchemaBehind, match=r"python -m gateway_svc\.migrations"):
        await require_newest(database=database)
    await upgrade(database=database)
    await require_newest(database=database)
    await upgrade(database=database)
    await database.close()
