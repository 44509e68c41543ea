"""Records as a day's work leaves them: what the console's tests and pictures show."""

from datetime import datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message

from payments.gateway.v1 import operations_service_pb2 as ops
from payments.operations.v1 import operations_pb2 as parts

_M = TypeVar("_M", bound=Message)
_FIVE_MINUTES = timedelta(minutes=5)
_DAY_POINTS = 288
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


def _part(name: str, health: Any, since: datetime, why: str = "") -> parts.Part:
    return made_of(parts.Part, name=name, health=health, since=since, why=why)


def health(now: datetime) -> list[parts.Part]:
    """Return the parts of the gateway."""
    morning = now - timedelta(hours=5, minutes=12)
    return [
        _part("database", parts.HEALTH_WORKING, morning),
        _part("relay", parts.HEALTH_WORKING, morning),
        _part("events", parts.HEALTH_WORKING, morning),
        _part("AMK payment-verify", parts.HEALTH_WORKING, morning),
        _part("integration-service", parts.HEALTH_WORKING, morning),
    ]


def arrivals(now: datetime) -> list[ops.ArrivalPoint]:
    """Return a day with a quiet night and two busy hours."""
    first = now - _DAY_POINTS * _FIVE_MINUTES
    start = first - timedelta(minutes=first.minute % 5, seconds=first.second)
    points = []
    for at in range(_DAY_POINTS):
        begins = start + (at + 1) * _FIVE_MINUTES
        hour = (begins.hour + 7) % 24
        busy = 0 if hour < 6 else 3 if hour < 9 else 7 if hour in {10, 11, 17, 18} else 4
        points.append(
            made_of(
                ops.ArrivalPoint,
                at=begins,
                bill=busy * (3 + at * 7 % 5) // 6,
                khqr=busy * (2 + at * 5 % 7) // 5,
            )
        )
    return points


