"""What decisions on bill notices come to, recorded table by table, as SQLite wants it.

Every function works on a set inside the caller's transaction and decides nothing.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.money import Money
from chassis.outbox import Event, append
from chassis.sets import insert_set
from gateway_svc.bill_store import settle_bills
from gateway_svc.code_store import retire_codes
from gateway_svc.decision_rows import (
    in_order,
    leaving_of,
    notice_columns,
    payment_words,
    settled_of,
)
from gateway_svc.payment import Channel, Decision, Notice, Settlement
from gateway_svc.rows import Overtaken, amount_columns, count_events, money_from
from gateway_svc.tables import applications, notices, outbox, payments

_Content = tuple[str, str, int, str, Money]
_CONTENT = (
    *("id", "bank_code", "natural_key", "bill_id", "policy_number"),
    *("amount_hundredths", "currency"),
)


async def record_by_table(
    *,
    connection: AsyncConnection,
    decisions: Sequence[Decision],
    events: Sequence[Event],
    events_per_settlement: int,
    at: datetime,
) -> None:
    """Record `decisions` and `events`.

    :raises Overtaken: as `store.Record`.
    """
    decisions = in_order(decisions)
    notice_ids = await _insert_notices(connection, decisions, at)
    settled = settled_of(decisions)
    if not settled:
        return
    payment_ids = await _insert_payments(connection, settled, notice_ids, at)
    await _insert_applications(connection, settled, notice_ids, payment_ids, at)
    leaving = leaving_of(settled)
    await settle_bills(connection=connection, leaving=leaving, at=at)
    await retire_codes(
        connection=connection,
        obligation_ids=leaving.obligation_ids,
        paid_bill_ids=[one.bill.bill_id for _, one in settled],
        through=Channel.BILL,
        at=at,
    )
    await count_events(
        connection=connection, obligation_ids=leaving.obligation_ids, more=events_per_settlement
    )
    await append(connection=connection, table=outbox, events=events, at=at)


async def _insert_notices(
    connection: AsyncConnection, decisions: Sequence[Decision], at: datetime
) -> dict[_Content, int]:
    landed = await insert_set(
        connection=connection,
        table=notices,
        rows=[notice_columns(decision=decision, at=at) for decision in decisions],
        returning=_CONTENT,
    )
    if len(landed) != len(decisions):
        raise Overtaken
    return {
        (row.bank_code, row.natural_key, row.bill_id, row.policy_number, money_from(row)): row.id
        for row in landed
    }


async def _insert_payments(
    connection: AsyncConnection,
    settled: Sequence[tuple[Decision, Settlement]],
    notice_ids: dict[_Content, int],
    at: datetime,
) -> dict[int, int]:
    landed = await insert_set(
        connection=connection,
        table=payments,
        rows=[
            {
                "bank_code": decision.notice.bank_code,
                "transaction_id": decision.notice.transaction_id,
                "notice_id": notice_ids[_content(decision.notice)],
                "bill_id": settlement.bill.bill_id,
                "obligation_id": settlement.obligation.obligation_id,
                **amount_columns(decision.notice.money),
                "paid_at": decision.notice.paid_at,
                "recorded_at": at,
                "state_at": at,
                **payment_words(settlement),
            }
            for decision, settlement in settled
        ],
        returning=("id", "notice_id"),
    )
    if len(landed) != len(settled):
        raise Overtaken
    return {row.notice_id: row.id for row in landed}


async def _insert_applications(
    connection: AsyncConnection,
    settled: Sequence[tuple[Decision, Settlement]],
    notice_ids: dict[_Content, int],
    payment_ids: dict[int, int],
    at: datetime,
) -> None:
    landed = await insert_set(
        connection=connection,
        table=applications,
        rows=[
            {
                "obligation_id": settlement.obligation.obligation_id,
                "payment_id": payment_ids[notice_ids[_content(decision.notice)]],
                "applied_at": at,
            }
            for decision, settlement in settled
        ],
        returning=("obligation_id",),
    )
    if len(landed) != len(settled):
        raise Overtaken


def _content(notice: Notice) -> _Content:
    return (
        notice.bank_code,
        notice.transaction_id,
        notice.bill_id,
        notice.policy_number,
        notice.money,
    )
