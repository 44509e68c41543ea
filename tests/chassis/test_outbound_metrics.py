"""How an exchange with somebody else's HTTP ends is counted.

| what comes of it          | counted as | breaker afterwards |
|---------------------------|------------|--------------------|
| 200, 302, 404, 500        | its class  |                    |
| nothing in time, cut      | no_answer  |                    |
| no connection             | not_sent   |                    |
| our caller leaves         | left       |                    |
| failures enough           |            | open               |
"""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from chassis.breaker import Breaker
from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse
from chassis.outbound_metrics import OutboundMetrics
from chassis.resilience import BreakerOpen, guarded, server_failed

REQUEST = HttpRequest(method="GET", url="http://secret.invalid/policy/P1", timeout_s=1)
CASES = [
    (HttpResponse(status=200, headers={}, body=b""), "2xx"),
    (HttpResponse(status=302, headers={}, body=b""), "3xx"),
    (HttpResponse(status=404, headers={}, body=b""), "4xx"),
    (HttpResponse(status=500, headers={}, body=b""), "5xx"),
    (HttpResponse(status=999, headers={}, body=b""), "other"),
    (ExchangeFailed(why="no answer in time", sent=True), "no_answer"),
    (ExchangeFailed(why="refused", sent=False), "not_sent"),
    (asyncio.CancelledError(), "left"),
]


def _counted(registry: CollectorRegistry) -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "outbound_attempts_total" and sample.value
    }


@pytest.mark.parametrize(("result", "outcome"), CASES, ids=[outcome for _, outcome in CASES])
async def test_an_exchange_is_counted_by_how_it_ended(
    result: HttpResponse | BaseException, outcome: str
) -> None:
    registry, now = CollectorRegistry(), [0.0]
    metrics = OutboundMetrics(registry=registry, timer=lambda: now[0])

    async def send(_request: HttpRequest) -> HttpResponse:
        now[0] += 0.3
        if isinstance(result, BaseException):
            raise result
        return result

    measured = metrics.measured(peer="AMK", endpoint="payment-verify", send=send)
    if isinstance(result, BaseException):
        with pytest.raises(type(result)):
            await measured(REQUEST)
    else:
        assert await measured(REQUEST) is result
    assert _counted(registry) == {outcome: 1}
    labels = {"peer": "AMK", "endpoint": "payment-verify"}
    assert registry.get_sample_value("outbound_duration_seconds_sum", labels) == 0.3


async def test_a_breaker_is_told_as_it_is_and_what_it_refuses_is_no_exchange() -> None:
    registry = CollectorRegistry()
    metrics = OutboundMetrics(registry=registry, timer=lambda: 0.0)
    breaker = Breaker(clock=lambda: 0.0, slow_s=1.0)
    metrics.watch_breaker(peer="AMK", endpoint="sign-in", breaker=breaker)

    async def send(_request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=500, headers={}, body=b"")

    guarded_send = guarded(
        send=metrics.measured(peer="AMK", endpoint="sign-in", send=send),
        breaker=breaker,
        failed=server_failed,
        attempt_s=1.0,
        clock=lambda: 0.0,
    )

    def state(name: str) -> float | None:
        labels = {"peer": "AMK", "endpoint": "sign-in", "state": name}
        return registry.get_sample_value("outbound_breaker_state", labels)

    assert (state("closed"), state("open"), state("half_open")) == (1, 0, 0)
    for _ in range(10):
        await guarded_send(REQUEST)
    assert (state("closed"), state("open"), state("half_open")) == (0, 1, 0)
    with pytest.raises(BreakerOpen):
        await guarded_send(REQUEST)
    assert _counted(registry) == {"5xx": 10}
