"""How exceptions end: one person proposes, another approves, and the money moves once.

| exception                         | ends by           | comes to                         |
|-----------------------------------|-------------------|----------------------------------|
| KHQR money for a paid premium     | APPLY, other bill | payment APPLIED, bill PAID, told |
| a bill notice that was refused    | APPLY             | a payment of the notice, told    |
| either                            | REFUND, REFUNDED  | REFUNDING, then RESOLVED         |
| anything                          | VOID              | RESOLVED, nothing moved          |
"""

from datetime import date, timedelta
from typing import Any

import pytest

from chassis.errors import BadRequest, ServiceError
from gateway_svc.code_store import Code
from gateway_svc.payment import Bill, Refusal
from payments.gateway.v1 import operations_service_pb2 as pb
from tests.gateway_svc.operations.stage import Stage
from tests.support.khqr_ledger import paid, told, usd
from tests.support.ledger import notice_for

NEXT_YEAR = date(2026, 11, 15)


def _state(exception: pb.ExceptionRecord) -> str:
    return pb.ExceptionState.Name(exception.state).removeprefix("EXCEPTION_STATE_")


def _actions(exception: pb.ExceptionRecord) -> list[str]:
    return [
        pb.ResolutionAction.Name(one).removeprefix("RESOLUTION_ACTION_")
        for one in exception.actions
    ]


async def _unapplied(stage: Stage) -> Bill:
    """Leave KHQR money for a premium that was paid before, and next year's open bill."""
    bill = await stage.bill()
    await stage.confirmation.record([notice_for(bill)])
    await stage.tell(told(bill.bill_id))
    return await stage.bill(due_on=NEXT_YEAR)


async def _refused_notice(stage: Stage) -> Bill:
    """Leave a refused notice that names the wrong bill, and the open bill that was meant."""
    bill = await stage.bill()
    await stage.confirmation.record([notice_for(bill, bill_id=999_999)])
    return bill


async def _refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as refusal:
        await call
    return refusal.value.reason, refusal.value.details


async def test_held_money_and_its_notice_are_one_exception(stage: Stage) -> None:
    await _unapplied(stage)
    [exception] = await stage.exceptions()
    assert (exception.exception_id, exception.hold, _state(exception)) == (
        *("payment-2", "UNAPPLIED"),
        "OPEN",
    )
    assert await stage.rows("SELECT state, hold FROM khqr_notices") == [("HELD", "ALREADY_PAID")]
    assert (exception.bill_id, exception.policy_number, exception.amount.value) == (
        *(150001, "P123456789"),
        "150.00",
    )
    assert _actions(exception) == ["APPLY", "REFUND", "VOID"]
    assert list(exception.fitting_bill_ids) == [150002]


async def test_money_that_two_people_apply_pays_its_bill(stage: Stage) -> None:
    bill = await _unapplied(stage)
    other = await stage.bill(due_on=NEXT_YEAR, bank="XYZ")
    await stage.codes.record(
        bank_code="AMK",
        bill_id=bill.bill_id,
        offered=Code(payload="0002", image=b"", expires_at=stage.now + timedelta(minutes=30)),
        request_id="r",
    )
    before = len(await stage.topics())
    nudged = stage.nudged
    exception = await stage.ended("payment-2", "APPLY", bill_id=bill.bill_id)
    assert _state(exception) == "RESOLVED"
    assert await stage.rows("SELECT state, bill_id, obligation_id FROM payments WHERE id = 2") == [
        ("APPLIED", bill.bill_id, bill.obligation_id)
    ]
    assert await stage.rows("SELECT payment_id FROM applications WHERE obligation_id = 2") == [(2,)]
    assert await stage.rows("SELECT id, state FROM bills WHERE id > 150001 ORDER BY id") == [
        (bill.bill_id, "PAID"),
        (other.bill_id, "CLOSED"),
    ]
    assert await stage.rows("SELECT state FROM codes") == [("PAID",)]
    assert await stage.rows("SELECT state, hold FROM khqr_notices") == [("DONE", None)]
    assert (await stage.topics())[before:] == ["confirmed", "success"]
    assert stage.nudged == nudged + 1
    assert not await stage.exceptions()
    case = await stage.case(bill.bill_id)
    assert case.sentence_key == "paid_by_decision"
    assert not await stage.is_due(due_on=NEXT_YEAR)


async def test_a_refused_bill_payment_that_two_people_apply_pays_its_bill(stage: Stage) -> None:
    bill = await _refused_notice(stage)
    [exception] = await stage.exceptions()
    assert (exception.exception_id, _actions(exception)) == (
        "notice-1",
        ["APPLY", "REFUND", "VOID"],
    )
    assert list(exception.fitting_bill_ids) == [bill.bill_id]
    assert _state(await stage.ended("notice-1", "APPLY", bill_id=bill.bill_id)) == "RESOLVED"
    assert await stage.rows(
        "SELECT channel, assurance, state, transaction_id, notice_id, bill_id FROM payments"
    ) == [("BILL", "BANK_NOTICE", "APPLIED", "T1", 1, bill.bill_id)]
    assert await stage.rows("SELECT state, hold FROM notices") == [("DONE", None)]
    assert await stage.topics() == ["confirmed", "success"]
    case = await stage.case(bill.bill_id)
    assert (case.standing, case.sentence_key) == (pb.STANDING_PAID, "paid_by_decision")
    unknown = await stage.case(999_999)
    assert unknown.sentence_key == "unknown_bill_ended"


