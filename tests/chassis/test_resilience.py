"""Patience: what is repeated, how often, how long, and what the breaker learns from it.

| outcome              | counts as failure | repeated where harmless | repeated if never sent |
|----------------------|-------------------|-------------------------|------------------------|
| 200, 404, 422        | no                | no                      | no                     |
| 500, 503             | yes               | yes                     | no                     |
| time-out, cut        | yes               | yes                     | no                     |
| refused connection   | yes               | yes                     | yes                    |
| breaker open         | not asked         | no                      | no                     |
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.http_client import ExchangeFailed
from chassis.resilience import (
    Outcome,
    RetryBudget,
    never_sent,
    server_failed,
)
from tests.chassis.other_side import (
    CUT,
    REFUSED,
    World,
    answered,
    outcome_of,
    quick,
    retrying,
)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("outcome", "failed", "unsent"),
    [
        (answered(200), False, False),
        (answered(404), False, False),
        (answered(422), False, False),
        (answered(499), False, False),
        (answered(500), True, False),
        (answered(503), True, False),
        (CUT, True, False),
        (REFUSED, True, True),
    ],
)
def test_outcomes_are_told_apart(outcome: Outcome, failed: bool, unsent: bool) -> None:
    assert server_failed(outcome) is failed
    assert never_sent(outcome) is unsent


@pytest.mark.parametrize(
    ("script", "may_repeat", "sent", "given"),
    [
        ([answered(200)], server_failed, 1, 0),
        ([answered(404)], server_failed, 1, 0),
        ([answered(503), answered(200)], server_failed, 2, 1),
        ([CUT, REFUSED, answered(200)], server_failed, 3, 2),
        ([answered(503)] * 2 + [answered(500), answered(200)], server_failed, 3, 2),
        ([REFUSED, answered(200)], never_sent, 2, 1),
        ([CUT, answered(200)], never_sent, 1, 0),
        ([answered(503), answered(200)], never_sent, 1, 0),
        ([CUT, REFUSED, REFUSED], server_failed, 3, 0),  # it may have been seen: that is told
        ([REFUSED, REFUSED, REFUSED], server_failed, 3, 2),
    ],
)
async def test_only_what_may_be_repeated_is_and_no_more_than_the_attempts(
    world: World,
    script: Sequence[Outcome],
    may_repeat: Callable[[Outcome], bool],
    sent: int,
    given: int,
) -> None:
    world.script = quick(*script)
    outcome = await outcome_of(retrying(world), world, may_repeat=may_repeat)
    assert outcome is script[given]
    assert len(world.sent) == sent


async def test_each_attempt_is_a_request_made_anew(world: World) -> None:
    world.script = quick(CUT, CUT, answered(200))
    await outcome_of(retrying(world), world)
    assert [request.headers["n"] for request in world.sent] == ["1", "2", "3"]


async def test_an_attempt_gets_two_seconds_or_what_is_left(world: World) -> None:
    world.script = [(9.0, CUT)] * 3
    started = world.now
    outcome = await outcome_of(retrying(world), world, within_s=5.0)
    assert str(outcome) == "no answer in time"
    assert [request.timeout_s for request in world.sent] == pytest.approx([2.0, 2.0, 0.7])
    assert world.now == pytest.approx(started + 5.0)


async def test_a_caller_in_a_hurry_gets_one_attempt_within_his_time(world: World) -> None:
    world.script = [(9.0, CUT)]
    outcome = await outcome_of(retrying(world), world, within_s=0.3)
    assert isinstance(outcome, ExchangeFailed)
    assert [request.timeout_s for request in world.sent] == pytest.approx([0.3])
    assert world.slept == []


async def test_a_request_may_ask_for_less_than_an_attempt_gets(world: World) -> None:
    world.script = quick(answered(200))
    await retrying(world).exchange(
        make_request=lambda: replace(world.request(), timeout_s=0.5),
        may_repeat=server_failed,
        deadline=world.now + 5,
    )
    assert [request.timeout_s for request in world.sent] == [0.5]


@pytest.mark.parametrize("within_s", [-1.0, 0.0, 0.04])
async def test_without_time_nothing_is_sent(world: World, within_s: float) -> None:
    outcome = await outcome_of(retrying(world), world, within_s=within_s)
    assert never_sent(outcome)
    assert world.sent == []


async def test_no_pause_is_begun_that_leaves_no_time_for_an_attempt(world: World) -> None:
    world.script = quick(CUT)
    outcome = await outcome_of(retrying(world), world, within_s=0.24)  # 0.1 gone, 0.1 pause
    assert outcome is CUT
    assert world.slept == []


async def test_a_sleep_that_took_too_long_does_not_hide_what_happened(world: World) -> None:
    async def oversleep(seconds: float) -> None:
        world.now += seconds + 60

    world.script = quick(CUT)
    sending = retrying(world)
    sending._sleep = oversleep
    assert await outcome_of(sending, world) is CUT
    assert len(world.sent) == 1


@pytest.mark.parametrize(
    ("random", "slept"),
    [
        (1.0, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]),
        (0.5, [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]),
        (0.0, [0.0] * 6),
    ],
)
async def test_pauses_double_up_to_a_second_with_full_jitter(
    world: World, random: float, slept: list[float]
) -> None:
    world.script = quick(*[REFUSED] * 7)
    sending = retrying(world, attempts=7, random=lambda: random)
    await outcome_of(sending, world, within_s=60)
    assert world.slept == pytest.approx(slept)


async def test_cancelling_a_caller_ends_his_retries(world: World) -> None:
    world.script = quick(CUT, answered(200))
    asleep = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    sending = retrying(world)
    sending._sleep = sleep
    task = asyncio.create_task(outcome_of(sending, world))
    await asyncio.wait_for(asleep.wait(), timeout=5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(world.sent) == 1


async def test_in_an_outage_one_call_in_ten_is_repeated(world: World) -> None:
    budget = RetryBudget(clock=world.clock, least_per_s=0.0, most=10)
    for _ in range(1000):
        world.script = quick(CUT, CUT, CUT)
        await outcome_of(retrying(world, budget=budget), world)
    assert 1100 <= len(world.sent) <= 1000 + 100 + 10


async def test_a_few_calls_a_minute_may_always_be_repeated(world: World) -> None:
    budget = RetryBudget(clock=world.clock)
    for call in range(100):
        world.script = quick(CUT, CUT, CUT)
        await outcome_of(retrying(world, budget=budget), world)
        assert len(world.sent) == 3 * (call + 1)
        world.now += 20


@pytest.mark.parametrize(
    ("steps", "retries"),  # c: a call; r: a retry wanted; digits: that many seconds pass
    [
        ("r" * 12, 10),
        ("r" * 10 + "c" * 9 + "r", 10),
        ("r" * 10 + "c" * 10 + "rr", 11),
        ("c" * 1000 + "r" * 12, 10),  # a long quiet time saves no storm
        ("99999" + "r" * 12, 10),
        ("r" * 10 + "1" + "r", 10),
        ("r" * 10 + "2" + "rrrr", 11),
        ("r" * 10 + "2r2r2rr", 13),
    ],
)
def test_the_budget_allows_exactly(steps: str, retries: int) -> None:
    world = World()
    budget = RetryBudget(clock=world.clock, percent=10, least_per_s=0.5, most=10)
    allowed = 0
    for step in steps:
        if step == "c":
            budget.called()
        elif step == "r":
            allowed += budget.take()
        else:
            world.now += int(step)
    assert allowed == retries


@given(st.lists(st.one_of(st.just("call"), st.just("retry"), st.floats(0.0, 30.0)), max_size=300))
def test_the_budget_is_never_overdrawn(steps: list[str | float]) -> None:
    world = World()
    budget = RetryBudget(clock=world.clock, percent=10, least_per_s=0.5, most=10)
    calls = retries = 0
    for step in steps:
        if step == "call":
            budget.called()
            calls += 1
        elif step == "retry":
            retries += budget.take()
        else:
            world.now += float(step)
        allowed = 10 + calls / 10 + (world.now - 1000.0) * 0.5
        assert retries <= allowed + 1e-6
