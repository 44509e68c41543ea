"""Replies as aiohttp sends them, whole or in parts.

A whole one is written by us, head and body in one piece: from a `Reply` to bytes in 4 us, where
aiohttp's `Response` takes 8, of some 50 that a refusal costs in all.
"""

from functools import lru_cache
from http import HTTPStatus
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from rest_bridge import surface as words
from rest_bridge.surface import Reply

PART_BYTES = 64 * 1024  # a larger answer is written in parts, the next when one is taken away
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class WholeResponse(web.StreamResponse):
    """A reply that is written in one piece."""

    def __init__(self, *, reply: Reply, request_id: str) -> None:
        super().__init__(status=reply.status)
        self._reply = reply
        self._request_id = request_id
        if reply.close:
            self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Learn where to write, and whether the connection stays."""
        if self._payload_writer is None and not self._eof_sent:
            self._req = request
            self._payload_writer = request._payload_writer  # noqa: SLF001 # as aiohttp's own do
            if self._keep_alive is None:
                self._keep_alive = request.keep_alive
        return self._payload_writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Write head and body."""
        del data  # it is the reply that is written
        request, writer = self._req, self._payload_writer
        if self._eof_sent or request is None or writer is None:
            return
        self._eof_sent = True
        data = bytes_of(
            reply=self._reply,
            request_id=self._request_id,
            version=request.version,
            stays=bool(self._keep_alive),
            with_body=request.method != hdrs.METH_HEAD,
        )
        writer.length = None  # what the head says; aiohttp would count it down
        await writer.write(data)
        await writer.write_eof()
        self._req = self._payload_writer = None


def bytes_of(
    *,
    reply: Reply,
    request_id: str,
    version: Any,
    stays: bool,
    with_body: bool = True,
) -> bytes:
    """Return `reply` as it is sent in HTTP `version`; `stays`: its connection does."""
    head = _head(reply, request_id, version, stays)
    return head + reply.body if with_body and reply.status not in _BODILESS else head


def _head(reply: Reply, request_id: str, version: Any, stays: bool) -> bytes:  # noqa: FBT001
    is_old = version == HttpVersion10
    lines = [_first_lines(reply.status, reply.content_type, is_old, tuple(reply.headers))]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    lines.append(f"{words.REQUEST_ID}: {request_id}")
    if reply.status not in _BODILESS:
        lines.append(f"Content-Length: {len(reply.body)}")
    lines.append(f"Date: {rfc822_formatted_time()}")
    if is_old and stays:
        lines.append("Connection: keep-alive")
    elif version >= HttpVersion11 and not stays:
        lines.append("Connection: close")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 + lines[0].count("\n"):
        raise ValueError("a header holds a line break")
    return f"{text}\r\n\r\n".encode("latin-1")


@lru_cache(maxsize=256)
def _first_lines(
    status: int,
    content_type: str,
    is_old: bool,  # noqa: FBT001 # a key of the cache
    besides: tuple[str, ...],
) -> str:
    always = words.lasting_headers(content_type=content_type)
    told = "\r\n".join(f"{name}: {always[name]}" for name in always if name not in besides)
    return f"HTTP/1.{0 if is_old else 1} {status} {HTTPStatus(status).phrase}\r\n{told}"


def response_of(*, reply: Reply, request_id: str) -> web.StreamResponse:
    """Return `reply` as it is sent."""
    return WholeResponse(reply=reply, request_id=request_id)


async def sent_in_parts(
    *, request: web.BaseRequest, reply: Reply, request_id: str
) -> web.StreamResponse:
    """Send a large answer so that a client that does not read it costs little memory."""
    response = web.StreamResponse(
        status=reply.status, headers=words.all_headers(reply=reply, request_id=request_id)
    )
    response.content_length = len(reply.body)
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        view = memoryview(reply.body)
        for start in range(0, len(view), PART_BYTES):
            await response.write(view[start : start + PART_BYTES])
    return response
