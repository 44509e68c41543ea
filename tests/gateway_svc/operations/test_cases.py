"""What an operator is told about one bill, in a word, a sentence and steps.

| what happened                                   | standing     | sentence key           |
|--------------------------------------------------|--------------|------------------------|
| an inquiry                                       | OPEN         | open_unpaid            |
| a code was handed out                            | OPEN         | open_with_code         |
| a bill payment                                   | PAID         | paid_by_bill           |
| a KHQR payment                                   | PAID         | paid_by_khqr           |
| the premium changed                              | CLOSED       | closed_premium_changed |
| the old bill was paid with the new amount        | PAID         | paid_late              |
| another bank's bill was paid                     | CLOSED       | closed_paid_elsewhere  |
| a KHQR notice and a bank that does not answer    | WAITING      | waiting_for_bank       |
| a notice that differs                            | EXCEPTION    | needs_person           |
| a notice of a bill that never was                | UNKNOWN_BILL | unknown_bill_held      |
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, timedelta

import pytest

from chassis.errors import ServiceError
from gateway_svc.code_store import Code
from gateway_svc.operations.standing import SENTENCES
from payments.gateway.v1 import operations_service_pb2 as pb
from tests.gateway_svc.operations.stage import Stage
from tests.support.khqr_ledger import DOWN, paid, told, usd
from tests.support.ledger import notice_for


async def _inquiry(stage: Stage) -> int:
    return (await stage.bill()).bill_id


async def _code(stage: Stage) -> int:
    bill = await stage.bill()
    await stage.codes.record(
        bank_code="AMK",
        bill_id=bill.bill_id,
        offered=Code(payload="0002", image=b"png", expires_at=stage.now + timedelta(minutes=30)),
        request_id="code-request",
    )
    return bill.bill_id


async def _bill_payment(stage: Stage) -> int:
    bill = await stage.bill()
    await stage.confirmation.record([notice_for(bill)])
    return bill.bill_id


async def _khqr_payment(stage: Stage) -> int:
    bill_id = await _code(stage)
    await stage.tell(told(bill_id))
    return bill_id


async def _premium_changed(stage: Stage) -> int:
    old = await stage.bill()
    stage.now += timedelta(seconds=1)
    await stage.bill(amount="180.00")
    return old.bill_id


async def _paid_late(stage: Stage) -> int:
    old = await stage.bill()
    stage.now += timedelta(seconds=1)
    await stage.bill(amount="180.00")
    stage.now += timedelta(seconds=1)
    await stage.bill(amount="150.00")
    await stage.confirmation.record([notice_for(old)])
    return old.bill_id


async def _paid_elsewhere(stage: Stage) -> int:
    bill = await stage.bill()
    other = await stage.bill(bank="XYZ")
    await stage.confirmation.record([notice_for(other)])
    return bill.bill_id


async def _silent_bank(stage: Stage) -> int:
    bill = await stage.bill()
    stage.bank.answers = [DOWN]
    await stage.tell(told(bill.bill_id))
    return bill.bill_id


async def _differing(stage: Stage) -> int:
    bill = await stage.bill()
    await stage.confirmation.record([notice_for(bill, money=usd(14999))])
    return bill.bill_id


async def _unknown_bill(stage: Stage) -> int:
    bill = await stage.bill()
    await stage.confirmation.record([notice_for(bill, bill_id=999_999)])
    return 999_999


_CASES: dict[Callable[[Stage], Awaitable[int]], tuple[str, str]] = {
    _inquiry: ("OPEN", "open_unpaid"),
    _code: ("OPEN", "open_with_code"),
    _bill_payment: ("PAID", "paid_by_bill"),
    _khqr_payment: ("PAID", "paid_by_khqr"),
    _premium_changed: ("CLOSED", "closed_premium_changed"),
    _paid_late: ("PAID", "paid_late"),
    _paid_elsewhere: ("CLOSED", "closed_paid_elsewhere"),
    _silent_bank: ("WAITING", "waiting_for_bank"),
    _differing: ("EXCEPTION", "needs_person"),
    _unknown_bill: ("UNKNOWN_BILL", "unknown_bill_held"),
}


@pytest.mark.parametrize("happens", _CASES, ids=lambda one: one.__name__.strip("_"))
async def test_a_case_is_told_in_a_word_and_a_sentence_alike_wherever_it_is_shown(
    stage: Stage, happens: Callable[[Stage], Awaitable[int]]
) -> None:
    standing, key = _CASES[happens]
    bill_id = await happens(stage)
    case = await stage.case(bill_id)
    found = await stage.ask("FindCases", pb.FindCasesRequest(text=str(bill_id)))
    assert pb.Standing.Name(case.standing) == f"STANDING_{standing}"
    assert case.sentence_key == key
    assert str(bill_id) in case.sentence
    assert [(one.bill_id, one.standing) for one in found.cases] == [(bill_id, case.standing)]


def test_every_sentence_is_tried_here_or_where_exceptions_end() -> None:
    elsewhere = {
        *("paid_by_decision", "needs_approval", "refund_to_send", "unknown_bill_ended"),
        "closed",  # a cause that no version of ours writes
    }
    assert {key for _, key in _CASES.values()} | elsewhere == set(SENTENCES)


def _kinds(case: pb.GetCaseResponse) -> list[str]:
    return [pb.StepKind.Name(step.kind).removeprefix("STEP_KIND_") for step in case.steps]


async def test_the_steps_of_a_khqr_payment_stand_in_the_order_they_happened(stage: Stage) -> None:
    bill_id = await _code(stage)
    stage.now += timedelta(seconds=10)
    received_at = stage.now
    stage.bank.answers = [replace(paid(), asked_at=stage.now + timedelta(seconds=1))]
    notice = told(bill_id, received_at=received_at, request_id="webhook-7")
    stage.now += timedelta(seconds=2)
    await stage.tell(notice)
    case = await stage.case(bill_id)
    assert _kinds(case) == [
        *("BILL_CREATED", "CODE_CREATED", "EVENT_WRITTEN"),
        *("NOTICE_RECEIVED", "VERIFIED"),
        *("PAYMENT_RECORDED", "PAYMENT_APPLIED", "BILL_PAID", "CODE_ENDED", "NOTICE_DONE"),
        *("EVENT_WRITTEN", "EVENT_WRITTEN", "EVENT_WRITTEN"),
    ]
    assert [step.cause.rpartition(".")[2] for step in case.steps[-3:]] == [
        *("verified", "confirmed", "success")
    ]
    received = case.steps[3]
    assert (received.subject, received.request_id) == ("khqr-1", "webhook-7")
    assert received.at.ToDatetime(tzinfo=UTC) == received_at


async def test_a_case_shows_its_evidence_side_by_side(stage: Stage) -> None:
    bill_id = await _khqr_payment(stage)
    case = await stage.case(bill_id)
    [notice], [verification], [payment] = case.notices, case.verifications, case.payments
    assert (case.bill.amount.value, notice.amount.value, verification.amount.value) == (
        ("150.00",) * 3
    )
    assert (case.bill.payer, list(case.bill.numbers)) == ("John Doe", ["P123456789"])
    assert notice.payment_id == verification.payment_id == payment.payment_id == "payment-1"
    assert (notice.answer, payment.state, payment.policy_number) == (
        *("CONFIRMED", "APPLIED"),
        "P123456789",
    )
    assert [code.state for code in case.codes] == ["PAID"]
    md5 = hashlib.md5(b"0002", usedforsecurity=False).hexdigest()  # of the code's text
    assert case.codes[0].payload_md5 == md5
    assert [event.topic.rpartition(".")[2] for event in case.events] == [
        *("generated-event", "verified", "confirmed", "success")
    ]
    assert all(event.state == pb.EVENT_STATE_PENDING for event in case.events)


async def test_the_events_of_a_case_are_its_own_and_not_those_of_its_policy(stage: Stage) -> None:
    first = await _bill_payment(stage)
    other = await stage.bill(due_on=date(2026, 11, 15))
    await stage.confirmation.record([notice_for(other, transaction_id="T2")])
    case = await stage.case(first)
    assert [json.loads(event.value)["billId"] for event in case.events] == [str(first)] * 2


async def test_other_bills_of_the_same_premium_are_named(stage: Stage) -> None:
    bill_id = await _premium_changed(stage)
    assert list((await stage.case(bill_id)).other_bill_ids) == [bill_id + 1]


async def test_a_bill_that_nobody_ever_named_is_not_found(stage: Stage) -> None:
    with pytest.raises(ServiceError) as refusal:
        await stage.case(150_001)
    assert refusal.value.reason == "RESOURCE_NOT_FOUND"


async def test_a_token_bound_to_a_bank_sees_nothing(stage: Stage) -> None:
    bill_id = await _bill_payment(stage)
    for method, request in {
        "GetCase": pb.GetCaseRequest(bill_id=bill_id),
        "FindCases": pb.FindCasesRequest(text="1"),
        "GetToday": pb.GetTodayRequest(),
        "ListPayments": pb.ListPaymentsRequest(),
        "ListBills": pb.ListBillsRequest(),
        "ListCodes": pb.ListCodesRequest(),
        "ListNotices": pb.ListNoticesRequest(),
        "ListEvents": pb.ListEventsRequest(),
        "ListExceptions": pb.ListExceptionsRequest(),
        "ProposeResolution": pb.ProposeResolutionRequest(),
        "DecideProposal": pb.DecideProposalRequest(),
        "GetOutbox": pb.GetOutboxRequest(),
        "ReplayEvents": pb.ReplayEventsRequest(),
        "ReleaseEvents": pb.ReleaseEventsRequest(),
        "GetSystem": pb.GetSystemRequest(),
    }.items():
        with pytest.raises(ServiceError) as refusal:
            await stage.ask(method, request, bank="AMK")
        assert (method, refusal.value.reason) == (method, "FORBIDDEN")
