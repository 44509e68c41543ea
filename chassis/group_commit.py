"""Many callers, one writer: whatever queued while the last batch was written is the next one.

Writing a batch costs about as much as writing one item, so the more callers wait the cheaper
each becomes. The writer never waits for company: a lone caller is written at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from chassis.batch_counts import Written
from chassis.database import DatabaseUnavailable

T = TypeVar("T")
R = TypeVar("R")

_log = structlog.get_logger()


class QueueFull(Exception):
    """The item was not taken, or not written before the writer stopped: try again later."""


class WriterFailed(Exception):
    """The writer broke while it held the item; whether it was recorded is unknown."""


@dataclass(frozen=True, kw_only=True)
class _Waiting(Generic[T, R]):
    item: T
    answer: asyncio.Future[R]

    def answered(self, outcome: R | Exception) -> None:
        if self.answer.done():  # the caller left; what it asked for is recorded all the same
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class GroupCommit(Generic[T, R]):
    """Hands queued items to `record` in batches and its outcomes back to their callers.

    `record` returns one outcome per item, in order; an outcome that is an exception is raised
    to that item's caller. If `record` itself raises, nothing of the batch may be recorded:
    each member is then tried alone, so that nobody fails because of a neighbour: `attempts` of
    them side by side, as each may wait in vain for a lock that somebody holds. If all of those
    find the database unavailable it is no neighbour's fault, and the rest is told so without
    being tried.
    """

    def __init__(
        self,
        *,
        record: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        most: int = 64,
        queue_limit: int = 1024,
        attempts: int = 8,
        writers: int = 1,
    ) -> None:
        """Wire the queue; `writers` write side by side where a whole further batch waits.

        More than one is for a database that writes for several at once.
        """
        self._record = record
        self._most = most
        self._queue_limit = queue_limit
        self._attempts = attempts
        self._queue: deque[_Waiting[T, R]] = deque()
        self._arrived = asyncio.Event()
        self._crowded = asyncio.Event()  # a whole batch waits
        self._accepting = True
        self._sides = writers
        self._writers: list[asyncio.Task[None]] = []
        self.written = Written()
        self._sized: Callable[[int], object] | None = None

    @property
    def waiting(self) -> int:
        """How many items wait to be written."""
        return len(self._queue)

    def watch(self, sized: Callable[[int], object]) -> None:
        """Tell `sized` how many items each batch holds."""
        self._sized = sized

    async def submit(self, item: T) -> R:
        """Return what recording `item` gave; a caller that is cancelled cancels nothing else.

        :raises QueueFull: more wait than can be written in time, or the writer has stopped.
        :raises WriterFailed: the writer broke; recorded or not is unknown.
        """
        if not self._accepting:
            raise QueueFull("the writer has stopped")
        if len(self._queue) >= self._queue_limit:
            raise QueueFull(f"{self._queue_limit} items wait already")
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(item=item, answer=answer)
        self._queue.append(waiting)
        self._arrived.set()
        if len(self._queue) >= self._most:
            self._crowded.set()
        return await waiting.answer

    async def run_once(self) -> int:
        """Write one batch of what waits now and return how many items it held."""
        batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
        if not batch:
            return 0
        self.written.add(len(batch))
        if self._sized is not None:
            self._sized(len(batch))
        try:
            await self._write(batch)
        finally:  # answers nobody who has an answer
            _answer(batch, WriterFailed("the writer broke"))
        return len(batch)

    def start(self) -> None:
        """Start the writers; one that breaks is started again."""
        self._start(helps=False)
        for _ in range(self._sides - 1):
            self._start(helps=True)

    async def stop(self, *, within_s: float = 5.0) -> None:
        """Take no more items, write what waits within `within_s` seconds, refuse the rest."""
        self._accepting = False
        self._arrived.set()
        self._crowded.set()
        if self._writers:
            _done, pending = await asyncio.wait(self._writers, timeout=within_s)
            for late in pending:
                late.cancel()
            await asyncio.wait(self._writers)
        self._refuse_waiting(QueueFull("the writer has stopped"))

    def _start(self, *, helps: bool) -> None:
        work = self._help() if helps else self._run()
        writer = asyncio.get_running_loop().create_task(work, name="group-commit")
        writer.add_done_callback(lambda ended: self._writer_ended(ended, helps=helps))
        self._writers.append(writer)

    async def _run(self) -> None:
        while self._accepting or self._queue:
            if await self.run_once() == 0:
                self._arrived.clear()
                await self._arrived.wait()

    async def _help(self) -> None:
        """Write where a whole batch waits while another one is being written.

        With less it would only make the batches smaller, and each payment dearer.
        """
        while self._accepting:
            if len(self._queue) < self._most:
                self._crowded.clear()
                await self._crowded.wait()
            else:
                await self.run_once()

    def _writer_ended(self, writer: asyncio.Task[None], *, helps: bool) -> None:
        problem = None if writer.cancelled() else writer.exception()
        if problem is None and not self._accepting:
            return
        _log.error("group_commit_writer_ended", exc_info=problem)
        self._refuse_waiting(WriterFailed("the writer broke"))
        if self._accepting:
            self._writers.remove(writer)
            self._start(helps=helps)

    def _refuse_waiting(self, reason: Exception) -> None:
        _answer(self._queue, reason)
        self._queue.clear()

    async def _write(self, batch: Sequence[_Waiting[T, R]]) -> None:
        try:
            outcomes = await self._recorded(batch)
        except Exception as problem:  # noqa: BLE001 - its caller gets it, whatever it is
            if len(batch) == 1:
                batch[0].answered(problem)
                return
            _log.warning("group_commit_retries_alone", items=len(batch), cause=_name(problem))
            await self._write_alone(batch)
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                waiting.answered(outcome)

    async def _write_alone(self, batch: Sequence[_Waiting[T, R]]) -> None:
        for start in range(0, len(batch), self._attempts):
            group = batch[start : start + self._attempts]
            problems = await asyncio.gather(*map(self._written_alone, group))
            trouble = [one for one in problems if isinstance(one, DatabaseUnavailable)]
            if len(trouble) == len(group):
                _answer(batch[start + self._attempts :], trouble[-1])
                return

    async def _written_alone(self, waiting: _Waiting[T, R]) -> Exception | None:
        """Answer one member; return what was in the way."""
        try:
            [outcome] = await self._recorded([waiting])
        except Exception as problem:  # noqa: BLE001 - as above
            waiting.answered(problem)
            return problem
        waiting.answered(outcome)
        return None

    async def _recorded(self, batch: Sequence[_Waiting[T, R]]) -> Sequence[R | Exception]:
        outcomes = await self._record([waiting.item for waiting in batch])
        if len(outcomes) != len(batch):
            raise WriterFailed(f"{len(outcomes)} outcomes for {len(batch)} items")
        return outcomes


def _answer(group: Iterable[_Waiting[T, R]], outcome: Exception) -> None:
    for waiting in group:
        waiting.answered(outcome)


def _name(problem: Exception) -> str:
    return type(problem).__name__
