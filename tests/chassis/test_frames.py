"""Calls in frames are what unary calls are.

| a call | over a stream of frames |
|--------|--------------------------|
| is answered | with its response and initial metadata |
| is refused by the servicer | with its code, text and trailing metadata (binary too) |
| breaks the servicer | UNKNOWN, with no word of the inside |
| names no method | UNIMPLEMENTED |
| runs out of time | DEADLINE_EXCEEDED here, and is cancelled there |
| is left by its caller | cancelled there |
| cannot be written | fails at once, alone |
| is slow | holds back no other, of the same frame or a later one |
| meets a server without frames | is made in the plain way |
| meets a stream that breaks | UNAVAILABLE; the next call opens another |
| meets a server that leaves | is answered; the next goes elsewhere |
| many at once | travel in few frames, each with its own answer |
| comes while others are under way | waits for a moment, for those that come in it |
| comes alone | never waits |
| beside others, to several replicas | streams that came to one replica spread over all |
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from chassis.frame_channel import FrameChannel
from chassis.frame_server import FrameServicer
from chassis.frame_stream import Apart
from payments.frames.v1 import frame_service_pb2 as pb
from payments.frames.v1 import frame_service_pb2_grpc

_METHOD = "/test.Echo/Say"
_TIMEOUT_S = 5.0
_AT_ONCE = Apart(each_s=0.0)

Serve = Callable[[Any, Any], Awaitable[Any]]


async def _continue(
    continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
    details: grpc.HandlerCallDetails,
) -> Any:
    return await continuation(details)


@dataclass
class _World:
    """A server that serves one method in frames and in the plain way, and a channel to it."""

    server: grpc.aio.Server
    frames: FrameServicer
    channel: FrameChannel
    port: int
    say: Any = None

    async def ask(self, text: str, *, within_s: float = _TIMEOUT_S, **metadata: str) -> str:
        request = health_pb2.HealthCheckRequest(service=text)
        answer = await self.say(request, timeout=within_s, metadata=tuple(metadata.items()))
        return str(answer.service)


def _method(channel: Any, path: str = _METHOD) -> Any:
    return channel.unary_unary(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=health_pb2.HealthCheckRequest.FromString,
    )


@asynccontextmanager
async def _world(
    serve: Serve, *, with_frames: bool = True, name: str = "one", apart: Apart = _AT_ONCE
) -> AsyncIterator[_World]:
    handler: Any = grpc.unary_unary_rpc_method_handler(
        serve,
        request_deserializer=health_pb2.HealthCheckRequest.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Echo", {"Say": handler}),)
    )
    frames = FrameServicer(handlers={_METHOD: handler}, intercept=_continue, name=name)
    if with_frames:
        frame_service_pb2_grpc.add_FrameServiceServicer_to_server(frames, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    plain = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    channel = FrameChannel(channel=plain, apart=apart)
    world = _World(server=server, frames=frames, channel=channel, port=port)
    world.say = _method(channel)
    try:
        yield world
    finally:
        await channel.close()
        await server.stop(None)


async def _echo(request: Any, context: Any) -> Any:
    await context.send_initial_metadata((("seen", "yes"),))
    return request


async def test_a_call_that_cannot_be_written_fails_alone() -> None:
    async with _world(_echo) as world:
        beside = asyncio.ensure_future(world.ask("beside"))
        with pytest.raises(UnicodeEncodeError):
            await world.ask("broken", word="\u1780")
        assert await beside == "beside"
        assert await world.ask("after") == "after"


async def test_a_call_is_answered_with_its_metadata() -> None:
    async with _world(_echo) as world:
        call = world.say(health_pb2.HealthCheckRequest(service="hello"), timeout=5)
        assert (await call).service == "hello"
        assert tuple(await call.initial_metadata()) == (("seen", "yes"),)


async def test_the_servicer_sees_what_the_caller_sent() -> None:
    seen: dict[str, Any] = {}

    async def serve(request: Any, context: Any) -> Any:
        seen["metadata"] = dict(context.invocation_metadata())
        seen["left_s"] = context.time_remaining()
        return request

    async with _world(serve) as world:
        await world.ask("hello", within_s=3, authorization="Bearer x")
    assert seen["metadata"] == {"authorization": "Bearer x"}
    assert 2 < seen["left_s"] <= 3


async def test_a_refusal_keeps_its_code_text_and_trailing_metadata() -> None:
    async def serve(request: Any, context: Any) -> Any:
        del request
        await context.abort(
            grpc.StatusCode.NOT_FOUND, "no such bill", (("reason-bin", b"\x00\xff"), ("a", "b"))
        )

    async with _world(serve) as world:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.ask("hello")
    error = refused.value
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such bill")
    assert tuple(error.trailing_metadata() or ()) == (("reason-bin", b"\x00\xff"), ("a", "b"))


async def test_a_broken_servicer_tells_nothing_of_itself() -> None:
    async def serve(*_: Any) -> Any:
        raise RuntimeError("the inside")

    async with _world(serve) as world:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await world.ask("hello")
    assert failed.value.code() is grpc.StatusCode.UNKNOWN
    assert "inside" not in str(failed.value.details())


async def test_a_method_that_is_not_there_is_unimplemented_and_others_stay_framed() -> None:
    async with _world(_echo) as world:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await _method(world.channel, "/test.Echo/None")(
                health_pb2.HealthCheckRequest(), timeout=5
            )
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert world.channel._plain_until_s == 0
        assert await world.ask("hello") == "hello"


class _Held:
    """A servicer that answers `quick` at once and holds everything else."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.quick = 0

    async def __call__(self, request: Any, _: Any) -> Any:
        if request.service == "quick":
            self.quick += 1
            return request
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - a stream has no event for a test to wait for
            await asyncio.sleep(0.01)


