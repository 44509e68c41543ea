"""The serving end of a stream of frames: each call in it is served as a unary call would be.

A call passes the same interceptor as a unary one (room, token, scope, rules, deadline, errors)
with a context of its own. Calls of one stream run side by side, none waits for another; what is
ready while an answer frame is on its way travels in the next one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog

from payments.frames.v1 import frame_service_pb2 as pb
from payments.frames.v1 import frame_service_pb2_grpc

NAME_KEY = "frames-server"  # of the stream's initial metadata: which process answers
_MOST_ANSWERS = 64  # a frame
_MOST_UNDER_WAY = 1024  # of one stream; beyond that the stream is not read, and gRPC's flow
# control holds the caller back

_log = structlog.get_logger()

Intercept = Callable[
    [Callable[[grpc.HandlerCallDetails], Awaitable[Any]], grpc.HandlerCallDetails], Awaitable[Any]
]
Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, kw_only=True)
class _Details(grpc.HandlerCallDetails):
    method: str
    invocation_metadata: Metadata = ()


@dataclass(kw_only=True)
class _Aborted(Exception):
    """A servicer ended its call with a status."""

    code: grpc.StatusCode
    details: str


@dataclass(kw_only=True)
class CallContext:
    """What a servicer may ask and say of one call, as grpc.aio's own context."""

    metadata: Metadata
    ends_at_s: float
    initial: Metadata = ()
    trailing: Metadata = ()

    def time_remaining(self) -> float:
        """Return the seconds that are left of the caller's patience."""
        return max(0.0, self.ends_at_s - time.monotonic())

    def invocation_metadata(self) -> Metadata:
        """Return what the caller sent beside the request."""
        return self.metadata

    async def send_initial_metadata(self, initial_metadata: Iterable[Any]) -> None:
        """Keep what goes before the answer."""
        self.initial = tuple(initial_metadata)

    def set_trailing_metadata(self, trailing_metadata: Iterable[Any]) -> None:
        """Keep what goes behind the answer."""
        self.trailing = tuple(trailing_metadata)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Iterable[Any] = ()
    ) -> None:
        """End the call with a status other than OK.

        :raises Exception: always; it is caught where the call was started.
        """
        self.trailing = tuple(trailing_metadata) or self.trailing
        raise _Aborted(code=code, details=details)


@dataclass(kw_only=True)
class _Stream:
    """The calls of one stream that are under way, and the answers that are to be sent."""

    ready: list[pb.Answer] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    running: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    ended: bool = False  # the caller starts no more calls
    tell_draining: bool = False


