"""The lists of payments, bills, codes, notices and events: newest first, a page at a time.

Pages are cut by the id of the last row shown. Notices of the two channels lie in two tables;
their lists are walked side by side, each by its own id.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, false, select, union
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Select

from gateway_svc.khqr_tables import codes, khqr_notices
from gateway_svc.operations import records
from gateway_svc.operations.event_json import event_member
from gateway_svc.operations.finder import bills_of_transaction
from gateway_svc.operations.narrowing import Narrowing, read_narrowing
from gateway_svc.operations.paging import Page, PageRequest, merged, read_page
from gateway_svc.operations.selects import (
    bills_of_policy,
    payments_about,
    select_bills,
    select_codes,
    select_events,
    select_khqr_notices,
    select_notices,
    select_payments,
)
from gateway_svc.payment import BillState, Channel, NoticeState, PaymentState
from gateway_svc.tables import bill_numbers, bills, notices, obligations, outbox, payments
from gateway_svc.verification import CodeState
from payments.gateway.v1 import operations_service_pb2 as pb

_EVENT_STATES = ("PENDING", "PUBLISHED", "PARKED")


class Lists:
    """Reads pages over a connection; `bank_codes` are the banks that are set up."""

    def __init__(self, *, bank_codes: Sequence[str]) -> None:
        self._bank_codes = bank_codes

    async def payments(
        self, *, connection: AsyncConnection, request: pb.ListPaymentsRequest
    ) -> Page[pb.PaymentRecord]:
        """Return a page of payments.

        :raises BadRequest: what is asked for cannot be; so do all of these.
        """
        page = read_page(request=request, width=1)
        narrow = await self._narrowing(connection, request.filter, tuple(PaymentState))
        conditions = [*narrow.plain(payments), *narrow.within(payments.c.recorded_at)]
        wanted = narrow.bills()
        if wanted is not None:
            conditions.append(payments.c.id.in_(payments_about(wanted)))
        if narrow.transaction_id is not None:
            conditions += [
                payments.c.bank_code.in_(narrow.bank_codes),
                payments.c.transaction_id == narrow.transaction_id,
            ]
        rows = await _newest(connection, select_payments(), payments, conditions, page)
        return _page(page, rows, records.payment_record)

    async def bills(
        self, *, connection: AsyncConnection, request: pb.ListBillsRequest
    ) -> Page[pb.BillRecord]:
        """Return a page of bills."""
        page = read_page(request=request, width=1)
        narrow = await self._narrowing(connection, request.filter, tuple(BillState))
        conditions = [*narrow.plain(bills), *narrow.within(bills.c.created_at)]
        conditions += await self._of_bills(connection, narrow, bills.c.id)
        if narrow.channel is not None:
            paid_through = payments.c.channel == narrow.channel
            conditions.append(
                select(payments.c.id).where(payments.c.bill_id == bills.c.id, paid_through).exists()
            )
        rows = await _newest(connection, select_bills(), bills, conditions, page)
        numbers = await _numbers_of(connection, [row.id for row in rows])
        return _page(
            page, rows, lambda row: records.bill_record(row, numbers=numbers.get(row.id, ()))
        )

    async def codes(
        self, *, connection: AsyncConnection, request: pb.ListCodesRequest
    ) -> Page[pb.CodeRecord]:
        """Return a page of codes."""
        page = read_page(request=request, width=1)
        narrow = await self._narrowing(connection, request.filter, tuple(CodeState))
        conditions = [*narrow.plain(codes), *narrow.within(codes.c.created_at)]
        conditions += await self._of_bills(connection, narrow, codes.c.bill_id)
        if narrow.bank_code is not None:
            conditions.append(bills.c.bank_code == narrow.bank_code)
        if narrow.currency is not None:
            conditions.append(bills.c.currency == narrow.currency)
        if narrow.channel == Channel.BILL:
            conditions.append(false())
        rows = await _newest(connection, select_codes(), codes, conditions, page)
        return _page(page, rows, records.code_record)

    async def notices(
        self, *, connection: AsyncConnection, request: pb.ListNoticesRequest
    ) -> Page[pb.NoticeRecord]:
        """Return a page of notices of both channels."""
        page = read_page(request=request, width=2)
        narrow = await self._narrowing(connection, request.filter, tuple(NoticeState))
        before = page.after or [None, None]
        found = [
            await _walked(
                connection, query.where(*conditions), table, before=before[number], page=page
            )
            for number, (query, table, conditions) in enumerate(
                (
                    (select_notices(), notices, _bill_notice_conditions(narrow)),
                    (select_khqr_notices(), khqr_notices, _khqr_notice_conditions(narrow)),
                )
            )
        ]
        shown: list[pb.NoticeRecord] = []
        place = [one or 0 for one in before]
        more = False
        makers = (records.bill_notice_record, records.khqr_notice_record)
        for number, row in merged(found, key=lambda row: row.received_at, newest_first=True):
            if len(shown) == page.size:
                more = True
                break
            shown.append(makers[number](row))
            place[number] = row.id
        # Nothing was shown of a table yet: its newest rows are still to come.
        place = [one or _BEYOND for one in place]
        return Page(rows=shown, next_token=page.token(place) if more else "")

    async def events(
        self, *, connection: AsyncConnection, request: pb.ListEventsRequest
    ) -> Page[pb.EventRecord]:
        """Return a page of events."""
        page = read_page(request=request, width=1)
        asked = request.filter
        narrow = await self._narrowing(connection, asked, _EVENT_STATES)
        conditions = _event_conditions(connection, narrow, asked)
        if narrow.transaction_id is not None:
            # The keys of its bills first: the values of all events would be read else.
            led_to = await bills_of_transaction(
                connection=connection, text=narrow.transaction_id, bank_codes=narrow.bank_codes
            )
            conditions.append(outbox.c.event_key.in_(_keys_of(sorted(led_to))))
        rows = await _newest(connection, select_events(), outbox, conditions, page)
        return _page(page, rows, records.event_record)

    async def _narrowing(
        self, connection: AsyncConnection, asked: pb.Filter, states: Sequence[str]
    ) -> Narrowing:
        return await read_narrowing(
            connection=connection, asked=asked, states=states, bank_codes=self._bank_codes
        )

    async def _of_bills(
        self, connection: AsyncConnection, narrow: Narrowing, bill_id: ColumnElement[int]
    ) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        wanted = narrow.bills()
        if wanted is not None:
            conditions.append(bill_id.in_(wanted))
        if narrow.transaction_id is not None:
            led_to = await bills_of_transaction(
                connection=connection, text=narrow.transaction_id, bank_codes=narrow.bank_codes
            )
            conditions.append(bill_id.in_(sorted(led_to)))
        return conditions


_BEYOND = 1 << 61  # an id that no row reaches


def _bill_notice_conditions(narrow: Narrowing) -> list[ColumnElement[bool]]:
    conditions = [*narrow.plain(notices), *narrow.within(notices.c.received_at)]
    if narrow.bill_ids is not None:
        conditions.append(notices.c.bill_id.in_(narrow.bill_ids))
    if narrow.policy_number is not None:
        # The second: a claim of the policy that names a bill of another one, or none.
        either = union(
            select(notices.c.id).where(
                notices.c.bill_id.in_(bills_of_policy(narrow.policy_number))
            ),
            select(notices.c.id).where(
                notices.c.state == NoticeState.HELD,
                notices.c.policy_number == narrow.policy_number,
            ),
        )
        conditions.append(notices.c.id.in_(either))
    if narrow.transaction_id is not None:
        conditions += [
            notices.c.bank_code.in_(narrow.bank_codes),
            notices.c.channel == Channel.BILL,
            notices.c.natural_key == narrow.transaction_id,
        ]
    if narrow.request_id is not None:
        conditions.append(notices.c.request_id == narrow.request_id)
    return conditions


def _khqr_notice_conditions(narrow: Narrowing) -> list[ColumnElement[bool]]:
    conditions = [*narrow.plain(khqr_notices), *narrow.within(khqr_notices.c.received_at)]
    wanted = narrow.bills()
    if wanted is not None:
        conditions.append(khqr_notices.c.bill_id.in_(wanted))
    if narrow.transaction_id is not None:
        conditions.append(
            khqr_notices.c.payment_id.in_(
                select(payments.c.id).where(
                    payments.c.bank_code.in_(narrow.bank_codes),
                    payments.c.transaction_id == narrow.transaction_id,
                )
            )
        )
    if narrow.request_id is not None:
        conditions.append(khqr_notices.c.request_id == narrow.request_id)
    if narrow.channel == Channel.BILL:
        conditions.append(false())
    return conditions


def _event_conditions(
    connection: AsyncConnection, narrow: Narrowing, asked: pb.Filter
) -> list[ColumnElement[bool]]:
    conditions = narrow.within(outbox.c.created_at)
    if narrow.policy_number is not None:
        conditions.append(outbox.c.event_key == narrow.policy_number)
    if narrow.event_id is not None:
        conditions.append(outbox.c.event_id == narrow.event_id)
    if narrow.request_id is not None:
        conditions.append(outbox.c.request_id == narrow.request_id)
    if narrow.state == "PUBLISHED":
        conditions.append(outbox.c.published_at.is_not(None))
    elif narrow.state is not None:
        parked = outbox.c.parked_at.is_not(None)
        conditions += [
            outbox.c.published_at.is_(None),
            parked if narrow.state == "PARKED" else ~parked,
        ]
    if asked.bill_id:  # its events are among those of its policy
        conditions.append(outbox.c.event_key.in_(_keys_of([asked.bill_id])))
    told = {
        "billId": str(asked.bill_id) if asked.bill_id else None,
        "transactionId": narrow.transaction_id,
        "bankCode": narrow.bank_code,
        "currency": narrow.currency,
        "channel": None if narrow.channel is None else f"CHANNEL_{narrow.channel}",
    }
    dialect = connection.dialect.name
    conditions += [
        event_member(name=name, dialect=dialect) == value
        for name, value in told.items()
        if value is not None
    ]
    return conditions


def _keys_of(bill_ids: Sequence[int]) -> Select[Any]:
    """Return the keys of the events of bills: their policies."""
    return (
        select(obligations.c.policy_number)
        .join(bills, bills.c.obligation_id == obligations.c.id)
        .where(bills.c.id.in_(bill_ids))
    )


async def _newest(
    connection: AsyncConnection,
    query: Select[Any],
    table: Table,
    conditions: Sequence[ColumnElement[bool]],
    page: PageRequest,
) -> Sequence[Any]:
    before = None if page.after is None else page.after[0]
    return await _walked(connection, query.where(*conditions), table, before=before, page=page)


async def _walked(
    connection: AsyncConnection,
    query: Select[Any],
    table: Table,
    *,
    before: int | None,
    page: PageRequest,
) -> Sequence[Any]:
    """Return the newest rows before the id `before`, one more than a page holds."""
    if before is not None:
        query = query.where(table.c.id < before)
    rows = await connection.execute(query.order_by(table.c.id.desc()).limit(page.size + 1))
    return list(rows)


async def _numbers_of(connection: AsyncConnection, bill_ids: Sequence[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    rows = await connection.execute(
        select(bill_numbers).where(bill_numbers.c.bill_id.in_(bill_ids))
    )
    for row in rows:
        found.setdefault(row.bill_id, []).append(row.number)
    return found


def _page(page: PageRequest, rows: Sequence[Any], make: Callable[[Any], Any]) -> Page[Any]:
    cut = page.cut(rows, place=lambda row: [row.id])
    return Page(rows=[make(row) for row in cut.rows], next_token=cut.next_token)
