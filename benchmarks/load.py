"""An open-loop load: arrivals by chance (Poisson), whatever the answers take.

Requests are prepared bytes over kept connections, so that the generator costs little of the
two cores that it shares with what it measures.
"""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

_LIMIT_S = 10.0  # an answer that takes longer counts as none
_OK = 200
_REFUSED_PAUSE_S = 0.1
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One request: when it was due to start, how long its answer took, and its status."""

    due_s: float  # since the load began
    took_s: float
    status: int  # 0: no answer


@dataclass(kw_only=True)
class Load:
    """What one load came to."""

    answers: list[Answered] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[int]:
        """How often each status came."""
        return Counter(one.status for one in self.answers)

    def good(self, *, since_s: float = 0.0, until_s: float = 1e9) -> list[Answered]:
        """Return the requests due in that span that were answered 200."""
        return [one for one in self.answers if one.status == _OK and since_s <= one.due_s < until_s]


def percentile(*, answers: Sequence[Answered], share: float) -> float:
    """Return the time in milliseconds within which `share` of the answers came."""
    took = sorted(one.took_s for one in answers)
    if not took:
        return float("nan")
    return took[min(len(took) - 1, int(len(took) * share))] * 1000


class _Wire(asyncio.Protocol):
    """One connection, one exchange at a time; a stream of asyncio costs three times as much."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bool]] | None = None
        self._received = b""

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it."""
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        del exc
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        """Answer with the status once head and body are whole."""
        self._received = data = self._received + data if self._received else data
        end = data.find(_HEAD_END)
        if end < 0 or self._answer is None or self._answer.done():
            return
        head = data[:end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0")
        if len(data) >= end + len(_HEAD_END) + length:
            self._received = b""
            self._answer.set_result((int(head[9:12]), b"connection: close" not in head))

    async def exchange(self, request: bytes) -> tuple[int, bool]:
        """Return the status, and whether the connection can be used again."""
        if self._transport is None:
            raise ConnectionResetError
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[int, bool]] = loop.create_future()
        self._answer = answer
        self._transport.write(request)
        limit = loop.call_later(_LIMIT_S, _expire, answer)
        try:
            return await answer
        finally:
            limit.cancel()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


def _expire(answer: asyncio.Future[tuple[int, bool]]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


class Connections:
    """Connections to one address, kept between requests; at most `most` of them."""

    def __init__(self, *, port: int, most: int) -> None:
        self._port = port
        self._idle: deque[_Wire] = deque()
        self._places = asyncio.Semaphore(most)

    async def exchange(self, request: bytes) -> int:
        """Return the status of the answer to `request`, 0 if there was none."""
        async with self._places:
            wire = None
            try:
                wire = self._rested() or await self._opened()
                status, stays = await wire.exchange(request)
            except (OSError, TimeoutError, ValueError):
                if wire is not None:
                    wire.abort()
                return 0
            if stays:
                self._idle.append(wire)
            else:
                wire.abort()
            return status

    def _rested(self) -> _Wire | None:
        """Return a kept connection; one that the server closed meanwhile (75 s idle) is none."""
        while self._idle:
            wire = self._idle.pop()
            if wire.is_open:
                return wire
        return None

    async def _opened(self) -> _Wire:
        async with asyncio.timeout(_LIMIT_S):
            _, wire = await asyncio.get_running_loop().create_connection(
                _Wire, "127.0.0.1", self._port
            )
        return wire

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().abort()


async def open_loop(
    *,
    connections: Connections,
    requests: Iterator[bytes],
    per_second: float,
    seconds: float,
    rng: random.Random,
) -> Load:
    """Send `requests` at `per_second` for `seconds`, and return every answer."""
    load, began_s = Load(), time.monotonic()
    running: set[asyncio.Task[None]] = set()

    async def send(request: bytes, due_s: float) -> None:
        status = await connections.exchange(request)
        took_s = time.monotonic() - began_s - due_s  # waiting for a connection counts
        load.answers.append(Answered(due_s=due_s, took_s=took_s, status=status))

    due_s = 0.0
    while (due_s := due_s + rng.expovariate(per_second)) < seconds:
        ahead_s = due_s - (time.monotonic() - began_s)
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
        task = asyncio.create_task(send(next(requests), due_s))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running)
    return load


async def closed_loop(
    *, connections: Connections, requests: Iterator[bytes], callers: int, seconds: float
) -> Load:
    """Let `callers` send one request after another for `seconds`, and return every answer.

    One who is refused comes again a little later. It ends sooner where there are no more
    `requests`.
    """
    load, began_s = Load(), time.monotonic()

    async def call() -> None:
        while (due_s := time.monotonic() - began_s) < seconds:
            request = next(requests, None)
            if request is None:
                return
            status = await connections.exchange(request)
            took_s = time.monotonic() - began_s - due_s
            load.answers.append(Answered(due_s=due_s, took_s=took_s, status=status))
            if status != _OK:
                await asyncio.sleep(_REFUSED_PAUSE_S)

    await asyncio.gather(*(call() for _ in range(callers)))
    return load
