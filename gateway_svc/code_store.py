"""The database's side of KHQR codes: one live code per bill, whoever asks at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Update, bindparam, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.due import is_due
from chassis.sets import among
from gateway_svc.khqr_tables import codes
from gateway_svc.payment import Bill, BillState, Channel, Obligation
from gateway_svc.rows import bill_from, insert_for, lock_obligations
from gateway_svc.tables import bills, obligations
from gateway_svc.verification import CodeState

_WORTH_KEEPING = timedelta(minutes=5)  # a code with less left is replaced


@dataclass(frozen=True, kw_only=True)
class Code:
    """A checked code of a bill."""

    payload: str
    image: bytes
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class RecordedCode:
    """The code that is live now; `is_new` if it is the one that was offered."""

    code: Code
    is_new: bool
    bill: Bill
    obligation: Obligation


async def live_code(
    *, connection: AsyncConnection, bank_code: str, bill_id: int, now: datetime
) -> Code | None:
    """Return the code of a bill that can be scanned at `now`, or None."""
    code = await _latest_code(connection, bank_code, bill_id)
    return code if code is not None and code.expires_at > now else None


async def _latest_code(connection: AsyncConnection, bank_code: str, bill_id: int) -> Code | None:
    """Return the code that none has replaced, though its time may be over."""
    row = (
        await connection.execute(
            select(codes)
            .join(bills, bills.c.id == codes.c.bill_id)
            .where(
                codes.c.bill_id == bill_id,
                bills.c.bank_code == bank_code,
                codes.c.state == CodeState.LIVE,
            )
        )
    ).one_or_none()
    if row is None:
        return None
    return Code(payload=row.payload, image=row.image, expires_at=row.expires_at)


async def record_code(
    *,
    connection: AsyncConnection,
    bank_code: str,
    bill_id: int,
    offered: Code,
    at: datetime,
    first_poll_at: datetime,
) -> RecordedCode | None:
    """Keep `offered` unless a code is live for a while; None if the bill is not open.

    Offered once more it is the code that is there, not a new one.
    """
    found = (
        await connection.execute(
            select(bills.c.obligation_id).where(
                bills.c.id == bill_id, bills.c.bank_code == bank_code
            )
        )
    ).scalar_one_or_none()
    if found is None:
        return None
    locked = await lock_obligations(connection=connection, ids=[found])
    bill = bill_from((await connection.execute(select(bills).where(bills.c.id == bill_id))).one())
    if bill.state is not BillState.OPEN:
        return None
    there = await _latest_code(connection, bank_code, bill_id)
    obligation = locked[found]
    # The very code that is offered was recorded by an attempt nobody heard the end of: however
    # little time it has left, it has its event already.
    is_offered = there is not None and (there.payload, there.expires_at) == (
        offered.payload,
        offered.expires_at,
    )
    if there is not None and (is_offered or there.expires_at - at >= _WORTH_KEEPING):
        return RecordedCode(code=there, is_new=False, bill=bill, obligation=obligation)
    await connection.execute(
        update(codes)
        .where(codes.c.bill_id == bill_id, codes.c.state == CodeState.LIVE)
        .values(
            state=case(
                (codes.c.expires_at <= at, CodeState.EXPIRED.value),
                else_=CodeState.SUPERSEDED.value,
            ),
            state_at=at,
            state_cause="a newer code",
        )
    )
    await connection.execute(
        insert_for(connection=connection, table=codes).values(
            bill_id=bill_id,
            payload=offered.payload,
            image=offered.image,
            expires_at=offered.expires_at,
            created_at=at,
            next_poll_at=first_poll_at,
            state=CodeState.LIVE,
            state_at=at,
            state_cause="generated",
        )
    )
    await connection.execute(
        update(obligations)
        .where(obligations.c.id == obligation.obligation_id)
        .values(event_sequence=obligations.c.event_sequence + 1)
    )
    return RecordedCode(code=offered, is_new=True, bill=bill, obligation=obligation)


async def retire_codes(
    *,
    connection: AsyncConnection,
    obligation_ids: Sequence[int],
    paid_bill_ids: Sequence[int],
    through: Channel,
    at: datetime,
) -> None:
    """End every live code of paid obligations: PAID for the bill that was paid.

    A code may still be paid by somebody, or may have been while its bill was paid in the app:
    it is polled on, unless the bank has just vouched for the payment of this very code.
    """
    statement, given = retiring(
        obligation_ids=obligation_ids,
        paid_bill_ids=paid_bill_ids,
        through=through,
        at=at,
        dialect=connection.dialect.name,
    )
    await connection.execute(statement, given)


def retiring(
    *,
    obligation_ids: Sequence[int],
    paid_bill_ids: Sequence[int],
    through: Channel,
    at: datetime,
    dialect: str,
) -> tuple[Update, dict[str, Any]]:
    """Return the statement of `retire_codes` and its parameters."""
    return _retiring(dialect), {
        "retired_of": list(obligation_ids),
        "retired_paid": list(paid_bill_ids),
        "retired_found": list(paid_bill_ids) if through is Channel.KHQR else [],
        "retired_at": at,
    }


@lru_cache
def _retiring(dialect: str) -> Update:
    is_paid = among(column=codes.c.bill_id, name="retired_paid", dialect=dialect)
    is_found = among(column=codes.c.bill_id, name="retired_found", dialect=dialect)
    return (
        update(codes)
        .where(
            codes.c.state == CodeState.LIVE,
            codes.c.bill_id.in_(
                select(bills.c.id).where(
                    among(column=bills.c.obligation_id, name="retired_of", dialect=dialect)
                )
            ),
        )
        .values(
            state=case((is_paid, CodeState.PAID.value), else_=CodeState.SUPERSEDED.value),
            next_poll_at=case((is_found, None), else_=codes.c.next_poll_at),
            state_at=bindparam("retired_at"),
            state_cause="the obligation was paid",
        )
    )


async def supersede_codes(
    *, connection: AsyncConnection, bill_ids: Sequence[int], at: datetime
) -> None:
    """End the live codes of bills that closed."""
    await connection.execute(
        update(codes)
        .where(codes.c.state == CodeState.LIVE, codes.c.bill_id.in_(list(bill_ids)))
        .values(state=CodeState.SUPERSEDED, state_at=at, state_cause="the bill closed")
    )


async def expire_codes(*, connection: AsyncConnection, now: datetime) -> int:
    """Say EXPIRED of live codes whose time is over, and return how many.

    One that somebody works on is passed over: who holds it may wait for another of these.
    """
    over = (
        select(codes.c.id)
        .where(codes.c.state == CodeState.LIVE, codes.c.expires_at <= now)
        .with_for_update(skip_locked=True)
    )
    ended = await connection.execute(
        update(codes)
        .where(codes.c.id.in_(over))
        .values(state=CodeState.EXPIRED, state_at=now, state_cause="its time is over")
        .returning(codes.c.id)
    )
    return len(ended.all())


async def schedule_polls(
    *,
    connection: AsyncConnection,
    bill_ids: Sequence[int],
    now: datetime,
    first: timedelta,
    longest: timedelta,
    after_expiry: timedelta,
) -> None:
    """Set when codes of `bill_ids` are polled next: twice as late each time, not for ever.

    One that somebody works on is passed over, as by `expire_codes`, and stays due.
    """
    rows = await connection.execute(
        select(codes.c.id, codes.c.polls, codes.c.expires_at)
        .where(codes.c.bill_id.in_(list(bill_ids)), is_due(column=codes.c.next_poll_at, now=now))
        .with_for_update(skip_locked=True)
    )
    for row in rows.all():
        pause = min(longest, first * 2 ** min(row.polls + 1, 20))
        over = now + pause > row.expires_at + after_expiry
        await connection.execute(
            update(codes)
            .where(codes.c.id == row.id)
            .values(polls=row.polls + 1, next_poll_at=None if over else now + pause)
        )
