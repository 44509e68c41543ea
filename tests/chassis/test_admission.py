"""How much may be under way at once. Ten places, two kept for vital calls, in all tests.

| when | a vital call | another call |
|---|---|---|
| there is a place | starts | starts, but in the first eight places only |
| there is none | waits its turn, up to 4 of them | waits, up to 3 of them |
| as many wait already | is refused at once | is refused at once |
| a place becomes free | goes first | goes when no vital one waits |
| it would wait longer than it may | is refused at once | is refused at once |
| its deadline passed while it waited | is never started | is never started |
| its kind has taken 6 places | waits | waits |
| the service behind refused one of 6 | is the 6th to start no more: 5 places | the same |
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from chassis.admission import Admission, Bounds, Overloaded

BOUNDS = Bounds(
    most=10, kept_for_vital=2, most_of_one_kind=6, waiting=3, waiting_vital=4,
    patience_s=20, patience_vital_s=20,
)  # fmt: skip


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Calls:
    """Calls that stay open until they are told to end."""

    def __init__(self, *, bounds: Bounds = BOUNDS) -> None:
        self.clock = Hand()
        self.admission = Admission(bounds=bounds, clock=self.clock)
        self.started: list[str] = []
        self.refused: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str, ends_at_s: float = 1000) -> None:
        """Let calls come: `read 1`, `scan 1` and `hook 1`, `push 1`, which are vital."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._call(name, ends_at_s))
        await settled()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
        await settled()

    async def _call(self, name: str, ends_at_s: float) -> None:
        kind = name.split(maxsplit=1)[0]
        vital = kind in ("hook", "push")
        try:
            async with self.admission.turn(kind=kind, vital=vital, ends_at_s=ends_at_s):
                self.started.append(name)
                await self._ends[name].wait()
        except Overloaded:
            self.refused.append(name)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def calls(*, bounds: Bounds = BOUNDS) -> AsyncIterator[Calls]:
    found = Calls(bounds=bounds)
    async with AsyncExitStack() as stack, asyncio.timeout(10):

        async def finish() -> None:
            for task in found.tasks.values():
                task.cancel()
            await asyncio.gather(*found.tasks.values(), return_exceptions=True)

        stack.push_async_callback(finish)
        yield found
        await found.end(*found._ends)
        assert (found.admission.under_way, found.admission.waiting) == (0, 0), "nothing leaks"


def names(kind: str, count: int, *, first: int = 1) -> list[str]:
    return [f"{kind} {number}" for number in range(first, first + count)]


async def filled(found: Calls) -> None:
    """Fill every place: six hooks, two pushes, two reads."""
    await found.come(*names("read", 2), *names("hook", 6), *names("push", 2))
    assert len(found.started) == 10


async def test_others_never_take_the_places_kept_for_vital_calls() -> None:
    async with calls() as found:
        await found.come(*names("read", 5), *names("scan", 5))
        assert len(found.started) == 8
        await found.come("hook 1", "push 1")
        assert found.started[8:] == ["hook 1", "push 1"]


async def test_vital_calls_may_take_every_place() -> None:
    async with calls() as found:
        await found.come(*names("hook", 6), *names("push", 6))
        assert len(found.started) == 10


async def test_one_kind_never_takes_every_place() -> None:
    async with calls() as found:
        await found.come(*names("hook", 8))
        assert len(found.started) == 6
        await found.come("read 1", "read 2", "push 1")
        assert found.started[6:] == ["read 1", "read 2", "push 1"]


async def test_beyond_the_queue_calls_are_refused_at_once() -> None:
    async with calls() as found:
        await filled(found)
        await found.come(*names("scan", 5))
        assert found.refused == ["scan 4", "scan 5"]
        await found.come(*names("push", 6, first=10))
        assert found.refused[2:] == ["push 14", "push 15"]
        assert found.admission.waiting == 7
        assert found.admission.shed == {False: 2, True: 2}


async def test_whoever_came_first_vital_calls_go_first() -> None:
    async with calls() as found:
        await filled(found)
        await found.come("scan 1", "scan 2", "push 9")
        await found.end("read 1", "read 2")
        assert found.started[10:] == ["push 9"]
        await found.end("hook 1", "hook 2")
        assert found.started[10:] == ["push 9", "scan 1"]


