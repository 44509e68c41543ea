"""An answer as it goes over the wire, written in one piece by ourselves.

| the request | head | body |
|---|---|---|
| HTTP/1.1 | no Connection | whole |
| HTTP/1.1, Connection: close | Connection: close | whole |
| HTTP/1.0 | no Connection, ends | whole |
| HTTP/1.0, keep-alive | Connection: keep-alive | whole |
| HEAD | the length of the body | none |
"""

import pytest

from rest_bridge.responses import _head
from rest_bridge.surface import Reply
from tests.rest_bridge.fakes import Stage, served
from tests.rest_bridge.wire import connected

CASES = [
    ("GET", "1.1", "", "", True),
    ("GET", "1.1", "Connection: close\r\n", "close", True),
    ("GET", "1.0", "", "", True),
    ("GET", "1.0", "Connection: keep-alive\r\n", "keep-alive", True),
    ("HEAD", "1.1", "Connection: close\r\n", "close", False),
]


async def exchange(stage: Stage, request: bytes) -> tuple[str, bytes]:
    """Return head and body of one answer, as far as it came within its stated length."""
    async with connected(stage.address) as (reader, writer):
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")[:-4]
        length = int(head.partition("Content-Length: ")[2].partition("\r\n")[0])
        if request.startswith(b"HEAD"):
            return head, await reader.read()
        return head, await reader.readexactly(length)


@pytest.mark.parametrize(("method", "version", "header", "connection", "has_body"), CASES)
async def test_head_and_body_are_what_the_version_and_method_ask_for(
    method: str, version: str, header: str, connection: str, has_body: bool
) -> None:
    async with served() as stage:
        request = f"{method} /livez HTTP/{version}\r\nHost: a\r\n{header}\r\n".encode()
        head, body = await exchange(stage, request)
    first, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == f"HTTP/{version} 200 OK"
    assert headers.get("Connection", "") == connection
    assert len(headers) == len(lines), "no header stands twice"
    assert int(headers["Content-Length"]) > 0
    assert bool(body) is has_body


async def test_a_header_of_the_answer_takes_the_place_of_the_lasting_one() -> None:
    async with served() as stage:
        request = b"GET /docs/swagger-ui.css HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        head, _ = await exchange(stage, request)
    told = [line for line in head.split("\r\n") if line.startswith("Cache-Control")]
    assert told == ["Cache-Control: public, max-age=3600"]


def test_a_header_with_a_line_break_is_never_sent() -> None:
    reply = Reply(status=200, body=b"", headers={"Allow": "GET\r\nSet-Cookie: a"})
    with pytest.raises(ValueError, match="line break"):
        _head(reply=reply, request_id="a", version=(1, 1), stays=True)
