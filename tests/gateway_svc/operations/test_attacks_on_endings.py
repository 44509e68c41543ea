"""Attacks on how two people end an exception: money that goes back must not pay as well.

| attack                                                             | what holds               |
|--------------------------------------------------------------------|--------------------------|
| another wish under the request id of the one before                | it is refused, not taken |
| a claim is to be sent back, and the bank vouches for its money      | the money waits          |
| a claim was sent back, and a poll finds its money                   | the money waits          |
| such money is applied by hand                                       | it is refused            |
| a refused bill payment is sent back, KHQR names its transfer        | the money waits          |
| a transfer is sent back, and its contradicting notice applied       | it is refused            |
| both are approved at once                                          | one waits for the other  |
"""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from chassis.database import Database
from chassis.errors import ServiceError
from gateway_svc.case_loading import Answered
from payments.gateway.v1 import operations_service_pb2 as pb
from tests.gateway_svc.operations.stage import Stage
from tests.support.khqr_ledger import DOWN, ScriptedBank, paid, told, usd
from tests.support.ledger import notice_for


async def test_another_wish_under_the_same_request_id_is_not_taken_for_the_first(
    stage: Stage,
) -> None:
    one = await stage.bill()
    other = await stage.bill(policy="P222222222")
    await stage.confirmed(notice_for(one, bill_id=999_999))
    await stage.propose("notice-1", "APPLY", bill_id=one.bill_id, name="same")
    with pytest.raises(ServiceError):
        await stage.propose("notice-1", "APPLY", bill_id=other.bill_id, name="same")


async def _claimed(stage: Stage) -> int:
    """Leave a KHQR notice that differs from its bill, the bank silent; return the bill."""
    bill = await stage.bill()
    stage.bank.answers = [DOWN]
    await stage.tell(told(bill.bill_id, money=usd(15100), received_at=stage.now))
    [held] = await stage.exceptions()
    assert held.exception_id == "khqr-1"
    return bill.bill_id


async def _found(stage: Stage, bill_id: int) -> None:
    await stage.khqr.questions.recorder.record([Answered(bill_id=bill_id, finding=paid())])


async def test_money_that_is_to_be_sent_back_pays_nothing_when_the_bank_vouches_for_it(
    stage: Stage,
) -> None:
    bill_id = await _claimed(stage)
    await stage.ended("khqr-1", "REFUND")
    await _found(stage, bill_id)
    assert await stage.counts("applications") == (0,)
    assert await stage.rows("SELECT state FROM payments") == [("UNAPPLIED",)]
    assert await stage.topics() == ["verified"]


async def test_money_that_was_sent_back_pays_nothing_when_a_poll_finds_it(stage: Stage) -> None:
    bill_id = await _claimed(stage)
    await stage.ended("khqr-1", "REFUND")
    await stage.ended("khqr-1", "REFUNDED", bank_reference="R1")
    await _found(stage, bill_id)
    assert await stage.counts("applications") == (0,)
    assert await stage.rows("SELECT state FROM payments") == [("UNAPPLIED",)]


async def _waits_and_cannot_be_applied(stage: Stage, bill_id: int) -> None:
    assert await stage.counts("applications") == (0,)
    [waiting] = [one for one in await stage.exceptions() if one.exception_id == "payment-1"]
    assert [pb.ResolutionAction.Name(one) for one in waiting.actions] == [
        "RESOLUTION_ACTION_REFUND",
        "RESOLUTION_ACTION_VOID",
    ]
    assert "two people send back" in waiting.explanation
    assert list(waiting.fitting_bill_ids) == []
    with pytest.raises(ServiceError, match="cannot end that way"):
        await stage.propose("payment-1", "APPLY", bill_id=bill_id)


@pytest.mark.parametrize("sent", [False, True])
async def test_money_of_a_claim_that_is_sent_back_is_told_apart_and_not_applied_by_hand(
    stage: Stage, sent: bool
) -> None:
    bill_id = await _claimed(stage)
    await stage.ended("khqr-1", "REFUND")
    if sent:
        await stage.ended("khqr-1", "REFUNDED", bank_reference="R1")
    await _found(stage, bill_id)
    await _waits_and_cannot_be_applied(stage, bill_id)


async def test_money_of_a_bill_payment_that_is_sent_back_pays_nothing_through_khqr(
    stage: Stage,
) -> None:
    bill = await stage.bill()
    await stage.confirmed(notice_for(bill, bill_id=999_999, transaction_id="T-BOTH"))
    await stage.ended("notice-1", "REFUND")
    finding = paid(transaction_id="T-BOTH")
    await stage.khqr.questions.recorder.record([Answered(bill_id=bill.bill_id, finding=finding)])
    await _waits_and_cannot_be_applied(stage, bill.bill_id)


async def test_money_of_a_bill_payment_that_is_void_pays_through_khqr(stage: Stage) -> None:
    bill = await stage.bill()
    await stage.confirmed(notice_for(bill, bill_id=999_999, transaction_id="T-BOTH"))
    await stage.ended("notice-1", "VOID")
    finding = paid(transaction_id="T-BOTH")
    await stage.khqr.questions.recorder.record([Answered(bill_id=bill.bill_id, finding=finding)])
    assert await stage.counts("applications") == (1,)


async def _told_twice(stage: Stage) -> int:
    """Leave two refused notices of one transfer; return the bill that the second one names."""
    bill = await stage.bill()
    wrong = notice_for(bill, bill_id=999_999)
    await stage.confirmed(wrong)
    await stage.confirmed(replace(wrong, bill_id=bill.bill_id))
    return bill.bill_id


async def test_one_transfer_is_not_sent_back_by_one_notice_and_applied_by_another(
    stage: Stage,
) -> None:
    bill_id = await _told_twice(stage)
    await stage.ended("notice-1", "REFUND")
    with pytest.raises(ServiceError):
        await stage.ended("notice-2", "APPLY", bill_id=bill_id)
    assert await stage.counts("applications") == (0,)


async def test_whoever_applies_a_transfer_waits_for_who_sends_it_back(postgres_url: str) -> None:
    database = Database(url=postgres_url)
    stage = Stage(database=database, bank=ScriptedBank(paid()))
    bill_id = await _told_twice(stage)
    await stage.propose("notice-1", "REFUND")
    applying = await stage.propose("notice-2", "APPLY", bill_id=bill_id)
    async with database.transaction() as connection:
        await connection.execute(text("SELECT 1 FROM notices WHERE id = 1 FOR UPDATE"))
        deciding = asyncio.create_task(stage.decide(applying.proposal_id))
        while not deciding.done() and not await _waits_for_a_lock(database):
            pass
        await connection.execute(
            text(
                "UPDATE proposals SET state = 'APPROVED', decided_by = 'vanna', decided_at = now(),"
                " decision_reason = 'right so' WHERE id = 1"
            )
        )
    with pytest.raises(ServiceError):
        await deciding
    assert await stage.counts("applications") == (0,)
    await database.close()


async def _waits_for_a_lock(database: Database) -> bool:
    async with database.reading() as connection:
        waiting = await connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        )
    return bool(waiting)
