"""The database's side of one answer of the bank: all that is known about a bill, and its record."""

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway_svc.answers import khqr_answer_text
from gateway_svc.bill_store import settle_bills
from gateway_svc.code_store import retire_codes
from gateway_svc.khqr_tables import khqr_notices, proofs, verifications
from gateway_svc.payment import Bill, BillState, Channel, NoticeState, PaymentState
from gateway_svc.rows import (
    Overtaken,
    amount_columns,
    bill_from,
    insert_for,
    lock_obligations,
    money_from,
)
from gateway_svc.tables import applications, bills, obligations, payments
from gateway_svc.verification import (
    Case,
    CaseDecision,
    KhqrHold,
    KnownPayment,
    NewPayment,
    NoticeChange,
    OpenNotice,
    Verification,
    khqr_transaction_id,
)


async def load_case(*, connection: AsyncConnection, bill_id: int, named: str | None) -> Case:
    """Return what is known about a bill, its obligation locked.

    `named` is the transaction that the bank names, or None.
    """
    row = (await connection.execute(select(bills).where(bills.c.id == bill_id))).one()
    locked = await lock_obligations(connection=connection, ids=[row.obligation_id])
    # Read again: the lock's last holder may have changed it.
    rows = (
        await connection.execute(
            select(bills).where(
                or_(
                    bills.c.id == bill_id,
                    (bills.c.obligation_id == row.obligation_id)
                    & (bills.c.state == BillState.OPEN),
                )
            )
        )
    ).all()
    found = [bill_from(one) for one in rows]
    bill = next(one for one in found if one.bill_id == bill_id)
    others = [one for one in found if one.bill_id != bill_id]
    own = next((one for one in others if one.bank_code == bill.bank_code), None)
    return Case(
        bill=bill,
        obligation=locked[bill.obligation_id],
        open_bill=own,
        other_open_bills=tuple(one for one in others if one is not own),
        notices=await _open_notices(connection, bill_id),
        payments=await _known_payments(connection, bill=bill, named=named),
    )


async def _open_notices(connection: AsyncConnection, bill_id: int) -> tuple[OpenNotice, ...]:
    """Return the notices that wait for the bank's word, in the order they came."""
    rows = await connection.execute(
        select(khqr_notices)
        .where(
            khqr_notices.c.bill_id == bill_id,
            khqr_notices.c.status == "SUCCESS",
            or_(
                khqr_notices.c.state.in_((NoticeState.RECEIVED, NoticeState.VERIFYING)),
                (khqr_notices.c.state == NoticeState.HELD)
                & (khqr_notices.c.hold == KhqrHold.MISMATCHED)
                & khqr_notices.c.next_attempt_at.is_not(None),
            ),
        )
        .order_by(khqr_notices.c.id)
        .with_for_update()
    )
    return tuple(
        OpenNotice(
            notice_id=row.id,
            status=row.status,
            state=NoticeState(row.state),
            hold=row.hold,
            paid_at=row.paid_at,
            received_at=row.received_at,
            asked=row.asked,
            request_id=row.request_id,
        )
        for row in rows
    )


async def _known_payments(
    connection: AsyncConnection, *, bill: Bill, named: str | None
) -> tuple[KnownPayment, ...]:
    """Return the payments that the bank's word about `bill` may mean."""
    numbers = {khqr_transaction_id(bank_code=bill.bank_code, bill_id=bill.bill_id)}
    numbers |= {named} if named else set()
    vouched = (
        select(proofs.c.payment_id)
        .join(verifications, verifications.c.id == proofs.c.verification_id)
        .where(verifications.c.bill_id == bill.bill_id)
    )
    rows = (
        await connection.execute(
            select(
                payments,
                payments.c.id.in_(vouched).label("vouched_for"),
            )
            .where(
                payments.c.bank_code == bill.bank_code,
                or_(
                    payments.c.transaction_id.in_(numbers),
                    payments.c.id.in_(vouched),
                    payments.c.bill_id == bill.bill_id,
                ),
            )
            .order_by(payments.c.id)
        )
    ).all()
    told = await connection.execute(
        select(khqr_notices.c.payment_id, khqr_notices.c.paid_at)
        .where(khqr_notices.c.payment_id.in_([row.id for row in rows]))
        .order_by(khqr_notices.c.id.desc())
    )
    # The earliest notice comes last, and stays.
    first_told = {row.payment_id: row.paid_at for row in told}
    return tuple(
        KnownPayment(
            payment_id=row.id,
            transaction_id=row.transaction_id,
            state=PaymentState(row.state),
            money=money_from(row),
            of_this_bill=bool(row.vouched_for) or row.bill_id == bill.bill_id,
            vouched_for=bool(row.vouched_for),
            paid_at=row.paid_at,
            told_paid_at=first_told.get(row.id),
        )
        for row in rows
    )


