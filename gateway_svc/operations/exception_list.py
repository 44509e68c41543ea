"""The list of exceptions, oldest first: three kinds, walked side by side."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, false, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Select

from gateway_svc.khqr_tables import khqr_notices
from gateway_svc.operations.exception import Action, Exceptional, ExceptionState, Held, Kind
from gateway_svc.operations.exception_reader import SELECTS, held_from, is_open, with_proposals
from gateway_svc.operations.narrowing import Narrowing, read_narrowing
from gateway_svc.operations.paging import Page, PageRequest, merged, read_page
from gateway_svc.operations.selects import ENDING_ACTIONS, payments_about
from gateway_svc.payment import Channel
from gateway_svc.proposal_tables import HELD_COLUMNS, proposals
from gateway_svc.tables import notices, payments
from payments.gateway.v1 import operations_service_pb2 as pb

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC)
_SINCE = {
    Kind.NOTICE: notices.c.state_at,
    Kind.KHQR: khqr_notices.c.state_at,
    Kind.PAYMENT: payments.c.recorded_at,
}


async def list_exceptions(
    *,
    connection: AsyncConnection,
    request: pb.ListExceptionsRequest,
    bank_codes: Sequence[str],
) -> Page[Exceptional]:
    """Return a page of exceptions.

    :raises BadRequest: what is asked for cannot be.
    """
    page = read_page(request=request, width=2 * len(Kind))
    narrow = await read_narrowing(
        connection=connection,
        asked=request.filter,
        states=tuple(ExceptionState),
        bank_codes=bank_codes,
    )
    after = page.after or [0] * (2 * len(Kind))
    found: list[list[Held]] = []
    for number, (kind, (make, table)) in enumerate(SELECTS.items()):
        since = _SINCE[kind]
        conditions = [
            _of_state(kind, table.c.id, narrow.state),
            *_conditions(kind, narrow),
            *narrow.within(since),
        ]
        at, last_id = _moment(after[2 * number]), after[2 * number + 1]
        if last_id:
            conditions.append(or_(since > at, and_(since == at, table.c.id > last_id)))
        rows = await connection.execute(
            make().where(*conditions).order_by(since, table.c.id).limit(page.size + 1)
        )
        found.append([held_from(kind, row) for row in rows])
    return await _cut(connection, page, found, after)


async def _cut(
    connection: AsyncConnection, page: PageRequest, found: list[list[Held]], after: list[int]
) -> Page[Exceptional]:
    shown: list[Held] = []
    place, more = list(after), False
    for number, held in merged(found, key=lambda one: one.since, newest_first=False):
        if len(shown) == page.size:
            more = True
            break
        shown.append(held)
        place[2 * number : 2 * number + 2] = [(held.since - _EPOCH) // _MICROSECOND, held.number]
    return Page(
        rows=await with_proposals(connection=connection, held=shown),
        next_token=page.token(place) if more else "",
    )


def _of_state(kind: Kind, number: ColumnElement[int], state: str | None) -> ColumnElement[bool]:
    if state == ExceptionState.RESOLVED:
        return number.in_(_proposed(kind, "APPROVED", ENDING_ACTIONS))
    unresolved = is_open(kind)
    if state is None:
        return unresolved
    waits = number.in_(_proposed(kind, "PROPOSED", tuple(Action)))
    refunding = number.in_(_proposed(kind, "APPROVED", (Action.REFUND,)))
    return {
        ExceptionState.OPEN: and_(unresolved, ~waits, ~refunding),
        ExceptionState.PROPOSED: and_(unresolved, waits),
        ExceptionState.REFUNDING: and_(unresolved, ~waits, refunding),
    }[ExceptionState(state)]


def _proposed(kind: Kind, state: str, actions: Sequence[str]) -> Select[Any]:
    """Return the numbers of what has such a proposal; a null among them would hide all others."""
    column = proposals.c[HELD_COLUMNS[kind.value]]
    return select(column).where(
        proposals.c.state == state, proposals.c.action.in_(actions), column.is_not(None)
    )


def _conditions(kind: Kind, narrow: Narrowing) -> list[ColumnElement[bool]]:
    _, table = SELECTS[kind]
    conditions = []
    if narrow.bank_code is not None:
        conditions.append(table.c.bank_code == narrow.bank_code)
    if narrow.currency is not None:
        conditions.append(table.c.currency == narrow.currency)
    if narrow.channel is not None:
        own = table.c.channel if kind is not Kind.KHQR else literal(Channel.KHQR.value)
        conditions.append(own == narrow.channel)
    wanted = narrow.bills()
    if wanted is not None:
        conditions.append(
            payments.c.id.in_(payments_about(wanted))
            if kind is Kind.PAYMENT
            else _claims(kind, narrow, wanted)
        )
    if narrow.transaction_id is not None:
        number = {
            Kind.NOTICE: notices.c.natural_key,
            Kind.PAYMENT: payments.c.transaction_id,
        }.get(kind)
        conditions.append(false() if number is None else number == narrow.transaction_id)
    return conditions


def _claims(kind: Kind, narrow: Narrowing, wanted: Any) -> ColumnElement[bool]:
    _, table = SELECTS[kind]
    about = table.c.bill_id.in_(wanted)
    if kind is Kind.NOTICE and narrow.policy_number is not None and narrow.bill_ids is None:
        return or_(about, notices.c.policy_number == narrow.policy_number)
    return about


def _moment(microseconds: int) -> datetime:
    return min(_LAST_MOMENT, _EPOCH + timedelta(microseconds=min(microseconds, 253 * 10**15)))