async def test_a_call_out_of_time_is_told_so_here_and_ended_there() -> None:
    held = _Held()
    async with _world(held) as world:
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await world.ask("slow", within_s=0.2)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(held.cancelled.wait(), 5)


async def test_a_call_that_its_caller_left_is_cancelled_there() -> None:
    held = _Held()
    async with _world(held) as world:
        asking = asyncio.create_task(world.ask("slow"))
        await held.started.wait()
        asking.cancel()
        await asyncio.wait_for(held.cancelled.wait(), 5)
        assert await world.ask("quick") == "quick"
        assert world.channel._streams[0] is not None
        assert world.channel._streams[0].under_way == 0


async def test_a_slow_call_holds_back_no_other() -> None:
    held = _Held()
    async with _world(held) as world:
        slow = [asyncio.create_task(world.ask("slow")) for _ in range(100)]
        assert await asyncio.gather(*(world.ask("quick") for _ in range(50))) == ["quick"] * 50
        held.release.set()
        assert await asyncio.gather(*slow) == ["slow"] * 100


async def test_many_at_once_each_get_their_own_answer() -> None:
    async with _world(_echo) as world:
        texts = [f"call {number}" for number in range(3000)]
        assert await asyncio.gather(*map(world.ask, texts)) == texts


def _sizes_of_frames(world: _World) -> list[int]:
    """Return what will hold how many calls each frame has that is written from now on."""
    stream = world.channel._streams[0]
    assert stream is not None
    sizes: list[int] = []
    write = stream._rpc.write

    async def counted(frame: Any) -> None:
        sizes.append(len(frame.calls))
        await write(frame)

    stream._rpc.write = counted
    return sizes


async def test_what_comes_while_a_frame_is_on_its_way_is_the_next_frame() -> None:
    async with _world(_echo) as world:
        await world.ask("first")  # the stream is open
        sizes = _sizes_of_frames(world)
        await asyncio.gather(*(world.ask(str(number)) for number in range(100)))
    assert sum(sizes) == 100
    assert max(sizes) == 64
    assert len(sizes) < 20


