"""The database's side of the bank's answers, first half: all that is known about their bills.

Read for a set of bills at once, under the locks of their obligations; nothing is decided here.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import or_, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.sets import among, rows_as, with_rows
from gateway_svc.khqr_tables import khqr_notices, proofs, verifications
from gateway_svc.payment import Bill, BillState, Channel, NoticeState, PaymentState
from gateway_svc.proposal_tables import proposals
from gateway_svc.rows import bill_from, is_concerned, lock_obligations, money_from
from gateway_svc.sent_back import is_sent_back, khqr_claim_sent_back
from gateway_svc.tables import bills, notices, payments
from gateway_svc.verification import (
    Case,
    Finding,
    KhqrHold,
    KnownPayment,
    OpenNotice,
    Verification,
    khqr_transaction_id,
)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A bill that the bank was asked about, and what it said."""

    bill_id: int
    finding: Finding

    @property
    def named(self) -> str | None:
        """The transaction that the bank names."""
        return self.finding.transaction_id if isinstance(self.finding, Verification) else None


async def obligations_of(
    *, connection: AsyncConnection, bill_ids: Iterable[int]
) -> Mapping[int, int]:
    """Return the obligation of each bill."""
    rows = await connection.execute(
        _obligations(connection.dialect.name), {"ids": sorted(set(bill_ids))}
    )
    return {row.id: row.obligation_id for row in rows}


async def load_cases(
    *, connection: AsyncConnection, answered: Sequence[Answered], obligations: Mapping[int, int]
) -> list[Case]:
    """Return what is known about each bill of `answered`, its obligation locked.

    No two of them are of one obligation.
    """
    dialect = connection.dialect.name
    ids = [one.bill_id for one in answered]
    locked = await lock_obligations(
        connection=connection, ids=[obligations[bill_id] for bill_id in ids]
    )
    # Read after the lock: its last holder may have changed them.
    rows = (
        await connection.execute(_bills(dialect), {"ids": ids, "obligations": sorted(locked)})
    ).all()
    found = {row.id: bill_from(row) for row in rows}
    sent_back = {row.id for row in rows if row.sent_back}
    open_bills: dict[int, list[Bill]] = defaultdict(list)
    for bill in found.values():
        if bill.state is BillState.OPEN:
            open_bills[bill.obligation_id].append(bill)
    transfers = {
        (found[one.bill_id].bank_code, one.named): one.bill_id for one in answered if one.named
    }
    for key in await _transfers_sent_back(connection, sorted(transfers)):
        sent_back.add(transfers[key])
    waiting = await _open_notices(connection, ids)
    known = await _known_payments(connection, answered, found)
    cases = []
    for bill_id in ids:
        bill = found[bill_id]
        others = [one for one in open_bills[bill.obligation_id] if one.bill_id != bill_id]
        own = next((one for one in others if one.bank_code == bill.bank_code), None)
        cases.append(
            Case(
                bill=bill,
                obligation=locked[bill.obligation_id],
                open_bill=own,
                other_open_bills=tuple(one for one in others if one is not own),
                notices=tuple(waiting[bill_id]),
                payments=tuple(known[bill_id]),
                sent_back=bill_id in sent_back,
            )
        )
    return cases


