"""The calling end: unary calls that are made while others are under way travel together.

`FrameChannel.unary_unary` gives what a grpc.aio channel's does. Nothing waits for company that is
not there: the first call of a quiet moment leaves at once, alone; those that come while others are
under way are the next frame, a few milliseconds later at most (`Apart`). A server that lacks the
service is called in the plain way for a while. A stream that is lost takes its calls with it, as a
lost connection does: UNAVAILABLE, and whether they were carried out is unknown.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import grpc
from google.protobuf.message import Message

from chassis.frame_server import read_value
from chassis.frame_stream import Apart, FrameStream, Lacking, Lost
from payments.frames.v1 import frame_service_pb2 as pb
from payments.frames.v1 import frame_service_pb2_grpc

_GRPCS_OWN = "/grpc."  # health, reflection
_PLAIN_FOR_S = 60.0  # how long a server that lacks the service is called in the plain way
_LONGEST_S = 60.0  # of a stream: the next one may meet another replica
_DOUBLE_S = 5.0  # of one to a replica that another goes to: there may be one without any
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

Metadata = Sequence[tuple[str, str | bytes]]
_Answered = tuple[Any, Metadata]  # response and initial metadata


@dataclass(frozen=True, kw_only=True)
class _Method:
    path: str
    plain: Callable[..., Any]
    serialize: Callable[[Message], bytes]
    deserialize: Callable[[bytes], Any]


class FrameCall:
    """One call, as grpc.aio's own: awaited for its response, asked for its metadata."""

    def __init__(
        self,
        *,
        answer: "asyncio.Future[pb.Answer]",
        deserialize: Callable[[bytes], Any],
        lacking: Callable[[], Any],
    ) -> None:
        """Wait for `answer`; `lacking` calls a server that has no frames in the plain way."""
        self._answer = answer
        self._deserialize = deserialize
        self._lacking = lacking
        self._plain: Any = None
        self._known: _Answered | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        """Return the response.

        :raises AioRpcError: the call ended with a status other than OK.
        """
        if self._known is None:
            self._known = yield from self._heard()
        return self._known[0]

    async def initial_metadata(self) -> Metadata:
        """Return what came before the answer."""
        if self._known is None:
            await self
        assert self._known is not None  # noqa: S101 - else awaiting has raised
        return self._known[1]

    def cancel(self) -> bool:
        """Stop waiting, and tell the server so."""
        return bool(self._plain.cancel() if self._plain is not None else self._answer.cancel())

    def _heard(self) -> Generator[Any, None, _Answered]:
        """Walk to the answer; a generator, as each coroutine on the way is resumed twice."""
        try:
            answer = yield from self._answer  # whoever awaits us and leaves cancels it
        except Lacking:
            if self._plain is None:
                self._plain = self._lacking()
            response = yield from self._plain.__await__()
            return response, (yield from self._plain.initial_metadata().__await__())
        except TimeoutError:
            raise _failed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None
        except Lost as lost:
            raise _failed(lost.code, lost.details) from None
        initial = _read(answer.initial)
        if answer.code:
            code = _CODES.get(answer.code, grpc.StatusCode.UNKNOWN)
            raise _failed(code, answer.details, initial, _read(answer.trailing))
        return self._deserialize(answer.response), initial


