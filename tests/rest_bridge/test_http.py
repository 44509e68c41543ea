"""HTTP itself, over a raw socket: what no client library would send."""

import asyncio
import json

import pytest

from tests.rest_bridge.fakes import Stage, served

TOKEN = b"Authorization: Bearer of.some.token\r\n"
POST = b"POST /AMK/payments HTTP/1.1\r\nHost: x\r\n" + TOKEN + b"Content-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = (
    b'{"id":150001,"policyNumber":"P123456789","amount":150.00,"currency":"USD",'
    b'"bankTransactionId":"AMK202510070001","payer":"John Doe","paidDate":"20251007120000"}'
)
MALFORMED = {
    "no HTTP at all": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a blank in the target": b"GET /AMK/payments?query=P1 2 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a wrong version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "an unknown method": b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "a blank in a header name": b"GET / HTTP/1.1\r\nHost: x\r\na b: c\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nHost: x\r\na: b\x00c\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: x\r\na: b\r\n c\r\n\r\n",
    "a long target": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"a" * 20_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "a wrong length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a target without a slash": b"GET AMK/payments HTTP/1.1\r\nHost: x\r\n\r\n",
    "an empty authority": b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
    "a bad port": b"GET http://x:99999/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a broken bracket": b"GET http://[::1/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a bad chunk": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
}


async def exchange(stage: Stage, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send `data`, and return the status, headers and body of the first answer."""
    reader, writer = await asyncio.open_connection(stage.address.host, stage.address.port)
    try:
        writer.write(data)
        async with asyncio.timeout(5):
            return await answer(reader)
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers["Content-Length"]))
    return int(head[0].split()[1]), headers, body


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_http_still_gets_the_envelope(stage: Stage, data: bytes) -> None:
    status, headers, body = await exchange(stage, data)
    assert 400 <= status < 500, body
    document = json.loads(body)
    assert document["success"] is False
    assert document["error"]["code"] == "BAD_REQUEST"
    assert headers["X-Request-ID"]
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert "aiohttp" not in headers["Server"]
    assert stage.gateway.requests == []


async def test_malformed_http_closes_the_connection(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection(stage.address.host, stage.address.port)
    writer.write(MALFORMED["a blank in the target"])
    async with asyncio.timeout(5):
        status, _, _ = await answer(reader)
        assert status == 400
        assert await reader.read() == b"", "nothing more comes"
    writer.close()


async def test_the_specifications_raw_json_parameter_reaches_the_binder(stage: Stage) -> None:
    target = b'GET /AMK/payments?query={"a":"b"} HTTP/1.1\r\nHost: x\r\n'
    status, _, body = await exchange(stage, target + TOKEN + b"\r\n")
    assert status == 400
    assert b"query: must match" in body


async def test_raw_bytes_that_are_no_utf_8_name_their_parameter(stage: Stage) -> None:
    target = b"GET /AMK/payments?query=\xff HTTP/1.1\r\nHost: x\r\n"
    status, _, body = await exchange(stage, target + TOKEN + b"\r\n")
    assert status == 400
    assert b"query: must be UTF-8" in body or b"Malformed HTTP" in body


async def test_an_absolute_target_is_served(stage: Stage) -> None:
    target = b"GET http://pay.example/AMK/payments?query=P123456789 HTTP/1.1\r\nHost: x\r\n"
    status, _, _ = await exchange(stage, target + TOKEN + b"\r\n")
    assert status == 200


async def test_a_chunked_body_is_read(stage: Stage) -> None:
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    status, _, body = await exchange(stage, CHUNKED + chunks)
    assert status == 200, body
    assert stage.gateway.requests[0].received_body == BODY


async def test_an_endless_chunked_body_is_413(stage: Stage) -> None:
    status, headers, _ = await exchange(stage, CHUNKED + b"%x\r\n" % (1 << 20) + b" " * 70_000)
    assert status == 413
    assert headers["Connection"] == "close"


async def test_an_announced_large_body_is_413_before_it_is_sent(stage: Stage) -> None:
    status, headers, _ = await exchange(stage, POST + b"Content-Length: 1000000\r\n\r\n")
    assert status == 413
    assert headers["Connection"] == "close"


async def test_a_body_that_does_not_come_is_408() -> None:
    async with served(budget_s=0.3) as stage:
        status, _, body = await exchange(stage, POST + b"Content-Length: 100\r\n\r\n{")
    assert status == 408
    assert json.loads(body)["error"]["code"] == "BAD_REQUEST"


async def test_a_caller_who_asks_to_continue_is_told_to(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection(stage.address.host, stage.address.port)
    writer.write(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        status, _, _ = await answer(reader)
    assert status == 200
    writer.close()


async def broken_off(stage: Stage) -> tuple[int, bytes]:
    """Begin a chunked body, be asked to continue, and send what is no chunk."""
    reader, writer = await asyncio.open_connection(stage.address.host, stage.address.port)
    try:
        writer.write(CHUNKED.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        async with asyncio.timeout(5):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"zz\r\n")
            status, _, body = await answer(reader)
            return status, body
    finally:
        writer.close()


async def test_a_body_that_breaks_off_in_nonsense_is_refused_at_once(stage: Stage) -> None:
    status, body = await broken_off(stage)
    assert status == 400
    assert json.loads(body)["error"]["details"] == "body: cannot be read"


async def test_a_refused_caller_is_not_asked_for_its_body(stage: Stage) -> None:
    data = POST.replace(TOKEN, b"") + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    status, _, _ = await exchange(stage, data)
    assert status == 401


async def test_head_gets_no_body_and_nothing_is_called(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection(stage.address.host, stage.address.port)
    target = b"HEAD /AMK/payments?query=P123456789 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    writer.write(target + TOKEN + b"\r\n")
    async with asyncio.timeout(5):
        data = await reader.read()
    writer.close()
    assert data.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET, POST\r\n" in data
    assert data.endswith(b"\r\n\r\n")
    assert stage.gateway.requests == []


async def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection(stage.address.host, stage.address.port)
    for name in (b"one", b"two"):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-ID: " + name + b"\r\n\r\n")
    async with asyncio.timeout(5):
        for expected in ("one", "two"):
            status, headers, _ = await answer(reader)
            assert (status, headers["X-Request-ID"]) == (200, expected)
    writer.close()


async def test_a_caller_who_leaves_in_the_middle_is_no_fault(
    stage: Stage, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    _, writer = await asyncio.open_connection(stage.address.host, stage.address.port)
    writer.write(POST + b"Content-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    status, _, _ = await exchange(stage, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 200
    await stage.running.drain()  # the connection's task has ended
    assert caplog.text == ""
    assert "answer_failed" not in capsys.readouterr().out
