"""What banks say of many bills, decided and recorded together.

| answers of one batch | come to |
|---|---|
| of bills of their own | what each comes to alone, in one transaction |
| of two bills of one obligation | one pays it, the other's money pays nothing |
| naming one transaction for two bills | one payment; the other notice is held |
| with an answer that says nothing | the others are recorded all the same |
| recorded once more | nothing new |
"""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from chassis.database import Database
from gateway_svc.case_loading import Answered
from gateway_svc.case_recording import _waves
from gateway_svc.verification import Finding
from tests.support.khqr_ledger import DOWN, NOT_PAID, KhqrLedger, ScriptedBank, paid, told, usd
from tests.support.ledger import DUE_ON

_POINTS: list[str] = []  # every commit since the program started


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[KhqrLedger]:
    database = Database(url=database_url, reached=_POINTS.append)
    opened = KhqrLedger(database=database, bank=ScriptedBank(paid()))
    opened.start()
    yield opened
    await opened.stop()
    await database.close()


async def _told(ledger: KhqrLedger, count: int) -> list[int]:
    """Return bills that a booked notice tells of."""
    bills = [
        (await ledger.bill(due_on=DUE_ON + timedelta(days=number))).bill_id
        for number in range(count)
    ]
    for bill_id in bills:
        await ledger.khqr.bookings.submit(told(bill_id))
    return bills


async def _states(ledger: KhqrLedger) -> list[tuple[str, str | None]]:
    rows = await ledger.rows("SELECT state, hold FROM khqr_notices ORDER BY id")
    return [tuple(row) for row in rows]


def _answered(bills: Sequence[int], findings: Sequence[Finding]) -> list[Answered]:
    return [
        Answered(bill_id=bill_id, finding=finding)
        for bill_id, finding in zip(bills, findings, strict=True)
    ]


async def test_many_are_recorded_together_each_as_it_would_be_alone(ledger: KhqrLedger) -> None:
    bills = await _told(ledger, 5)
    paid_ones = [paid(transaction_id=f"B{number}") for number in range(3)]
    findings: list[Finding] = [*paid_ones, NOT_PAID, DOWN]
    before = _POINTS.count("khqr_record.after_commit")
    decisions = await ledger.khqr.questions.recorder.record(_answered(bills, findings))
    assert _POINTS.count("khqr_record.after_commit") == before + 1
    assert [one.case.bill.bill_id for one in decisions] == bills
    assert await _states(ledger) == [("DONE", None)] * 3 + [("VERIFYING", None)] * 2
    assert await ledger.counts("payments", "applications", "proofs", "outbox") == (3, 3, 3, 9)
    assert await ledger.counts("verifications") == (4,)


async def test_recorded_once_more_it_changes_nothing(ledger: KhqrLedger) -> None:
    bills = await _told(ledger, 3)
    answered = _answered(bills, [paid(transaction_id=f"B{number}") for number in range(3)])
    await ledger.khqr.questions.recorder.record(answered)
    tables = ("payments", "applications", "proofs", "verifications", "outbox", "journal")
    once = await ledger.counts(*tables)
    await ledger.khqr.questions.recorder.record(answered)
    assert await ledger.counts(*tables) == once


async def test_two_bills_of_one_obligation_are_paid_once(ledger: KhqrLedger) -> None:
    first = await ledger.bill(amount="150.00")
    ledger.now += timedelta(seconds=1)
    second = await ledger.bill(amount="160.00")
    await ledger.khqr.bookings.submit(told(first.bill_id))
    findings: list[Finding] = [
        paid(transaction_id="OLD"),
        paid(transaction_id="NEW", money=usd(16000)),
    ]
    await ledger.khqr.questions.recorder.record(
        _answered([first.bill_id, second.bill_id], findings)
    )
    rows = await ledger.rows("SELECT transaction_id, state FROM payments ORDER BY transaction_id")
    assert [tuple(row) for row in rows] == [("NEW", "APPLIED"), ("OLD", "UNAPPLIED")]
    assert await ledger.counts("applications") == (1,)


async def test_one_transaction_named_for_two_bills_is_one_payment(ledger: KhqrLedger) -> None:
    bills = await _told(ledger, 2)
    findings: list[Finding] = [paid(transaction_id="SAME"), paid(transaction_id="SAME")]
    await ledger.khqr.questions.recorder.record(_answered(bills, findings))
    assert await ledger.counts("payments", "applications") == (1, 1)
    assert await _states(ledger) == [("DONE", None), ("HELD", "VERIFICATION_DIFFERS")]


def test_what_may_touch_is_decided_one_after_the_other() -> None:
    answered = _answered(
        [1, 2, 3, 4, 5],
        [*(paid(transaction_id=name) for name in ("A", "B", "A")), NOT_PAID, DOWN],
    )
    waves = _waves(answered, {1: 10, 2: 10, 3: 30, 4: 40, 5: 30})
    assert [[one.bill_id for one in wave] for wave in waves] == [[1, 4, 5], [2, 3]]
