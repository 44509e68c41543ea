"""What a list is narrowed to: a filter of the contract, read once, as conditions of each table.

An id of a request or an event that a table does not have leads to bills first, which the
table does.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.errors import BadRequest, Violation
from gateway_svc.operations.finder import bills_of_event, bills_of_request
from gateway_svc.operations.selects import bills_of_policy
from payments.gateway.v1 import operations_service_pb2 as pb


@dataclass(frozen=True, kw_only=True)
class Narrowing:
    """What the rows of a list have in common; None where they need not."""

    bank_codes: Sequence[str]  # all that are set up, where no bank is asked for
    bank_code: str | None
    policy_number: str | None
    bill_ids: Sequence[int] | None  # the bill, and those that a request or event led to
    transaction_id: str | None
    request_id: str | None
    event_id: str | None
    channel: str | None
    currency: str | None
    state: str | None
    since: datetime | None
    until: datetime | None

    def bills(self) -> Any:
        """Return the bills that the policy and ids allow, as a list or query; None for all."""
        if self.bill_ids is None:
            return None if self.policy_number is None else bills_of_policy(self.policy_number)
        if self.policy_number is None:
            return self.bill_ids
        table = bills_of_policy(self.policy_number)
        [column] = table.selected_columns
        return table.where(column.in_(self.bill_ids))

    def within(self, moment: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """Return the conditions of time."""
        found = []
        if self.since is not None:
            found.append(moment >= self.since)
        if self.until is not None:
            found.append(moment < self.until)
        return found

    def plain(self, table: Table) -> list[ColumnElement[bool]]:
        """Return the conditions on columns that most tables have."""
        given = {
            "bank_code": self.bank_code,
            "channel": self.channel,
            "currency": self.currency,
            "state": self.state,
        }
        return [
            table.c[name] == value
            for name, value in given.items()
            if value is not None and name in table.c
        ]


async def read_narrowing(
    *,
    connection: AsyncConnection,
    asked: pb.Filter,
    states: Collection[str],
    bank_codes: Sequence[str],
) -> Narrowing:
    """Return what `asked` narrows a list to, whose rows have `states`.

    :raises BadRequest: a state that the list has not, or an empty stretch of time.
    """
    since = _moment(asked, "since")
    until = _moment(asked, "until")
    violations = []
    if asked.state and asked.state not in states:
        violations.append(
            Violation(field="filter.state", description=f"must be one of {', '.join(states)}")
        )
    if since is not None and until is not None and since >= until:
        violations.append(Violation(field="filter.until", description="must be later than since"))
    if violations:
        raise BadRequest(violations=violations)
    return Narrowing(
        bank_codes=[asked.bank_code] if asked.bank_code else bank_codes,
        bank_code=asked.bank_code or None,
        policy_number=asked.policy_number or None,
        bill_ids=await _bill_ids(connection, asked),
        transaction_id=asked.transaction_id or None,
        request_id=asked.request_id or None,
        event_id=asked.event_id or None,
        channel=asked.channel or None,
        currency=asked.currency or None,
        state=asked.state or None,
        since=since,
        until=until,
    )


async def _bill_ids(connection: AsyncConnection, asked: pb.Filter) -> list[int] | None:
    found: set[int] | None = {asked.bill_id} if asked.bill_id else None
    for text, look in ((asked.request_id, bills_of_request), (asked.event_id, bills_of_event)):
        if text:
            led_to = await look(connection=connection, text=text)
            found = led_to if found is None else found & led_to
    return None if found is None else sorted(found)


def _moment(asked: pb.Filter, name: str) -> datetime | None:
    moment: datetime | None = None
    if asked.HasField(name):  # type: ignore[arg-type] # both names are fields of it
        moment = getattr(asked, name).ToDatetime(tzinfo=UTC)
    return moment
