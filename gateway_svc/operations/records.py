"""Rows -> the records that operators see. Payers and what was claimed are shown, never logged."""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.type import decimal_pb2

from chassis.money import Money
from gateway_svc.messages import date_message, decimal_message
from gateway_svc.operations.exception import Exceptional, Proposal
from gateway_svc.rows import money_from
from payments.gateway.v1 import operations_service_pb2 as pb


def moment(at: datetime | None) -> Timestamp | None:
    """Return `at` as it travels."""
    if at is None:
        return None
    message = Timestamp()
    message.FromDatetime(at)
    return message


def bill_record(row: Any, *, numbers: Iterable[str]) -> pb.BillRecord:
    """Return a bill; `row` holds its policy number and due date, too."""
    return pb.BillRecord(
        bill_id=row.id,
        bank_code=row.bank_code,
        policy_number=row.policy_number,
        amount=decimal_message(money=money_from(row)),
        currency=row.currency,
        due_date=date_message(day=row.due_on),
        payer=row.payer,
        state=row.state,
        state_at=moment(row.state_at),
        state_cause=row.state_cause,
        created_at=moment(row.created_at),
        numbers=sorted(numbers),
    )


def bill_notice_record(row: Any) -> pb.NoticeRecord:
    """Return a notice of the bill channel; `row` holds the id of the payment it led to."""
    return pb.NoticeRecord(
        notice_id=f"notice-{row.id}",
        bank_code=row.bank_code,
        channel=row.channel,
        bill_id=row.bill_id,
        policy_number=row.policy_number,
        amount=decimal_message(money=money_from(row)),
        currency=row.currency,
        transaction_id=row.natural_key,
        paid_at=moment(row.paid_at),
        received_at=moment(row.received_at),
        state=row.state,
        state_at=moment(row.state_at),
        state_cause=row.state_cause,
        hold=row.hold or "",
        answer=_answer(row.answer),
        flags=row.flags.split(),
        subject=row.subject,
        request_id=row.request_id,
        body_digest=row.body_digest,
        payment_id="" if row.led_to is None else f"payment-{row.led_to}",
        payer=row.payer,
    )


def khqr_notice_record(row: Any) -> pb.NoticeRecord:
    """Return a KHQR notice."""
    return pb.NoticeRecord(
        notice_id=f"khqr-{row.id}",
        bank_code=row.bank_code,
        channel="KHQR",
        bill_id=row.bill_id,
        amount=_decimal(row),
        currency=row.currency or "",
        status=row.status,
        merchant_number=row.merchant_number,
        paid_at=moment(row.paid_at),
        received_at=moment(row.received_at),
        state=row.state,
        state_at=moment(row.state_at),
        state_cause=row.state_cause,
        hold=row.hold or "",
        answer=_answer(row.answer),
        asked=row.asked,
        next_attempt_at=moment(row.next_attempt_at),
        subject=row.subject,
        request_id=row.request_id,
        body_digest=row.body_digest,
        payment_id="" if row.payment_id is None else f"payment-{row.payment_id}",
    )


def verification_record(row: Any) -> pb.VerificationRecord:
    """Return an answer of a bank; `row` holds the id of the payment it proves."""
    return pb.VerificationRecord(
        verification_id=f"verification-{row.id}",
        bank_code=row.bank_code,
        bill_id=row.bill_id,
        paid=row.paid,
        transaction_id=row.transaction_id or "",
        amount=_decimal(row),
        currency=row.currency or "",
        paid_at=moment(row.paid_at),
        asked_at=moment(row.asked_at),
        foreign_because=row.foreign_because or "",
        answer_digest=row.answer_digest,
        payment_id="" if row.proves is None else f"payment-{row.proves}",
    )


