"""Heads that are refused though a parser let them pass; most parsers would not.

The compiled parser is strict enough for many of these rows. They hold whatever parser is
installed, and whatever its next version thinks.
"""

from typing import Any

import pytest
from aiohttp import HttpVersion
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from rest_bridge.heads import HEAD_LIMIT_BYTES, fault_of, is_too_large

HOST = (b"Host", b"pay.example:8080")
CHUNKED = (b"Transfer-Encoding", b"chunked")
ONCE = "content-length content-type content-encoding expect host transfer-encoding upgrade"
# what differs from a good head -> what is wrong
FAULTS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"version": HttpVersion(1, 0)}, ""),
    ({"version": HttpVersion(0, 9)}, "the version"),
    ({"version": HttpVersion(1, 2)}, "the version"),
    ({"version": HttpVersion(2, 0)}, "the version"),
    ({"path": "/a?b=ភ"}, ""),
    ({"path": "http://x/"}, ""),
    ({"path": "HTTPS://x/"}, ""),
    ({"path": "*", "method": "OPTIONS"}, ""),
    ({"path": "x:443", "method": "CONNECT"}, ""),
    ({"path": "x:443"}, "the target must start"),
    ({"path": "ftp://x/"}, "the target must start"),
    ({"path": ""}, "the target must not"),
    ({"path": "/a b"}, "the target must not"),
    ({"path": "/a#b"}, "the target must not"),
    ({"path": "/a\x00"}, "the target must not"),
    ({"path": "/a\x7f"}, "the target must not"),
    *(
        ({"headers": [HOST, (b"A", b"b%cc" % code)]}, "a header must not")
        for code in (*range(9), *range(10, 32), 127)
    ),
    ({"headers": [HOST, (b"A", b"b\tc \xff")]}, ""),
    *(
        ({"headers": [(name.encode(), b"0"), (name.upper().encode(), b"0")]}, f"{name} is given")
        for name in ONCE.split()
    ),
    ({"headers": [HOST, (b"A", b"1"), (b"A", b"1")]}, ""),
    ({"headers": [HOST, CHUNKED]}, ""),
    ({"headers": [HOST, (b"transfer-encoding", b"Chunked")]}, ""),
    ({"headers": [HOST, CHUNKED], "version": HttpVersion(1, 0)}, "HTTP/1.0 knows no"),
    ({"headers": [HOST, CHUNKED, (b"Content-Length", b"1")]}, "content-length and"),
    ({"headers": [HOST, (b"Transfer-Encoding", b"gzip, chunked")]}, "the only transfer"),
    ({"headers": [HOST, (b"Transfer-Encoding", b"")]}, "the only transfer"),
    ({"headers": [HOST, (b"Content-Length", b"10")]}, ""),
    ({"headers": [HOST, (b"Content-Length", b"+1")]}, "content-length must"),
    ({"headers": [HOST, (b"Content-Length", b"-1")]}, "content-length must"),
    ({"headers": [HOST, (b"Content-Length", b"1_0")]}, "content-length must"),
    ({"headers": [HOST, (b"Content-Length", "٣".encode())]}, "content-length must"),
    ({"headers": [HOST, (b"Content-Length", b"")]}, "content-length must"),
    ({"headers": [(b"Host", b"[2001:db8::1]:80")]}, ""),
    ({"headers": [(b"Host", b"a@b")]}, "host must"),
    ({"headers": [(b"Host", b"a b")]}, "host must"),
    ({"headers": [(b"Host", b"a/b")]}, "host must"),
    ({"headers": [(b"Host", b"a,b")]}, "host must"),
    ({"headers": [(b"Host", b"a:x")]}, "host must"),
    ({"headers": [(b"Host", b"")]}, "host must"),
]


def head(
    *,
    method: str = "GET",
    path: str = "/livez",
    version: HttpVersion = HttpVersion(1, 1),  # noqa: B008 # a tuple
    headers: Any = (HOST,),
) -> RawRequestMessage:
    return RawRequestMessage(
        method=method,
        path=path,
        version=version,
        headers=CIMultiDictProxy(CIMultiDict()),
        raw_headers=tuple(headers),
        should_close=False,
        compression=None,
        upgrade=False,
        chunked=False,
        url=URL("/"),
    )


@pytest.mark.parametrize(("changes", "fault"), FAULTS)
def test_a_head_that_two_readers_could_understand_differently_is_named(
    changes: dict[str, Any], fault: str
) -> None:
    found = fault_of(head=head(**changes))
    assert found.startswith(fault)
    assert bool(found) is bool(fault)


def test_a_head_has_a_size() -> None:
    name, value = b"A" * 1000, b"b" * (HEAD_LIMIT_BYTES - 2000)
    assert not is_too_large(head=head(headers=[HOST, (name, value)]))
    assert is_too_large(head=head(headers=[HOST, (name, value), (name, b"")]))
    assert is_too_large(head=head(path="/" + "a" * HEAD_LIMIT_BYTES))