async def test_vital_calls_go_first_even_where_no_place_is_kept_for_them() -> None:
    equal = Bounds(
        most=2, kept_for_vital=0, most_of_one_kind=2, waiting=3, waiting_vital=3,
        patience_s=20, patience_vital_s=20,
    )  # fmt: skip
    async with calls(bounds=equal) as found:
        await found.come("read 1", "read 2", "scan 1", "push 1")
        await found.end("read 1")
        assert found.started == ["read 1", "read 2", "push 1"]


async def test_in_a_queue_the_first_goes_first() -> None:
    async with calls() as found:
        await filled(found)
        await found.come(*names("push", 3, first=10))
        for name in names("push", 2):
            await found.end(name)
        assert found.started[10:] == ["push 10", "push 11"]


@pytest.mark.parametrize("kind", ["scan", "push"])
async def test_a_call_whose_deadline_passed_while_it_waited_is_never_started(kind: str) -> None:
    async with calls() as found:
        await filled(found)
        await found.come(f"{kind} 10", ends_at_s=110)
        await found.come(f"{kind} 11", ends_at_s=200)
        found.clock.now_s = 111
        await found.end(*names("hook", 6))
        assert found.started[10:] == [f"{kind} 11"]
        assert found.refused == [f"{kind} 10"]


async def test_a_call_that_comes_too_late_is_not_started_though_there_is_room() -> None:
    async with calls() as found:
        await found.come("hook 1", ends_at_s=100)
        assert (found.started, found.refused) == ([], ["hook 1"])


async def test_who_would_wait_too_long_is_refused_at_once() -> None:
    async with calls() as found:
        await found.come(*names("push", 6))
        found.clock.now_s += 600  # each call takes ten minutes: the average learns it
        await found.end(*names("push", 6))
        await found.come(*names("push", 6, first=11), ends_at_s=10_000)
        await found.come("push 17", ends_at_s=10_000)
        assert found.refused == ["push 17"], "a place is free in a minute; patience ends sooner"
        await found.come("hook 1", ends_at_s=10_000)
        assert "hook 1" in found.started, "another kind does not suffer for it"


async def test_what_is_expected_is_compared_with_the_deadline_too() -> None:
    async with calls() as found:
        await found.come(*names("push", 6))
        found.clock.now_s += 60
        await found.end(*names("push", 6))
        await found.come(*names("push", 6, first=11), ends_at_s=10_000)
        now_s = found.clock.now_s
        await found.come("push 17", ends_at_s=now_s + 1)
        await found.come("push 18", ends_at_s=now_s + 10)
        assert found.refused == ["push 17"]
        assert found.admission.waiting == 1


async def test_who_waits_too_long_all_the_same_is_refused() -> None:
    hasty = Bounds(
        most=2, kept_for_vital=1, most_of_one_kind=2, waiting=3, waiting_vital=3,
        patience_s=0.01, patience_vital_s=0.01,
    )  # fmt: skip
    async with calls(bounds=hasty) as found:
        await found.come("hook 1", "hook 2", "hook 3", "read 1")
        await asyncio.wait((found.tasks["hook 3"], found.tasks["read 1"]))
        assert sorted(found.refused) == ["hook 3", "read 1"]
        assert found.admission.waiting == 0


async def test_a_caller_that_leaves_gives_its_place_in_the_queue_back() -> None:
    async with calls() as found:
        await filled(found)
        await found.come(*names("push", 2, first=10))
        found.tasks["push 10"].cancel()
        await settled()
        assert found.admission.waiting == 1
        await found.end("push 1")
        assert found.started[10:] == ["push 11"]


async def test_a_caller_that_leaves_as_its_turn_comes_hands_it_on() -> None:
    async with calls() as found:
        await filled(found)
        await found.come(*names("push", 2, first=10))
        found._ends["push 1"].set()
        await asyncio.sleep(0)  # its place is given to push 10, which does not know it yet
        found.tasks["push 10"].cancel()
        await settled()
        assert found.started[10:] == ["push 11"]


