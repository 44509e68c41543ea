"""Reads exceptions: those that are open, those of a case, those that people ended."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Select

from chassis.sets import among
from gateway_svc.khqr_tables import khqr_notices
from gateway_svc.operations.exception import (
    UNAPPLIED,
    Action,
    Exceptional,
    Held,
    Kind,
    Proposal,
    ProposalState,
    fitting,
)
from gateway_svc.operations.records import optional_money
from gateway_svc.operations.selects import (
    is_covered,
    is_waiting_money,
    select_held_payments,
)
from gateway_svc.payment import Bill, BillState, Channel
from gateway_svc.proposal_tables import proposals
from gateway_svc.rows import bill_from, money_from
from gateway_svc.sent_back import transfer_sent_back
from gateway_svc.tables import bills, notices, obligations, payments

_MOST_FITTING = 1000  # open bills of the policies of one page; more are not offered
_MOST_PROPOSALS = 2000
Ids = Mapping[Kind, Collection[int]]


def select_held_notices() -> Select[Any]:
    """Return bill notices with what makes one an exception."""
    taken = (
        select(payments.c.id)
        .where(
            payments.c.bank_code == notices.c.bank_code,
            payments.c.transaction_id == notices.c.natural_key,
        )
        .exists()
    )
    sent_back = transfer_sent_back(
        bank_code=notices.c.bank_code,
        transaction_id=notices.c.natural_key,
        besides=notices.c.id,
    )
    return select(
        notices,
        _policy_of(notices.c.bill_id),
        taken.label("taken"),
        sent_back.label("sent_back"),
    )


def select_held_khqr_notices() -> Select[Any]:
    """Return KHQR notices with what makes one an exception."""
    return select(khqr_notices, _policy_of(khqr_notices.c.bill_id), is_covered().label("covered"))


# How each kind is read, and where it lies.
SELECTS: Mapping[Kind, tuple[Callable[[], Select[Any]], Table]] = {
    Kind.NOTICE: (select_held_notices, notices),
    Kind.KHQR: (select_held_khqr_notices, khqr_notices),
    Kind.PAYMENT: (select_held_payments, payments),
}


def is_open(kind: Kind) -> ColumnElement[bool]:
    """Return the condition that a row of `kind` is an exception now."""
    if kind is Kind.NOTICE:
        return notices.c.state == "HELD"
    if kind is Kind.KHQR:
        return and_(khqr_notices.c.state == "HELD", ~is_covered())
    return is_waiting_money()


def held_from(kind: Kind, row: Any) -> Held:
    """Return what `row` of one of the selects above holds."""
    if kind is Kind.NOTICE:
        return Held(
            kind=kind,
            number=row.id,
            bank_code=row.bank_code,
            channel=Channel.BILL,
            hold=row.hold or "",
            since=row.state_at,
            bill_id=row.bill_id,
            policy_number=row.bill_policy or row.policy_number,
            money=money_from(row),
            transaction_id=row.natural_key,
            paid_at=row.paid_at,
            is_held=row.state == "HELD",
            is_taken=row.taken,
            is_sent_back=row.sent_back,
        )
    if kind is Kind.KHQR:
        return Held(
            kind=kind,
            number=row.id,
            bank_code=row.bank_code,
            channel=Channel.KHQR,
            hold=row.hold or "",
            since=row.state_at,
            bill_id=row.bill_id,
            policy_number=row.bill_policy or "",
            money=optional_money(row),
            transaction_id="",
            paid_at=row.paid_at,
            is_held=row.state == "HELD" and not row.covered,
        )
    return Held(
        kind=kind,
        number=row.id,
        bank_code=row.bank_code,
        channel=Channel(row.channel),
        hold=UNAPPLIED,
        since=row.recorded_at,
        bill_id=row.sent_for or 0,
        policy_number=row.policy_number or "",
        money=money_from(row),
        transaction_id=row.transaction_id,
        paid_at=row.paid_at,
        is_held=row.state == "UNAPPLIED",
        is_sent_back=row.sent_back,
    )


async def load_held(*, connection: AsyncConnection, ids: Ids) -> list[Held]:
    """Return what is, or was, held under `ids`: one statement for each kind."""
    found = []
    for kind, (make, table) in SELECTS.items():
        wanted = sorted(set(ids.get(kind, ())))
        if wanted:
            chosen = among(column=table.c.id, name="ids", dialect=connection.dialect.name)
            rows = await connection.execute(make().where(chosen), {"ids": wanted})
            found += [held_from(kind, row) for row in rows]
    return found


async def with_proposals(*, connection: AsyncConnection, held: Sequence[Held]) -> list[Exceptional]:
    """Return exceptions with what was proposed, and the open bills their money could pay."""
    if not held:
        return []
    names = [one.exception_id for one in held]
    chosen = among(column=proposals.c.exception_id, name="names", dialect=connection.dialect.name)
    rows = await connection.execute(
        select(proposals).where(chosen).order_by(proposals.c.id.desc()).limit(_MOST_PROPOSALS),
        {"names": names},
    )
    proposed: dict[str, list[Proposal]] = {}
    for row in rows:
        proposed.setdefault(row.exception_id, []).append(proposal_from(row))
    open_bills = await _open_bills(connection, {one.policy_number for one in held})
    return [
        Exceptional(
            held=_as_it_was(one, proposed.get(one.exception_id, ())),
            proposals=tuple(proposed.get(one.exception_id, ())),
            fitting_bill_ids=fitting(held=one, open_bills=open_bills) if one.is_held else (),
        )
        for one in held
    ]


async def exceptions_among(*, connection: AsyncConnection, ids: Ids) -> list[Exceptional]:
    """Return what of `ids` needs, or needed, a person, oldest first."""
    held = await load_held(connection=connection, ids=ids)
    found = await with_proposals(connection=connection, held=held)
    # What the bank's word settled by itself, or was never held, people know nothing of.
    return sorted(
        (one for one in found if one.held.is_held or one.proposals),
        key=lambda one: (one.held.since, one.held.exception_id),
    )


async def count_open(*, connection: AsyncConnection) -> int:
    """Return how many exceptions nobody has ended: counted over the partial indexes."""
    total = 0
    for kind, (_, table) in SELECTS.items():
        query = select(func.count()).select_from(table).where(is_open(kind))
        total += await connection.scalar(query) or 0
    return total


def proposal_from(row: Any) -> Proposal:
    """Return the proposal that `row` holds."""
    return Proposal(
        proposal_id=row.id,
        exception_id=row.exception_id,
        hold=row.hold,
        held_since=row.held_since,
        action=Action(row.action),
        bill_id=row.bill_id,
        bank_reference=row.bank_reference,
        reason=row.reason,
        proposed_by=row.proposed_by,
        proposed_at=row.proposed_at,
        request_id=row.request_id,
        state=ProposalState(row.state),
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        decision_reason=row.decision_reason,
    )


def _policy_of(bill_id: ColumnElement[int]) -> Any:
    return (
        select(obligations.c.policy_number)
        .join(bills, bills.c.obligation_id == obligations.c.id)
        .where(bills.c.id == bill_id)
        .scalar_subquery()
        .label("bill_policy")
    )


def _as_it_was(held: Held, proposed: Sequence[Proposal]) -> Held:
    """Return `held` with the hold and the moment that it had while it was held."""
    if held.is_held and held.hold:
        return held
    return next((replace(held, hold=one.hold, since=one.held_since) for one in proposed[:1]), held)


async def _open_bills(
    connection: AsyncConnection, policy_numbers: set[str]
) -> list[tuple[str, Bill]]:
    chosen = among(
        column=obligations.c.policy_number, name="numbers", dialect=connection.dialect.name
    )
    rows = await connection.execute(
        select(bills, obligations.c.policy_number)
        .join(obligations, obligations.c.id == bills.c.obligation_id)
        .where(chosen, bills.c.state == BillState.OPEN)
        .order_by(bills.c.id.desc())
        .limit(_MOST_FITTING),
        {"numbers": sorted(policy_numbers)},
    )
    return [(row.policy_number, bill_from(row)) for row in rows]