async def test_what_comes_one_by_one_while_others_are_under_way_travels_together() -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def serve(request: Any, _context: Any) -> Any:
        if request.service == "held":
            arrived.set()
            await release.wait()
        return request

    async with _world(serve, apart=Apart(each_s=1.0, most_s=1.0)) as world:
        held = asyncio.ensure_future(world.ask("held"))
        await arrived.wait()
        sizes = _sizes_of_frames(world)
        asked = []
        for number in range(5):
            asked.append(asyncio.ensure_future(world.ask(str(number))))
            await asyncio.sleep(0.01)  # each is seen by the writer before the next comes
        assert await asyncio.gather(*asked) == ["0", "1", "2", "3", "4"]
        release.set()
        await held
    assert sizes == [5]


async def test_one_caller_alone_never_waits_for_company() -> None:
    async with _world(_echo, apart=Apart(each_s=60.0, most_s=60.0)) as world:
        for number in range(20):
            assert await world.ask(str(number)) == str(number)


async def test_a_large_message_travels_alone() -> None:
    async with _world(_echo) as world:
        large = "x" * 300_000
        assert await asyncio.gather(*(world.ask(large) for _ in range(3))) == [large] * 3


async def test_a_server_without_frames_is_called_in_the_plain_way() -> None:
    async with _world(_echo, with_frames=False) as world:
        assert await asyncio.gather(*(world.ask(str(n)) for n in range(20))) == [
            str(n) for n in range(20)
        ]
        assert world.channel._plain_until_s > 0
        assert await world.ask("again") == "again"


async def test_calls_that_come_while_frames_are_being_refused_are_made_all_the_same() -> None:
    async with _world(_echo, with_frames=False) as world:

        async def ask_later(number: int) -> str:
            await asyncio.sleep(number * 0.0001)
            return await world.ask(str(number))

        for _ in range(5):
            world.channel._plain_until_s = 0
            assert len(set(await asyncio.gather(*map(ask_later, range(200))))) == 200


async def test_a_broken_stream_fails_its_calls_and_the_next_opens_another() -> None:
    held = _Held()
    async with _world(held) as world:
        asking = asyncio.create_task(world.ask("slow"))
        await held.started.wait()
        stream = world.channel._streams[0]
        assert stream is not None
        stream._rpc.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as lost:
            await asking
        assert lost.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert await world.ask("quick") == "quick"


async def test_nobody_listening_is_unavailable() -> None:
    channel = FrameChannel(channel=grpc.aio.insecure_channel("127.0.0.1:1"))
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await _method(channel)(health_pb2.HealthCheckRequest(), timeout=5)
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    await channel.close()


async def test_a_server_that_leaves_answers_what_it_took_and_gets_no_more() -> None:
    held = _Held()
    async with _world(held) as world:
        asking = asyncio.create_task(world.ask("slow"))
        await held.started.wait()
        old = world.channel._streams[0]
        assert old is not None
        world.frames.drain()
        await _until(lambda: old.ended)
        held.release.set()
        assert await asking == "slow"
        await asyncio.wait_for(asyncio.wait(old._tasks), 5)


async def test_more_than_can_be_under_way_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chassis.frame_stream._MOST_UNDER_WAY", 10)
    held = _Held()
    async with _world(held) as world:
        asking = [asyncio.create_task(world.ask("slow")) for _ in range(10)]
        await held.started.wait()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.ask("quick")
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.release.set()
        await asyncio.gather(*asking)


