"""Records as a day's work leaves them: what the console's tests and pictures show."""

from datetime import datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message

from payments.gateway.v1 import operations_service_pb2 as ops

_M = TypeVar("_M", bound=Message)
_PEOPLE = [
    ("P123456789", "John Doe", "150.00", "USD", "BILL"),
    ("P100000003", "ចាន់ សុភា", "89.50", "USD", "KHQR"),
    ("P100000002", "Sok Dara", "615000", "KHR", "KHQR"),
    ("P100000004", "Kim Sreymom", "320.00", "USD", "BILL"),
    ("P100000005", "ហេង វិចិត្រ", "1230000", "KHR", "KHQR"),
    ("P100000011", "Phan Kosal", "12500.00", "USD", "BILL"),
    ("P10000010", "Ouk Chanthou", "75.25", "USD", "KHQR"),
]
_FIRST_BILL = 150001
MISMATCHED, UNAPPLIED, WAITING, UNKNOWN = 150003, 150007, 150004, 160000


def made_of(kind: type[_M], /, **members: Any) -> _M:
    """Return a message of `kind`: a moment may be a datetime, which its stub does not know."""
    return kind(**members)


def _transaction(number: int) -> str:
    return f"AMK2026112600{400 - number + _FIRST_BILL:03d}"


def payments(now: datetime) -> list[ops.PaymentRecord]:
    """Return sixty payments, newest first."""
    made = []
    for at in range(60):
        policy, _, amount, currency, channel = _PEOPLE[at % len(_PEOPLE)]
        recorded = now - at * timedelta(minutes=4, seconds=37)
        made.append(
            made_of(
                ops.PaymentRecord,
                payment_id=f"payment-{500 - at}",
                bank_code="AMK",
                channel=channel,
                transaction_id=_transaction(_FIRST_BILL + at),
                bill_id=_FIRST_BILL + at,
                policy_number=policy,
                amount={"value": amount},
                currency=currency,
                paid_at=recorded - timedelta(seconds=2),
                recorded_at=recorded,
                assurance="BANK_VERIFIED" if channel == "KHQR" else "BANK_NOTICE",
                state="UNAPPLIED" if at == 6 else "APPLIED",
                state_at=recorded,
                state_cause="recorded",
            )
        )
    return made


def bill(now: datetime, number: int) -> ops.BillRecord:
    """Return one bill."""
    policy, payer, amount, currency, _ = _PEOPLE[(number - _FIRST_BILL) % len(_PEOPLE)]
    state = {MISMATCHED: "OPEN", WAITING: "OPEN"}.get(number, "PAID")
    return made_of(
        ops.BillRecord,
        bill_id=number,
        bank_code="AMK",
        policy_number=policy,
        amount={"value": amount},
        currency=currency,
        due_date={"year": 2026, "month": 12, "day": 15},
        payer=payer,
        state=state,
        state_at=now - timedelta(minutes=4),
        state_cause="paid" if state == "PAID" else "looked up",
        created_at=now - timedelta(minutes=6),
        numbers=[policy],
    )


def bills(now: datetime) -> list[ops.BillRecord]:
    """Return the newest bills."""
    return [bill(now, _FIRST_BILL + at) for at in range(12)]


def codes(now: datetime) -> list[ops.CodeRecord]:
    """Return two codes."""
    return [
        made_of(
            ops.CodeRecord,
            code_id=f"code-{number}",
            bill_id=_FIRST_BILL + number,
            policy_number=_PEOPLE[number][0],
            state=state,
            state_at=now - timedelta(minutes=5),
            state_cause=cause,
            created_at=now - timedelta(minutes=5),
            expires_at=now + timedelta(minutes=25),
            payload_md5="9f86d081884c7d659a2feaa0c55ad015",
        )
        for number, state, cause in (
            (1, "PAID", "the obligation was paid"),
            (2, "LIVE", "generated"),
        )
    ]


