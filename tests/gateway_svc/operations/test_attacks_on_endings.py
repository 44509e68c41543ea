"""Attacks on how two people end an exception: money that goes back must not pay as well.

| attack                                                             | what holds               |
|--------------------------------------------------------------------|--------------------------|
| another wish under the request id of the one before                | it is refused, not taken |
| a claim is to be sent back, and the bank vouches for its money      | the money waits          |
| a claim was sent back, and a poll finds its money                   | the money waits          |
| a transfer is sent back, and its contradicting notice applied       | it is refused            |
"""

from dataclasses import replace

import pytest

from chassis.errors import ServiceError
from gateway_svc.case_loading import Answered
from tests.gateway_svc.operations.stage import Stage
from tests.support.khqr_ledger import DOWN, paid, told, usd
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


async def test_one_transfer_is_not_sent_back_by_one_notice_and_applied_by_another(
    stage: Stage,
) -> None:
    bill = await stage.bill()
    wrong = notice_for(bill, bill_id=999_999)
    await stage.confirmed(wrong)
    await stage.confirmed(replace(wrong, bill_id=bill.bill_id))
    await stage.ended("notice-1", "REFUND")
    with pytest.raises(ServiceError):
        await stage.ended("notice-2", "APPLY", bill_id=bill.bill_id)
    assert await stage.counts("applications") == (0,)
