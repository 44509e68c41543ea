"""aiohttp's plain server, with our own connections and one sweep over them."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from rest_bridge.connection import Connection, House

SWEEP_S = 0.25  # between two looks at every deadline: a thousand connections take a millisecond


class BridgeServer(web.Server):
    """aiohttp's plain server with our own connections."""

    def __init__(
        self,
        *,
        handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        house: House,
    ) -> None:
        super().__init__(handle)
        self._house = house

    def __call__(self) -> RequestHandler:
        """Return what serves one connection."""
        return Connection(self, house=self._house)

    async def sweep_once(self) -> int:
        """Check the deadlines of every connection and return how many were closed."""
        return self._house.connections.run_once(now_s=self._house.timer())
