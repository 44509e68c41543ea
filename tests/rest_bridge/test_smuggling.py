"""Requests that two readers could understand differently, over raw sockets, at once and in pieces.

| what is sent | what happens |
|---|---|
| anything of `REFUSED`, a good notice behind it | one 4xx, the connection closes, no call is made |
| anything of `SERVED` | the calls of the row are made, each once, and nothing else |
| anything of `CLOSING` | the same, or it is refused and no call is made |
| anything of `LAST` | it is served once; what stands behind it is not read as a request |
"""

import asyncio
import gzip
from typing import Any

import pytest

from chassis.settings import Address
from rest_bridge.surface import HEAD_TOO_LONG
from tests.rest_bridge.corpus import (
    CHUNKED,
    CHUNKS,
    CLOSING,
    GET,
    LAST,
    REFUSED,
    SECOND,
    SERVED,
    header,
)
from tests.rest_bridge.fakes import Stage
from tests.rest_bridge.wire import (
    PATIENCE_S,
    POST,
    Heard,
    all_heard,
    answers_until_closed,
    connected,
    heard,
    post,
)


def calls(stage: Stage) -> list[str]:
    """Return what reached the gateway, each call by what tells it from the others."""
    return [
        getattr(one, "bank_transaction_id", "") or getattr(one, "query", "") or str(one.id)
        for one in stage.gateway.requests
    ]