async def _transfers_sent_back(
    connection: AsyncConnection, transfers: Sequence[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return those of `transfers` that two people send back as what a bill notice told of."""
    if not transfers:
        return set()
    dialect = connection.dialect.name
    rows = await connection.execute(
        _noticed_and_sent_back(dialect), rows_as(name="keys", rows=transfers, dialect=dialect)
    )
    return {(row.bank_code, row.natural_key) for row in rows}


async def _open_notices(
    connection: AsyncConnection, bill_ids: Sequence[int]
) -> Mapping[int, list[OpenNotice]]:
    """Return the notices that wait for the bank's word, by bill, in the order they came."""
    rows = await connection.execute(_waiting(connection.dialect.name), {"ids": list(bill_ids)})
    found: dict[int, list[OpenNotice]] = defaultdict(list)
    for row in rows:
        found[row.bill_id].append(
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
        )
    return found


async def _known_payments(
    connection: AsyncConnection, answered: Sequence[Answered], found: Mapping[int, Bill]
) -> Mapping[int, list[KnownPayment]]:
    """Return the payments that the bank's word about each bill may mean."""
    dialect = connection.dialect.name
    ids = [one.bill_id for one in answered]
    numbers = {one.bill_id: _numbers(found[one.bill_id], one.named) for one in answered}
    vouched: dict[int, set[int]] = defaultdict(set)
    for row in await connection.execute(_vouched(dialect), {"ids": ids}):
        vouched[row.bill_id].add(row.payment_id)
    keys = sorted(
        (found[bill_id].bank_code, number) for bill_id in ids for number in numbers[bill_id]
    )
    rows = (
        await connection.execute(
            _payments(dialect),
            {"ids": ids, "vouched": sorted(set().union(*vouched.values()))}
            | rows_as(name="keys", rows=keys, dialect=dialect),
        )
    ).all()
    first_told = await _first_told(connection, [row.id for row in rows])
    known: dict[int, list[KnownPayment]] = defaultdict(list)
    for bill_id in ids:
        for row in rows:
            is_vouched_for = row.id in vouched[bill_id]
            is_of_bill = is_vouched_for or row.bill_id == bill_id
            if row.bank_code == found[bill_id].bank_code and (
                is_of_bill or row.transaction_id in numbers[bill_id]
            ):
                known[bill_id].append(
                    KnownPayment(
                        payment_id=row.id,
                        transaction_id=row.transaction_id,
                        state=PaymentState(row.state),
                        money=money_from(row),
                        of_this_bill=is_of_bill,
                        vouched_for=is_vouched_for,
                        paid_at=row.paid_at,
                        told_paid_at=first_told.get(row.id),
                    )
                )
    return known


async def _first_told(connection: AsyncConnection, payment_ids: Sequence[int]) -> dict[int, Any]:
    """Return the paid time of the first notice of each payment."""
    if not payment_ids:
        return {}
    told = await connection.execute(_told(connection.dialect.name), {"ids": list(payment_ids)})
    return {row.payment_id: row.paid_at for row in told}  # the earliest comes last, and stays


def _numbers(bill: Bill, named: str | None) -> frozenset[str]:
    own = khqr_transaction_id(bank_code=bill.bank_code, bill_id=bill.bill_id)
    return frozenset({own, named} if named else {own})


@lru_cache
def _obligations(dialect: str) -> Any:
    return select(bills.c.id, bills.c.obligation_id).where(
        among(column=bills.c.id, name="ids", dialect=dialect)
    )


@lru_cache
def _bills(dialect: str) -> Any:
    sent_back = khqr_claim_sent_back(bill_id=bills.c.id)
    return select(bills, sent_back.label("sent_back")).where(
        is_concerned(bills_named="ids", obligations_named="obligations", dialect=dialect)
    )


@lru_cache
def _noticed_and_sent_back(dialect: str) -> Any:
    return with_rows(
        wanted=select(notices.c.bank_code, notices.c.natural_key)
        .join(proposals, is_sent_back(kind="notice", number=notices.c.id))
        .where(notices.c.channel == Channel.BILL),
        columns=(notices.c.bank_code, notices.c.natural_key),
        name="keys",
        dialect=dialect,
    )


@lru_cache
def _waiting(dialect: str) -> Any:
    return (
        select(khqr_notices)
        .where(
            among(column=khqr_notices.c.bill_id, name="ids", dialect=dialect),
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


@lru_cache
def _vouched(dialect: str) -> Any:
    return (
        select(proofs.c.payment_id, verifications.c.bill_id)
        .join(verifications, verifications.c.id == proofs.c.verification_id)
        .where(among(column=verifications.c.bill_id, name="ids", dialect=dialect))
    )


@lru_cache
def _payments(dialect: str) -> Any:
    # One search for each index: with OR between them all payments there are would be read.
    named = with_rows(
        wanted=select(payments),
        columns=(payments.c.bank_code, payments.c.transaction_id),
        name="keys",
        dialect=dialect,
    )
    found = union(
        named,
        select(payments).where(among(column=payments.c.id, name="vouched", dialect=dialect)),
        select(payments).where(among(column=payments.c.bill_id, name="ids", dialect=dialect)),
    ).subquery()
    return select(found).order_by(found.c.id)


@lru_cache
def _told(dialect: str) -> Any:
    return (
        select(khqr_notices.c.payment_id, khqr_notices.c.paid_at)
        .where(among(column=khqr_notices.c.payment_id, name="ids", dialect=dialect))
        .order_by(khqr_notices.c.id.desc())
    )
