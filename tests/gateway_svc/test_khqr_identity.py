"""Which money a bank speaks of, and what becomes of claims that cannot be reconciled.

| the bank                                           | what is left                           |
|----------------------------------------------------|----------------------------------------|
| names one number for two amounts, or two bills     | HELD, 409: no payment, no confirmation |
| names none at first, then one, of the same second  | one payment                            |
| vouches for money after the bill was paid in the app | UNAPPLIED, named or not              |
| takes money by code while the bill is paid in the app, and tells nobody | found by polling |
| is asked before a second transfer is told of       | asked again                            |
| is never reachable, or no longer configured        | others are asked all the same          |
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from chassis.database import Database
from gateway_svc.code_store import Code
from gateway_svc.khqr_store import take_questions
from gateway_svc.payment import Hold, Refusal
from gateway_svc.verification import Acknowledged, Finding
from tests.support.khqr_ledger import (
    DOWN,
    NOT_PAID,
    PAID_AT,
    KhqrLedger,
    ScriptedBank,
    paid,
    told,
    usd,
)
from tests.support.ledger import notice_for

LATER = PAID_AT + timedelta(seconds=7)
MISMATCHED = "PAYMENT_VERIFICATION_DATA_MISMATCHED"
OTHER = "P222222222"


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


async def holds(ledger: KhqrLedger) -> list[str | None]:
    return [hold for (hold,) in await ledger.rows("SELECT hold FROM khqr_notices ORDER BY id")]


async def payments(ledger: KhqrLedger) -> list[tuple[str, str]]:
    return await ledger.rows("SELECT transaction_id, state FROM payments ORDER BY id")


@pytest.mark.parametrize("number", [None, "BANK1"])
async def test_one_number_for_two_amounts_is_held_and_never_confirmed(
    ledger: KhqrLedger, number: str | None
) -> None:
    await ledger.bill()
    ledger.bank.answers = [
        paid(money=usd(14999), transaction_id=number),
        paid(transaction_id=number, paid_at=LATER),
    ]
    await ledger.tell(told())
    second = await ledger.tell(told(paid_at=LATER))
    assert isinstance(second.answer, Refusal)
    assert second.answer.reason == MISMATCHED
    assert await holds(ledger) == ["VERIFICATION_DIFFERS"] * 2
    assert await ledger.rows("SELECT payment_id FROM khqr_notices") == [(None,), (None,)]
    assert await ledger.is_due()


async def test_the_transaction_of_another_bill_confirms_nothing(ledger: KhqrLedger) -> None:
    await ledger.bill()
    other = await ledger.bill(policy=OTHER)
    await ledger.tell(told())
    outcome = await ledger.tell(told(other.bill_id))
    assert isinstance(outcome.answer, Refusal)
    assert outcome.answer.reason == MISMATCHED
    assert await payments(ledger) == [("BANK1", "APPLIED")]
    assert await ledger.is_due(policy=OTHER)


async def test_a_bill_transfer_numbered_like_our_own_is_not_taken_for_it(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    other = await ledger.bill(policy=OTHER)
    await ledger.notice_writer.submit(
        notice_for(other, transaction_id="AMK_KHQR_150001", policy_number=OTHER)
    )
    ledger.bank.answers = [paid(transaction_id=None)]
    outcome = await ledger.tell(told())
    assert isinstance(outcome.answer, Refusal)
    assert await holds(ledger) == ["VERIFICATION_DIFFERS"]
    assert await ledger.is_due()


@pytest.mark.parametrize("numbers", [(None, "BANK1"), ("BANK1", None)])
async def test_a_number_that_comes_later_or_goes_missing_is_the_same_money(
    ledger: KhqrLedger, numbers: tuple[str | None, str | None]
) -> None:
    await ledger.bill()
    ledger.bank.answers = [paid(transaction_id=number) for number in numbers]
    await ledger.tell(told())
    second = await ledger.tell(told(paid_at=LATER))
    assert isinstance(second.answer, Acknowledged)
    assert len(await payments(ledger)) == 1
    assert await holds(ledger) == [None, "POSSIBLE_SECOND_TRANSFER"]


@pytest.mark.parametrize("number", [None, "BANK1"])
async def test_money_by_code_after_the_bill_was_paid_in_the_app_is_kept(
    ledger: KhqrLedger, number: str | None
) -> None:
    bill = await ledger.bill()
    await ledger.notice_writer.submit(notice_for(bill))
    ledger.bank.answers = [paid(transaction_id=number)]
    await ledger.tell(told())
    assert [state for _, state in await payments(ledger)] == ["APPLIED", "UNAPPLIED"]
    assert await holds(ledger) == ["ALREADY_PAID"]


async def test_money_by_code_that_nobody_tells_of_is_found_though_the_bill_was_paid_in_the_app(
    ledger: KhqrLedger,
) -> None:
    bill = await ledger.bill()
    code = Code(payload="code", image=b"png", expires_at=ledger.now + timedelta(minutes=30))
    await ledger.codes.record(bank_code="AMK", bill_id=bill.bill_id, offered=code, request_id="r")
    await ledger.notice_writer.submit(notice_for(bill))
    assert await ledger.rows("SELECT state FROM codes") == [("PAID",)]
    ledger.now += ledger.plan.first
    await ledger.completer.run_once()
    assert await payments(ledger) == [("T1", "APPLIED"), ("BANK1", "UNAPPLIED")]


async def test_money_that_pays_nothing_is_never_called_confirmed(ledger: KhqrLedger) -> None:
    await ledger.bill()
    ledger.now += timedelta(seconds=1)
    await ledger.bill(amount="180.00")
    answers = [
        (await ledger.tell(told())).answer,
        (await ledger.tell(told(paid_at=LATER))).answer,
    ]
    assert [one.status for one in answers if isinstance(one, Acknowledged)] == ["RECEIVED"] * 2
    assert await ledger.counts("applications") == (0,)


async def test_a_bill_notice_of_a_known_khqr_transfer_is_held(ledger: KhqrLedger) -> None:
    await ledger.bill()
    ledger.bank.answers = [paid(money=usd(14999))]
    await ledger.tell(told())
    other = await ledger.bill(policy=OTHER)
    decision = await ledger.notice_writer.submit(
        notice_for(other, transaction_id="BANK1", policy_number=OTHER)
    )
    assert decision.hold is Hold.TRANSACTION_TAKEN
    assert isinstance(decision.answer, Refusal)
    assert decision.answer.reason == MISMATCHED
    assert await ledger.counts("notices", "applications") == (1, 0)


async def test_a_transfer_told_while_the_bank_is_asked_is_asked_about_again(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    first = paid()
    after = first.asked_at + timedelta(seconds=1)
    second = replace(
        paid(transaction_id="BANK2", paid_at=LATER), asked_at=after + timedelta(seconds=1)
    )
    ledger.bank.answers = [first, second]
    ledger.bank.gate = asyncio.Event()
    flying = asyncio.create_task(ledger.tell(told()))
    await ledger.bank.was_asked.wait()
    waiting = asyncio.create_task(ledger.tell(told(paid_at=LATER, received_at=after)))
    await asyncio.sleep(0.2)
    ledger.bank.gate.set()
    await flying
    assert isinstance((await waiting).answer, Acknowledged)
    assert await payments(ledger) == [("BANK1", "APPLIED"), ("BANK2", "UNAPPLIED")]


async def test_bytes_that_were_read_in_another_way_before_still_prove(ledger: KhqrLedger) -> None:
    """A corrected `[<bank>.verify]` reads the same answer otherwise."""
    await ledger.bill()
    misread: Finding = replace(NOT_PAID, answer_digest=paid().answer_digest)
    ledger.bank.answers = [misread, paid()]
    await ledger.tell(told())
    assert isinstance((await ledger.tell(told())).answer, Acknowledged)
    assert await payments(ledger) == [("BANK1", "APPLIED")]


async def test_notices_of_a_bank_that_is_gone_or_silent_do_not_stand_before_others(
    ledger: KhqrLedger,
) -> None:
    ledger.bank.answers = [DOWN]
    for number in range(ledger.plan.most + 1):
        policy = f"P{number:09d}"
        gone = await ledger.bill(policy=policy)
        await ledger.tell(told(gone.bill_id))
    await _rename_bank(ledger)
    late = await ledger.bill(policy=OTHER)
    await ledger.tell(told(late.bill_id))
    ledger.bank.answers = [paid()]
    ledger.now += timedelta(minutes=1)
    await ledger.completer.run_once()
    assert await ledger.rows("SELECT bill_id FROM payments") == [(late.bill_id,)]


async def _rename_bank(ledger: KhqrLedger) -> None:
    """Leave the notices so far to a bank that is no longer in the configuration."""
    banks = dict(ledger.khqr._banks)
    ledger.khqr.questions._banks = ledger.khqr._banks = {
        "OLD": replace(banks["AMK"], code="OLD", verifier=None),
        **banks,
    }
    async with ledger.database.transaction() as connection:
        trigger = (
            "DROP TRIGGER bills_frozen"
            if ledger.database.dialect == "sqlite"
            else "DROP TRIGGER bills_frozen ON bills"
        )
        await connection.exec_driver_sql(trigger)
        await connection.exec_driver_sql("UPDATE bills SET bank_code = 'OLD'")


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(hours=-1)])
async def test_a_clock_that_is_wrong_elsewhere_keeps_nobody_from_asking(
    database_url: str, ledger: KhqrLedger, ahead: timedelta
) -> None:
    other = KhqrLedger(database=Database(url=database_url), bank=ledger.bank)
    other.start()
    other.now += ahead
    await ledger.bill()
    ledger.bank.answers = [DOWN, paid()]
    await other.tell(told())
    assert isinstance((await ledger.tell(told())).answer, Acknowledged)
    await other.stop()
    await other.database.close()


async def test_a_question_left_by_a_dead_process_whose_clock_ran_ahead_is_free(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    async with ledger.database.transaction() as connection:
        assert await take_questions(
            connection=connection,
            bill_ids=[150001],
            owner="dead",
            now=ledger.now + timedelta(hours=1),
            length=timedelta(seconds=6),
        )
    assert isinstance((await ledger.tell(told())).answer, Acknowledged)


async def test_a_caller_that_leaves_does_not_cancel_the_keeping_of_a_code(
    ledger: KhqrLedger,
) -> None:
    bill = await ledger.bill()
    code = Code(payload="code", image=b"png", expires_at=ledger.now + timedelta(minutes=30))
    for turns in range(12):
        keeping = asyncio.create_task(
            ledger.codes.record(bank_code="AMK", bill_id=bill.bill_id, offered=code, request_id="r")
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        keeping.cancel()
        await asyncio.wait([keeping])
    assert await ledger.bill(policy=OTHER)
    assert (await ledger.counts("codes"))[0] == 1
