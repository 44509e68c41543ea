"""A TCP proxy that spoils one link of the system: delays it, swallows it, cuts it.

It sits between two real processes and knows nothing of what they say.
"""

import asyncio
import contextlib
from dataclasses import dataclass

_CHUNK_BYTES = 65_536


@dataclass(kw_only=True)
class Weather:
    """How the link is now; changed while bytes travel."""

    delay_s: float = 0.0  # every chunk waits this long, either way
    swallows: bool = False  # bytes are taken and go nowhere: a black hole
    cut_after_bytes: int | None = None  # of answers, then one connection is reset


class TcpProxy:
    """Listens on a port of its own and connects every caller to `target`."""

    def __init__(self, *, name: str, target_port: int) -> None:
        self.name = name
        self.port = 0
        self.weather = Weather()
        self.target_port = target_port
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()
        self._fair = asyncio.Event()  # set while nothing is swallowed
        self._fair.set()

    async def start(self) -> int:
        """Listen and return the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    def cut(self) -> int:
        """Reset every connection and return how many there were."""
        links, self._links = self._links, set()
        for writer in links:
            writer.transport.abort()
        return len(links)

    def swallow(self) -> None:
        """Let nothing through from now on, without telling anybody."""
        self.weather.swallows = True
        self._fair.clear()

    def clear(self) -> None:
        """Let everything through again; a connection that lost bytes is cut, as TCP would."""
        if self.weather.swallows:
            self.cut()
        self.weather = Weather()
        self._fair.set()

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self._fair.set()
        self.cut()
        await asyncio.sleep(0)  # an aborted transport lets go a turn of the loop later

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._links.add(writer)
        try:
            await self._fair.wait()  # a black hole takes a connection and says nothing
            there, back = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            self._links.discard(writer)
            writer.transport.abort()
            return
        self._links.add(back)
        ways = [
            asyncio.create_task(self._carry(reader, back, is_answer=False)),
            asyncio.create_task(self._carry(there, writer, is_answer=True)),
        ]
        try:
            await asyncio.gather(*ways)
        except (OSError, RuntimeError):  # uvloop's word for a transport that is gone
            pass
        finally:
            for way in ways:
                way.cancel()
            for one in (writer, back):
                self._links.discard(one)
                one.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if self.weather.delay_s:
                await asyncio.sleep(self.weather.delay_s)
            if self.weather.swallows:
                continue
            if is_answer and await self._is_cut(chunk, writer):
                raise ConnectionResetError
            writer.write(chunk)
            await writer.drain()
        if not writer.is_closing() and writer.can_write_eof():
            writer.write_eof()

    async def _is_cut(self, chunk: bytes, writer: asyncio.StreamWriter) -> bool:
        """Count the bytes of an answer; write what is still allowed of the one to be cut."""
        left = self.weather.cut_after_bytes
        if left is None or len(chunk) < left:
            self.weather.cut_after_bytes = None if left is None else left - len(chunk)
            return False
        self.weather.cut_after_bytes = None  # one connection, not all that follow
        writer.write(chunk[:left])
        with contextlib.suppress(OSError):
            await writer.drain()
        return True
