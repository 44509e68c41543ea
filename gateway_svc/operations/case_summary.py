"""How cases stand, many at once: the same statements for one bill as for a hundred."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway_svc.khqr_tables import codes, khqr_notices
from gateway_svc.messages import decimal_message
from gateway_svc.operations.case_reader import CaseRecord
from gateway_svc.operations.exception import Exceptional, Kind
from gateway_svc.operations.exception_reader import exceptions_among
from gateway_svc.operations.records import moment
from gateway_svc.operations.selects import payments_about, select_bills, select_payments
from gateway_svc.operations.standing import CaseFacts, Paying, Told, stands
from gateway_svc.payment import Channel, NoticeState, PaymentState
from gateway_svc.rows import bill_from
from gateway_svc.tables import bills, notices, payments
from gateway_svc.verification import CodeState
from payments.gateway.v1 import operations_service_pb2 as pb

_MOST_ROWS = 2000  # of one kind, of all cases together: a hostile bank might make more
_UNDECIDED = frozenset({NoticeState.RECEIVED, NoticeState.VERIFYING})
BY_DECISION = "two people"  # the cause of what an approval does begins with it


def told_of(*, case: CaseRecord, bill_id: int) -> Told:
    """Return how the case `case` stands."""
    return _told(
        bill_id=bill_id,
        bill=case.bill,
        khqr_claims=case.khqr_notices,
        money=case.payments,
        drawn=case.codes,
        exceptions=case.exceptions,
    )


async def summaries(
    *, connection: AsyncConnection, found: dict[int, "pb.FoundAs.ValueType"]
) -> list[pb.FoundCase]:
    """Return the cases `found`, what happened last first."""
    ids = list(found)
    rows_of = {
        "bills": await _rows(connection, select_bills().where(bills.c.id.in_(ids))),
        "notices": await _rows(connection, select(notices).where(notices.c.bill_id.in_(ids))),
        "khqr": await _rows(
            connection, select(khqr_notices).where(khqr_notices.c.bill_id.in_(ids))
        ),
        "codes": await _rows(
            connection,
            select(codes.c.bill_id, codes.c.state, codes.c.state_at).where(
                codes.c.bill_id.in_(ids)
            ),
        ),
        "payments": await _rows(
            connection, select_payments().where(payments.c.id.in_(payments_about(ids)))
        ),
    }
    exceptions = await exceptions_among(
        connection=connection,
        ids={
            Kind.NOTICE: [row.id for row in rows_of["notices"]],
            Kind.KHQR: [row.id for row in rows_of["khqr"]],
            Kind.PAYMENT: [row.id for row in rows_of["payments"]],
        },
    )
    cases = [
        _summary(
            bill_id, found_as, rows_of, [one for one in exceptions if one.held.bill_id == bill_id]
        )
        for bill_id, found_as in found.items()
    ]
    return sorted(cases, key=lambda one: (one.at.ToNanoseconds(), one.bill_id), reverse=True)


def _summary(
    bill_id: int,
    found_as: "pb.FoundAs.ValueType",
    rows_of: dict[str, Sequence[Any]],
    exceptions: Sequence[Exceptional],
) -> pb.FoundCase:
    bill = next((row for row in rows_of["bills"] if row.id == bill_id), None)
    claims = [row for row in rows_of["notices"] if row.bill_id == bill_id]
    khqr_claims = [row for row in rows_of["khqr"] if row.bill_id == bill_id]
    drawn = [row for row in rows_of["codes"] if row.bill_id == bill_id]
    money = [row for row in rows_of["payments"] if row.sent_for == bill_id]
    told = _told(
        bill_id=bill_id,
        bill=bill,
        khqr_claims=khqr_claims,
        money=money,
        drawn=drawn,
        exceptions=exceptions,
    )
    stated = [row for row in (bill, *claims, *khqr_claims, *drawn, *money) if row is not None]
    facts = None if bill is None else bill_from(bill)
    return pb.FoundCase(
        bill_id=bill_id,
        found_as=found_as,
        policy_number=bill.policy_number
        if bill
        else next((one.policy_number for one in claims), ""),
        amount=None if facts is None else decimal_message(money=facts.money),
        currency="" if facts is None else facts.money.currency.value,
        standing=pb.Standing.Value(f"STANDING_{told.standing.value}"),
        at=moment(_last(row.state_at for row in stated)),
    )


def _told(
    *,
    bill_id: int,
    bill: Any | None,
    khqr_claims: Sequence[Any],
    money: Sequence[Any],
    drawn: Sequence[Any],
    exceptions: Sequence[Exceptional],
) -> Told:
    paying = next(
        (row for row in money if row.state == PaymentState.APPLIED and row.bill_id == bill_id), None
    )
    return stands(
        CaseFacts(
            bill_id=bill_id,
            bill=None if bill is None else bill_from(bill),
            closed_because="" if bill is None else bill.state_cause,
            paying=None
            if paying is None
            else Paying(
                transaction_id=paying.transaction_id,
                channel=Channel(paying.channel),
                by_decision=paying.state_cause.startswith(BY_DECISION),
            ),
            waiting=any(
                row.state in _UNDECIDED and row.next_attempt_at is not None for row in khqr_claims
            ),
            has_live_code=any(row.state == CodeState.LIVE for row in drawn),
            exceptions=[one.state for one in exceptions],
        )
    )


def _last(moments: Iterable[datetime]) -> datetime | None:
    return max(moments, default=None)


async def _rows(connection: AsyncConnection, query: Any) -> Sequence[Any]:
    return (await connection.execute(query.limit(_MOST_ROWS))).all()
