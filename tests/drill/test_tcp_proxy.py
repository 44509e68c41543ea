"""The proxy spoils a link as it is told.

| told | what the client sees |
|------|----------------------|
| nothing | every byte, both ways |
| a delay | the answer, later |
| to swallow | silence, then an end once it is cleared |
| to cut after n bytes | n bytes, then an end |
| to cut | an end |
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.drill.tcp_proxy import TcpProxy

_LIMIT_S = 10


@asynccontextmanager
async def _echo_behind_a_proxy() -> AsyncIterator[TcpProxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = TcpProxy(name="echo", target_port=server.sockets[0].getsockname()[1])
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
        server.close()


@asynccontextmanager
async def _connected(
    proxy: TcpProxy,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)  # an aborted transport lets go a turn of the loop later


async def _said(reader: asyncio.StreamReader) -> bytes:
    """Return everything until the end, however it ends."""
    found = b""
    try:
        async with asyncio.timeout(_LIMIT_S):
            while data := await reader.read(1000):
                found += data
    except ConnectionError:
        pass
    return found


async def test_bytes_travel_both_ways() -> None:
    async with _echo_behind_a_proxy() as proxy, _connected(proxy) as (reader, writer):
        proxy.weather.delay_s = 0.01
        writer.write(b"hello")
        writer.write_eof()
        assert await _said(reader) == b"hello"


async def test_what_is_swallowed_never_arrives_and_clearing_ends_the_connection() -> None:
    async with _echo_behind_a_proxy() as proxy, _connected(proxy) as (reader, writer):
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        proxy.swallow()
        writer.write(b"two")
        answer = asyncio.create_task(_said(reader))
        await asyncio.sleep(0.1)
        assert not answer.done()
        proxy.clear()
        assert await answer == b""


async def test_an_answer_is_cut_after_so_many_bytes() -> None:
    async with _echo_behind_a_proxy() as proxy, _connected(proxy) as (reader, writer):
        proxy.weather.cut_after_bytes = 4
        writer.write(b"hello")
        assert await _said(reader) in {b"hell", b""}  # a reset may overtake the bytes


async def test_a_cut_ends_every_connection() -> None:
    async with _echo_behind_a_proxy() as proxy, _connected(proxy) as (reader, writer):
        writer.write(b"hello")
        await reader.readexactly(5)
        assert proxy.cut() == 2  # the client's end and the server's
        assert await _said(reader) == b""
