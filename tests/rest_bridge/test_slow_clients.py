"""Clients that are slow on purpose, and good ones beside them.

| the client | is closed | and hears |
|---|---|---|
| sends nothing | after 4.5 s | nothing |
| sends its head byte by byte, or empty lines | 4.5 s after the first byte | 408 |
| sends its body, whole or in chunks, byte by byte | 4.5 s after the first byte | 408 |
| does not read its answer | 4.5 s after the last 32 KiB it took | |
| is idle between two requests | after 75 s | nothing |

A clock that is moved by hand tells the rules; real sockets and real time show all at once.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from payments.gateway.v1 import gateway_service_pb2 as gateway
from rest_bridge.connection import IDLE_S, RECEIVE_S
from tests.rest_bridge.fakes import BEARER, Stage, served
from tests.rest_bridge.wire import PATIENCE_S, POST, Heard, connected, heard, post

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
SCRIPT = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"  # 1.5 MB
HEADS = [b"GET /livez HTTP/1.1\r\nHost: x", b"\r\n\r\n\r\n", b"G", b"GET / HTTP/1.1\r\nA: "]


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def by_hand(*, budget_s: float = 5.0) -> AsyncIterator[tuple[Stage, Hand]]:
    hand = Hand()
    async with served(timer=hand, budget_s=budget_s) as stage, asyncio.timeout(PATIENCE_S):
        yield stage, hand


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 # nobody tells what happens inside a connection
        await asyncio.sleep(0.005)


def closed(stage: Stage, reason: str) -> int:
    return stage.running.counts.values["connections_closed", reason]


def only(stage: Stage) -> object:
    (connection,) = stage.running.server.connections
    return connection


async def moved(stage: Stage, hand: Hand, *, seconds: float) -> int:
    """Move the clock and return how many connections are closed for it."""
    hand.now_s += seconds
    return await stage.running.server.sweep_once()


async def test_a_silent_connection_is_closed_without_a_word() -> None:
    async with by_hand() as (stage, hand), connected(stage.address) as (reader, _):
        await until(lambda: bool(stage.running.server.connections))
        assert await moved(stage, hand, seconds=RECEIVE_S - 0.1) == 0
        assert await moved(stage, hand, seconds=0.2) == 1
        assert await reader.read() == b""
        assert closed(stage, "silent") == 1


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("before", [b"", LIVEZ], ids=["first request", "second request"])
async def test_a_head_that_drips_is_refused_and_no_byte_renews_its_time(
    head: bytes, before: bytes
) -> None:
    async with by_hand() as (stage, hand), connected(stage.address) as (reader, writer):
        if before:
            writer.write(before)
            assert await heard(reader) is not None
        for number in range(len(head)):
            writer.write(head[number : number + 1])
            await until(lambda seen=number: getattr(only(stage), "_head_bytes", 0) > seen)  # type: ignore[misc]
            assert await moved(stage, hand, seconds=(RECEIVE_S - 0.1) / len(head)) == 0
        assert await moved(stage, hand, seconds=0.2) == 1
        answer = await heard(reader)
        assert answer is not None
        assert answer.status == 408
        assert answer.error["code"] == "BAD_REQUEST"
        assert await reader.read() == b""
        assert closed(stage, "slow_head") == 1
        assert stage.gateway.requests == []


async def test_a_request_that_arrives_in_time_is_served_and_the_time_starts_anew() -> None:
    async with by_hand() as (stage, hand), connected(stage.address) as (reader, writer):
        for _ in range(3):
            writer.write(LIVEZ[:10])
            await until(lambda: getattr(only(stage), "_head_bytes", 0) == 10)
            assert await moved(stage, hand, seconds=RECEIVE_S - 0.1) == 0
            writer.write(LIVEZ[10:])
            answer = await heard(reader)
            assert answer is not None
            assert answer.status == 200
            await until(lambda: getattr(only(stage), "_waiter", None) is not None)


async def test_head_and_body_share_one_time() -> None:
    async with by_hand(budget_s=600) as (stage, hand), connected(stage.address) as (reader, writer):
        writer.write(POST)
        await until(lambda: getattr(only(stage), "_head_bytes", 0) == len(POST))
        assert await moved(stage, hand, seconds=RECEIVE_S - 0.1) == 0
        writer.write(b"Content-Length: 100\r\n\r\n{")
        answer = await heard(reader)
        assert answer is not None
        assert answer.status == 408
        assert stage.running.counts.values["refused", "slow_body"] == 1


async def test_an_answer_that_is_not_read_is_thrown_away() -> None:
    async with by_hand() as (stage, hand), connected(stage.address) as (_, writer):
        writer.write(SCRIPT * 4)
        await until(lambda: unsent(stage) > 0)
        assert await moved(stage, hand, seconds=0) == 0
        assert await moved(stage, hand, seconds=RECEIVE_S - 0.1) == 0
        assert await moved(stage, hand, seconds=0.2) == 1
        assert closed(stage, "answer_not_read") == 1
        await until(lambda: not stage.running.server.connections)


async def test_an_unread_answer_costs_little_memory() -> None:
    async with by_hand() as (stage, _), connected(stage.address) as (_, writer):
        writer.write(SCRIPT * 4)
        await until(lambda: unsent(stage) > 0)
        assert unsent(stage) <= 256 * 1024, "the next part waits until this one was taken away"


async def test_an_answer_that_is_read_slowly_arrives() -> None:
    async with by_hand() as (stage, hand), connected(stage.address) as (reader, writer):
        writer.write(SCRIPT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        size = 0
        while part := await reader.read(1 << 18):
            size += len(part)
            await stage.running.server.sweep_once()
            hand.now_s += RECEIVE_S / 4
        assert size > 1_000_000
        assert closed(stage, "answer_not_read") == 0


async def test_an_idle_connection_stays_open_for_a_while() -> None:
    async with by_hand() as (stage, hand), connected(stage.address) as (reader, writer):
        writer.write(LIVEZ)
        assert await heard(reader) is not None
        await until(lambda: getattr(only(stage), "_waiter", None) is not None)
        assert await moved(stage, hand, seconds=IDLE_S - 0.1) == 0
        assert await moved(stage, hand, seconds=0.2) == 1
        assert await reader.read() == b""
        assert closed(stage, "idle") == 1


def unsent(stage: Stage) -> int:
    """Return how many bytes of answers wait in the bridge."""
    return sum(
        connection.transport.get_write_buffer_size()
        for connection in stage.running.server.connections
        if connection.transport is not None
    )


# Real sockets, real time: each form, five attackers of each, good clients beside them.

CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = POST + b"Content-Length: 1000\r\n\r\n"
FORMS = {
    "silent": (b"", b""),
    "head": (b"", b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * 1000),
    "empty lines": (b"", b"\r\n" * 1000),
    "second head": (LIVEZ, b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * 1000),
    "body": (LENGTH, b"{" + b" " * 1000),
    "chunk": (CHUNKED + b"3e8\r\n", b"{" + b" " * 1000),
    "chunk by chunk": (CHUNKED, b"1\r\n \r\n" * 1000),
    "chunk size": (CHUNKED, b"0" * 1000),
    "extension": (CHUNKED + b"1;", b"a" * 1000),
    "trailer": (CHUNKED + b"0\r\na: ", b"b" * 1000),
    "unread refusal": (LENGTH.replace(b"1000", b"1000000"), b" " * 1000),
}


async def attack(stage: Stage, first: bytes, drip: bytes) -> float:
    """Send `first`, then `drip` byte by byte; return after how long the bridge closed."""
    async with connected(stage.address) as (reader, writer):
        started_s = time.monotonic()
        writer.write(first)

        async def dripping() -> None:
            for byte in drip:
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.1)

        task = asyncio.create_task(dripping())
        try:
            while await reader.read(1 << 16):
                pass
        except ConnectionError:
            pass
        finally:
            task.cancel()
            await asyncio.wait((task,))
        return time.monotonic() - started_s


async def ignore_answers(stage: Stage) -> float:
    """Ask for much, read nothing; return after how long the bridge closed."""
    before = closed(stage, "answer_not_read")
    async with connected(stage.address) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        started_s = time.monotonic()
        writer.write(SCRIPT * 8)
        await until(lambda: closed(stage, "answer_not_read") > before)
        return time.monotonic() - started_s


async def good_client(stage: Stage, stop: asyncio.Event) -> list[int]:
    """Ask and tell until `stop`; return the statuses."""
    statuses = []
    while not stop.is_set():
        async with connected(stage.address) as (reader, writer):
            for number in range(5):
                writer.write(post(b"GOOD%d" % number))
                answer: Heard | None = await heard(reader)
                statuses.append(answer.status if answer else 0)
        url = stage.url("/AMK/payments?query=P123456789")
        async with stage.client.get(url, headers=BEARER) as response:
            statuses.append(response.status)
        await asyncio.sleep(0.02)
    return statuses


async def test_every_form_of_slowness_is_closed_while_good_clients_pass(
    stage: Stage,
) -> None:
    stop = asyncio.Event()
    async with asyncio.timeout(4 * PATIENCE_S):
        good = [asyncio.create_task(good_client(stage, stop)) for _ in range(3)]
        names = [name for name in FORMS for _ in range(5)]
        slow = [attack(stage, *FORMS[name]) for name in names]
        deaf = [ignore_answers(stage) for _ in range(5)]
        took = await asyncio.gather(*slow, *deaf)
        stop.set()
        statuses = [one for client in await asyncio.gather(*good) for one in client]
    assert set(statuses) == {200}
    assert len(statuses) > 100
    by_form = dict(zip([*names, *["unread"] * 5], took, strict=True))
    assert max(took) < PATIENCE_S, by_form  # a bound against hanging
    assert {
        one.bank_transaction_id[:4]
        for one in stage.gateway.requests
        if isinstance(one, gateway.ConfirmPaymentRequest)
    } == {"GOOD"}
