"""How the parts stand that payments need: heard as they do their work, not asked for it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.relay import FAILED, PUBLISHED, REPLAYED
from gateway_svc.operations.outbox_reader import OutboxDepth
from gateway_svc.operations.records import moment
from payments.operations.v1 import operations_pb2 as pb

# An event waits 50 ms by design and a second where a round failed; a leader that was frozen is
# replaced within ten.
_BEHIND = timedelta(seconds=30)
_STANDS_STILL = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class _Heard:
    health: "pb.Health.ValueType"
    since: datetime | None
    why: str


class PartsWatch:
    """Remembers how database and event publisher did last, and since when."""

    def __init__(self, *, clock: Callable[[], datetime], events_name: str) -> None:
        """`events_name` is what events go to: `kafka`, or `events` for a file."""
        self._clock = clock
        self._events_name = events_name
        unknown = _Heard(health=pb.HEALTH_UNKNOWN, since=None, why="")
        self._heard = {"database": unknown, events_name: unknown}

    def probed(self, *, why: str) -> None:
        """Hear whether the database answered; `why` is empty where it did."""
        self._keep("database", pb.HEALTH_DOWN if why else pb.HEALTH_WORKING, why)

    def published(self, _topic: str, outcome: str) -> None:
        """Hear what became of an event."""
        if outcome in {PUBLISHED, REPLAYED}:
            self._keep(self._events_name, pb.HEALTH_WORKING, "")
        elif outcome == FAILED:
            self._keep(self._events_name, pb.HEALTH_DOWN, "it took no event")

    def told(self, *, depth: OutboxDepth, leads: bool, now: datetime) -> Iterable[pb.Part]:
        """Yield how database, relay and publisher stand."""
        yield self._part("database")
        yield _relay(depth, now)
        events = self._part(self._events_name)
        if events.health == pb.HEALTH_UNKNOWN and not leads:
            events.why = "another process publishes"
        yield events

    def _keep(self, name: str, health: "pb.Health.ValueType", why: str) -> None:
        before = self._heard[name]
        changed = before.health != health
        since = self._clock() if changed else before.since
        self._heard[name] = _Heard(health=health, since=since, why=why)

    def _part(self, name: str) -> pb.Part:
        heard = self._heard[name]
        return pb.Part(name=name, health=heard.health, since=moment(heard.since), why=heard.why)


def _relay(depth: OutboxDepth, now: datetime) -> pb.Part:
    """Tell the relay by what it leaves behind, whichever process runs it."""
    part = pb.Part(name="relay", health=pb.HEALTH_WORKING)
    waited = now - depth.oldest_at if depth.oldest_at else timedelta()
    if depth.parked:
        part.health = pb.HEALTH_STRAINED
        part.why = f"{depth.parked} events are parked and wait for a person"
    elif waited >= _BEHIND:
        part.health = pb.HEALTH_DOWN if waited >= _STANDS_STILL else pb.HEALTH_STRAINED
        part.why = f"{depth.unpublished} events wait to be published"
    if part.why:
        part.since.CopyFrom(moment(depth.oldest_at) or part.since)
    return part
