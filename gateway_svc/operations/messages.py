"""Whole answers of OperationsService, made of records."""

from typing import Any

from gateway_svc.messages import decimal_message
from gateway_svc.operations import records
from gateway_svc.operations.case_reader import CaseRecord
from gateway_svc.operations.case_summary import told_of
from gateway_svc.operations.outbox_orders import Ordered
from gateway_svc.operations.records import moment
from gateway_svc.operations.timeline import steps_of
from gateway_svc.operations.today import Today
from payments.gateway.v1 import operations_service_pb2 as pb


def today_message(*, today: Today) -> pb.GetTodayResponse:
    """Return today's numbers."""
    return pb.GetTodayResponse(
        at=moment(today.at),
        collected=[
            pb.Sum(
                currency=one.money.currency.value,
                amount=decimal_message(money=one.money),
                payments=one.payments,
            )
            for one in today.collected
        ],
        payments=today.payments,
        notices_confirmed=today.notices_confirmed,
        notices_ended=today.notices_ended,
        waiting=today.waiting,
        waiting_since=moment(today.waiting_since),
        open_exceptions=today.open_exceptions,
        arrivals=[
            pb.ArrivalPoint(at=moment(one.at), bill=one.bill, khqr=one.khqr)
            for one in today.arrivals
        ],
    )


def case_message(*, case: CaseRecord, bill_id: int) -> pb.GetCaseResponse:
    """Return everything on record about a bill, and how it stands."""
    told = told_of(case=case, bill_id=bill_id)
    claims = [
        *(records.bill_notice_record(row) for row in case.notices),
        *(records.khqr_notice_record(row) for row in case.khqr_notices),
    ]
    return pb.GetCaseResponse(
        bill_id=bill_id,
        standing=pb.Standing.Value(f"STANDING_{told.standing.value}"),
        sentence=told.sentence,
        sentence_key=told.key,
        bill=None
        if case.bill is None
        else records.bill_record(case.bill, numbers={*case.numbers, case.bill.policy_number}),
        notices=sorted(claims, key=lambda one: one.received_at.ToNanoseconds()),
        verifications=[records.verification_record(row) for row in case.verifications],
        payments=[records.payment_record(row) for row in case.payments],
        codes=[records.code_record(row) for row in case.codes],
        events=[records.event_record(row) for row in case.events],
        exceptions=[records.exception_record(one) for one in case.exceptions],
        steps=steps_of(case=case),
        other_bill_ids=case.other_bill_ids,
    )


def order_message(*, row: Any) -> pb.OutboxOrder:
    """Return what somebody asked of the outbox."""
    return pb.OutboxOrder(
        order_id=row.id,
        kind=row.kind,
        requested_at=moment(row.requested_at),
        requested_by=row.requested_by,
        reason=row.reason,
        selection=row.selection,
        events=row.events,
        outstanding=row.outstanding,
    )


def ordered_members(*, ordered: Ordered) -> dict[str, Any]:
    """Return the members that both answers about an order have."""
    return {
        "events": sum(ordered.by_topic.values()),
        "topics": [
            pb.TopicCount(topic=topic, events=count) for topic, count in ordered.by_topic.items()
        ],
        "sample": [records.event_record(row) for row in ordered.sample],
    }