async def test_a_caller_that_leaves_as_a_place_becomes_free_takes_none() -> None:
    async with calls() as found:
        await filled(found)
        await found.come(*names("push", 2, first=10))
        found._ends["push 1"].set()
        found.tasks["push 10"].cancel()  # it does not know it when push 1 ends
        await settled()
        assert found.started[10:] == ["push 11"]


async def test_a_turn_that_comes_as_the_patience_ends_is_taken_once() -> None:
    async with calls() as found:
        await filled(found)
        await found.come(*names("push", 2, first=10))
        kind = found.admission._kinds["push"]
        first = kind.queue[0]
        found._ends["push 1"].set()
        while first in kind.queue:  # noqa: ASYNC110 # round by round
            await asyncio.sleep(0)
        found.admission._give_up(kind, first)  # its alarm, in the same round of the loop
        await settled()
        assert found.started[10:] == ["push 10"]
        assert found.admission.under_way == 10


async def test_a_call_that_fails_gives_its_place_back() -> None:
    async with calls() as found:
        with pytest.raises(RuntimeError):
            async with found.admission.turn(kind="read", vital=False, ends_at_s=1000):
                raise RuntimeError
        assert found.admission.under_way == 0


async def test_asking_beforehand_takes_nothing() -> None:
    async with calls() as found:
        await filled(found)
        await found.come(*names("scan", 3))
        with pytest.raises(Overloaded):
            found.admission.check(kind="scan", vital=False, ends_at_s=1000)
        found.admission.check(kind="push", vital=True, ends_at_s=1000)
        assert (found.admission.under_way, found.admission.waiting) == (10, 3)


async def test_asking_beforehand_counts_those_who_were_told_so_before() -> None:
    async with calls() as found:
        await found.come(*names("hook", 4))
        for ahead in range(6):  # two places, then four to wait
            found.admission.check(kind="hook", vital=True, ends_at_s=1000, ahead=ahead)
        with pytest.raises(Overloaded):
            found.admission.check(kind="hook", vital=True, ends_at_s=1000, ahead=6)


async def test_a_refusal_says_when_to_come_again_within_reason() -> None:
    admission = Admission(bounds=BOUNDS, clock=Hand())
    with pytest.raises(Overloaded) as refusal:
        admission.check(kind="hook", vital=True, ends_at_s=99)
    assert refusal.value.retry_after_s == 1


async def test_however_many_come_no_more_are_ever_kept_than_the_bounds_say() -> None:
    async with calls() as found:
        for number in range(500):
            await found.come(f"hook {number}", f"read {number}")
            assert found.admission.under_way <= 10
            assert found.admission.waiting <= 7
        kept = found.admission.under_way + found.admission.waiting
        assert len(found.refused) == 1000 - kept


async def test_a_refusal_behind_takes_places_away_and_success_gives_them_back() -> None:
    clock = Hand()
    admission = Admission(bounds=BOUNDS, clock=clock)

    async def crowd(*, come: int = 10, refused: int = 0) -> int:
        """Let some come at once; the first `refused` are refused behind. Return who starts."""
        started, all_in = 0, asyncio.Event()

        async def call() -> None:
            nonlocal started
            async with admission.turn(kind="scan", vital=True, ends_at_s=1e9) as turn:
                started += 1
                if started <= refused:
                    turn.refused_behind()
                await all_in.wait()

        tasks = [asyncio.create_task(call()) for _ in range(come)]
        await settled()
        at_once = started
        clock.now_s += 0.1
        all_in.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return at_once

    assert await crowd() == 6
    assert await crowd(come=6, refused=6) == 6  # refused in one moment: a tenth fewer, once
    assert await crowd(come=5, refused=5) == 5
    assert await crowd(come=4) == 4
    found = [await crowd() for _ in range(12)]
    assert found == sorted(found)
    assert found[-1] == 6


async def test_however_much_is_refused_behind_one_place_is_left() -> None:
    clock = Hand()
    admission = Admission(bounds=BOUNDS, clock=clock)
    for _ in range(100):
        clock.now_s += 1
        async with admission.turn(kind="scan", vital=True, ends_at_s=1e9) as turn:
            turn.refused_behind()
    async with admission.turn(kind="scan", vital=True, ends_at_s=1e9):
        pass
