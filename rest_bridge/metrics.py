"""Requests by route and status, what was turned away, how many connections there are.

Labels are the contracts' own words: a path that is no route is `unmatched`, a method that no
route has is `other`. A stranger cannot make new series.
"""

from collections.abc import Iterable
from importlib import metadata

from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chassis.admission import Admission
from chassis.admission_metrics import watch_admission
from chassis.metrics import DURATION_BUCKETS_S, new_registry, tell_build
from rest_bridge.connections import Connections
from rest_bridge.counts import KINDS, Counts
from rest_bridge.routes import Route

_UNMATCHED = "unmatched"
_OTHER = "other"
_GONE = "gone"  # the caller left before its answer
_WORDS = {
    "connections_refused": "Connections refused: too many in all, or of one address.",
    "connections_closed": "Connections closed by a deadline or to make room.",
    "malformed": "Requests that are no HTTP, by what was wrong.",
    "refused": "Requests refused before a service was asked.",
}


class BridgeMetrics:
    """The registry of one bridge and what fills it."""

    def __init__(
        self,
        *,
        routes: Iterable[Route],
        pages: Iterable[str],
        counts: Counts,
        connections: Connections,
        admission: Admission,
    ) -> None:
        self.registry = registry = new_registry()
        tell_build(registry=registry, service="bridge", version=metadata.version("payment-gateway"))
        self._requests = Counter(
            "http_requests",
            "Requests by method, route and status; gone: the caller left before its answer.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._duration = Histogram(
            "http_duration_seconds",
            "How long answers took, by route.",
            ("route",),
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        routes = tuple(routes)
        self._methods = frozenset({"GET", "HEAD", *(one.http_method for one in routes)})
        names = {_UNMATCHED, *pages, *(one.template for one in routes)}
        self._observe = {name: self._duration.labels(name).observe for name in sorted(names)}
        self._counters: dict[tuple[str, str, int | str], Counter] = {}
        for one in routes:  # a rate of failures needs a zero to start from
            for status in (200, 500, 502, 503):
                self._counter(one.http_method, one.template, status)
        watch_admission(registry=registry, admission=admission)
        registry.register(_House(counts=counts, connections=connections))

    def answered(
        self, *, method: str, route: str | None, status: int | None, elapsed_s: float
    ) -> None:
        """Count a request; `route` is its template, None if it has none; no status: it left."""
        name = route if route in self._observe else _UNMATCHED
        self._counter(
            method if method in self._methods else _OTHER, name, _GONE if status is None else status
        ).inc()
        self._observe[name](elapsed_s)

    def _counter(self, method: str, route: str, status: int | str) -> Counter:
        found = self._counters.get((method, route, status))
        if found is None:
            found = self._requests.labels(method, route, str(status))
            self._counters[method, route, status] = found
        return found


class _House(Collector):
    """Reads plain integers when somebody asks."""

    def __init__(self, *, counts: Counts, connections: Connections) -> None:
        self._counts = counts
        self._connections = connections

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "http_connections", "Connections that are open.", value=len(self._connections)
        )
        for kind, words in _WORDS.items():
            family = CounterMetricFamily(f"http_{kind}", words, labels=("reason",))
            for reason in KINDS[kind]:
                family.add_metric((reason,), self._counts.values[kind, reason])
            yield family
