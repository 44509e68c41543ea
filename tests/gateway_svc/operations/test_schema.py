"""The law of two people in the database itself: raw SQL tries to break it and is refused.

The database holds what `filled` says: payment 2 is money that pays nothing, notice 2 is refused
(of bill 150003), and bill 150003 is open. `payment-2` has a proposal: number 1, by dara.
"""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.gateway_svc.operations.stage import Stage

AT = "'2025-10-07T05:00:00.000000Z'"


def proposal(**changes: str) -> str:
    columns = {
        "exception_id": "'notice-2'",
        "notice_id": "2",
        "hold": "'MISMATCHED'",
        "held_since": AT,
        "action": "'VOID'",
        "reason": "'seen'",
        "proposed_by": "'dara'",
        "proposed_at": AT,
        "request_id": "'r'",
        "state": "'PROPOSED'",
        "state_at": AT,
        "state_cause": "'psql'",
    } | changes
    return f"INSERT INTO proposals ({', '.join(columns)}) VALUES ({', '.join(columns.values())})"


def decision(number: int = 1, *, by: str = "sophea", state: str = "APPROVED") -> str:
    return (
        f"UPDATE proposals SET state = '{state}', decided_by = '{by}', decided_at = {AT}, "
        f"decision_reason = 'right', state_at = {AT} WHERE id = {number}"
    )


APPLY_2 = "UPDATE payments SET state = 'APPLIED', bill_id = 150004, obligation_id = 4 WHERE id = 2"
APPLICATION = f"INSERT INTO applications VALUES (4, 2, {AT})"
OF_PAYMENT = {"exception_id": "'payment-2'", "notice_id": "NULL", "payment_id": "2"}
SECOND = proposal(**OF_PAYMENT)
ILLEGAL = {
    "an approval by whoever proposed": [decision(by="dara")],
    "a second open proposal": [SECOND],
    "a second approval": [decision(), SECOND, decision(2)],
    "an approved proposal rejected": [decision(), decision(state="REJECTED")],
    "a rejected proposal approved": [decision(state="REJECTED"), decision()],
    "a decision's author changed": [decision(), "UPDATE proposals SET decided_by = 'vanna'"],
    "a decision's reason changed": [decision(), "UPDATE proposals SET decision_reason = 'x'"],
    "a decision taken back": [
        decision(),
        "UPDATE proposals SET state = 'PROPOSED', decided_by = NULL, decided_at = NULL, "
        "decision_reason = NULL",
    ],
    "a decision by nobody": [decision(by=" ")],
    "a decision without a reason": [
        decision().replace("decision_reason = 'right'", "decision_reason = ' '")
    ],
    "a decision without a name": [
        f"UPDATE proposals SET state = 'APPROVED', decided_at = {AT}, decision_reason = 'x'"
    ],
    "a proposal that is approved as it comes": [
        proposal(
            state="'APPROVED'", decided_by="'sophea'", decided_at=AT, decision_reason="'right'"
        )
    ],
    "a proposal without a reason": [proposal(reason="' '")],
    "a proposal by nobody": [proposal(proposed_by="''")],
    "a proposal's action changed": ["UPDATE proposals SET action = 'REFUND', bill_id = NULL"],
    "a proposal's bill changed": ["UPDATE proposals SET bill_id = 150003"],
    "a proposal's author changed": ["UPDATE proposals SET proposed_by = 'sophea'"],
    "a proposal deleted": ["DELETE FROM proposals"],
    "an action there is not": [proposal(action="'KEEP'")],
    "APPLY without a bill": [proposal(action="'APPLY'")],
    "APPLY of a bill there is not": [proposal(action="'APPLY'", bill_id="999")],
    "a bill of VOID": [proposal(bill_id="150003")],
    "REFUNDED without the bank's reference": [proposal(action="'REFUNDED'")],
    "REFUNDED with a blank reference": [proposal(action="'REFUNDED'", bank_reference="' '")],
    "a reference of VOID": [proposal(bank_reference="'R'")],
    "a proposal about nothing": [proposal(notice_id="NULL")],
    "a proposal about two things": [proposal(payment_id="2")],
    "a proposal under another's name": [proposal(exception_id="'notice-1'")],
    "a proposal about what is not there": [proposal(exception_id="'notice-99'", notice_id="99")],
    "KHQR's mere claim applied": [
        proposal(
            exception_id="'khqr-1'",
            notice_id="NULL",
            khqr_notice_id="1",
            action="'APPLY'",
            bill_id="150003",
        )
    ],
    "REFUNDED before REFUND": [
        proposal(action="'REFUNDED'", bank_reference="'R'"),
        decision(2),
    ],
    "APPLY after REFUND": [
        decision(state="REJECTED"),
        proposal(**OF_PAYMENT, action="'REFUND'"),
        decision(2),
        proposal(**OF_PAYMENT, action="'APPLY'", bill_id="150004"),
        decision(3),
    ],
    "money applied though nobody approved it": [APPLY_2, APPLICATION],
    "money applied to another bill than approved": [
        decision(),
        APPLY_2.replace("150004", "150003").replace("= 4", "= 3"),
        APPLICATION.replace("(4,", "(3,"),
    ],
    "money voided that pays a bill": [decision(), APPLY_2, APPLICATION, SECOND, decision(2)],
    "a refused notice ended by nobody": ["UPDATE notices SET state = 'DONE', hold = NULL"],
    "a refused notice ended by a refund that did not go yet": [
        proposal(action="'REFUND'"),
        decision(2),
        "UPDATE notices SET state = 'DONE', hold = NULL",
    ],
}
LEGAL = {
    "an approval, then the money pays its bill": [decision(), APPLY_2, APPLICATION],
    "a rejection by whoever proposed": [decision(by="dara", state="REJECTED"), SECOND],
    "REFUND, then REFUNDED": [
        proposal(action="'REFUND'"),
        decision(2),
        proposal(action="'REFUNDED'", bank_reference="'R'"),
        decision(3),
        "UPDATE notices SET state = 'DONE', hold = NULL WHERE id = 2",
    ],
    "VOID instead of REFUNDED": [
        proposal(action="'REFUND'"),
        decision(2),
        proposal(),
        decision(3),
        "UPDATE notices SET state = 'DONE', hold = NULL WHERE id = 2",
    ],
}


