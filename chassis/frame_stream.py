"""One stream of frames as its caller sees it: calls go out, answers come back, in any order."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import grpc

from chassis.frame_server import NAME_KEY, as_bytes
from payments.frames.v1 import frame_service_pb2 as pb

_MOST_CALLS = 64  # a frame: beyond that a larger one saves nothing
_MOST_BYTES = 256 * 1024  # a frame, but for a single call that is larger; a message may be 1 MiB
_MOST_UNDER_WAY = 4096  # beyond that a call is refused at once
_LIMIT = 2**32  # of a uint32


class Lacking(Exception):
    """The server does not know frames; the call was not carried out."""


@dataclass(kw_only=True)
class Lost(Exception):
    """The stream broke, or never was: whether the call was carried out is unknown."""

    code: grpc.StatusCode
    details: str


@dataclass(frozen=True, kw_only=True)
class Apart:
    """How long after a frame the next one leaves: the longer, the more calls are under way.

    A frame costs both ends about as much for one call as for ten, and calls that arrive together
    are recorded together. At 2,000 calls a second that is 7 % of the CPU of both ends, and
    answers come sooner (29 ms became 24); up to 250 a second nothing changes.
    """

    each_s: float = 0.0002
    most_s: float = 0.004

    def after_s(self, *, company: int) -> float:
        """Return the distance where `company` calls have been sent and have no answer yet."""
        return min(company * self.each_s, self.most_s)


class _Queued(NamedTuple):
    """A call that is not in a frame yet: a message of its own would be copied into it."""

    id: int
    method: str
    request: bytes
    metadata: Sequence[tuple[str, bytes]]
    timeout_ms: int


class FrameStream:
    """Carries calls over one stream, opened at the first of them."""

    def __init__(
        self, *, exchange: Callable[[], Any], clock: Callable[[], float], apart: Apart
    ) -> None:
        self._exchange = exchange
        self._apart = apart
        self._clock = clock
        self._ids = itertools.count(1)
        self._queue: deque[_Queued] = deque()
        self._cancelled: list[int] = []
        self._waiting: dict[int, asyncio.Future[pb.Answer]] = {}
        self._something = asyncio.Event()
        self._rpc: Any = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._parting = False
        self.ended = False  # start no more calls here
        self.opened_s = clock()
        self._sent_s = -inf
        self.server: str | None = None  # who is at the other end, once it has said so

    @property
    def under_way(self) -> int:
        """How many calls have no answer yet."""
        return len(self._waiting)

    def begin(
        self,
        *,
        method: str,
        request: bytes,
        metadata: Sequence[tuple[str, str | bytes]],
        ends_at_s: float,
    ) -> "asyncio.Future[pb.Answer]":
        """Send a call; return what will hold its answer. Cancelled, it is at the server too.

        It holds TimeoutError where there was no answer by `ends_at_s`, `Lost` where the stream
        broke or too much is under way already, `Lacking` where the server does not know frames.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[pb.Answer] = loop.create_future()
        left_s = ends_at_s - self._clock()
        if len(self._waiting) >= _MOST_UNDER_WAY:
            details = "Too many calls under way"
            answer.set_exception(Lost(code=grpc.StatusCode.RESOURCE_EXHAUSTED, details=details))
            return answer
        if left_s <= 0:
            answer.set_exception(TimeoutError())
            return answer
        # Here, not where frames are made: what cannot be sent is its caller's fault alone.
        written = [(key, as_bytes(value=value)) for key, value in metadata]
        timeout_ms = min(max(1, int(left_s * 1000)), _LIMIT - 1)
        number = next(self._ids) % _LIMIT
        self._waiting[number] = answer
        # Cheaper than a task and a time-out around each call.
        alarm = loop.call_later(left_s, self._expire, number)
        answer.add_done_callback(lambda _: self._ended(number, alarm))
        self._queue.append(
            _Queued(
                id=number,
                method=method,
                request=request,
                metadata=written,
                timeout_ms=timeout_ms,
            )
        )
        self._wake()
        return answer

    def _expire(self, number: int) -> None:
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_exception(TimeoutError())

    def _ended(self, number: int, alarm: asyncio.TimerHandle) -> None:
        alarm.cancel()
        if self._waiting.pop(number, None) is not None:  # out of time, or its caller has left
            self._cancelled.append(number)
            self._wake()

    async def part(self) -> None:
        """Start no more calls, wait for the answers to those under way, end the stream."""
        self._parting = self.ended = True
        self._something.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """End the stream now; calls under way are lost."""
        self._fail(Lost(code=grpc.StatusCode.CANCELLED, details="The channel was closed"))
        for task in self._tasks:
            task.cancel()
        if self._rpc is not None:
            self._rpc.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _wake(self) -> None:
        self._something.set()
        if not self._tasks and not self.ended:
            loop = asyncio.get_running_loop()
            self._rpc = self._exchange()
            self._tasks = (
                loop.create_task(self._write(), name="frames out"),
                loop.create_task(self._read(), name="frames in"),
            )

    async def _write(self) -> None:
        try:
            # The server opens the stream before anything is written: a write that meets an end
            # would hide its status behind an error of gRPC's own ("Internal error from Core").
            self.server = _name_in(await self._rpc.initial_metadata())
            while not self._rpc.done():
                await self._something.wait()
                self._something.clear()
                while self._queue or self._cancelled:
                    await self._keep_apart()
                    await self._rpc.write(self._next_frame())
                if self._parting:
                    await self._rpc.done_writing()
                    return
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # reading tells why

    async def _keep_apart(self) -> None:
        """Wait until the next frame may leave: at once where no other call is under way."""
        now_s = self._clock()
        company = len(self._waiting) - len(self._queue)  # sent, and without an answer yet
        left_s = self._sent_s + self._apart.after_s(company=company) - now_s
        if left_s > 0:
            await asyncio.sleep(left_s)
            now_s += left_s
        self._sent_s = now_s

    def _next_frame(self) -> pb.ExchangeRequest:
        cancelled, self._cancelled = self._cancelled, []
        frame = pb.ExchangeRequest(cancelled=cancelled)
        held = size = 0
        while self._queue and held < _MOST_CALLS:
            size += len(self._queue[0].request)
            if held and size > _MOST_BYTES:
                break
            number, method, request, metadata, timeout_ms = self._queue.popleft()
            if number in self._waiting:  # else its caller has left before it was sent
                held += 1
                call = frame.calls.add(
                    id=number, method=method, request=request, timeout_ms=timeout_ms
                )
                for key, value in metadata:
                    call.metadata.add(key=key, value=value)
        return frame

    async def _read(self) -> None:
        problem: Exception = Lost(
            code=grpc.StatusCode.UNAVAILABLE, details="The server ended the stream"
        )
        try:
            async for frame in self._rpc:
                for answer in frame.answers:
                    waiting = self._waiting.pop(answer.id, None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(answer)
                if frame.draining:
                    self._parting = self.ended = True
                    self._something.set()
        except grpc.aio.AioRpcError as error:
            problem = _as_lost(error)
        finally:
            self._fail(problem)

    def _fail(self, problem: Exception) -> None:
        self.ended = True
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(problem)
        self._parting = True
        self._something.set()


def _name_in(metadata: Iterable[tuple[str, str | bytes]] | None) -> str | None:
    names = [str(value) for key, value in metadata or () if key == NAME_KEY]
    return names[0] if names else None


def _as_lost(error: grpc.aio.AioRpcError) -> Exception:
    """Return what became of the calls: the stream's own status is nobody's answer."""
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return Lacking()
    return Lost(code=grpc.StatusCode.UNAVAILABLE, details=error.details() or "")
