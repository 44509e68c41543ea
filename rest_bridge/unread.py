"""How long a client has not been taking away what was sent to it."""

import asyncio

_TAKEN_BYTES = 32 * 1024  # of an answer must have been read before the time starts anew


class Unread:
    """Watches what one connection still has to send."""

    __slots__ = ("_bytes", "_since_s")

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._bytes = 0

    def lasts_s(self, *, wire: asyncio.Transport, now_s: float) -> float:
        """Return for how long too little of it has been read; 0 where all is."""
        size = wire.get_write_buffer_size()
        if not size and not wire.is_closing():
            self._since_s = None
            return 0
        if self._since_s is None or size <= self._bytes - _TAKEN_BYTES:
            self._since_s, self._bytes = now_s, size
        return now_s - self._since_s
