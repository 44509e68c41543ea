"""What happened to a bill, step by step, from the journal and from what keeps its own times."""

from collections.abc import Iterator
from datetime import datetime

from gateway_svc.operations.case_reader import CaseRecord
from gateway_svc.operations.records import moment
from payments.gateway.v1 import operations_service_pb2 as pb

# What a move of a state is called, by table and new state. A notice's RECEIVED is told from
# its row, which knows when it came and not only when it was booked.
_MOVES = {
    ("bills", "OPEN"): pb.STEP_KIND_BILL_CREATED,
    ("bills", "PAID"): pb.STEP_KIND_BILL_PAID,
    ("bills", "CLOSED"): pb.STEP_KIND_BILL_CLOSED,
    ("codes", "LIVE"): pb.STEP_KIND_CODE_CREATED,
    ("codes", "SUPERSEDED"): pb.STEP_KIND_CODE_ENDED,
    ("codes", "EXPIRED"): pb.STEP_KIND_CODE_ENDED,
    ("codes", "PAID"): pb.STEP_KIND_CODE_ENDED,
    ("notices", "VERIFYING"): pb.STEP_KIND_NOTICE_VERIFYING,
    ("notices", "DONE"): pb.STEP_KIND_NOTICE_DONE,
    ("notices", "HELD"): pb.STEP_KIND_NOTICE_HELD,
    ("khqr_notices", "VERIFYING"): pb.STEP_KIND_NOTICE_VERIFYING,
    ("khqr_notices", "DONE"): pb.STEP_KIND_NOTICE_DONE,
    ("khqr_notices", "HELD"): pb.STEP_KIND_NOTICE_HELD,
    ("payments", "APPLIED"): pb.STEP_KIND_PAYMENT_APPLIED,
    ("proposals", "PROPOSED"): pb.STEP_KIND_PROPOSED,
    ("proposals", "APPROVED"): pb.STEP_KIND_APPROVED,
    ("proposals", "REJECTED"): pb.STEP_KIND_REJECTED,
}
_SUBJECTS = {
    "bills": "bill",
    "codes": "code",
    "notices": "notice",
    "khqr_notices": "khqr",
    "payments": "payment",
    "proposals": "proposal",
}
# What is written in one transaction has one time: then in this order.
_ORDER = (
    pb.STEP_KIND_BILL_CREATED,
    pb.STEP_KIND_CODE_CREATED,
    pb.STEP_KIND_NOTICE_RECEIVED,
    pb.STEP_KIND_NOTICE_VERIFYING,
    pb.STEP_KIND_VERIFIED,
    pb.STEP_KIND_PROPOSED,
    pb.STEP_KIND_REJECTED,
    pb.STEP_KIND_APPROVED,
    pb.STEP_KIND_PAYMENT_RECORDED,
    pb.STEP_KIND_PAYMENT_APPLIED,
    pb.STEP_KIND_BILL_PAID,
    pb.STEP_KIND_BILL_CLOSED,
    pb.STEP_KIND_CODE_ENDED,
    pb.STEP_KIND_NOTICE_DONE,
    pb.STEP_KIND_NOTICE_HELD,
    pb.STEP_KIND_EVENT_WRITTEN,
    pb.STEP_KIND_EVENT_PUBLISHED,
    pb.STEP_KIND_EVENT_PARKED,
)
_RANKS = {kind: place for place, kind in enumerate(_ORDER)}
_Step = tuple[datetime, "pb.StepKind.ValueType", str, str, str]  # at, kind, cause, subject, request


def steps_of(*, case: CaseRecord) -> list[pb.Step]:
    """Return all that happened, in its order; what is alike in that stays as it was written."""
    found = [*_moves(case), *_claims(case), *_answers(case), *_events(case)]
    return [
        pb.Step(at=moment(at), kind=kind, cause=cause, subject=subject, request_id=request_id)
        for at, kind, cause, subject, request_id in sorted(
            found, key=lambda step: (step[0], _RANKS[step[1]])
        )
    ]


def _moves(case: CaseRecord) -> Iterator[_Step]:
    requests = {("notices", row.id): row.request_id for row in case.notices}
    requests |= {("khqr_notices", row.id): row.request_id for row in case.khqr_notices}
    requests |= {
        ("payments", row.led_to): row.request_id for row in case.notices if row.led_to is not None
    }
    requests |= {
        ("proposals", one.proposal_id): one.request_id
        for each in case.exceptions
        for one in each.proposals
    }
    for row in case.journal:
        subject = f"{_SUBJECTS[row.entity]}-{row.entity_id}"
        request_id = requests.get((row.entity, row.entity_id), "")
        if row.entity == "payments" and row.from_state is None:
            yield row.at, pb.STEP_KIND_PAYMENT_RECORDED, row.cause, subject, request_id
        kind = _MOVES.get((row.entity, row.to_state))
        if kind is not None:
            yield row.at, kind, row.cause, subject, request_id


def _claims(case: CaseRecord) -> Iterator[_Step]:
    for prefix, rows in (("notice", case.notices), ("khqr", case.khqr_notices)):
        for row in rows:
            cause = getattr(row, "status", "")
            subject = f"{prefix}-{row.id}"
            yield row.received_at, pb.STEP_KIND_NOTICE_RECEIVED, cause, subject, row.request_id


def _answers(case: CaseRecord) -> Iterator[_Step]:
    for row in case.verifications:
        cause = row.foreign_because or ("paid" if row.paid else "not paid")
        yield row.asked_at, pb.STEP_KIND_VERIFIED, cause, f"verification-{row.id}", ""


def _events(case: CaseRecord) -> Iterator[_Step]:
    for row in case.events:
        told = (row.topic, row.event_id, row.request_id)
        yield row.created_at, pb.STEP_KIND_EVENT_WRITTEN, *told
        if row.published_at is not None:
            yield row.published_at, pb.STEP_KIND_EVENT_PUBLISHED, *told
        if row.parked_at is not None:
            yield row.parked_at, pb.STEP_KIND_EVENT_PARKED, row.last_error or "", *told[1:]
