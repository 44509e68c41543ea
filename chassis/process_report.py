"""How this process stands, as operators of any service see it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import metadata
from types import MappingProxyType
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.batch_counts import Written
from chassis.breaker import Breaker, BreakerState
from chassis.call_log import Answers, CallLog, EndpointLog
from payments.operations.v1 import operations_pb2 as pb

_STATES = {
    BreakerState.CLOSED: pb.BREAKER_STATE_CLOSED,
    BreakerState.OPEN: pb.BREAKER_STATE_OPEN,
    BreakerState.HALF_OPEN: pb.BREAKER_STATE_HALF_OPEN,
}
_HEALTH = {
    Answers.UNKNOWN: pb.HEALTH_UNKNOWN,
    Answers.WORKING: pb.HEALTH_WORKING,
    Answers.STRAINED: pb.HEALTH_STRAINED,
    Answers.DOWN: pb.HEALTH_DOWN,
}


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """A bounded thing: how much of it is in use now, and the most there may be."""

    name: str
    used: Callable[[], int]
    most: int


class Batching(Protocol):
    """A writer of batches; a service without a database has none."""

    written: Written

    @property
    def waiting(self) -> int:
        """How many items wait to be written."""


class ProcessReport:
    """What one process tells of itself."""

    def __init__(
        self,
        *,
        service: str,
        production: bool,
        configuration_fingerprint: str,
        started_at: datetime,
        calls: CallLog | None,
        breakers: Mapping[tuple[str, str], Breaker],
        bounded: Sequence[Bounded] = (),
        writers: Mapping[str, Batching] = MappingProxyType({}),
    ) -> None:
        """`breakers` are those of (owner, endpoint), `writers` go by what people call them."""
        self.environment = "production" if production else "development"
        self._service = service
        self._fingerprint = configuration_fingerprint
        self._started_at = started_at
        self._calls = calls
        self._breakers = breakers
        self._bounded = bounded
        self._writers = writers

    def told(self, *, now: datetime) -> pb.Process:
        """Return how the process stands."""
        return pb.Process(
            service=self._service,
            version=metadata.version("payment-gateway"),
            started_at=_moment(self._started_at),
            environment=self.environment,
            configuration_fingerprint=self._fingerprint,
            breakers=[
                _breaker(owner, endpoint, breaker, now)
                for (owner, endpoint), breaker in self._breakers.items()
            ],
            latencies=self.latencies(now=now),
            gauges=[
                pb.Gauge(name=one.name, used=one.used(), most=one.most) for one in self._bounded
            ],
            batches=[
                pb.BatchSizes(
                    name=name,
                    batches=one.written.batches,
                    members=one.written.members,
                    largest=one.written.largest,
                    waiting=one.waiting,
                )
                for name, one in self._writers.items()
            ],
        )

    def latencies(self, *, now: datetime) -> list[pb.EndpointLatency]:
        """Return how long calls took over the last 24 hours."""
        return [
            pb.EndpointLatency(
                owner=log.owner,
                endpoint=log.endpoint,
                points=[
                    pb.LatencyPoint(
                        at=_moment(one.at), calls=one.calls, p50_ms=one.p50_ms, p95_ms=one.p95_ms
                    )
                    for one in log.day(now=now)
                ],
            )
            for log in self._logs()
        ]

    def parts(self, *, now: datetime) -> Iterable[pb.Part]:
        """Yield how each endpoint that is called stands."""
        for log in self._logs():
            yield _part(log, self._breakers.get((log.owner, log.endpoint)), now)

    def _logs(self) -> Iterable[EndpointLog]:
        return () if self._calls is None else self._calls.endpoints


def _part(log: EndpointLog, breaker: Breaker | None, now: datetime) -> pb.Part:
    name = log.part
    if breaker is not None and breaker.state is not BreakerState.CLOSED:
        is_open = breaker.state is BreakerState.OPEN
        return pb.Part(
            name=name,
            health=pb.HEALTH_DOWN if is_open else pb.HEALTH_STRAINED,
            since=_moment(_changed_at(breaker, now)),
            why="its breaker is open" if is_open else "its breaker tries a few calls",
        )
    return pb.Part(name=name, health=_HEALTH[log.answers], since=_moment(log.since), why=log.why)


def _breaker(owner: str, endpoint: str, breaker: Breaker, now: datetime) -> pb.Breaker:
    calls, failed = breaker.counts
    return pb.Breaker(
        owner=owner,
        endpoint=endpoint,
        state=_STATES[breaker.state],
        since=_moment(_changed_at(breaker, now)),
        calls=calls,
        failed=failed,
        window_size=breaker.window,
    )


def _changed_at(breaker: Breaker, now: datetime) -> datetime | None:
    ago_s = breaker.unchanged_for_s
    return None if ago_s is None else now - timedelta(seconds=ago_s)


def _moment(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    message = Timestamp()
    message.FromDatetime(at)
    return message
