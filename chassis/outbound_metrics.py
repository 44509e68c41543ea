"""Calls that this process makes to others over HTTP: attempts by how they ended, and breakers.

An attempt is one exchange on the wire; what a breaker refused was none. Peers and endpoints are
names of our own, never a URL.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chassis.breaker import Breaker, BreakerState
from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse, Send
from chassis.metrics import DURATION_BUCKETS_S

_CLASSES = {1: "other", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}
_NO_ANSWER, _NOT_SENT, _LEFT = "no_answer", "not_sent", "left"
_OUTCOMES = ("2xx", "3xx", "4xx", "5xx", _NO_ANSWER, _NOT_SENT, _LEFT, "other")
_HUNDRED = 100


class OutboundMetrics:
    """Watches `Send`s and breakers; each pair of peer and endpoint once."""

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        timer: Callable[[], float] = time.monotonic,
        trace: Callable[[str, str, Send], Send] | None = None,
    ) -> None:
        """Make the series; `trace` gives each exchange a span, where traces are wanted."""
        self._trace = trace
        self._timer = timer
        self._attempts = Counter(
            "outbound_attempts",
            "HTTP exchanges by peer, endpoint and how they ended: the class of the status,"
            " no_answer (cut, too slow, too large), not_sent (no connection), left (our caller).",
            ("peer", "endpoint", "outcome"),
            registry=registry,
        )
        self._duration = Histogram(
            "outbound_duration_seconds",
            "How long one exchange took, whatever came of it.",
            ("peer", "endpoint"),
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self._breakers = _Breakers()
        registry.register(self._breakers)

    def measured(self, *, peer: str, endpoint: str, send: Send) -> Send:
        """Return `send`, every exchange of it counted."""
        counters = {one: self._attempts.labels(peer, endpoint, one) for one in _OUTCOMES}
        observe = self._duration.labels(peer, endpoint).observe
        timer = self._timer
        if self._trace is not None:
            send = self._trace(peer, endpoint, send)

        async def measured_send(request: HttpRequest) -> HttpResponse:
            started_s, outcome = timer(), _LEFT
            try:
                response = await send(request)
                outcome = _CLASSES.get(response.status // _HUNDRED, "other")
            except ExchangeFailed as problem:
                outcome = _NO_ANSWER if problem.sent else _NOT_SENT
                raise
            else:
                return response
            finally:
                counters[outcome].inc()
                observe(timer() - started_s)

        return measured_send

    def watch_breaker(self, *, peer: str, endpoint: str, breaker: Breaker) -> None:
        """Tell the state of `breaker` in every scrape."""
        self._breakers.watched.append(_Watched(peer=peer, endpoint=endpoint, breaker=breaker))


@dataclass(frozen=True, kw_only=True)
class _Watched:
    peer: str
    endpoint: str
    breaker: Breaker


class _Breakers(Collector):
    """Reads the states when somebody asks; nothing is counted on the way of a call."""

    def __init__(self) -> None:
        self.watched: list[_Watched] = []

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "outbound_breaker_state",
            "1 for the state a breaker is in, 0 for the others.",
            labels=("peer", "endpoint", "state"),
        )
        for one in self.watched:
            for state in BreakerState:
                family.add_metric(
                    (one.peer, one.endpoint, state.value), float(one.breaker.state is state)
                )
        yield family