def payment_record(row: Any) -> pb.PaymentRecord:
    """Return a payment; `row` holds the bill it was sent for and the policy, where known."""
    return pb.PaymentRecord(
        payment_id=f"payment-{row.id}",
        bank_code=row.bank_code,
        channel=row.channel,
        transaction_id=row.transaction_id,
        bill_id=row.sent_for or 0,
        policy_number=row.policy_number or "",
        amount=decimal_message(money=money_from(row)),
        currency=row.currency,
        paid_at=moment(row.paid_at),
        recorded_at=moment(row.recorded_at),
        assurance=row.assurance,
        state=row.state,
        state_at=moment(row.state_at),
        state_cause=row.state_cause,
    )


def code_record(row: Any) -> pb.CodeRecord:
    """Return a code; `row` holds the policy number, too."""
    return pb.CodeRecord(
        code_id=f"code-{row.id}",
        bill_id=row.bill_id,
        policy_number=row.policy_number,
        state=row.state,
        state_at=moment(row.state_at),
        state_cause=row.state_cause,
        created_at=moment(row.created_at),
        expires_at=moment(row.expires_at),
        polls=row.polls,
        next_poll_at=moment(row.next_poll_at),
        payload_md5=hashlib.md5(row.payload.encode(), usedforsecurity=False).hexdigest(),
    )


def event_record(row: Any) -> pb.EventRecord:
    """Return an event; `row` holds how often it was delivered once more."""
    state = pb.EVENT_STATE_PENDING
    if row.published_at is not None:
        state = pb.EVENT_STATE_PUBLISHED
    elif row.parked_at is not None:
        state = pb.EVENT_STATE_PARKED
    return pb.EventRecord(
        event_id=row.event_id,
        topic=row.topic,
        key=row.event_key,
        state=state,
        created_at=moment(row.created_at),
        published_at=moment(row.published_at),
        partition=row.published_partition or 0,
        offset=row.published_offset or 0,
        attempts=row.attempts,
        last_error=row.last_error or "",
        parked_at=moment(row.parked_at),
        request_id=row.request_id,
        value=row.value.decode(),
        replays=row.replays,
    )


def exception_record(one: Exceptional) -> pb.ExceptionRecord:
    """Return an exception."""
    held = one.held
    return pb.ExceptionRecord(
        exception_id=held.exception_id,
        state=pb.ExceptionState.Value(f"EXCEPTION_STATE_{one.state.value}"),
        hold=held.hold,
        explanation=one.explanation,
        since=moment(held.since),
        bank_code=held.bank_code,
        channel=held.channel.value,
        bill_id=held.bill_id,
        policy_number=held.policy_number,
        amount=None if held.money is None else decimal_message(money=held.money),
        currency="" if held.money is None else held.money.currency.value,
        transaction_id=held.transaction_id,
        actions=[
            pb.ResolutionAction.Value(f"RESOLUTION_ACTION_{action.value}") for action in one.actions
        ],
        fitting_bill_ids=one.fitting_bill_ids,
        proposals=[proposal_record(proposal) for proposal in one.proposals],
    )


def proposal_record(one: Proposal) -> pb.Proposal:
    """Return a proposal."""
    return pb.Proposal(
        proposal_id=one.proposal_id,
        exception_id=one.exception_id,
        action=pb.ResolutionAction.Value(f"RESOLUTION_ACTION_{one.action.value}"),
        bill_id=one.bill_id or 0,
        bank_reference=one.bank_reference or "",
        reason=one.reason,
        proposed_by=one.proposed_by,
        proposed_at=moment(one.proposed_at),
        state=pb.ProposalState.Value(f"PROPOSAL_STATE_{one.state.value}"),
        decided_by=one.decided_by or "",
        decided_at=moment(one.decided_at),
        decision_reason=one.decision_reason or "",
    )


def optional_money(row: Any) -> Money | None:
    """Return the amount of `row`, None where it has none."""
    return None if row.amount_hundredths is None else money_from(row)


def _decimal(row: Any) -> decimal_pb2.Decimal | None:
    money = optional_money(row)
    return None if money is None else decimal_message(money=money)


def _answer(text: str | None) -> str:
    """Return what was answered in a word: a status, or the reason of a refusal."""
    if text is None:
        return ""
    kept = json.loads(text)
    return str(kept.get("reason") or kept.get("status") or "CONFIRMED")
