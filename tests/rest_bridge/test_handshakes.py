"""TLS: who does not shake hands in time is gone, and the rules of a connection hold inside.

| the client | then |
|---|---|
| opens a connection and says nothing, or half a greeting | it is closed |
| shakes hands and asks | it is served |
| shakes hands and sends what is ambiguous | it is refused and closed |
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohttp import web

from chassis.settings import Address
from rest_bridge.server import Site
from tests.rest_bridge.corpus import SECOND
from tests.rest_bridge.fakes import Stage
from tests.rest_bridge.wire import PATIENCE_S, answers_until_closed, post

GREETING = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the begin of a ClientHello


@asynccontextmanager
async def listening(stage: Stage) -> AsyncIterator[tuple[Address, ssl.SSLContext]]:
    """Listen with TLS before the bridge of `stage`."""
    authority = trustme.CA()
    inside, outside = (
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        ssl.create_default_context(),
    )
    authority.issue_cert("127.0.0.1").configure_cert(inside)
    authority.configure_trust(outside)
    runner = web.ServerRunner(stage.running.server)
    await runner.setup()
    await Site(runner, "127.0.0.1", 0, ssl_context=inside, handshake_s=0.2).start()
    try:
        host, port = runner.addresses[0][:2]
        yield Address(host=host, port=port), outside
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("said", [b"", GREETING])
async def test_who_does_not_shake_hands_is_gone(stage: Stage, said: bytes) -> None:
    async with asyncio.timeout(PATIENCE_S), listening(stage) as (address, _):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(said)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    ("data", "statuses", "calls"),
    [
        (post(b"FIRST") + post(b"SECOND", extra=b"Connection: close\r\n"), [200, 200], 2),
        (b"GET /livez HTTP/1.1\r\nHost: a@b\r\n\r\n" + SECOND, [400], 0),
    ],
)
async def test_inside_the_same_rules_hold(
    stage: Stage, data: bytes, statuses: list[int], calls: int
) -> None:
    async with asyncio.timeout(PATIENCE_S), listening(stage) as (address, trust):
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=trust)
        writer.write(data)
        answers = await answers_until_closed(reader)
        assert [answer.status for answer in answers] == statuses
        assert len(stage.gateway.requests) == calls
        writer.close()
