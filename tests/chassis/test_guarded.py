"""What the breaker learns from exchanges, and what an open one does to callers.

| outcome                                         | the breaker records |
|-------------------------------------------------|---------------------|
| an answer under 500 in good time                | a success           |
| 5xx, cut, refused, slow, time-out               | a failure           |
| time-out or cancellation of a caller in a hurry | nothing             |
"""

import asyncio

import pytest

from chassis.breaker import Breaker, BreakerState, Permit
from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse, Send
from chassis.resilience import (
    BreakerOpen,
    Outcome,
    guarded,
    never_sent,
    server_failed,
)
from tests.chassis.other_side import (
    ATTEMPT_S,
    CUT,
    REFUSED,
    SLOW_S,
    World,
    answered,
    outcome_of,
    quick,
    retrying,
)


@pytest.fixture
def world() -> World:
    return World()


def permit_of(breaker: Breaker) -> Permit:
    permit = breaker.allow()
    assert permit is not None
    return permit


@pytest.fixture
def breaker(world: World) -> Breaker:
    return Breaker(clock=world.clock, slow_s=SLOW_S)


def behind(breaker: Breaker, world: World) -> Send:
    return guarded(
        send=world.send,
        breaker=breaker,
        failed=server_failed,
        attempt_s=ATTEMPT_S,
        clock=world.clock,
    )


async def sent_through(send: Send, *, timeout_s: float = ATTEMPT_S) -> Outcome:
    try:
        return await send(HttpRequest(method="GET", url="http://x/", timeout_s=timeout_s))
    except ExchangeFailed as problem:
        return problem


@pytest.mark.parametrize(
    ("takes_s", "outcome", "timeout_s", "opens"),
    [
        (0.1, answered(200), ATTEMPT_S, False),
        (0.1, answered(422), ATTEMPT_S, False),  # "not paid" is an answer
        (0.1, answered(503), ATTEMPT_S, True),
        (0.1, REFUSED, ATTEMPT_S, True),
        (0.1, CUT, ATTEMPT_S, True),
        (1.6, answered(200), ATTEMPT_S, True),  # slow
        (9.0, answered(200), ATTEMPT_S, True),  # time-out
        (9.0, answered(200), 1.6, True),  # less than an attempt's, but slow
        (9.0, answered(200), 0.3, False),  # the caller was in a hurry
        (0.1, CUT, 0.3, True),  # even so, a cut is a cut
    ],
)
async def test_what_the_breaker_learns(
    world: World,
    breaker: Breaker,
    takes_s: float,
    outcome: Outcome,
    timeout_s: float,
    opens: bool,
) -> None:
    send = behind(breaker, world)
    world.script = [(takes_s, outcome)] * 10
    for _ in range(10):
        await sent_through(send, timeout_s=timeout_s)
    assert breaker.state is (BreakerState.OPEN if opens else BreakerState.CLOSED)


async def test_time_outs_count_even_where_slow_is_longer_than_an_attempt(world: World) -> None:
    breaker = Breaker(clock=world.clock, slow_s=30.0)
    send = behind(breaker, world)
    world.script = [(9.0, answered(200))] * 10
    for _ in range(10):
        await sent_through(send)
    assert breaker.state is BreakerState.OPEN


async def test_an_open_breaker_sends_nothing_and_is_not_asked_again(
    world: World, breaker: Breaker
) -> None:
    sending = retrying(world, send=behind(breaker, world), attempts=1)
    world.script = quick(*[CUT] * 10)
    for _ in range(10):
        await outcome_of(sending, world)
    sending = retrying(world, send=behind(breaker, world))
    outcome = await outcome_of(sending, world)
    assert isinstance(outcome, BreakerOpen)
    assert outcome.retry_after_s == 15.0
    assert never_sent(outcome)
    assert world.slept == []
    assert len(world.sent) == 10


async def test_an_attempt_that_opened_the_breaker_is_what_its_caller_is_told(
    world: World, breaker: Breaker
) -> None:
    sending = retrying(world, send=behind(breaker, world))
    world.script = quick(*[answered(200)] * 4, *[CUT] * 6, answered(200))
    for _ in range(4):
        await outcome_of(sending, world)
    outcomes = [await outcome_of(sending, world) for _ in range(2)]
    assert outcomes == [CUT, CUT]
    assert breaker.state is BreakerState.OPEN


@pytest.mark.parametrize(("after_s", "closes"), [(0.1, True), (1.6, False)])
async def test_a_cancelled_probe_gives_its_place_back_unless_it_waited_long_enough_to_tell(
    world: World, breaker: Breaker, after_s: float, closes: bool
) -> None:
    for _ in range(10):
        breaker.record(permit_of(breaker), ok=False, elapsed_s=0.1)
    world.now += 15

    async def hang(_request: HttpRequest) -> HttpResponse:
        await asyncio.Event().wait()
        raise AssertionError

    hanging = guarded(
        send=hang, breaker=breaker, failed=server_failed, attempt_s=ATTEMPT_S, clock=world.clock
    )
    probes = [asyncio.create_task(sent_through(hanging)) for _ in range(3)]
    await asyncio.sleep(0)
    assert isinstance(await sent_through(hanging), BreakerOpen)
    world.now += after_s
    for probe in probes:
        probe.cancel()
    await asyncio.wait(probes)
    world.script = quick(*[answered(200)] * 3)
    for _ in range(3):
        await sent_through(behind(breaker, world))
    assert (breaker.state is BreakerState.CLOSED) is closes
    assert (breaker.state is BreakerState.OPEN) is not closes


async def test_a_bug_below_costs_no_place(world: World, breaker: Breaker) -> None:
    async def broken(_request: HttpRequest) -> HttpResponse:
        raise KeyError

    for _ in range(10):
        breaker.record(permit_of(breaker), ok=False, elapsed_s=0.1)
    world.now += 15
    send = guarded(
        send=broken, breaker=breaker, failed=server_failed, attempt_s=ATTEMPT_S, clock=world.clock
    )
    for _ in range(5):
        with pytest.raises(KeyError):
            await send(world.request())
    assert breaker.state is BreakerState.HALF_OPEN