async def test_a_server_with_enough_under_way_starts_no_more_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chassis.frame_server._MOST_UNDER_WAY", 8)
    under_way, most = 0, 0

    async def serve(request: Any, _: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1
        return request

    async with _world(serve) as world:
        texts = [f"call {number}" for number in range(300)]
        assert await asyncio.gather(*map(world.ask, texts)) == texts
    assert most == 8


async def test_a_number_that_is_under_way_already_starts_no_second_call() -> None:
    held = _Held()
    async with _world(held) as world:
        stub = frame_service_pb2_grpc.FrameServiceStub(
            grpc.aio.insecure_channel(f"127.0.0.1:{world.port}")
        )
        exchange = stub.Exchange()
        slow = health_pb2.HealthCheckRequest(service="slow").SerializeToString()
        call = pb.Call(id=7, method=_METHOD, request=slow, timeout_ms=5000)
        await exchange.write(pb.ExchangeRequest(calls=[call, call]))
        await asyncio.wait_for(held.started.wait(), 5)
        held.release.set()
        await exchange.done_writing()
        answers = [answer async for frame in exchange for answer in frame.answers]
        codes = sorted(answer.code for answer in answers)
        assert codes == [0, grpc.StatusCode.INVALID_ARGUMENT.value[0]]


async def test_several_streams_share_the_calls_and_a_quiet_caller_uses_one() -> None:
    held = _Held()
    async with _world(held) as world:
        channel = FrameChannel(
            channel=grpc.aio.insecure_channel(f"127.0.0.1:{world.port}"), streams=2
        )
        world.say = _method(channel)
        for _ in range(5):
            await world.ask("quick")
        assert [stream is not None for stream in channel._streams] == [True, False]
        asking = [asyncio.create_task(world.ask("slow")) for _ in range(10)]
        await held.started.wait()
        await _until(
            lambda: sum(one.under_way for one in channel._streams if one is not None) == 10
        )
        assert [one.under_way for one in channel._streams if one is not None] == [5, 5]
        held.release.set()
        await asyncio.gather(*asking)
        await channel.close()


def _servers(channel: FrameChannel) -> list[str | None]:
    """Return to which server each stream has come; None where it has not said so yet."""
    return [one.server for one in channel._streams if one is not None]


async def _held_calls(channel: FrameChannel, say: Any, *, count: int) -> list[Any]:
    """Start calls one after the other, each once every stream has come to its server."""
    calls = []
    for _ in range(count):
        calls.append(say(health_pb2.HealthCheckRequest(service="slow"), timeout=_TIMEOUT_S))
        await asyncio.sleep(0)  # it has chosen its stream
        await _until(lambda: None not in _servers(channel))
    return calls


async def test_two_streams_that_came_to_one_replica_spread_over_both() -> None:
    one, two = _Held(), _Held()
    async with (
        _world(one.__call__, name="one") as first,
        _world(two.__call__, name="two") as second,
    ):
        plain = grpc.aio.insecure_channel(
            f"ipv4:127.0.0.1:{first.port},127.0.0.1:{second.port}",
            options=(("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),),
        )
        now_s = 1000.0
        channel = FrameChannel(channel=plain, streams=2, clock=lambda: now_s)
        say, say_plainly = _method(channel), _method(plain)
        quick = health_pb2.HealthCheckRequest(service="quick")
        while not (one.quick and two.quick):  # both are connected
            await say_plainly(quick)
        calls = await _held_calls(channel, say, count=1)
        await say_plainly(quick)  # it takes the other replica's turn
        calls += await _held_calls(channel, say, count=4)
        assert len(set(_servers(channel))) == 1  # not at once: there may be no other
        now_s += 5
        calls += await _held_calls(channel, say, count=1)
        assert set(_servers(channel)) == {"one", "two"}
        for held in (one, two):
            held.release.set()
        await asyncio.gather(*calls)
        await channel.close()


async def test_a_second_stream_to_the_only_replica_is_opened_anew_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, opened, now_s = _Held(), 0, 1000.0
    async with _world(held) as world:
        channel = FrameChannel(
            channel=grpc.aio.insecure_channel(f"127.0.0.1:{world.port}"),
            streams=2,
            clock=lambda: now_s,
        )
        exchange = channel._exchange

        def counted() -> Any:
            nonlocal opened
            opened += 1
            return exchange()

        monkeypatch.setattr(channel, "_exchange", counted)
        calls = await _held_calls(channel, _method(channel), count=5)
        assert opened == 2
        now_s += 5
        calls += await _held_calls(channel, _method(channel), count=5)
        assert opened == 3
        held.release.set()
        await asyncio.gather(*calls)
        await channel.close()