async def test_the_bank_hears_its_first_answer_again_after_people_decided(stage: Stage) -> None:
    bill = await _refused_notice(stage)
    await stage.ended("notice-1", "APPLY", bill_id=bill.bill_id)
    [again] = await stage.confirmation.record([notice_for(bill, bill_id=999_999)])
    assert again.replayed
    assert isinstance(again.answer, Refusal)
    assert await stage.counts("payments", "applications") == (1, 1)


async def test_a_case_whose_exception_has_a_proposal_waits_for_somebody_else(
    stage: Stage,
) -> None:
    await _unapplied(stage)
    assert (await stage.case(150001)).sentence_key == "needs_person"
    await stage.propose("payment-2", "VOID")
    assert (await stage.case(150001)).sentence_key == "needs_approval"


async def test_money_to_be_sent_back_waits_until_the_bank_says_it_went(stage: Stage) -> None:
    await _unapplied(stage)
    refunding = await stage.ended("payment-2", "REFUND")
    assert (_state(refunding), _actions(refunding)) == ("REFUNDING", ["REFUNDED", "VOID"])
    assert [one.exception_id for one in await stage.exceptions(state="REFUNDING")] == ["payment-2"]
    assert (await stage.case(150001)).sentence_key == "refund_to_send"
    refunded = await stage.ended("payment-2", "REFUNDED", bank_reference="REF-1")
    assert (_state(refunded), refunded.hold) == ("RESOLVED", "UNAPPLIED")
    assert [one.bank_reference for one in refunded.proposals] == ["REF-1", ""]
    assert not await stage.exceptions()
    assert [one.exception_id for one in await stage.exceptions(state="RESOLVED")] == ["payment-2"]
    assert await stage.rows("SELECT state FROM payments WHERE id = 2") == [("UNAPPLIED",)]


@pytest.mark.parametrize("leave", [_unapplied, _refused_notice])
async def test_what_is_void_moves_nothing(stage: Stage, leave: Any) -> None:
    await leave(stage)
    [exception] = await stage.exceptions()
    before = await stage.counts("payments", "applications", "outbox")
    ended = await stage.ended(exception.exception_id, "VOID")
    assert (_state(ended), ended.hold) == ("RESOLVED", exception.hold)
    assert ended.since == exception.since
    assert await stage.counts("payments", "applications", "outbox") == before
    assert not await stage.exceptions()


async def test_a_claim_of_khqr_that_no_bank_vouches_for_pays_nothing(stage: Stage) -> None:
    bill = await stage.bill()
    await stage.tell(told(999_999))
    [exception] = await stage.exceptions()
    assert (exception.exception_id, _actions(exception)) == ("khqr-1", ["REFUND", "VOID"])
    refused = await _refusal(stage.propose("khqr-1", "APPLY", bill_id=bill.bill_id))
    assert refused == (
        "RESOLUTION_REFUSED",
        "Only money that the bank vouches for can pay a bill",
    )
    assert _state(await stage.ended("khqr-1", "VOID")) == "RESOLVED"


async def test_whoever_proposed_never_approves_but_may_take_it_back(stage: Stage) -> None:
    bill = await _refused_notice(stage)
    proposal = await stage.propose("notice-1", "APPLY", bill_id=bill.bill_id, by="dara")
    [waiting] = await stage.exceptions()
    assert (_state(waiting), _actions(waiting)) == ("PROPOSED", [])
    assert (await stage.case(999_999)).standing == pb.STANDING_UNKNOWN_BILL
    # Another token of the same person has the same subject.
    refused = await _refusal(stage.decide(proposal.proposal_id, by="dara"))
    assert refused == ("RESOLUTION_REFUSED", "Whoever proposed it may not approve it")
    assert await stage.counts("payments") == (0,)
    taken_back = await stage.decide(proposal.proposal_id, "REJECT", by="dara")
    assert (_state(taken_back), taken_back.proposals[0].decided_by) == ("OPEN", "dara")
    refused = await _refusal(stage.decide(proposal.proposal_id, by="sophea"))
    assert refused == ("RESOLUTION_REFUSED", "The proposal was rejected before")


