"""What HTTP lets pass and we do not: heads that two readers could understand differently.

A proxy before us and we must agree where a request ends and whose it is. Wherever a head
leaves room for two opinions it is refused, and the connection with it (RFC 9112, 11.2).
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from aiohttp import HttpVersion10, HttpVersion11
from aiohttp.http_parser import RawRequestMessage

HEAD_LIMIT_BYTES = 32 * 1024  # request line and headers together; a bearer token has 4 KiB
HEADERS_LIMIT = 64
_HEADER_OVERHEAD_BYTES = 4  # the colon, a blank and the line's end
_ONCE = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"content-type",
        b"content-encoding",
        b"expect",
        b"upgrade",
    )
)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # a tab may stand between words
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_TARGET = re.compile(r"[^\x00-\x20\x7f#]+")
_SCHEMES = ("http://", "https://")


def fault_of(*, head: RawRequestMessage) -> str:
    """Return what is wrong with a head that the parser let pass, or an empty text."""
    if head.version not in (HttpVersion10, HttpVersion11):
        return "the version must be HTTP/1.1 or HTTP/1.0"
    if not _TARGET.fullmatch(head.path):
        return "the target must not contain blanks, control characters or #"
    if not head.path.startswith(("/", "*")) and not _is_absolute(head):
        return "the target must start with /, http:// or https://"
    return _fault_of_headers(head, head.raw_headers)


def is_too_large(*, head: RawRequestMessage) -> bool:
    """Tell whether the request line and headers are larger than anyone needs."""
    size = len(head.path) + sum(
        len(name) + len(value) + _HEADER_OVERHEAD_BYTES for name, value in head.raw_headers
    )
    return size > HEAD_LIMIT_BYTES


def ends_its_connection(*, head: RawRequestMessage) -> bool:
    """Tell whether what stands behind a request cannot be trusted to be the next one.

    Behind a request to switch protocols the parser drops bytes; after a body in chunks it
    takes the last line of the trailer for the first header of the next request (aiohttp
    3.14), so that one caller could write into another's request. Both are served, once.
    """
    return head.chunked or head.upgrade or head.method == "CONNECT" or "upgrade" in head.headers


def _is_absolute(head: RawRequestMessage) -> bool:
    return head.method == "CONNECT" or head.path.lower().startswith(_SCHEMES)


def _fault_of_headers(head: RawRequestMessage, headers: Sequence[tuple[bytes, bytes]]) -> str:
    seen: dict[bytes, bytes] = {}
    for raw_name, value in headers:
        # Nearly all values are printable, which is known at once.
        is_plain = value.isascii() and value.decode("ascii").isprintable()
        if not is_plain and _CONTROL.search(value):
            return "a header must not contain control characters"
        name = raw_name.lower()
        if name in seen:
            return f"{name.decode()} is given twice"
        if name in _ONCE:
            seen[name] = value
    return next(_faults_of_framing(head, seen), "")


def _faults_of_framing(head: RawRequestMessage, found: Mapping[bytes, bytes]) -> Iterator[str]:
    encoding, length = found.get(b"transfer-encoding"), found.get(b"content-length")
    if encoding is not None:
        if encoding.lower() != b"chunked":
            yield "the only transfer encoding is chunked"
        if head.version == HttpVersion10:
            yield "HTTP/1.0 knows no transfer encoding"
        if length is not None:
            yield "content-length and transfer-encoding exclude each other"
    if length is not None and not length.isdigit():
        yield "content-length must be digits"
    host = found.get(b"host")
    if host is not None and not _HOST.fullmatch(host):
        yield "host must be a name or an address, and a port"
