"""What is refused before a request is made of it, and what goes the long way.

There is no room, and others wait already.

| a request | is answered | on |
|---|---|---|
| whole, alone on its connection | 503, byte for byte as on the long way | the short way |
| the same, again and again on one connection | 503 each | the short way |
| whose body is not here yet | 503 | the long way |
| together with another, or behind it | in its turn | the long way |
| that ends its connection (`close`, HTTP/1.0, chunks) | 503, then the end | the long way |
| of an address that may not call | 403 | the long way |
| of a path or method there is not | 404, 405 | the long way |
| of an operator | 503, or 403 by its address | the long way |
| that a trace must tell of | 503 | the long way |

Once there is room the same connection is served.
"""

import asyncio
import re
from collections.abc import Callable

import pytest

from rest_bridge.peers import Peers, networks
from rest_bridge.shedding import sheds_nothing
from tests.rest_bridge.crowd import Crowd, crowd
from tests.rest_bridge.wire import POST, TOKEN, connected, heard, post

READ = b"GET /AMK/payments?query=P1 HTTP/1.1\r\nHost: x\r\n" + TOKEN
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n"
# what goes the long way, though it stands alone: its bytes, its status, whether it is the last
LONG: list[tuple[bytes, int, bool]] = [
    (READ + b"Connection: close\r\n\r\n", 503, True),
    (READ.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n", 503, True),
    (POST + _CHUNKED, 503, True),
    (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404, False),
    (b"DELETE /AMK/payments HTTP/1.1\r\nHost: x\r\n\r\n", 405, False),
    (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", 200, False),
    (b"GET /ops/today HTTP/1.1\r\nHost: x\r\n" + TOKEN + b"\r\n", 503, False),
]


@pytest.mark.parametrize("request_id", ["", "X-Request-ID: mine-1\r\n"])
@pytest.mark.parametrize("asked", ["read", "webhook"])
async def test_a_refusal_is_the_same_on_both_ways(asked: str, request_id: str) -> None:
    extra = request_id.encode()
    data = post(b"NEW", extra=extra) if asked == "webhook" else READ + extra + b"\r\n"
    async with crowd(make_id=lambda: "made") as found:
        await found.fill()
        shed = found.shed
        short, handled = await _asked(found, data)
        assert handled == 0
        found.stage.running.server._sheds = sheds_nothing
        long, handled = await _asked(found, data)
        assert handled == 1
        assert _without_date(short) == _without_date(long)
        assert short.startswith(b"HTTP/1.1 503 ")
        assert (b"X-Request-ID: mine-1" if extra else b"X-Request-ID: made") in short
        assert sum(found.shed.values()) == sum(shed.values()) + 2
        assert len(found.started) == 4


async def test_one_connection_is_refused_as_often_as_it_asks_and_served_once_there_is_room() -> (
    None
):
    async with crowd() as found:
        await found.fill()
        async with connected(found.stage.address) as (reader, writer):
            before = found.stage.running.server.requests_count
            for _ in range(40):  # ten times what may be pipelined
                writer.write(post(b"LATER"))
                answer = await heard(reader)
                assert answer is not None
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                assert answer.error["code"] == "SERVER_UNAVAILABLE"
            handled = found.stage.running.server.requests_count - before
            assert handled <= 1, "a connection's first is read by its new task"
            await found.statuses()
            writer.write(post(b"LATER") + post(b"ANOTHER"))
            answers = [await heard(reader) for _ in range(2)]
            assert [one.status for one in answers if one] == [200] * 2


async def test_every_refusal_is_counted_with_its_route() -> None:
    async with crowd() as found:
        await found.fill()
        labels = {"method": "POST", "route": "/{bankCode}/payments", "status": "503"}
        numbers = found.stage.running.metrics.registry
        before = numbers.get_sample_value("http_requests_total", labels) or 0
        await _asked(found, post(b"NEW"))
        assert numbers.get_sample_value("http_requests_total", labels) == before + 1


async def test_a_body_that_is_not_here_yet_is_waited_for_by_nobody() -> None:
    async with crowd() as found:
        await found.fill()
        whole = post(b"NEW")
        async with connected(found.stage.address) as (reader, writer):
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await heard(reader) is not None
            before = found.stage.running.server.requests_count
            writer.write(whole[:-10])
            answer = await heard(reader)
            assert answer is not None
            assert answer.status == 503
            assert found.stage.running.server.requests_count == before + 1
            writer.write(whole[-10:] + whole)
            answer = await heard(reader)
            assert answer is not None
            assert answer.status == 503


async def test_what_stands_behind_another_request_is_answered_after_it() -> None:
    async with crowd() as found, connected(found.stage.address) as (reader, writer):
        writer.write(post(b"FIRST"))
        while not found.started:  # noqa: ASYNC110 # over the wire
            await asyncio.sleep(0.002)
        await found.reads(4)
        await found.webhooks(5)
        writer.write(post(b"SECOND"))
        await asyncio.sleep(0.05)
        assert not reader._buffer, "an answer overtook the one before it"  # type: ignore[attr-defined]
        found.let_go.set()
        answers = [await heard(reader) for _ in range(2)]
        assert [one.status for one in answers if one] == [200] * 2


async def test_two_that_come_together_are_both_answered() -> None:
    async with crowd() as found:
        await found.fill()
        answer, handled = await _asked(found, post(b"ONE") + post(b"TWO"), answers=2)
        assert answer.count(b"HTTP/1.1 503 ") == 2
        assert handled == 2


@pytest.mark.parametrize(("data", "status", "is_last"), LONG)
async def test_what_is_not_plain_goes_the_long_way(data: bytes, status: int, is_last: bool) -> None:
    async with crowd() as found:
        await found.fill()
        answer, handled = await _asked(found, data)
        assert handled == 1
        assert answer.startswith(b"HTTP/1.%d %d " % (b"HTTP/1.0" not in data, status))
        assert (b"Connection: close" in answer or b"HTTP/1.0" in data) == is_last


async def test_a_stranger_hears_that_it_may_not_call() -> None:
    peers = Peers(webhook_allow=networks(name="W", text="203.0.113.9"))
    async with crowd(peers=peers) as found:
        await found.reads(5)
        refused, _ = await _asked(found, post(b"NEW"))
        assert refused.startswith(b"HTTP/1.1 403 ")
        shed, _ = await _asked(found, READ + b"\r\n")
        assert shed.startswith(b"HTTP/1.1 503 ")


class _Traces:
    """Hears what a trace is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int | None]] = []

    def request(self, **_: object) -> Callable[[str, int | None], None]:
        return lambda route, status: self.told.append((route, status))

    def headers(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        pass


async def test_a_trace_is_told_of_what_is_refused() -> None:
    traces = _Traces()
    async with crowd(tracing=traces) as found:
        await found.fill()
        _, handled = await _asked(found, post(b"NEW"))
        assert handled == 1
        assert traces.told[-1] == ("/{bankCode}/payments", 503)


async def _asked(found: Crowd, data: bytes, *, answers: int = 1) -> tuple[bytes, int]:
    """Send `data` on a connection that has asked before.

    Return the bytes of the answers, and how many requests went the long way for them.
    """
    async with connected(found.stage.address) as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await heard(reader) is not None
        before = found.stage.running.server.requests_count
        writer.write(data)
        heard_all = b""
        for _ in range(answers):
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"Content-Length: (\d+)", head)
            assert size is not None
            heard_all += head + await reader.readexactly(int(size[1]))
        return heard_all, found.stage.running.server.requests_count - before


def _without_date(answer: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]+", b"Date: -", answer)