async def all_heard_in_pieces(address: Address, data: bytes) -> list[Heard]:
    """Send `data` in two hundred pieces or byte by byte, and return every answer."""
    size = max(1, len(data) // 200)
    async with asyncio.timeout(PATIENCE_S), connected(address) as (reader, writer):
        hearing = asyncio.create_task(answers_until_closed(reader))
        for start in range(0, len(data), size):
            if writer.transport.is_closing():
                break
            writer.write(data[start : start + size])
            await asyncio.sleep(0)
        return await hearing


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
async def test_an_ambiguous_request_is_refused_and_nothing_behind_it_is_read(
    stage: Stage, data: bytes
) -> None:
    (answer,) = await all_heard(stage.address, data + SECOND)
    assert 400 <= answer.status < 500
    assert answer.error["code"] == "BAD_REQUEST"
    assert calls(stage) == []


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
async def test_it_is_refused_in_pieces_too(stage: Stage, data: bytes) -> None:
    (answer,) = await all_heard_in_pieces(stage.address, data + SECOND)
    assert 400 <= answer.status < 500
    assert answer.status != 408, "refused for what it is, not because nothing more came"
    assert answer.error["code"] == "BAD_REQUEST"
    assert calls(stage) == []


@pytest.mark.parametrize(("data", "status", "made"), SERVED.values(), ids=SERVED.keys())
async def test_what_is_clear_is_served_once(
    stage: Stage, data: bytes, status: int, made: list[str]
) -> None:
    end = post(b"SECOND", extra=b"Connection: close\r\n")
    first, second = await all_heard(stage.address, data + end)
    assert (first.status, second.status) == (status, 200), first.body
    assert calls(stage) == [*made, "SECOND"]


@pytest.mark.parametrize(("data", "status", "made"), SERVED.values(), ids=SERVED.keys())
async def test_it_is_served_once_in_pieces_too(
    stage: Stage, data: bytes, status: int, made: list[str]
) -> None:
    end = post(b"SECOND", extra=b"Connection: close\r\n")
    first, second = await all_heard_in_pieces(stage.address, data + end)
    assert (first.status, second.status) == (status, 200), first.body
    assert calls(stage) == [*made, "SECOND"]


@pytest.mark.parametrize(("data", "status", "made"), LAST.values(), ids=LAST.keys())
async def test_what_ends_a_connection_is_served_and_nothing_behind_it(
    stage: Stage, data: bytes, status: int, made: list[str]
) -> None:
    (answer,) = await all_heard(stage.address, data + SECOND)
    assert answer.status == status, answer.body
    assert answer.headers["Connection"] == "close"
    assert calls(stage) == made


@pytest.mark.parametrize(("data", "status", "made"), LAST.values(), ids=LAST.keys())
async def test_it_is_the_last_in_pieces_too(
    stage: Stage, data: bytes, status: int, made: list[str]
) -> None:
    (answer,) = await all_heard_in_pieces(stage.address, data + SECOND)
    assert answer.status == status, answer.body
    assert calls(stage) == made


@pytest.mark.parametrize("everything", [all_heard, all_heard_in_pieces])
@pytest.mark.parametrize(("data", "status", "made"), CLOSING.values(), ids=CLOSING.keys())
async def test_behind_a_request_that_closes_nothing_is_read(
    stage: Stage, data: bytes, status: int, made: list[str], everything: Any
) -> None:
    (answer,) = await everything(stage.address, data + SECOND)
    assert (answer.status, calls(stage)) in ((status, made), (400, []))


@pytest.mark.parametrize(("data", "status", "made"), CLOSING.values(), ids=CLOSING.keys())
async def test_a_request_that_closes_is_served(
    stage: Stage, data: bytes, status: int, made: list[str]
) -> None:
    (answer,) = await all_heard(stage.address, data)
    assert (answer.status, calls(stage)) == (status, made)


async def test_a_trailer_never_becomes_a_header_of_the_next_request(stage: Stage) -> None:
    trailer = b"X-Forwarded-For: 203.0.113.9\r\nAuthorization: Bearer other\r\n\r\n"
    await all_heard(stage.address, POST + CHUNKED + b"\r\n" + CHUNKS[:-2] + trailer + SECOND)
    assert calls(stage) == ["FIRST"]
    assert stage.gateway.metadata[0]["authorization"] == "Bearer of.some.token"


async def test_a_refusal_waits_its_turn_behind_what_was_asked_before(stage: Stage) -> None:
    async with asyncio.timeout(PATIENCE_S), connected(stage.address) as (reader, writer):
        writer.write(post(b"FIRST"))
        first = await heard(reader)
        writer.write(header(b"a: b\x07") + SECOND)
        second, third = await heard(reader), await heard(reader)
    assert first is not None
    assert second is not None
    assert (first.status, second.status, third) == (200, 400, None)
    assert calls(stage) == ["FIRST"]


async def test_a_body_is_broken_off_however_long_its_extensions_are(stage: Stage) -> None:
    endless = POST + CHUNKED + b"\r\n1;" + b"a" * (1 << 20)
    (answer,) = await all_heard(stage.address, endless)
    assert (answer.status, answer.error["details"]) == (400, "body: cannot be read")
    assert calls(stage) == []


async def test_a_head_is_refused_as_soon_as_it_is_too_large(stage: Stage) -> None:
    endless = GET + b"".join(b"a%d: %s\r\n" % (number, b"b" * 8000) for number in range(6))
    (answer,) = await all_heard(stage.address, endless)
    assert (answer.status, answer.error["details"]) == (400, HEAD_TOO_LONG)
    assert stage.running.counts.values["malformed", "head_too_large"] == 1


@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize("before", [b"", GET + b"\r\n"])
async def test_a_head_that_is_too_large_is_refused_however_it_comes(
    stage: Stage, before: bytes, pieces: int
) -> None:
    many = b"".join(b"a%d: %s\r\n" % (number, b"b" * 700) for number in range(48))
    data = before + GET + many + b"\r\n"
    async with connected(stage.address) as (reader, writer):
        for start in range(0, len(data), len(data) // pieces + 1):
            writer.write(data[start : start + len(data) // pieces + 1])
            await writer.drain()
            await asyncio.sleep(0.02)
        async with asyncio.timeout(PATIENCE_S):
            answers = await answers_until_closed(reader)
    assert [one.status for one in answers] == [200, 400][not before :]
    assert answers[-1].error["details"] == HEAD_TOO_LONG


async def test_a_body_cannot_be_a_bomb(stage: Stage) -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    extra = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    (answer,) = await all_heard(stage.address, POST + extra + bomb[: 1 << 15])
    assert answer.status == 415
    assert answer.error["details"] == "Content-Encoding: must be absent or identity"
    assert calls(stage) == []


async def test_every_refusal_is_counted(stage: Stage) -> None:
    for data in (b"nonsense\r\n\r\n", header(b"a: b\x7f"), REFUSED["identity"]):
        await all_heard(stage.address, data)
    values = stage.running.counts.values
    assert sum(values["malformed", one] for one in ("parser", "head")) == 3
