"""A caller may make so many calls a minute; another caller's measure is its own."""

from chassis import rate_limit
from chassis.rate_limit import RateLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_measure_may_be_used_at_once_and_then_fills_evenly() -> None:
    clock = Clock()
    limit = RateLimit(per_minute=60, clock=clock)
    assert [limit.wait_s(key="a") for _ in range(60)] == [0] * 60
    assert 0 < limit.wait_s(key="a") <= 1
    clock.now += 1.001
    assert limit.wait_s(key="a") == 0
    assert limit.wait_s(key="a") > 0


def test_what_is_refused_costs_nothing() -> None:
    clock = Clock()
    limit = RateLimit(per_minute=1, clock=clock)
    assert limit.wait_s(key="a") == 0
    waits = [limit.wait_s(key="a") for _ in range(5)]
    assert waits == [60] * 5


def test_one_callers_haste_is_not_anothers() -> None:
    limit = RateLimit(per_minute=1, clock=Clock())
    assert limit.wait_s(key="a") == 0
    assert limit.wait_s(key="b") == 0
    assert limit.wait_s(key="a") > 0


def test_a_long_pause_gives_no_more_than_the_measure() -> None:
    clock = Clock()
    limit = RateLimit(per_minute=2, clock=clock)
    clock.now += 3600
    assert [limit.wait_s(key="a") > 0 for _ in range(3)] == [False, False, True]


def test_memory_is_bounded_by_forgetting_who_was_not_seen_for_longest() -> None:
    limit = RateLimit(per_minute=1, clock=Clock())
    most = rate_limit._MOST_CALLERS
    for number in range(most + 10):
        limit.wait_s(key=str(number))
    assert len(limit._buckets) == most
    assert limit.wait_s(key="0") == 0
    assert limit.wait_s(key=str(most + 9)) > 0
