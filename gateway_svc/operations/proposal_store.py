"""The database's side of how people end exceptions: lock, read again, record.

Locks are taken in the order of the house: obligations, then what is held, then the proposal.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway_svc.bill_store import settle_bills
from gateway_svc.code_store import retire_codes
from gateway_svc.khqr_tables import khqr_notices, proofs, verifications
from gateway_svc.operations.case_summary import BY_DECISION
from gateway_svc.operations.exception import (
    Action,
    Exceptional,
    Held,
    Kind,
    Proposal,
    ProposalState,
)
from gateway_svc.operations.exception_reader import (
    SELECTS,
    load_held,
    proposal_from,
    with_proposals,
)
from gateway_svc.operations.resolution import Ending
from gateway_svc.operations.selects import is_of_same_money
from gateway_svc.payment import Bill, BillState, Channel, NoticeState, Obligation, PaymentState
from gateway_svc.proposal_tables import HELD_COLUMNS, proposals
from gateway_svc.rows import (
    Overtaken,
    amount_columns,
    bill_from,
    insert_for,
    lock_obligations,
)
from gateway_svc.tables import applications, bills, notices, obligations, payments


async def find_proposal(*, connection: AsyncConnection, proposal_id: int) -> Proposal | None:
    """Return a proposal as it stands, None where there is none."""
    row = (
        await connection.execute(select(proposals).where(proposals.c.id == proposal_id))
    ).one_or_none()
    return None if row is None else proposal_from(row)


async def lock_proposal(*, connection: AsyncConnection, proposal_id: int) -> Proposal:
    """Return a proposal that there is, locked."""
    row = (
        await connection.execute(
            select(proposals).where(proposals.c.id == proposal_id).with_for_update()
        )
    ).one()
    return proposal_from(row)


async def lock_obligations_of(
    *, connection: AsyncConnection, kind: Kind, number: int, bill_id: int | None
) -> dict[int, Obligation]:
    """Lock the obligations that an ending may touch: that of the bill, and those it is held about.

    The completer works on the notices of a bill under the lock of its obligation.
    """
    about = {bill_id} if bill_id is not None else set()
    if kind is Kind.KHQR:
        about |= set(
            (
                await connection.execute(
                    select(khqr_notices.c.bill_id).where(khqr_notices.c.id == number)
                )
            ).scalars()
        )
    if kind is Kind.PAYMENT:
        about |= set((await connection.execute(_bills_of_payment(number))).scalars())
    rows = await connection.execute(
        select(bills.c.obligation_id).where(bills.c.id.in_(sorted(about)))
    )
    return await lock_obligations(connection=connection, ids=rows.scalars())


def _bills_of_payment(number: int) -> Any:
    return (
        select(verifications.c.bill_id)
        .join(proofs, proofs.c.verification_id == verifications.c.id)
        .where(proofs.c.payment_id == number)
        .union(
            select(khqr_notices.c.bill_id).where(khqr_notices.c.payment_id == number),
            select(payments.c.bill_id).where(
                payments.c.id == number, payments.c.bill_id.is_not(None)
            ),
        )
    )


async def lock_held(*, connection: AsyncConnection, kind: Kind, number: int) -> None:
    """Lock the row of what is held, if there is one."""
    _, table = SELECTS[kind]
    await connection.execute(select(table.c.id).where(table.c.id == number).with_for_update())


async def load_exception(
    *, connection: AsyncConnection, kind: Kind, number: int
) -> Exceptional | None:
    """Return what is held, or was, with its proposals; None where nothing is."""
    held = await load_held(connection=connection, ids={kind: [number]})
    found = await with_proposals(connection=connection, held=held)
    known = [one for one in found if one.held.is_held or one.proposals]
    return known[0] if known else None


async def load_bill(*, connection: AsyncConnection, bill_id: int | None) -> Bill | None:
    """Return a bill, None where there is none."""
    if bill_id is None:
        return None
    row = (await connection.execute(select(bills).where(bills.c.id == bill_id))).one_or_none()
    if row is None:
        return None
    return bill_from(row)


async def other_open_bills(*, connection: AsyncConnection, bill: Bill | None) -> tuple[Bill, ...]:
    """Return the open bills of the same obligation, at whichever bank, that are not `bill`."""
    if bill is None:
        return ()
    rows = await connection.execute(
        select(bills).where(
            bills.c.obligation_id == bill.obligation_id,
            bills.c.state == BillState.OPEN,
            bills.c.id != bill.bill_id,
        )
    )
    return tuple(bill_from(row) for row in rows)


async def insert_proposal(
    *,
    connection: AsyncConnection,
    held: Held,
    action: Action,
    bill_id: int | None,
    bank_reference: str | None,
    reason: str,
    by: str,
    request_id: str,
    at: datetime,
) -> Proposal | None:
    """Keep a proposal; None where another one is open."""
    values = {
        "exception_id": held.exception_id,
        HELD_COLUMNS[held.kind.value]: held.number,
        "hold": held.hold,
        "held_since": held.since,
        "action": action,
        "bill_id": bill_id,
        "bank_reference": bank_reference,
        "reason": reason,
        "proposed_by": by,
        "proposed_at": at,
        "request_id": request_id,
        "state": ProposalState.PROPOSED,
        "state_at": at,
        "state_cause": f"proposed {action.value}",
    }
    row = (
        await connection.execute(
            insert_for(connection=connection, table=proposals)
            .values(values)
            .on_conflict_do_nothing()
            .returning(*proposals.c)
        )
    ).one_or_none()
    return None if row is None else proposal_from(row)


async def decide_proposal(
    *,
    connection: AsyncConnection,
    proposal: Proposal,
    state: ProposalState,
    by: str,
    reason: str,
    at: datetime,
) -> None:
    """Keep what somebody said about a proposal.

    :raises Overtaken: it was decided meanwhile.
    """
    changed = await connection.execute(
        update(proposals)
        .where(
            proposals.c.id == proposal.proposal_id,
            proposals.c.state == ProposalState.PROPOSED,
        )
        .values(
            state=state,
            state_at=at,
            state_cause=f"{state.value.lower()} {proposal.action.value}",
            decided_by=by,
            decided_at=at,
            decision_reason=reason,
        )
        .returning(proposals.c.id)
    )
    if changed.first() is None:
        raise Overtaken


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
        await settle_bills(
            connection=connection, paid=[settlement.bill], closed=settlement.closed, at=at
        )
        await retire_codes(
            connection=connection,
            obligation_ids=[settlement.obligation.obligation_id],
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
