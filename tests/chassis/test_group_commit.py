import asyncio
from collections.abc import Sequence

import pytest

from chassis.database import DatabaseUnavailable
from chassis.group_commit import GroupCommit, QueueFull, WriterFailed


class _Book:
    """Records words in capitals; knows which words it chokes on."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.breaks: dict[str, Exception] = {}  # fails the whole batch
        self.refuses: dict[str, Exception] = {}  # fails the one member
        self.down: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.entered = asyncio.Event()

    async def record(self, words: Sequence[str]) -> Sequence[str | Exception]:
        self.batches.append(list(words))
        self.entered.set()
        await self.open.wait()
        if self.down is not None:
            raise self.down
        for word in words:
            if word in self.breaks:
                raise self.breaks[word]
        return [self.refuses.get(word, word.upper()) for word in words]


@pytest.fixture
def book() -> _Book:
    return _Book()


def _submitted(group: GroupCommit[str, str], words: Sequence[str]) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(group.submit(word)) for word in words]


async def _outcomes(tasks: Sequence[asyncio.Task[str]]) -> list[str | BaseException]:
    return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=5)


async def test_what_queued_is_one_batch_and_everyone_gets_his_own_answer(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record, most=2)
    tasks = _submitted(group, ["a", "b", "c"])
    await asyncio.sleep(0)
    assert [await group.run_once() for _ in range(3)] == [2, 1, 0]
    assert book.batches == [["a", "b"], ["c"]]
    assert await _outcomes(tasks) == ["A", "B", "C"]


async def test_the_writer_takes_what_came_while_it_wrote(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record)
    group.start()
    book.open.clear()
    first = _submitted(group, ["a"])
    await book.entered.wait()  # a lone caller is not made to wait for company
    rest = _submitted(group, ["b", "c"])
    await asyncio.sleep(0)
    book.open.set()
    assert await _outcomes(first + rest) == ["A", "B", "C"]
    assert book.batches == [["a"], ["b", "c"]]
    await group.stop()


async def test_a_caller_that_left_neither_stops_the_recording_nor_the_writer(
    book: _Book,
) -> None:
    group = GroupCommit[str, str](record=book.record)
    group.start()
    book.open.clear()
    gone, stays = _submitted(group, ["a", "b"])
    await book.entered.wait()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    book.open.set()
    assert await _outcomes([stays]) == ["B"]
    assert book.batches == [["a", "b"]]
    assert await asyncio.wait_for(group.submit("c"), timeout=5) == "C"
    await group.stop()


async def test_a_caller_that_left_before_its_turn_is_recorded_all_the_same(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record)
    [gone] = _submitted(group, ["a"])
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert await group.run_once() == 1
    assert book.batches == [["a"]]


async def test_nobody_fails_because_of_a_neighbour(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record)
    book.breaks["b"] = ValueError("b is poison")
    tasks = _submitted(group, ["a", "b", "c"])
    await asyncio.sleep(0)
    await group.run_once()
    first, poison, last = await _outcomes(tasks)
    assert (first, last) == ("A", "C")
    assert poison is book.breaks["b"]


async def test_many_poison_members_do_not_use_up_the_patience_for_the_rest(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record, attempts=1)
    book.breaks = {word: ValueError(word) for word in "abcd"}
    tasks = _submitted(group, ["a", "b", "c", "d", "e"])
    await asyncio.sleep(0)
    await group.run_once()
    assert (await _outcomes(tasks))[-1] == "E"


async def test_a_member_that_was_refused_does_not_repeat_the_batch(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record)
    book.refuses["b"] = LookupError("no b")
    tasks = _submitted(group, ["a", "b"])
    await asyncio.sleep(0)
    await group.run_once()
    assert await _outcomes(tasks) == ["A", book.refuses["b"]]
    assert book.batches == [["a", "b"]]


async def test_a_database_that_is_down_is_not_asked_once_per_member(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record, attempts=3)
    book.down = DatabaseUnavailable("down")
    tasks = _submitted(group, [str(number) for number in range(20)])
    await asyncio.sleep(0)
    await group.run_once()
    assert await _outcomes(tasks) == [book.down] * 20
    assert len(book.batches) == 1 + 3


async def test_a_full_queue_refuses(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record, queue_limit=2)
    tasks = _submitted(group, ["a", "b"])
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await group.submit("c")
    await group.run_once()
    assert await _outcomes(tasks) == ["A", "B"]


async def test_a_record_that_answers_too_little_fails_its_callers() -> None:
    async def forgetful(words: Sequence[str]) -> Sequence[str | Exception]:
        return list(words)[1:]

    group = GroupCommit[str, str](record=forgetful)
    tasks = _submitted(group, ["a", "b"])
    await asyncio.sleep(0)
    await group.run_once()
    assert [type(outcome) for outcome in await _outcomes(tasks)] == [WriterFailed] * 2


async def test_a_writer_that_breaks_leaves_nobody_waiting_and_goes_on(
    book: _Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = GroupCommit[str, str](record=book.record)

    async def broken() -> int:
        raise ZeroDivisionError

    with monkeypatch.context() as bug:
        bug.setattr(group, "run_once", broken)
        group.start()
        tasks = _submitted(group, ["a", "b"])
        assert [type(outcome) for outcome in await _outcomes(tasks)] == [WriterFailed] * 2
    assert await asyncio.wait_for(group.submit("c"), timeout=5) == "C"
    await group.stop()


async def test_a_writer_that_is_cancelled_in_a_batch_fails_it_and_goes_on(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record)
    group.start()
    book.open.clear()
    tasks = _submitted(group, ["a"])
    await book.entered.wait()
    group._writers[0].cancel()
    assert [type(outcome) for outcome in await _outcomes(tasks)] == [WriterFailed]
    book.open.set()
    assert await asyncio.wait_for(group.submit("b"), timeout=5) == "B"
    await group.stop()


async def test_stopping_writes_what_waits_and_then_refuses(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record, most=1)
    group.start()
    tasks = _submitted(group, ["a", "b", "c"])
    await asyncio.sleep(0)
    await group.stop()
    assert await _outcomes(tasks) == ["A", "B", "C"]
    with pytest.raises(QueueFull):
        await group.submit("d")


async def test_stopping_ends_within_its_bound(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record, most=1)
    group.start()
    book.open.clear()
    tasks = _submitted(group, ["a", "b"])
    await book.entered.wait()
    await asyncio.wait_for(group.stop(within_s=0.05), timeout=5)
    under_way, queued = await _outcomes(tasks)
    assert isinstance(under_way, WriterFailed)  # recorded or not, nobody knows
    assert isinstance(queued, QueueFull)  # surely not recorded


async def test_stopping_an_idle_writer_is_quick(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record)
    group.start()
    await asyncio.sleep(0)
    await asyncio.wait_for(group.stop(), timeout=1)


async def test_a_second_writer_helps_only_where_a_whole_batch_waits(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record, most=3, writers=2)
    group.start()
    book.open.clear()
    tasks = _submitted(group, ["a"])
    await book.entered.wait()
    tasks += _submitted(group, ["b", "c"])
    await asyncio.sleep(0.01)
    assert book.batches == [["a"]], "two wait for the first writer"
    tasks += _submitted(group, ["d", "e"])
    await asyncio.sleep(0.01)
    assert book.batches == [["a"], ["b", "c", "d"]], "three are a batch of their own"
    book.open.set()
    assert await _outcomes(tasks) == ["A", "B", "C", "D", "E"]
    await group.stop()
    assert book.batches[2:] == [["e"]]


async def test_a_helping_writer_that_broke_is_started_again(book: _Book) -> None:
    group = GroupCommit[str, str](record=book.record, most=2, writers=2)
    group.start()
    await asyncio.sleep(0)
    group._writers[1].cancel()
    await asyncio.sleep(0.01)
    book.open.clear()
    tasks = _submitted(group, ["a"])
    await book.entered.wait()
    tasks += _submitted(group, ["b", "c"])
    await asyncio.sleep(0.01)
    assert len(book.batches) == 2
    book.open.set()
    assert await _outcomes(tasks) == ["A", "B", "C"]
    await group.stop()
