"""The breaker opens when it must, refuses for 15 s, and lets three probes decide.

| state     | event                                             | becomes   |
|-----------|---------------------------------------------------|-----------|
| CLOSED    | half of at least 10, at most 20 calls were bad    | OPEN      |
| OPEN      | somebody asks after 15 s                          | HALF_OPEN |
| HALF_OPEN | three probes succeeded                            | CLOSED    |
| HALF_OPEN | one probe was bad                                 | OPEN      |
"""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chassis.breaker import Breaker, BreakerState, Permit

SLOW_S, OPEN_S = 1.5, 15.0
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def changes() -> list[BreakerState]:
    return []


@pytest.fixture
def breaker(clock: Clock, changes: list[BreakerState]) -> Breaker:
    return Breaker(clock=clock, slow_s=SLOW_S, on_change=changes.append)


def permit_of(breaker: Breaker) -> Permit:
    permit = breaker.allow()
    assert permit is not None
    return permit


def call(breaker: Breaker, outcomes: str) -> None:
    """Make one call per letter: g(ood), b(ad), s(low)."""
    for outcome in outcomes:
        elapsed_s = SLOW_S if outcome == "s" else 0.1
        breaker.record(permit_of(breaker), ok=outcome != "b", elapsed_s=elapsed_s)


def opened(breaker: Breaker) -> Breaker:
    call(breaker, "b" * 10)
    assert breaker.state is OPEN
    return breaker


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("b" * 9, CLOSED),  # too few to judge
        ("b" * 10, OPEN),
        ("s" * 10, OPEN),
        ("gbgsgbgsgb", OPEN),  # half of ten
        ("b" * 5 + "g" * 4, CLOSED),
        ("b" * 5 + "g" * 5, OPEN),
        ("b" * 4 + "g" * 6, CLOSED),
        ("g" * 20 + "b" * 9, CLOSED),  # 9 of the last 20
        ("g" * 20 + "b" * 10, OPEN),
        ("g" * 500 + "b" * 10, OPEN),  # a good past does not help
        ("b" * 4 + "g" * 16 + "b" * 9, CLOSED),  # and a bad one is forgotten
    ],
)
def test_it_opens_when_half_of_the_last_calls_were_bad(
    breaker: Breaker, changes: list[BreakerState], outcomes: str, state: BreakerState
) -> None:
    call(breaker, outcomes)
    assert breaker.state is state
    assert changes == ([OPEN] if state is OPEN else [])


def test_a_call_just_faster_than_slow_is_good(breaker: Breaker) -> None:
    for _ in range(20):
        breaker.record(permit_of(breaker), ok=True, elapsed_s=SLOW_S - 0.001)
    assert breaker.state is CLOSED