@pytest.fixture
async def proposed(filled: Stage) -> Stage:
    """Return a database with a proposal to apply `payment-2` to bill 150004."""
    bill = await filled.bill(policy="P444444444")
    await filled.propose("payment-2", "APPLY", bill_id=bill.bill_id)
    return filled


async def attack(stage: Stage, statements: list[str]) -> None:
    async with stage.database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement))


@pytest.mark.parametrize("attempt", ILLEGAL)
async def test_the_database_refuses(proposed: Stage, attempt: str) -> None:
    before = await proposed.rows("SELECT * FROM proposals")
    with pytest.raises(IntegrityError):
        await attack(proposed, ILLEGAL[attempt])
    assert await proposed.rows("SELECT * FROM proposals") == before
    assert await proposed.counts("applications") == (2,)


@pytest.mark.parametrize("attempt", LEGAL)
async def test_the_database_takes_what_is_legal(proposed: Stage, attempt: str) -> None:
    """The attacks above must fail for what is wrong with them, not for their form."""
    await attack(proposed, LEGAL[attempt])


async def test_decisions_are_journalled_whoever_makes_them(proposed: Stage) -> None:
    await attack(proposed, [decision(by="dara", state="REJECTED")])
    assert await proposed.rows(
        "SELECT from_state, to_state FROM journal WHERE entity = 'proposals' ORDER BY id"
    ) == [(None, "PROPOSED"), ("PROPOSED", "REJECTED")]
