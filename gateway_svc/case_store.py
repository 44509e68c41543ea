"""The database's side of the bank's answers, second half: what they come to, for a set of bills."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.sets import insert_set, rows_as, update_set, with_rows
from gateway_svc.answers import khqr_answer_text
from gateway_svc.bill_store import Leaving, settle_bills
from gateway_svc.code_store import retire_codes
from gateway_svc.khqr_tables import khqr_notices, proofs, verifications
from gateway_svc.payment import Bill, BillState, Channel, NoticeState, PaymentState
from gateway_svc.rows import Overtaken, amount_columns, count_events
from gateway_svc.tables import applications, payments
from gateway_svc.verification import CaseDecision, NewPayment, NoticeChange, Verification

_NO_MONEY: Mapping[str, Any] = {"amount_hundredths": None, "currency": None}


async def record_cases(
    *,
    connection: AsyncConnection,
    decisions: Sequence[CaseDecision],
    at: datetime,
    next_attempt_at: Mapping[int, datetime],
    events: Mapping[int, int],
) -> None:
    """Record the bank's answers, the payments it vouches for and what the notices come to.

    No two of `decisions` are of one obligation. `next_attempt_at` says when a notice that waits
    on is asked about again, by its id; `events` how many an obligation gets, by its id.

    :raises Overtaken: the payment of another writer landed first.
    """
    proved = await _insert_verifications(connection, decisions)
    paid = [(one, one.payment) for one in decisions if one.payment is not None]
    new = await _insert_payments(connection, paid, at)
    await insert_set(
        connection=connection,
        table=proofs,
        rows=[
            {
                "payment_id": new[one.case.bill.bill_id],
                "verification_id": proved[one.case.bill.bill_id],
                **amount_columns(payment.money),
            }
            for one, payment in paid
        ],
        skip_conflicts=False,
    )
    await _apply(connection, paid, new, at)
    await update_set(
        connection=connection,
        table=khqr_notices,
        key="id",
        rows=[
            _change(change, _payment_of(one, new), next_attempt_at, at)
            for one in decisions
            for change in one.changes
        ],
        keep_if_null=frozenset({"answer", "payment_id", "state_at", "state_cause"}),
    )
    await _count_events(connection, events)


def _payment_of(decision: CaseDecision, new: Mapping[int, int]) -> int | None:
    if decision.payment is not None:
        return new[decision.case.bill.bill_id]
    return None if decision.known is None else decision.known.payment_id


async def _insert_verifications(
    connection: AsyncConnection, decisions: Sequence[CaseDecision]
) -> Mapping[int, int]:
    """Keep what the bank said; return the number of each bill's answer, the old one of a repeat."""
    said = {
        one.case.bill.bill_id: (one.case.bill, one.finding)
        for one in decisions
        if isinstance(one.finding, Verification)
    }
    if not said:
        return {}
    rows = [_verification(bill, finding) for _, (bill, finding) in sorted(said.items())]
    await insert_set(connection=connection, table=verifications, rows=rows)
    dialect = connection.dialect.name
    keys = [(row["bill_id"], row["answer_digest"]) for row in rows]
    found = await connection.execute(
        _verifications(dialect), rows_as(name="keys", rows=keys, dialect=dialect)
    )
    return {row.bill_id: row.id for row in found}


def _verification(bill: Bill, finding: Verification) -> dict[str, Any]:
    money = amount_columns(finding.money) if finding.money else dict(_NO_MONEY)
    # The same bytes read in another way, after a change of the configuration, are another answer.
    said = f"{finding.paid}\n{money}\n{finding.transaction_id}\n{finding.foreign}"
    reading = hashlib.sha256(said.encode()).hexdigest()[:16]
    return {
        "bank_code": bill.bank_code,
        "bill_id": bill.bill_id,
        "paid": finding.paid,
        "transaction_id": finding.transaction_id,
        **money,
        "paid_at": finding.paid_at,
        "asked_at": finding.asked_at,
        "foreign_because": finding.foreign or None,
        "answer_digest": f"{finding.answer_digest}:{reading}",
    }


