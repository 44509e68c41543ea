"""However many ask at once, one call is made; leaving does not cancel it."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from chassis.single_flight import FlightStopped, SingleFlight


class Asked:
    """A call that waits until it is let go."""

    def __init__(self) -> None:
        self.calls = 0
        self.go = asyncio.Event()
        self.fails: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        await self.go.wait()
        if self.fails is not None:
            raise self.fails
        return number


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def flights() -> SingleFlight[str, int]:
    return SingleFlight()


@pytest.fixture
async def complaints() -> list[str]:
    """Return what the loop complains about: exceptions nobody saw."""
    seen: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: seen.append(str(context["message"]))
    )
    return seen


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


async def _waiting(
    flights: SingleFlight[str, int], asked: Asked, count: int, key: str = "a"
) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(flights.fly(key=key, call=asked)) for _ in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_thirty_who_ask_at_once_share_one_call(
    flights: SingleFlight[str, int], asked: Asked
) -> None:
    tasks = await _waiting(flights, asked, 30)
    asked.go.set()
    assert await asyncio.gather(*tasks) == [1] * 30
    assert asked.calls == 1


async def test_who_asks_after_the_answer_makes_a_new_call(
    flights: SingleFlight[str, int], asked: Asked
) -> None:
    asked.go.set()
    assert await flights.fly(key="a", call=asked) == 1
    assert await flights.fly(key="a", call=asked) == 2
    await asyncio.sleep(0)
    assert flights._flights == {}


async def test_who_asks_in_the_moment_the_answer_comes_makes_a_new_call_that_others_join(
    flights: SingleFlight[str, int], asked: Asked
) -> None:
    later = Asked()
    later.calls = 10
    [first] = await _waiting(flights, asked, 1)
    asked.go.set()
    newcomers = await _waiting(flights, later, 1)  # runs before the end of `first` is noted
    newcomers += await _waiting(flights, later, 1)
    later.go.set()
    assert await first == 1
    assert await asyncio.gather(*newcomers) == [11, 11]


async def test_other_keys_are_other_calls(flights: SingleFlight[str, int], asked: Asked) -> None:
    tasks = await _waiting(flights, asked, 2, key="a") + await _waiting(flights, asked, 2, key="b")
    asked.go.set()
    assert await asyncio.gather(*tasks) == [1, 1, 2, 2]


async def test_a_failure_reaches_everyone_and_is_not_kept(
    flights: SingleFlight[str, int], asked: Asked
) -> None:
    asked.fails = ValueError("no")
    tasks = await _waiting(flights, asked, 3)
    asked.go.set()
    assert await asyncio.gather(*tasks, return_exceptions=True) == [asked.fails] * 3
    asked.fails = None
    assert await flights.fly(key="a", call=asked) == 2


async def test_the_first_may_leave_without_cancelling_it_for_the_others(
    flights: SingleFlight[str, int], asked: Asked
) -> None:
    first, second = await _waiting(flights, asked, 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    asked.go.set()
    assert await second == 1


async def test_when_all_left_it_still_ends_and_a_newcomer_joins_it(
    flights: SingleFlight[str, int], asked: Asked
) -> None:
    for task in await _waiting(flights, asked, 2):
        task.cancel()
    [newcomer] = await _waiting(flights, asked, 1)
    asked.go.set()
    assert await newcomer == 1
    assert asked.calls == 1


async def test_a_failure_after_all_left_is_nobodys_complaint(
    flights: SingleFlight[str, int], asked: Asked, complaints: list[str]
) -> None:
    asked.fails = ValueError("no")
    [task] = await _waiting(flights, asked, 1)
    task.cancel()
    asked.go.set()
    await asyncio.wait({task})
    for _ in range(3):
        await asyncio.sleep(0)
    del task
    gc.collect()
    assert complaints == []


async def test_closing_stops_the_call_and_tells_those_who_wait(
    flights: SingleFlight[str, int], asked: Asked
) -> None:
    tasks = await _waiting(flights, asked, 2)
    await flights.close()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [FlightStopped] * 2
    await flights.close()
