"""Raw sockets: bytes out, answers in."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from chassis.settings import Address

TOKEN = b"Authorization: Bearer of.some.token\r\n"
NOTICE = (
    b'{"id":150001,"policyNumber":"P123456789","amount":150.00,"currency":"USD",'
    b'"bankTransactionId":"%s","payer":"John Doe","paidDate":"20251007120000"}'
)
POST = b"POST /AMK/payments HTTP/1.1\r\nHost: x\r\n" + TOKEN + b"Content-Type: application/json\r\n"
PATIENCE_S = 15  # against hanging only


def post(transaction: bytes, *, extra: bytes = b"") -> bytes:
    """Return a whole good notice, with further header lines."""
    body = NOTICE % transaction
    return POST + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str]:
        """The error of the envelope."""
        document: dict[str, Any] = json.loads(self.body)
        assert document["success"] is False
        error: dict[str, str] = document["error"]
        assert set(error) == {"code", "message", "details"}
        return error


@asynccontextmanager
async def connected(
    address: Address,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield a connection; it is cut afterwards, whatever is unread."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def heard(reader: asyncio.StreamReader, *, is_head: bool = False) -> Heard | None:
    """Return the next answer, or None at the end of the connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError as end:
        if end.partial:
            raise
        return None
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    size = 0 if is_head else int(headers.get("Content-Length", "0"))
    return Heard(
        status=int(head[0].split()[1]), headers=headers, body=await reader.readexactly(size)
    )


async def answers_until_closed(reader: asyncio.StreamReader) -> list[Heard]:
    """Return every answer but `100 Continue` until the other side closes."""
    answers = []
    while (answer := await heard(reader)) is not None:
        if answer.status != 100:
            answers.append(answer)
    return answers


async def all_heard(address: Address, data: bytes) -> list[Heard]:
    """Send `data` and return every answer until the bridge closes the connection."""
    async with asyncio.timeout(PATIENCE_S), connected(address) as (reader, writer):
        writer.write(data)
        return await answers_until_closed(reader)