async def _insert_payments(
    connection: AsyncConnection, paid: Sequence[tuple[CaseDecision, NewPayment]], at: datetime
) -> Mapping[int, int]:
    """Return the number of each bill's new payment."""
    rows = {
        (one.case.bill.bank_code, payment.transaction_id): (
            one.case.bill.bill_id,
            _payment(one, payment, at),
        )
        for one, payment in paid
    }
    landed = await insert_set(
        connection=connection,
        table=payments,
        rows=[row for _, (_, row) in sorted(rows.items())],
        returning=("id", "bank_code", "transaction_id"),
    )
    if len(landed) != len(paid):  # another writer's, or one number for two bills
        raise Overtaken
    return {rows[row.bank_code, row.transaction_id][0]: row.id for row in landed}


def _payment(decision: CaseDecision, payment: NewPayment, at: datetime) -> dict[str, Any]:
    case, pays = decision.case, payment.applied_to or payment.noted_bill
    return {
        "bank_code": case.bill.bank_code,
        "transaction_id": payment.transaction_id,
        "channel": Channel.KHQR,
        "bill_id": None if pays is None else pays.bill_id,
        "obligation_id": case.obligation.obligation_id if payment.applied_to else None,
        **amount_columns(payment.money),
        "paid_at": payment.paid_at,
        "recorded_at": at,
        "assurance": "BANK_VERIFIED",
        "state": PaymentState.APPLIED if payment.applied_to else PaymentState.UNAPPLIED,
        "state_at": at,
        "state_cause": "late, verified" if payment.late else "verified",
    }


async def _apply(
    connection: AsyncConnection,
    paid: Sequence[tuple[CaseDecision, NewPayment]],
    new: Mapping[int, int],
    at: datetime,
) -> None:
    applied = [(one.case, payment) for one, payment in paid if payment.applied_to is not None]
    if not applied:
        return
    landed = await insert_set(
        connection=connection,
        table=applications,
        rows=[
            {
                "obligation_id": case.obligation.obligation_id,
                "payment_id": new[case.bill.bill_id],
                "applied_at": at,
            }
            for case, _ in sorted(applied, key=lambda one: one[0].obligation.obligation_id)
        ],
        returning=("obligation_id",),
    )
    if len(landed) != len(applied):
        raise Overtaken
    obligation_ids = [case.obligation.obligation_id for case, _ in applied]
    leaving = Leaving(
        obligation_ids=obligation_ids,
        paid=[case.bill for case, _ in applied if case.bill.state is BillState.OPEN],
        closed=[bill for _, payment in applied for bill in payment.closes],
    )
    await settle_bills(connection=connection, leaving=leaving, at=at)
    await retire_codes(
        connection=connection,
        obligation_ids=obligation_ids,
        paid_bill_ids=[case.bill.bill_id for case, _ in applied],
        through=Channel.KHQR,
        at=at,
    )


def _change(
    change: NoticeChange,
    payment_id: int | None,
    next_attempt_at: Mapping[int, datetime],
    at: datetime,
) -> dict[str, Any]:
    notice = change.notice
    moves = change.state is not notice.state
    cause = change.hold or ("decided" if change.state is NoticeState.DONE else "asking")
    return {
        "id": notice.notice_id,
        "asked": notice.asked + 1,
        "hold": change.hold,
        "next_attempt_at": next_attempt_at[notice.notice_id] if change.ask_again else None,
        "answer": khqr_answer_text(change.answer),
        "payment_id": payment_id if change.settled_by_payment else None,
        "state": change.state,
        "state_at": at if moves else None,
        "state_cause": cause if moves else None,
    }


async def _count_events(connection: AsyncConnection, events: Mapping[int, int]) -> None:
    by_count: dict[int, list[int]] = defaultdict(list)
    for obligation_id, count in sorted(events.items()):
        if count:
            by_count[count].append(obligation_id)
    for count, ids in sorted(by_count.items()):
        await count_events(connection=connection, obligation_ids=ids, more=count)


@lru_cache
def _verifications(dialect: str) -> Any:
    return with_rows(
        wanted=select(verifications.c.id, verifications.c.bill_id),
        columns=(verifications.c.bill_id, verifications.c.answer_digest),
        name="keys",
        dialect=dialect,
    )
