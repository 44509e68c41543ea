"""A broker that speaks as much of Kafka's protocol as it takes to refuse a login.

https://kafka.apache.org/protocol: ApiVersions (18), SaslHandshake (17), SaslAuthenticate (36).
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_VERSIONS = {3: 1, 17: 1, 18: 0, 36: 0}
_AUTHENTICATION_FAILED = 58


@asynccontextmanager
async def refusing_broker(*, says: str) -> AsyncIterator[str]:
    """Serve on a free port and yield `host:port`; every login is refused with `says`."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = await reader.readexactly(size)
                seen.append(request)
                key, _version, correlation = struct.unpack(">hhi", request[:8])
                answer = struct.pack(">i", correlation) + _answer(key, says)
                writer.write(struct.pack(">i", len(answer)) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
    assert any(request[:2] == b"\x00\x24" for request in seen), "no login was sent"


def _answer(key: int, says: str) -> bytes:
    if key == 18:
        versions = b"".join(struct.pack(">hhh", one, 0, most) for one, most in _VERSIONS.items())
        return struct.pack(">hi", 0, len(_VERSIONS)) + versions
    if key == 17:
        return struct.pack(">hih", 0, 1, 5) + b"PLAIN"
    text = says.encode()
    return struct.pack(">hh", _AUTHENTICATION_FAILED, len(text)) + text + struct.pack(">i", 0)
