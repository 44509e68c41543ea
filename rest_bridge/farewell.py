"""How a connection ends so that its last answer arrives.

Closing at once would throw away the answer together with what is still unread: nothing more is
sent, and the client is given a moment to read and to close.
"""

import asyncio
from contextlib import suppress

_LEAST_S = 0.1


class Farewell:
    """The end of one connection."""

    __slots__ = ("_gone",)

    def __init__(self) -> None:
        self._gone: asyncio.Future[None] | None = None

    async def say(self, *, wire: asyncio.Transport | None, left_s: float) -> None:
        """Say that nothing more comes, and wait until the client has gone, for `left_s` or so."""
        if wire is None or wire.is_closing() or not wire.can_write_eof():
            return
        try:
            wire.write_eof()
        except OSError:
            return  # the client has closed already
        self._gone = asyncio.get_running_loop().create_future()
        await asyncio.wait((self._gone,), timeout=max(_LEAST_S, left_s))

    def client_left(self) -> None:
        """Hear that the client has closed."""
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)


def dismiss(*, wire: asyncio.Transport, answer: bytes) -> None:
    """Send the one answer that there will be, and nothing after it."""
    wire.write(answer)
    if not wire.can_write_eof():
        wire.close()
        return
    with suppress(OSError):  # it may have left already
        wire.write_eof()