class FrameServicer(frame_service_pb2_grpc.FrameServiceServicer):
    """Serves the methods of `handlers` to calls that come in frames."""

    def __init__(self, *, handlers: Mapping[str, Any], intercept: Intercept, name: str) -> None:
        """Wire it; `name` tells callers this process from others.

        `intercept` is asked once for each method: what it returns serves every call.
        """
        self._handlers = handlers
        self._intercept = intercept
        self._name = ((NAME_KEY, name),)
        self._wrapped: dict[str, Any] = {}  # by method, of those that there are
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Ask every caller to end its stream; calls under way are answered."""
        self._draining.set()

    async def Exchange(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[pb.ExchangeRequest], context: Any
    ) -> AsyncIterator[pb.ExchangeResponse]:
        """Answer the calls of one stream until its caller ends it."""
        await context.send_initial_metadata(self._name)  # "I know frames", before any answer
        stream = _Stream()
        reading = asyncio.create_task(self._read(request_iterator, stream))
        draining = asyncio.create_task(self._tell_on_drain(stream))
        try:
            while True:
                await stream.changed.wait()
                stream.changed.clear()
                if stream.tell_draining:
                    stream.tell_draining = False
                    yield pb.ExchangeResponse(draining=True)
                while stream.ready:
                    frame, stream.ready = stream.ready[:_MOST_ANSWERS], stream.ready[_MOST_ANSWERS:]
                    yield pb.ExchangeResponse(answers=frame)
                if stream.ended and not stream.running and not stream.ready:
                    return
        finally:
            for task in (reading, draining, *stream.running.values()):
                task.cancel()

    async def _read(self, frames: AsyncIterator[pb.ExchangeRequest], stream: _Stream) -> None:
        try:
            async for frame in frames:
                for number in frame.cancelled:
                    if task := stream.running.get(number):
                        task.cancel()
                for call in frame.calls:
                    # Before each: one frame of a stranger may hold a hundred thousand.
                    while len(stream.running) >= _MOST_UNDER_WAY:
                        stream.room.clear()
                        await stream.room.wait()
                    self._start(call, stream)
        finally:
            stream.ended = True
            stream.changed.set()

    async def _tell_on_drain(self, stream: _Stream) -> None:
        await self._draining.wait()
        stream.tell_draining = True
        stream.changed.set()

    def _start(self, call: pb.Call, stream: _Stream) -> None:
        if call.id in stream.running:
            code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
            stream.ready.append(pb.Answer(id=call.id, code=code, details="The id is under way"))
            stream.changed.set()
            return
        ends_at_s = time.monotonic() + call.timeout_ms / 1000
        task = asyncio.create_task(self._answer(call, ends_at_s, stream))
        stream.running[call.id] = task

        def ended(_: asyncio.Task[None]) -> None:
            del stream.running[call.id]
            stream.room.set()
            stream.changed.set()

        task.add_done_callback(ended)

    async def _answer(self, call: pb.Call, ends_at_s: float, stream: _Stream) -> None:
        metadata = _read_metadata(call.metadata)
        context = CallContext(metadata=metadata, ends_at_s=ends_at_s)
        answer = pb.Answer(id=call.id)
        try:
            async with asyncio.timeout(max(0.0, ends_at_s - time.monotonic())):
                answer.response = await self._served(call, context)
        except _Aborted as aborted:
            answer.code, answer.details = aborted.code.value[0], aborted.details
        except TimeoutError:
            answer.code = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
        except Exception as problem:  # noqa: BLE001 - its text stays here
            _log.error("framed_call_failed", method=call.method, exc_info=problem)
            answer.code = grpc.StatusCode.UNKNOWN.value[0]
        add_metadata(to=answer.initial, metadata=context.initial)
        add_metadata(to=answer.trailing, metadata=context.trailing)
        stream.ready.append(answer)

    async def _served(self, call: pb.Call, context: CallContext) -> bytes:
        handler = self._wrapped.get(call.method)
        if handler is None:
            handler = await self._intercept(self._found, _Details(method=call.method))
            if handler is None:
                raise _Aborted(code=grpc.StatusCode.UNIMPLEMENTED, details="Method not found!")
            self._wrapped[call.method] = handler
        request = handler.request_deserializer(call.request)
        response = await handler.unary_unary(request, context)
        written: bytes = handler.response_serializer(response)
        return written

    async def _found(self, details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(details.method)


def add_metadata(*, to: Any, metadata: Iterable[tuple[str, str | bytes]]) -> None:
    """Add `metadata` to a list of a frame."""
    for key, value in metadata:
        to.add(key=key, value=as_bytes(value=value))


def as_bytes(*, value: str | bytes) -> bytes:
    """Return the value of an entry as a frame carries it.

    :raises UnicodeEncodeError: it is text that is not ASCII.
    """
    return value.encode("ascii") if isinstance(value, str) else value


def _read_metadata(found: Iterable[pb.Metadatum]) -> Metadata:
    return tuple((one.key, read_value(one)) for one in found)


def read_value(one: pb.Metadatum) -> str | bytes:
    """Return the value of an entry: bytes where its key says so, else text."""
    return one.value if one.key.endswith("-bin") else one.value.decode("ascii", "replace")