def notice(now: datetime, number: int, **changed: Any) -> ops.NoticeRecord:
    """Return the notice of a bill, with what the case changes."""
    paid = bill(now, number)
    *_, channel = _PEOPLE[(number - _FIRST_BILL) % len(_PEOPLE)]
    given: dict[str, Any] = {
        "notice_id": f"{'khqr' if channel == 'KHQR' else 'notice'}-{number - _FIRST_BILL + 1}",
        "bank_code": "AMK",
        "channel": channel,
        "bill_id": number,
        "policy_number": "" if channel == "KHQR" else paid.policy_number,
        "amount": {"value": paid.amount.value},
        "currency": paid.currency,
        "transaction_id": "" if channel == "KHQR" else _transaction(number),
        "status": "SUCCESS" if channel == "KHQR" else "",
        "merchant_number": "900000000290002" if channel == "KHQR" else "",
        "paid_at": now - timedelta(minutes=4, seconds=2),
        "received_at": now - timedelta(minutes=4),
        "state": "DONE",
        "state_at": now - timedelta(minutes=4),
        "state_cause": "confirmed",
        "answer": "CONFIRMED",
        "subject": "amk",
        "request_id": "3f2b8f0e-7d0c-4f7a-9a51-5f0c6e2f7a10",
        "body_digest": "ab" * 32,
        "payer": paid.payer,
    }
    return made_of(ops.NoticeRecord, **{**given, **changed})


def notices(now: datetime) -> list[ops.NoticeRecord]:
    """Return notices in every state."""
    return [
        notice(now, WAITING, state="VERIFYING", answer="", asked=3),
        notice(now, MISMATCHED, state="HELD", hold="MISMATCHED", answer=""),
        notice(now, _FIRST_BILL),
    ]


def event(now: datetime, number: int, **changed: Any) -> ops.EventRecord:
    """Return one event."""
    given: dict[str, Any] = {
        "event_id": f"0192f0aa-0000-7000-8000-{number:012d}",
        "topic": f"dev.gateway.payment.{('confirmed', 'success', 'verified')[number % 3]}",
        "key": _PEOPLE[number % len(_PEOPLE)][0],
        "state": ops.EVENT_STATE_PUBLISHED,
        "created_at": now - timedelta(minutes=4),
        "published_at": now - timedelta(minutes=3, seconds=59),
        "partition": number % 6,
        "offset": 1200 + number,
        "value": '{"eventId":"x","amount":"150.00","currency":"USD"}',
    }
    return made_of(ops.EventRecord, **{**given, **changed})


def parked_event(now: datetime) -> ops.EventRecord:
    """Return an event that could not be published."""
    made = event(now, 20, state=ops.EVENT_STATE_PARKED, attempts=12, published_at=None)
    made.last_error = "MessageSizeTooLarge: 1048601 bytes"
    made.parked_at.FromDatetime(now - timedelta(minutes=41))
    return made


def events(now: datetime) -> list[ops.EventRecord]:
    """Return events, the parked one first."""
    return [parked_event(now), *(event(now, at) for at in range(12, 0, -1))]


def verification(now: datetime, number: int, **changed: Any) -> ops.VerificationRecord:
    """Return the bank's word on a bill."""
    asked = bill(now, number)
    given: dict[str, Any] = {
        "verification_id": f"verification-{number - _FIRST_BILL + 1}",
        "bank_code": "AMK",
        "bill_id": number,
        "paid": True,
        "transaction_id": _transaction(number),
        "amount": {"value": asked.amount.value},
        "currency": asked.currency,
        "paid_at": now - timedelta(minutes=4, seconds=2),
        "asked_at": now - timedelta(minutes=4),
        "answer_digest": "cd" * 32,
    }
    return made_of(ops.VerificationRecord, **{**given, **changed})


_STORY = (
    (0, "BILL_CREATED", "inquiry", "bill-1"),
    (95_000, "CODE_CREATED", "generated", "code-1"),
    (118_000, "NOTICE_RECEIVED", "SUCCESS", "khqr-1"),
    (118_004, "NOTICE_VERIFYING", "asks the bank", "khqr-1"),
    (118_071, "VERIFIED", "paid", "verification-1"),
    (118_083, "PAYMENT_RECORDED", "verified", "payment-1"),
    (118_083, "PAYMENT_APPLIED", "", "payment-1"),
    (118_083, "BILL_PAID", "paid", "bill-1"),
    (118_083, "EVENT_WRITTEN", "dev.gateway.payment.success", "event-1"),
    (118_131, "EVENT_PUBLISHED", "partition 2, offset 1204", "event-1"),
)