def test_open_refuses_for_15_seconds_and_says_how_long(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    assert breaker.retry_after_s == OPEN_S
    clock.now += OPEN_S - 0.001
    assert breaker.allow() is None
    assert breaker.retry_after_s == pytest.approx(0.001)
    clock.now += 0.001
    assert breaker.allow() is not None
    assert breaker.state is HALF_OPEN
    assert breaker.retry_after_s == 0


def test_half_open_lets_three_probes_pass_and_their_success_closes(
    breaker: Breaker, clock: Clock, changes: list[BreakerState]
) -> None:
    opened(breaker)
    clock.now += OPEN_S
    probes = [permit_of(breaker) for _ in range(3)]
    assert breaker.allow() is None
    for probe in probes:
        assert breaker.state is HALF_OPEN
        breaker.record(probe, ok=True, elapsed_s=0.1)
    assert breaker.state is CLOSED
    assert changes == [OPEN, HALF_OPEN, CLOSED]
    call(breaker, "b" * 9)  # what was counted before is forgotten
    assert breaker.state is CLOSED


@pytest.mark.parametrize("outcome", ["b", "s", "gb", "ggs"])
def test_one_bad_probe_opens_it_for_another_15_seconds(
    breaker: Breaker, clock: Clock, outcome: str
) -> None:
    opened(breaker)
    clock.now += OPEN_S + 5
    call(breaker, outcome)
    assert breaker.state is OPEN
    assert breaker.retry_after_s == OPEN_S


def test_a_cancelled_probe_gives_its_place_back(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += OPEN_S
    probes = [permit_of(breaker) for _ in range(3)]
    breaker.give_back(probes[0])
    assert breaker.state is HALF_OPEN
    again = permit_of(breaker)
    assert breaker.allow() is None
    for probe in (*probes[1:], again):
        breaker.record(probe, ok=True, elapsed_s=0.1)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("ok", [True, False])
def test_a_call_from_before_the_change_counts_no_more(
    breaker: Breaker, clock: Clock, ok: bool
) -> None:
    stragglers = [permit_of(breaker) for _ in range(5)]
    opened(breaker)
    for straggler in stragglers[:2]:
        breaker.record(straggler, ok=ok, elapsed_s=0.1)
    assert breaker.state is OPEN
    clock.now += OPEN_S
    probe = permit_of(breaker)
    for straggler in stragglers[2:]:
        breaker.record(straggler, ok=ok, elapsed_s=20.0)
    assert breaker.state is HALF_OPEN
    assert breaker.allow() is not None
    breaker.record(probe, ok=True, elapsed_s=0.1)
    assert breaker.state is HALF_OPEN


def test_one_permit_counts_once(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += OPEN_S
    probe = permit_of(breaker)
    for _ in range(3):
        breaker.record(probe, ok=True, elapsed_s=0.1)
    assert breaker.state is HALF_OPEN


class BreakerMachine(RuleBasedStateMachine):
    """Any order of calls, ends, cancellations and waiting, against the law in plain words."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(clock=self.clock, slow_s=SLOW_S)
        self.under_way: list[tuple[Permit, int]] = []  # and the era that let it pass
        self.era = 0
        self.state = CLOSED
        self.opened_at = 0.0
        self.last: deque[bool] = deque(maxlen=20)
        self.good_probes = 0

    def become(self, state: BreakerState) -> None:
        self.era += 1
        self.state = state
        self.last.clear()
        self.good_probes = 0
        self.opened_at = self.clock.now

    def probes_under_way(self) -> int:
        return sum(era == self.era for _permit, era in self.under_way)

    @rule(count=st.integers(min_value=1, max_value=12))
    def ask_to_pass(self, count: int) -> None:
        for _ in range(count):
            if self.state is OPEN and self.clock.now - self.opened_at >= OPEN_S:
                self.become(HALF_OPEN)
            permit = self.breaker.allow()
            if self.state is OPEN:
                assert permit is None
            elif self.state is CLOSED:
                assert permit is not None
            else:
                places = 3 - self.good_probes - self.probes_under_way()
                assert (permit is not None) == (places > 0)
            if permit is not None:
                self.under_way.append((permit, self.era))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), bad=st.booleans(), slow=st.booleans(), count=st.integers(1, 12))
    def end(self, data: st.DataObject, bad: bool, slow: bool, count: int) -> None:
        for _ in range(min(count, len(self.under_way))):
            at = data.draw(st.integers(0, len(self.under_way) - 1))
            permit, era = self.under_way.pop(at)
            self.breaker.record(permit, ok=not bad, elapsed_s=SLOW_S + 1 if slow else 0.0)
            if era != self.era:
                continue
            if self.state is CLOSED:
                self.last.append(bad or slow)
                if len(self.last) >= 10 and 2 * sum(self.last) >= len(self.last):
                    self.become(OPEN)
            elif bad or slow:
                self.become(OPEN)
            else:
                self.good_probes += 1
                if self.good_probes == 3:
                    self.become(CLOSED)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.under_way) - 1))
        self.breaker.give_back(self.under_way.pop(at)[0])

    @rule(seconds=st.sampled_from([0.5, 7.0, 14.5, 15.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def it_is_where_the_law_says(self) -> None:
        assert self.breaker.state is self.state

    @invariant()
    def never_more_than_three_probes_are_under_way(self) -> None:
        if self.state is HALF_OPEN:
            assert self.probes_under_way() <= 3

    @invariant()
    def nobody_passes_while_it_is_open(self) -> None:
        if self.state is OPEN and self.clock.now - self.opened_at < OPEN_S:
            assert self.breaker.allow() is None


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