class FrameChannel(grpc.aio.Channel):
    """Calls the servers behind `channel` in frames, over `streams` streams at most.

    A stream stays with one replica, so several of them share the load of several replicas: where
    two have come to the same one, the later is soon opened anew. A quiet caller uses one.
    Other methods than those of contracts (health) are called in the plain
    way. `clock` gives monotonic seconds; once `generation` gives another object, streams opened
    before are ended.
    """

    def __init__(
        self,
        *,
        channel: grpc.aio.Channel,
        streams: int = 1,
        generation: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        apart: Apart = Apart(),  # noqa: B008 # frozen
    ) -> None:
        self._apart = apart
        self._channel = channel
        self._generation = generation
        self._clock = clock
        self._exchange = frame_service_pb2_grpc.FrameServiceStub(channel).Exchange
        self._streams: list[FrameStream | None] = [None] * streams
        self._generations: list[object] = [None] * streams
        self._plain_until_s = 0.0
        self._parting: set[asyncio.Task[None]] = set()

    def unary_unary(  # type: ignore[override] # as generated code calls it
        self,
        method: str,
        request_serializer: Callable[[Message], bytes],
        response_deserializer: Callable[[bytes], Any],
        **_: Any,  # generated code says that its methods are registered
    ) -> Callable[..., Any]:
        """Return what calls `method`, with the arguments `timeout` and `metadata`."""
        plain: Callable[..., Any] = self._channel.unary_unary(
            method,
            request_serializer=request_serializer,
            response_deserializer=response_deserializer,
        )
        if method.startswith(_GRPCS_OWN):
            return plain
        known = _Method(
            path=method,
            plain=plain,
            serialize=request_serializer,
            deserialize=response_deserializer,
        )

        def call(request: Message, *, timeout: float, metadata: Metadata = ()) -> Any:
            if self._clock() < self._plain_until_s:
                return known.plain(request, timeout=timeout, metadata=metadata)
            return self._begin(known, request, self._clock() + timeout, metadata)

        return call

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """Return a method that is called in the plain way."""
        return self._channel.unary_stream(*arguments, **options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        """Return a method that is called in the plain way."""
        return self._channel.stream_unary(*arguments, **options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """Return a method that is called in the plain way."""
        return self._channel.stream_stream(*arguments, **options)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - grpc's form
        """Return the state of the channel beneath."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait for the channel beneath to leave a state."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the channel beneath is connected."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_problem: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """End the streams and close the channel; calls under way fail."""
        for stream in self._streams:
            if stream is not None:
                await stream.close()
        for parting in self._parting:
            parting.cancel()
        await self._channel.close(grace)

    def _begin(
        self, method: _Method, request: Message, ends_at_s: float, metadata: Metadata
    ) -> FrameCall:
        def lacking() -> Any:
            self._plain_until_s = self._clock() + _PLAIN_FOR_S
            left_s = max(0.001, ends_at_s - self._clock())
            return method.plain(request, timeout=left_s, metadata=metadata)

        answer = self._stream().begin(
            method=method.path,
            request=method.serialize(request),
            metadata=metadata,
            ends_at_s=ends_at_s,
        )
        return FrameCall(answer=answer, deserialize=method.deserialize, lacking=lacking)

    def _stream(self) -> FrameStream:
        """Return the stream with the least under way; a quiet one before one not yet opened."""
        found, place = None, 0
        for index, stream in enumerate(self._streams):
            if stream is not None and not self._is_good(stream, index):
                self._part_from(stream)
                stream = self._streams[index] = None  # noqa: PLW2901 - its place is free
            if stream is None:
                if found is None or found.under_way:
                    found, place = None, index
                    break
            elif found is None or stream.under_way < found.under_way:
                found, place = stream, index
        if found is None:
            found = FrameStream(exchange=self._exchange, clock=self._clock, apart=self._apart)
            self._streams[place] = found
            self._generations[place] = self._generation()
        return found

    def _is_double(self, stream: FrameStream, index: int) -> bool:
        """Whether an earlier stream goes to the same replica."""
        return stream.server is not None and any(
            earlier is not None and earlier.server == stream.server
            for earlier in self._streams[:index]
        )

    def _is_good(self, stream: FrameStream, index: int) -> bool:
        longest_s = _DOUBLE_S if self._is_double(stream, index) else _LONGEST_S
        return (
            not stream.ended
            and self._clock() - stream.opened_s < longest_s
            and self._generations[index] is self._generation()
        )

    def _part_from(self, stream: FrameStream) -> None:
        parting = asyncio.get_running_loop().create_task(stream.part())
        self._parting.add(parting)
        parting.add_done_callback(self._parting.discard)


def _failed(
    code: grpc.StatusCode, details: str, initial: Metadata = (), trailing: Metadata = ()
) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        code,
        initial_metadata=grpc.aio.Metadata(*initial),
        trailing_metadata=grpc.aio.Metadata(*trailing),
        details=details,
    )


def _read(found: Iterable[pb.Metadatum]) -> Metadata:
    return tuple((one.key, read_value(one)) for one in found)
