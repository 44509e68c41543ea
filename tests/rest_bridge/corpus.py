"""Requests that a bridge refuses, serves once, or serves as the last of their connection."""

from tests.rest_bridge.wire import NOTICE, POST, TOKEN, post

GET = b"GET /AMK/payments?query=P123456789 HTTP/1.1\r\nHost: x\r\n" + TOKEN
BODY = NOTICE % b"FIRST"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
SIZE = b"%x" % len(BODY)
SECOND = post(b"SECOND")


def target(text: bytes, *, version: bytes = b"HTTP/1.1", more: bytes = b"") -> bytes:
    return b"GET " + text + b" " + version + b"\r\nHost: x\r\n" + TOKEN + more + b"\r\n"


def header(line: bytes) -> bytes:
    return GET + line + b"\r\n\r\n"


REFUSED = {
    # Where does the body end?
    "length and chunks": POST + LENGTH + CHUNKED + b"\r\n" + CHUNKS,
    "chunks and length": POST + CHUNKED + LENGTH + b"\r\n" + CHUNKS,
    "length 0 and chunks": POST + b"Content-Length: 0\r\n" + CHUNKED + b"\r\n" + CHUNKS,
    "two equal lengths": POST + LENGTH + LENGTH + b"\r\n" + BODY,
    "two lengths": POST + LENGTH + b"Content-Length: 0\r\n\r\n" + BODY,
    "a list of lengths": POST + LENGTH[:-2] + b", %d\r\n\r\n" % len(BODY) + BODY,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + BODY,
    "a length with a plus": POST + b"Content-Length: +%d\r\n\r\n" % len(BODY) + BODY,
    "a hexadecimal length": POST + b"Content-Length: 0x%x\r\n\r\n" % len(BODY) + BODY,
    "a fractional length": POST + b"Content-Length: 2.0\r\n\r\n" + BODY,
    "an exponential length": POST + b"Content-Length: 1e2\r\n\r\n" + BODY,
    "an empty length": POST + b"Content-Length: \r\n\r\n" + BODY,
    "a length of Arabic digits": POST + "Content-Length: ٣\r\n\r\n".encode() + BODY,
    "a length with an underscore": POST + b"Content-Length: 1_0\r\n\r\n" + BODY,
    "a length with a blank inside": POST + b"Content-Length: 1 0\r\n\r\n" + BODY,
    "a length beyond 64 bits": POST + b"Content-Length: 18446744073709551616\r\n\r\n" + BODY,
    "a length beyond any integer": POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n" + BODY,
    "a huge length": POST + b"Content-Length: 99999999999\r\n\r\n",
    "chunked twice": POST + CHUNKED + CHUNKED + b"\r\n" + CHUNKS,
    "chunked, chunked": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKS,
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKS,
    "identity": POST + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n" + BODY,
    "an unknown encoding": POST + b"Transfer-Encoding: cow\r\n\r\n" + CHUNKS,
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
    "quoted chunked": POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNKS,
    "chunked and a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + CHUNKS,
    "chunked after a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKS,
    "chunked between tabs": POST + b"Transfer-Encoding: \tchunked\t\r\n\r\n" + CHUNKS,
    "chunked before a NUL": POST + b"Transfer-Encoding: chunked\x00\r\n\r\n" + CHUNKS,
    "an empty encoding": POST + b"Transfer-Encoding: \r\n" + LENGTH + b"\r\n" + BODY,
    "a blank before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS,
    "a tab before the colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n" + CHUNKS,
    "a blank before the name": POST + b" Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "an encoding on a line of its own": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKS,
    "a NUL in the name": POST + b"Transfer\x00-Encoding: chunked\r\n\r\n" + CHUNKS,
    "chunks in HTTP/1.0": (POST + CHUNKED).replace(b"/1.1", b"/1.0") + b"\r\n" + CHUNKS,
    # Where does a chunk end?
    "a chunk that is no number": POST + CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": POST + CHUNKED + b"\r\n-1\r\n" + CHUNKS,
    "a chunk with a plus": POST + CHUNKED + b"\r\n+" + CHUNKS,
    "a chunk with 0x": POST + CHUNKED + b"\r\n0x" + CHUNKS,
    "a chunk with a blank": POST + CHUNKED + b"\r\n" + SIZE + b" \r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": POST + CHUNKED + b"\r\n1" + b"0" * 16 + b"\r\n" + BODY,
    "a chunk that wraps round": POST + CHUNKED + b"\r\nffffffffffffffff" + SIZE + b"\r\n" + BODY,
    "an empty chunk size": POST + CHUNKED + b"\r\n\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk ended by a bare LF": POST + CHUNKED + b"\r\n" + CHUNKS.replace(b"\r\n", b"\n", 1),
    "a chunk longer than its size": POST + CHUNKED + b"\r\n1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk without its end": POST + CHUNKED + b"\r\n" + SIZE + b"\r\n" + BODY + b"0\r\n\r\n",
    "a bare LF in an extension": POST + CHUNKED + b"\r\n" + SIZE + b";a=\nb\r\n" + BODY,
    "a NUL in an extension": POST + CHUNKED + b"\r\n" + SIZE + b";a=\x00\r\n" + BODY,
    "a trailer without a colon": POST + CHUNKED + b"\r\n" + CHUNKS[:-2] + b"nonsense\r\n\r\n",
    "a trailer with a length": POST + CHUNKED + b"\r\n" + CHUNKS[:-2] + LENGTH + b"\r\n",
    # Where does a line end?
    "a bare LF after the request line": GET.replace(b"1.1\r\n", b"1.1\n") + b"\r\n",
    "a bare LF after a header": GET.replace(b"x\r\n", b"x\n") + b"\r\n",
    "bare LFs": GET.replace(b"\r\n", b"\n") + b"\n",
    "a bare CR in a value": header(b"a: b\rc: d"),
    "a bare CR after a header": GET.replace(b"x\r\n", b"x\r") + b"\r\n",
    "two CRs": GET.replace(b"x\r\n", b"x\r\r\n") + b"\r\n",
    "a folded header": header(b"a: b\r\n c"),
    "a header folded by a tab": header(b"a: b\r\n\tc"),
    "a header before the first": b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    # Headers
    "a NUL in a value": header(b"a: b\x00c"),
    "a bell in a value": header(b"a: b\x07c"),
    "an escape in a value": header(b"a: \x1b[2J"),
    "a DEL in a value": header(b"a: b\x7f"),
    "a NUL in a name": header(b"a\x00b: c"),
    "a control character in a name": header(b"a\x01b: c"),
    "a high byte in a name": header(b"a\xffb: c"),
    "a blank in a name": header(b"a b: c"),
    "an empty name": header(b": c"),
    "a bracket in a name": header(b"a[b]: c"),
    "no colon": header(b"nonsense"),
    "a long name": header(b"a" * 20_000 + b": b"),
    "a long value": header(b"a: " + b"b" * 20_000),
    "many headers": header(b"\r\n".join(b"a%d: b" % number for number in range(200))),
    "a megabyte of headers": header(b"\r\n".join(b"a%d: " % n + b"b" * 8000 for n in range(60))),
    "two hosts": header(b"Host: y"),
    "two equal hosts": header(b"Host: x"),
    "two types": post(b"FIRST", extra=b"Content-Type: text/plain\r\n"),
    "two encodings": post(b"FIRST", extra=b"Content-Encoding: identity\r\n" * 2),
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "a host with a user": b"GET /livez HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "a host with a path": b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a host with a blank": b"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a list of hosts": b"GET /livez HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "an unknown expectation": post(b"FIRST", extra=b"Expect: 200-ok\r\n"),
    "two expectations": post(b"FIRST", extra=b"Expect: 100-continue\r\n" * 2),
    "a compressed body": post(b"FIRST", extra=b"Content-Encoding: gzip\r\n"),
    "a deflated body": post(b"FIRST", extra=b"Content-Encoding: deflate\r\n"),
    "a body compressed twice": post(b"FIRST", extra=b"Content-Encoding: gzip, br\r\n"),
    # Request lines
    "HTTP/0.9": b"GET /livez\r\n",
    "HTTP/0.9 by name": target(b"/livez", version=b"HTTP/0.9"),
    "HTTP/1.2": target(b"/livez", version=b"HTTP/1.2"),
    "HTTP/2.0": target(b"/livez", version=b"HTTP/2.0"),
    "HTTP/9.9": target(b"/livez", version=b"HTTP/9.9"),
    "HTTP/1.10": target(b"/livez", version=b"HTTP/1.10"),
    "HTTP/01.1": target(b"/livez", version=b"HTTP/01.1"),
    "HTTP/1": target(b"/livez", version=b"HTTP/1"),
    "http/1.1": target(b"/livez", version=b"http/1.1"),
    "HTTPS/1.1": target(b"/livez", version=b"HTTPS/1.1"),
    "ICE/1.0": target(b"/livez", version=b"ICE/1.0"),
    "RTSP/1.0": target(b"/livez", version=b"RTSP/1.0"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two versions": target(b"/livez HTTP/1.1"),
    "a blank before the method": b" " + target(b"/livez"),
    "tabs for blanks": b"GET\t/livez\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "a small method": b"get /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown method": b"BREW /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method with a NUL": b"GE\x00T /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a NUL in the target": target(b"/liv\x00ez"),
    "a control character in the target": target(b"/livez?\x01"),
    "a fragment": target(b"/livez#/AMK/payments"),
    "no target": b"GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target without a slash": target(b"livez"),
    "another scheme": target(b"ftp://x/livez"),
    "a script": target(b"javascript:alert(1)"),
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT to a path": b"CONNECT /AMK/payments HTTP/1.1\r\nHost: x\r\n\r\n",
    "a star": b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a proxy's own line": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + target(b"/livez"),
}


def noticed(framing: bytes, body: bytes) -> bytes:
    return POST + framing + b"\r\n" + body


INQUIRED, CONFIRMED, ASKED = "P123456789", "FIRST", "150001"
# what is sent -> the status, and the calls it makes
SERVED: dict[str, tuple[bytes, int, list[str]]] = {
    "a plain inquiry": (GET + b"\r\n", 200, [INQUIRED]),
    "a plain notice": (post(b"FIRST"), 200, [CONFIRMED]),
    "empty lines first": (b"\r\n\r\n" + GET + b"\r\n", 200, [INQUIRED]),
    "two blanks after the method": (GET.replace(b"GET ", b"GET  ") + b"\r\n", 200, [INQUIRED]),
    "an absolute target of another host": (
        target(b"http://evil/AMK/payments?query=P123456789"),
        200,
        [INQUIRED],
    ),
    "a body sent with GET": (GET + b"Content-Length: 5\r\n\r\nGET /", 400, []),
    "a length of 0 where a body is due": (POST + b"Content-Length: 0\r\n\r\n", 400, []),
    "no length where a body is due": (POST + b"\r\n", 400, []),
    "a length with zeros first": (
        noticed(b"Content-Length: 000%d\r\n" % len(BODY), BODY),
        200,
        [CONFIRMED],
    ),
    "an underscore for a dash": (post(b"FIRST", extra=b"Content_Length: 1\r\n"), 200, [CONFIRMED]),
    "an expectation in HTTP/1.0": (
        post(b"FIRST", extra=b"Expect: 100-continue\r\nConnection: keep-alive\r\n").replace(
            b"HTTP/1.1", b"HTTP/1.0"
        ),
        200,
        [CONFIRMED],
    ),
    "Expect: 100-Continue": (post(b"FIRST", extra=b"Expect: 100-Continue\r\n"), 200, [CONFIRMED]),
    "another method by header": (GET + b"X-HTTP-Method-Override: POST\r\n\r\n", 200, [INQUIRED]),
    "another target by header": (GET + b"X-Original-URL: /livez\r\n\r\n", 200, [INQUIRED]),
    "two tokens": (GET + TOKEN + b"\r\n", 401, []),
    "two different tokens": (GET + b"Authorization: Bearer x.y.z\r\n\r\n", 401, []),
    "TRACE": (GET.replace(b"GET", b"TRACE", 1) + b"\r\n", 405, []),
    "OPTIONS": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, []),
    "two slashes": (target(b"//AMK/payments?query=P123456789"), 404, []),
    "two slashes alone": (target(b"//"), 404, []),
    "a backslash": (target(b"/AMK\\payments?query=P123456789"), 404, []),
    "dots": (target(b"/AMK/../AMK/payments?query=P123456789"), 404, []),
    "a dot": (target(b"/AMK/./payments?query=P123456789"), 404, []),
    "hidden dots": (target(b"/AMK/%2e%2e/AMK/payments?query=P123456789"), 404, []),
    "dots to the documents' folder": (target(b"/docs/../../pyproject.toml"), 404, []),
    "hidden dots in a name": (target(b"/docs/..%2f..%2fpyproject.toml"), 404, []),
    "overlong dots": (target(b"/docs/%c0%ae%c0%ae/x"), 404, []),
    "overlong slashes": (target(b"/AMK%c0%afpayments"), 404, []),
    "a hidden NUL in the path": (target(b"/AMK/payments%00"), 404, []),
    "a hidden NUL in a page": (target(b"/livez%00.png"), 404, []),
    "a hidden NUL in a parameter": (target(b"/AMK/payments?query=P1%00"), 400, []),
    "overlong letters in a parameter": (target(b"/AMK/payments?query=%c1%90"), 400, []),
    "half a surrogate in a parameter": (target(b"/AMK/payments?query=%ed%a0%80"), 400, []),
    "a broken escape": (target(b"/AMK/payments?query=%zz"), 400, []),
    "a hidden line's end": (target(b"/AMK/payments?query=P1%0d%0aHost:%20y"), 400, []),
    "a parameter twice": (target(b"/AMK/payments?query=P123456789&query=P1"), 400, []),
    "a path's own parameter": (target(b"/AMK/payments;x=1?query=P123456789"), 404, []),
    "a hidden question mark": (target(b"/AMK/payments%3fquery=P123456789"), 404, []),
    "a path of 4000 parts": (target(b"/" + b"a/" * 2000), 404, []),
    "a bill number in Arabic digits": (target(b"/AMK/payments/%d9%a3"), 400, []),
    "a bill number": (target(b"/AMK/payments/150001"), 200, [ASKED]),
}
# what is sent -> the status, and the calls it makes; the connection ends with it
LAST: dict[str, tuple[bytes, int, list[str]]] = {
    "a body sent with GET in chunks": (GET + CHUNKED + b"\r\n5\r\nGET /\r\n0\r\n\r\n", 400, []),
    "chunks": (noticed(CHUNKED, CHUNKS), 200, [CONFIRMED]),
    "Chunked": (noticed(b"Transfer-Encoding: Chunked\r\n", CHUNKS), 200, [CONFIRMED]),
    "a chunk size with zeros first": (noticed(CHUNKED, b"0000" + CHUNKS), 200, [CONFIRMED]),
    "a chunk size in capitals": (
        noticed(CHUNKED, SIZE.upper() + CHUNKS[len(SIZE) :]),
        200,
        [CONFIRMED],
    ),
    "a chunk of one byte each": (
        noticed(CHUNKED, b"".join(b"1\r\n%c\r\n" % one for one in BODY) + b"0\r\n\r\n"),
        200,
        [CONFIRMED],
    ),
    "a chunk with an extension": (
        noticed(CHUNKED, CHUNKS.replace(b"\r\n", b";name=value\r\n", 1)),
        200,
        [CONFIRMED],
    ),
    "a trailer": (noticed(CHUNKED, CHUNKS[:-2] + b"X-Sum: 1\r\n\r\n"), 200, [CONFIRMED]),
    "a trailer that would be a token": (
        noticed(CHUNKED, CHUNKS[:-2] + b"Authorization: Bearer other\r\n\r\n"),
        200,
        [CONFIRMED],
    ),
    "a switch to h2c": (
        GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        200,
        [INQUIRED],
    ),
    "a notice that asks for h2c": (
        post(b"FIRST", extra=b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        200,
        [CONFIRMED],
    ),
    "a notice in chunks that asks for h2c": (
        noticed(b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + CHUNKED, CHUNKS),
        200,
        [CONFIRMED],
    ),
    "a switch to a web socket": (
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        200,
        [INQUIRED],
    ),
    "a notice that asks for a web socket": (
        post(b"FIRST", extra=b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        200,
        [CONFIRMED],
    ),
    "a switch to TLS": (
        GET + b"Connection: Upgrade\r\nUpgrade: TLS/1.3\r\n\r\n",
        200,
        [INQUIRED],
    ),
    "a switch without its connection": (GET + b"Upgrade: h2c\r\n\r\n", 200, [INQUIRED]),
}
# as `LAST`, and refused without a call where more comes in the same moment
CLOSING: dict[str, tuple[bytes, int, list[str]]] = {
    "Connection: close": (post(b"FIRST", extra=b"Connection: close\r\n"), 200, [CONFIRMED]),
    "HTTP/1.0": (post(b"FIRST").replace(b"HTTP/1.1", b"HTTP/1.0"), 200, [CONFIRMED]),
    "HTTP/1.0 without a host": (b"GET /livez HTTP/1.0\r\n\r\n", 200, []),
    "an empty line after the last body": (
        post(b"FIRST", extra=b"Connection: close\r\n") + b"\r\n",
        200,
        [CONFIRMED],
    ),
}
