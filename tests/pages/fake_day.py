"""How a whole day stands: today, exceptions, the outbox, the processes."""

from datetime import datetime, timedelta
from typing import Any

from payments.gateway.v1 import operations_service_pb2 as ops
from payments.operations.v1 import operations_pb2 as parts
from tests.pages.fake_records import MISMATCHED, UNAPPLIED, UNKNOWN, made_of, parked_event

_FIVE_MINUTES = timedelta(minutes=5)
_DAY_POINTS = 288


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
