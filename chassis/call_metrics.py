"""Calls that this process serves: how many, how they ended, how long they took.

One `watch` hears of calls that come alone and of calls that come in frames. Every series there
can be is made at the start: a caller cannot make new ones, and a rate has a zero to start from.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from prometheus_client import CollectorRegistry, Counter, Histogram

from chassis.errors import Reasons
from chassis.metrics import DURATION_BUCKETS_S
from chassis.rpc import CANCELLED, OK, Ended

_OTHER = "other"  # a reason that no contract has: labels stay bounded


@dataclass(frozen=True, kw_only=True)
class _Method:
    counters: Mapping[str, Counter]
    duration: Histogram


class CallMetrics:
    """What an interceptor's `watch` hears, as series by RPC and outcome."""

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        services: Iterable[ServiceDescriptor],
        reasons: Reasons,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the series of every method of `services`, with every outcome in `reasons`."""
        calls = Counter(
            "rpc_calls",
            "Calls served, by RPC and outcome: OK, CANCELLED, or the reason of the refusal.",
            ("rpc", "outcome"),
            registry=registry,
        )
        duration = Histogram(
            "rpc_duration_seconds",
            "How long calls took, whatever became of them.",
            ("rpc",),
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        outcomes = (OK, CANCELLED, *(rule.reason for rule in reasons), _OTHER)
        self._timer = timer
        self._methods: dict[str, _Method] = {}
        for service in services:
            for method in service.methods:
                rpc = f"{service.name}/{method.name}"
                self._methods[f"/{service.full_name}/{method.name}"] = _Method(
                    counters={outcome: calls.labels(rpc, outcome) for outcome in outcomes},
                    duration=duration.labels(rpc),
                )

    def watch(self, method: str, _metadata: Mapping[str, Any]) -> Ended:
        """Hear that a call began; return what hears of its end."""
        timer, started_s = self._timer, self._timer()
        series = self._methods[method]

        def ended(outcome: str) -> None:
            counters = series.counters
            (counters.get(outcome) or counters[_OTHER]).inc()
            series.duration.observe(timer() - started_s)

        return ended