def steps(now: datetime, until: str = "EVENT_PUBLISHED") -> list[ops.Step]:
    """Return what happened, up to a step."""
    made = []
    for at_ms, kind, cause, subject in _STORY:
        made.append(
            made_of(
                ops.Step,
                at=now - timedelta(minutes=6) + timedelta(milliseconds=at_ms),
                kind=ops.StepKind.Value(f"STEP_KIND_{kind}"),
                cause=cause,
                subject=subject,
                request_id="3f2b8f0e" if kind == "NOTICE_RECEIVED" else "",
            )
        )
        if kind == until:
            break
    return made


def case(now: datetime, number: int) -> ops.GetCaseResponse | None:
    """Return one of the cases, or None where there is none."""
    if number == UNKNOWN:
        return made_of(
            ops.GetCaseResponse,
            bill_id=number,
            standing=ops.STANDING_UNKNOWN_BILL,
            sentence=f"There is no bill {number}, yet the bank told of a payment of it.",
            sentence_key="unknown_bill_held",
            notices=[notice(now, _FIRST_BILL, bill_id=number, state="HELD", hold="UNKNOWN_BILL")],
            steps=steps(now, "NOTICE_RECEIVED")[2:],
        )
    if not _FIRST_BILL <= number < _FIRST_BILL + 60:
        return None
    record = bill(now, number)
    said = f"Bill {number} over {record.amount.value} {record.currency}"
    if number == MISMATCHED:
        return made_of(
            ops.GetCaseResponse,
            bill_id=number,
            standing=ops.STANDING_EXCEPTION,
            sentence=f"{said}: there is money or a claim that needs a person."
            " See the exceptions and propose how it ends.",
            sentence_key="needs_person",
            bill=record,
            notices=[notice(now, number, amount={"value": "600000"}, state="HELD", answer="")],
            verifications=[verification(now, number)],
            steps=steps(now, "NOTICE_VERIFYING"),
        )
    if number == WAITING:
        return made_of(
            ops.GetCaseResponse,
            bill_id=number,
            standing=ops.STANDING_WAITING,
            sentence=f"{said} may have been paid: the bank is being asked.",
            sentence_key="waiting_for_bank",
            bill=record,
            notices=[notice(now, number, state="VERIFYING", answer="")],
            steps=steps(now, "NOTICE_VERIFYING"),
        )
    paid = payments(now)[number - _FIRST_BILL]
    return made_of(
        ops.GetCaseResponse,
        bill_id=number,
        standing=ops.STANDING_PAID,
        sentence=f"{said} was paid by KHQR, transfer {paid.transaction_id}. Nothing to do.",
        sentence_key="paid_by_khqr" if paid.channel == "KHQR" else "paid_by_bill",
        bill=record,
        notices=[notice(now, number)],
        verifications=[verification(now, number)],
        payments=[paid],
        codes=codes(now)[:1],
        events=[event(now, at, key=record.policy_number) for at in (1, 2, 3)],
        steps=steps(now),
        other_bill_ids=[149990],
    )


def found(now: datetime, text: str) -> ops.FindCasesResponse:
    """Return what a text leads to: a policy to two bills, a transfer to one."""
    one = made_of(
        ops.FoundCase,
        bill_id=_FIRST_BILL + 1,
        policy_number="P100000003",
        amount={"value": "89.50"},
        currency="USD",
        standing=ops.STANDING_PAID,
        at=now - timedelta(minutes=4),
    )
    if text.startswith("AMK"):
        one.found_as = ops.FOUND_AS_TRANSACTION
        return made_of(ops.FindCasesResponse, cases=[one])
    if text == "P100000003":
        one.found_as = ops.FOUND_AS_POLICY
        other = ops.FoundCase()
        other.CopyFrom(one)
        other.bill_id, other.standing = 149990, ops.STANDING_CLOSED
        return made_of(ops.FindCasesResponse, cases=[one, other])
    return made_of(
        ops.FindCasesResponse,
    )