def latency(now: datetime, owner: str, endpoint: str, base_ms: int) -> parts.EndpointLatency:
    """Return a day of latencies; nobody calls at night."""
    points = []
    for one in arrivals(now):
        calls = one.bill + one.khqr
        swing = (one.at.seconds // 300) * 13 % 37
        points.append(
            made_of(
                parts.LatencyPoint,
                at=one.at,
                calls=calls,
                p50_ms=base_ms + swing if calls else 0,
                p95_ms=base_ms * 3 + swing * 4 if calls else 0,
            )
        )
    return made_of(parts.EndpointLatency, owner=owner, endpoint=endpoint, points=points)


def latencies(now: datetime) -> list[parts.EndpointLatency]:
    """Return the endpoints that the gateway calls."""
    return [
        latency(now, "AMK", "payment-verify", 62),
        latency(now, "INSURER", "integration-service", 18),
    ]


def today(now: datetime, exceptions: int) -> ops.GetTodayResponse:
    """Return a working day."""
    return made_of(
        ops.GetTodayResponse,
        environment="development",
        at=now,
        parts=health(now),
        collected=[
            made_of(ops.Sum, currency="USD", amount={"value": "48215.75"}, payments=311),
            made_of(ops.Sum, currency="KHR", amount={"value": "96430000"}, payments=118),
        ],
        payments=429,
        notices_confirmed=429,
        notices_ended=433,
        waiting=2,
        waiting_since=now - timedelta(minutes=3, seconds=20),
        open_exceptions=exceptions,
        arrivals=arrivals(now),
        latencies=latencies(now),
    )


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


def exceptions(now: datetime) -> list[ops.ExceptionRecord]:
    """Return two that wait for a proposal and one that waits for somebody else."""
    common: dict[str, Any] = {"bank_code": "AMK"}
    apply_, refund, void = (
        ops.RESOLUTION_ACTION_APPLY,
        ops.RESOLUTION_ACTION_REFUND,
        ops.RESOLUTION_ACTION_VOID,
    )
    return [
        made_of(
            ops.ExceptionRecord,
            **common,
            exception_id="khqr-3",
            state=ops.EXCEPTION_STATE_PROPOSED,
            hold="MISMATCHED",
            explanation="The bank's notice differs from the bill, and the bank has not vouched for"
            " it. It is asked for a day; then ask the bank in person, and refund or void it.",
            since=now - timedelta(days=1, hours=3),
            channel="KHQR",
            bill_id=MISMATCHED,
            policy_number="P100000002",
            amount={"value": "600000"},
            currency="KHR",
            proposals=[
                made_of(
                    ops.Proposal,
                    proposal_id=41,
                    exception_id="khqr-3",
                    action=void,
                    reason="The bank says by phone that nothing moved (case 5512).",
                    proposed_by="sokha",
                    proposed_at=now - timedelta(minutes=50),
                    state=ops.PROPOSAL_STATE_PROPOSED,
                )
            ],
        ),
        made_of(
            ops.ExceptionRecord,
            **common,
            exception_id="payment-494",
            state=ops.EXCEPTION_STATE_OPEN,
            hold="UNAPPLIED",
            explanation="The bank vouches for this money and it pays no bill. Apply it to an open"
            " bill of the same amount, or refund it; void it if the bank took it back.",
            since=now - timedelta(hours=2, minutes=10),
            channel="KHQR",
            bill_id=UNAPPLIED,
            policy_number="P10000010",
            amount={"value": "75.25"},
            currency="USD",
            transaction_id="AMK2026112600394",
            actions=[apply_, refund, void],
            fitting_bill_ids=[150010],
        ),
        made_of(
            ops.ExceptionRecord,
            **common,
            exception_id="notice-9",
            state=ops.EXCEPTION_STATE_OPEN,
            hold="UNKNOWN_BILL",
            explanation="The bank told of a payment for a bill that we never made, and was refused."
            " Ask the bank whether the money moved.",
            since=now - timedelta(minutes=12),
            channel="BILL",
            bill_id=UNKNOWN,
            amount={"value": "150.00"},
            currency="USD",
            transaction_id="AMK2026112600399",
            actions=[apply_, refund, void],
        ),
    ]


def outbox(now: datetime) -> ops.GetOutboxResponse:
    """Return an outbox with one parked key."""
    return made_of(
        ops.GetOutboxResponse,
        depth=4,
        oldest_at=now - timedelta(minutes=41),
        leads=True,
        last_published_at=now - timedelta(seconds=9),
        parked=[made_of(ops.ParkedKey, key="P10000010", first=parked_event(now), waiting=3)],
        orders=[
            made_of(
                ops.OutboxOrder,
                order_id=2,
                kind="REPLAY",
                requested_at=now - timedelta(hours=3),
                requested_by="dara",
                reason="The ledger missed an hour of events.",
                selection='{"since":"2026-11-26T01:00:00Z","until":"2026-11-26T02:00:00Z"}',
                events=112,
                outstanding=0,
            )
        ],
    )


def process(now: datetime, service: str) -> parts.Process:
    """Return one process with its breakers, pools and writers."""
    mine = (
        [("AMK", "payment-verify", parts.BREAKER_STATE_CLOSED, 20, 0)]
        if service == "gateway"
        else [("AMK", "qr-generator", parts.BREAKER_STATE_HALF_OPEN, 20, 4)]
    )
    return made_of(
        parts.Process,
        service=service,
        version="0.1.0",
        started_at=now - timedelta(hours=5, minutes=12),
        environment="development",
        configuration_fingerprint="7c1e09ab",
        breakers=[
            made_of(
                parts.Breaker,
                owner=owner,
                endpoint=endpoint,
                state=state,
                since=now - timedelta(minutes=7),
                calls=calls,
                failed=failed,
                window_size=20,
            )
            for owner, endpoint, state, calls, failed in mine
        ],
        latencies=latencies(now)
        if service == "gateway"
        else [latency(now, "AMK", "qr-generator", 140)],
        gauges=[made_of(parts.Gauge, name="database connections", used=6, most=20)]
        if service == "gateway"
        else [made_of(parts.Gauge, name="calls under way", used=3, most=64)],
        batches=[
            made_of(
                parts.BatchSizes,
                name="bill notices",
                batches=2210,
                members=7421,
                largest=64,
                waiting=0,
            )
        ]
        if service == "gateway"
        else [],
    )


def system(now: datetime) -> ops.GetSystemResponse:
    """Return the gateway's own word."""
    return made_of(
        ops.GetSystemResponse,
        process=process(now, "gateway"),
        schema_revision="0012",
        database="postgresql",
        events="kafka",
        parts=health(now),
        bank_codes=["AMK"],
    )
