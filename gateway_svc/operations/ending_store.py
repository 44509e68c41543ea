"""The database's side of an approval: the money, its bill, and what was held."""

from datetime import datetime

from sqlalchemy import and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway_svc.bill_store import Leaving, settle_bills
from gateway_svc.code_store import retire_codes
from gateway_svc.khqr_tables import khqr_notices, proofs, verifications
from gateway_svc.operations.case_summary import BY_DECISION
from gateway_svc.operations.exception import Held, Kind
from gateway_svc.operations.resolution import Ending
from gateway_svc.operations.selects import is_of_same_money
from gateway_svc.payment import Bill, Channel, NoticeState, PaymentState
from gateway_svc.rows import Overtaken, amount_columns, insert_for
from gateway_svc.tables import applications, notices, obligations, payments


async def record_ending(
    *, connection: AsyncConnection, held: Held, ending: Ending, events: int, at: datetime
) -> None:
    """Carry out what an approval comes to.

    :raises Overtaken: another payment of the obligation or transfer landed first; the caller's
        transaction must be rolled back.
    """
    cause = f"{BY_DECISION}: {ending.action.value}"
    if ending.settlement is not None:
        settlement = ending.settlement
        payment_id = await _applied_payment(connection, held, settlement.bill, cause, at)
        landed = await connection.execute(
            insert_for(connection=connection, table=applications)
            .values(
                obligation_id=settlement.obligation.obligation_id,
                payment_id=payment_id,
                applied_at=at,
            )
            .on_conflict_do_nothing()
            .returning(applications.c.obligation_id)
        )
        if landed.first() is None:
            raise Overtaken
        leaving = Leaving(
            obligation_ids=[settlement.obligation.obligation_id],
            paid=[settlement.bill],
            closed=settlement.closed,
        )
        await settle_bills(connection=connection, leaving=leaving, at=at)
        await retire_codes(
            connection=connection,
            obligation_ids=leaving.obligation_ids,
            paid_bill_ids=[settlement.bill.bill_id],
            through=Channel.BILL,  # whether its own code was paid too, polling finds
            at=at,
        )
        await connection.execute(
            update(obligations)
            .where(obligations.c.id == settlement.obligation.obligation_id)
            .values(event_sequence=obligations.c.event_sequence + events)
        )
    if ending.ends:
        await _end_notices(connection, held, cause, at)


async def _applied_payment(
    connection: AsyncConnection, held: Held, bill: Bill, cause: str, at: datetime
) -> int:
    applied = {
        "bill_id": bill.bill_id,
        "obligation_id": bill.obligation_id,
        "state": PaymentState.APPLIED,
        "state_at": at,
        "state_cause": cause,
    }
    if held.kind is Kind.PAYMENT:
        changed = await connection.execute(
            update(payments)
            .where(payments.c.id == held.number, payments.c.state == PaymentState.UNAPPLIED)
            .values(applied)
            .returning(payments.c.id)
        )
    else:
        claimed = select(notices.c.paid_at).where(notices.c.id == held.number)
        changed = await connection.execute(
            insert_for(connection=connection, table=payments)
            .values(
                bank_code=held.bank_code,
                transaction_id=held.transaction_id,
                channel=Channel.BILL,
                notice_id=held.number,
                **amount_columns(bill.money),
                paid_at=claimed.scalar_subquery(),
                recorded_at=at,
                assurance="BANK_NOTICE",
                **applied,
            )
            .on_conflict_do_nothing()
            .returning(payments.c.id)
        )
    payment_id = changed.scalar_one_or_none()
    if payment_id is None:
        raise Overtaken
    return int(payment_id)


async def _end_notices(connection: AsyncConnection, held: Held, cause: str, at: datetime) -> None:
    """End the held notice, or those whose money the payment is."""
    done = {"state": NoticeState.DONE, "state_at": at, "state_cause": cause, "hold": None}
    if held.kind is Kind.NOTICE:
        changed = await connection.execute(
            update(notices)
            .where(notices.c.id == held.number, notices.c.state == NoticeState.HELD)
            .values(done)
            .returning(notices.c.id)
        )
        if changed.first() is None:
            raise Overtaken
        return
    held_khqr = khqr_notices.c.state == NoticeState.HELD
    done |= {"next_attempt_at": None}
    if held.kind is Kind.KHQR:
        changed = await connection.execute(
            update(khqr_notices)
            .where(khqr_notices.c.id == held.number, held_khqr)
            .values(done)
            .returning(khqr_notices.c.id)
        )
        if changed.first() is None:
            raise Overtaken
        return
    about = (
        select(verifications.c.bill_id)
        .join(proofs, proofs.c.verification_id == verifications.c.id)
        .where(proofs.c.payment_id == held.number)
    )
    await connection.execute(
        update(khqr_notices)
        .where(
            held_khqr,
            or_(
                khqr_notices.c.payment_id == held.number,
                and_(khqr_notices.c.bill_id.in_(about), is_of_same_money()),
            ),
        )
        .values(done | {"payment_id": held.number})
    )
