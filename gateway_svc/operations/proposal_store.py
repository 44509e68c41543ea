"""The database's side of how people end exceptions: lock, read again, record.

Locks are taken in the order of the house: obligations, then what is held, then the proposal.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway_svc.khqr_tables import khqr_notices, proofs, verifications
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
from gateway_svc.payment import Bill, BillState, Obligation
from gateway_svc.proposal_tables import HELD_COLUMNS, proposals
from gateway_svc.rows import (
    Overtaken,
    bill_from,
    insert_for,
    lock_obligations,
)
from gateway_svc.tables import bills, notices, payments


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
    """Lock the row of what is held, if there is one, and of other notices of its transfer."""
    _, table = SELECTS[kind]
    wanted = table.c.id == number
    if kind is Kind.NOTICE:
        one = notices.alias("one")
        same = (notices.c.bank_code, notices.c.channel, notices.c.natural_key)
        key = select(one.c.bank_code, one.c.channel, one.c.natural_key).where(one.c.id == number)
        wanted = tuple_(*same).in_(key)
    await connection.execute(
        select(table.c.id).where(wanted).order_by(table.c.id).with_for_update(of=table)
    )


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
