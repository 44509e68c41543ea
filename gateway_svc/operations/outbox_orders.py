"""What operators ask of the outbox: deliver once more, let go what is parked."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from chassis import outbox_requests
from chassis.database import Database
from chassis.errors import BadRequest, Violation
from chassis.outbox_requests import Asked, Found, Selection
from gateway_svc.operations.selects import select_events
from gateway_svc.tables import replays
from payments.gateway.v1 import operations_service_pb2 as pb

_SAMPLE = 20
_MOST = 100_000  # events of one order; more takes longer than a call may
_LEAST_REASON = 3

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """Which events an order is, or would be, of: by topic, and the first twenty."""

    by_topic: Mapping[str, int]
    sample: Sequence[Any]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    name: str
    find: Callable[..., Awaitable[Found]]
    rows: Callable[..., Any]
    do: Callable[..., Awaitable[int]]


_REPLAY = _Kind(
    name="replay",
    find=outbox_requests.find_published,
    rows=outbox_requests.published_rows,
    do=outbox_requests.request_replay,
)
_RELEASE = _Kind(
    name="release",
    find=outbox_requests.find_parked,
    rows=outbox_requests.parked_rows,
    do=outbox_requests.release,
)
Request = pb.ReplayEventsRequest | pb.ReleaseEventsRequest


class OutboxOrders:
    """Finds what is asked for, and has it done where it is no dry run."""

    def __init__(
        self,
        *,
        database: Database,
        reading: Database,
        clock: Callable[[], datetime],
        committed: Callable[[], None],
    ) -> None:
        """Wire the parts: `reading` says what an order would be of, `database` takes it."""
        self._database = database
        self._reading = reading
        self._clock = clock
        self._committed = committed

    async def replay(self, *, request: pb.ReplayEventsRequest, by: str) -> Ordered:
        """Have published events delivered once more.

        :raises BadRequest: nothing or everything is selected, or no reason is given.
        """
        return await self._order(_REPLAY, request, by)

    async def release(self, *, request: pb.ReleaseEventsRequest, by: str) -> Ordered:
        """Let parked events be tried again; raises as above."""
        return await self._order(_RELEASE, request, by)

    async def _order(self, kind: _Kind, request: Request, by: str) -> Ordered:
        selection = _selection(request.selection)
        reason = request.reason.strip()
        if not request.dry_run and len(reason) < _LEAST_REASON:
            raise _bad("reason", f"is required, at least {_LEAST_REASON} characters")
        named: dict[str, Any] = {"tables": replays, "selection": selection}
        if request.dry_run:
            async with self._reading.reading() as connection:
                return await _found(connection, kind, named)
        asked = Asked(by=by, reason=reason, at=self._clock())
        async with self._database.transaction(name=f"order_{kind.name}") as connection:
            ordered = await _found(connection, kind, named)
            events = sum(ordered.by_topic.values())
            if events > _MOST:
                raise _bad("selection", f"is of {events} events, more than {_MOST}: narrow it")
            await kind.do(connection=connection, asked=asked, **named)
        self._committed()
        _log.info("outbox_ordered", kind=kind.name, events=events)
        return ordered


async def _found(connection: Any, kind: _Kind, named: dict[str, Any]) -> Ordered:
    found = await kind.find(connection=connection, **named)
    rows = await connection.execute(kind.rows(query=select_events(), most=_SAMPLE, **named))
    return Ordered(by_topic=found.by_topic, sample=rows.all())


def _selection(asked: pb.EventSelection) -> Selection:
    selection = Selection(
        event_id=asked.event_id or None,
        key=asked.key or None,
        topic=asked.topic or None,
        since=asked.since.ToDatetime(tzinfo=UTC) if asked.HasField("since") else None,
        until=asked.until.ToDatetime(tzinfo=UTC) if asked.HasField("until") else None,
    )
    if not selection.stated():
        raise _bad("selection", "must say which events")
    if selection.since and selection.until and selection.since >= selection.until:
        raise _bad("selection.until", "must be later than since")
    return selection


def _bad(field: str, description: str) -> BadRequest:
    return BadRequest(violations=[Violation(field=field, description=description)])