async def test_the_same_approval_said_again_gets_the_same_answer(stage: Stage) -> None:
    bill = await _refused_notice(stage)
    proposal = await stage.propose("notice-1", "APPLY", bill_id=bill.bill_id)
    first = await stage.decide(proposal.proposal_id)
    assert await stage.decide(proposal.proposal_id) == first
    assert await stage.counts("payments", "applications", "outbox") == (1, 1, 2)
    refused = await _refusal(stage.decide(proposal.proposal_id, "REJECT"))
    assert refused[0] == "RESOLUTION_REFUSED"


async def test_what_the_bank_vouched_for_meanwhile_is_no_exception_any_more(stage: Stage) -> None:
    bill = await stage.bill()
    await stage.tell(told(bill.bill_id, money=usd(14999)))  # asked about in the background
    proposal = await stage.propose("khqr-1", "VOID")
    stage.now += timedelta(seconds=10)
    await stage.completer.run_once()
    assert await stage.rows("SELECT state FROM khqr_notices") == [("DONE",)]
    refused = await _refusal(stage.decide(proposal.proposal_id))
    assert refused == ("RESOLUTION_REFUSED", "The exception has ended meanwhile")
    rejected = await stage.decide(proposal.proposal_id, "REJECT")
    assert _state(rejected) == "RESOLVED"


MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "another amount": ({"amount": "150.01"}, "the bill asks for 150.01 USD, not for 150.00 USD"),
    "another bank": ({"bank": "XYZ"}, "the bill is of another bank: XYZ"),
}


@pytest.mark.parametrize("unlike", MISFITS)
async def test_money_pays_only_a_bill_that_it_equals(stage: Stage, unlike: str) -> None:
    changes, why = MISFITS[unlike]
    await _unapplied(stage)
    bill = await stage.bill(policy="P222222222", **changes)
    refused = await _refusal(stage.propose("payment-2", "APPLY", bill_id=bill.bill_id))
    assert refused == ("RESOLUTION_REFUSED", f"The money cannot pay that bill: {why}")


async def test_a_bill_that_changed_between_proposal_and_approval_is_not_paid(stage: Stage) -> None:
    bill = await _refused_notice(stage)
    proposal = await stage.propose("notice-1", "APPLY", bill_id=bill.bill_id)
    stage.now += timedelta(seconds=1)
    await stage.bill(amount="180.00")
    refused = await _refusal(stage.decide(proposal.proposal_id))
    assert refused[1] == "The money cannot pay that bill: the bill is CLOSED"
    assert await stage.counts("payments", "outbox") == (0, 0)


async def test_a_transfer_that_is_a_payment_already_is_not_applied_again(stage: Stage) -> None:
    bill = await stage.bill()
    await stage.confirmation.record([notice_for(bill)])
    other = await stage.bill(due_on=NEXT_YEAR)
    await stage.confirmation.record([notice_for(other)])  # the same number, other content
    [exception] = await stage.exceptions()
    assert (exception.hold, _actions(exception)) == ("CONTRADICTS", ["REFUND", "VOID"])
    refused = await _refusal(stage.propose("notice-2", "APPLY", bill_id=other.bill_id))
    assert refused == ("RESOLUTION_REFUSED", "The transfer is a payment already")


@pytest.mark.parametrize(
    ("action", "members", "field"),
    [
        ("APPLY", {}, "billId"),
        ("REFUNDED", {}, "bankReference"),
        ("VOID", {"bill_id": 150001}, "billId"),
        ("REFUND", {"bank_reference": "R"}, "bankReference"),
    ],
)
async def test_a_member_that_is_missing_or_too_much_is_named(
    stage: Stage, action: str, members: dict[str, Any], field: str
) -> None:
    await _refused_notice(stage)
    with pytest.raises(BadRequest) as refusal:
        await stage.propose("notice-1", action, **members)
    assert [one.field for one in refusal.value.violations] == [field]


@pytest.mark.parametrize("exception_id", ["notice-9", "khqr-9", "payment-9", "notice-1"])
async def test_what_never_was_an_exception_is_not_found(stage: Stage, exception_id: str) -> None:
    bill = await stage.bill()
    await stage.confirmation.record([notice_for(bill)])  # notice-1 is decided, and no exception
    refused = await _refusal(stage.propose(exception_id, "VOID"))
    assert refused[0] == "RESOURCE_NOT_FOUND"


async def test_a_proposal_that_never_was_is_not_found(stage: Stage) -> None:
    assert (await _refusal(stage.decide(9)))[0] == "RESOURCE_NOT_FOUND"


async def test_money_that_was_ended_hides_no_later_claim(stage: Stage) -> None:
    """A notice that comes after its bill's money was voided is an exception of its own."""
    bill = await stage.bill()
    stage.bank.answers = [paid(money=usd(14000))]
    await stage.tell(told(bill.bill_id))
    [money] = await stage.exceptions()
    assert money.exception_id == "payment-1"
    await stage.ended("payment-1", "VOID")
    assert not await stage.exceptions()
    stage.now += timedelta(minutes=1)
    await stage.tell(told(bill.bill_id, paid_at=stage.now))
    assert [one.exception_id for one in await stage.exceptions()] == ["khqr-2"]