async def record_case(
    *,
    connection: AsyncConnection,
    decision: CaseDecision,
    at: datetime,
    next_attempt_at: dict[int, datetime],
    events: int,
) -> None:
    """Record the bank's answer, the payment it vouches for and what the notices come to.

    `next_attempt_at` says when a notice that waits on is asked about again, by its id.

    :raises Overtaken: the payment of another writer landed first.
    """
    case, payment_id = decision.case, None
    verification_id = None
    if isinstance(decision.finding, Verification):
        verification_id = await _insert_verification(connection, case.bill, decision.finding)
    if decision.payment is not None and verification_id is not None:
        payment_id = await _insert_payment(connection, case, decision.payment, at)
        await connection.execute(
            insert_for(connection=connection, table=proofs).values(
                payment_id=payment_id,
                verification_id=verification_id,
                **amount_columns(decision.payment.money),
            )
        )
        if decision.payment.applied_to is not None:
            await _apply(connection, case, decision.payment, payment_id, at)
    elif decision.known is not None:
        payment_id = decision.known.payment_id
    for change in decision.changes:
        await _change_notice(connection, change, payment_id, next_attempt_at, at)
    if events:
        await connection.execute(
            update(obligations)
            .where(obligations.c.id == case.obligation.obligation_id)
            .values(event_sequence=obligations.c.event_sequence + events)
        )


async def _insert_verification(
    connection: AsyncConnection, bill: Bill, finding: Verification
) -> int:
    money = (
        amount_columns(finding.money)
        if finding.money
        else {"amount_hundredths": None, "currency": None}
    )
    # The same bytes read in another way, after a change of the configuration, are another answer.
    said = f"{finding.paid}\n{money}\n{finding.transaction_id}\n{finding.foreign}"
    reading = f"{finding.answer_digest}:{hashlib.sha256(said.encode()).hexdigest()[:16]}"
    await connection.execute(
        insert_for(connection=connection, table=verifications)
        .values(
            bank_code=bill.bank_code,
            bill_id=bill.bill_id,
            paid=finding.paid,
            transaction_id=finding.transaction_id,
            **money,
            paid_at=finding.paid_at,
            asked_at=finding.asked_at,
            foreign_because=finding.foreign or None,
            answer_digest=reading,
        )
        .on_conflict_do_nothing()
    )
    found: int = (
        await connection.execute(
            select(verifications.c.id).where(
                verifications.c.bill_id == bill.bill_id,
                verifications.c.answer_digest == reading,
            )
        )
    ).scalar_one()
    return found


async def _insert_payment(
    connection: AsyncConnection, case: Case, payment: NewPayment, at: datetime
) -> int:
    pays = payment.applied_to or payment.noted_bill
    landed = (
        await connection.execute(
            insert_for(connection=connection, table=payments)
            .values(
                bank_code=case.bill.bank_code,
                transaction_id=payment.transaction_id,
                channel=Channel.KHQR,
                bill_id=None if pays is None else pays.bill_id,
                obligation_id=(
                    None if payment.applied_to is None else case.obligation.obligation_id
                ),
                **amount_columns(payment.money),
                paid_at=payment.paid_at,
                recorded_at=at,
                assurance="BANK_VERIFIED",
                state=PaymentState.APPLIED if payment.applied_to else PaymentState.UNAPPLIED,
                state_at=at,
                state_cause="late, verified" if payment.late else "verified",
            )
            .on_conflict_do_nothing()
            .returning(payments.c.id)
        )
    ).scalar_one_or_none()
    if landed is None:
        raise Overtaken
    return int(landed)


async def _apply(
    connection: AsyncConnection, case: Case, payment: NewPayment, payment_id: int, at: datetime
) -> None:
    landed = await connection.execute(
        insert_for(connection=connection, table=applications)
        .values(obligation_id=case.obligation.obligation_id, payment_id=payment_id, applied_at=at)
        .on_conflict_do_nothing()
        .returning(applications.c.obligation_id)
    )
    if landed.first() is None:
        raise Overtaken
    bill = case.bill
    await settle_bills(
        connection=connection,
        paid=[bill] if bill.state is BillState.OPEN else [],
        closed=payment.closes,
        at=at,
    )
    await retire_codes(
        connection=connection,
        obligation_ids=[case.obligation.obligation_id],
        paid_bill_ids=[bill.bill_id],
        through=Channel.KHQR,
        at=at,
    )


async def _change_notice(
    connection: AsyncConnection,
    change: NoticeChange,
    payment_id: int | None,
    next_attempt_at: dict[int, datetime],
    at: datetime,
) -> None:
    notice = change.notice
    values: dict[str, Any] = {
        "asked": notice.asked + 1,
        "hold": change.hold,
        "next_attempt_at": next_attempt_at[notice.notice_id] if change.ask_again else None,
    }
    if change.answer is not None:
        values["answer"] = khqr_answer_text(change.answer)
    if change.settled_by_payment:
        values["payment_id"] = payment_id
    if change.state is not notice.state:
        cause = change.hold or ("decided" if change.state is NoticeState.DONE else "asking")
        values |= {"state": change.state, "state_at": at, "state_cause": cause}
    await connection.execute(
        update(khqr_notices).where(khqr_notices.c.id == notice.notice_id).values(**values)
    )
