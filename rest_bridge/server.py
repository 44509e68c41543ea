"""aiohttp's plain server, with our own connections and one sweep over them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from rest_bridge.connection import RECEIVE_S, Connection
from rest_bridge.house import House
from rest_bridge.shedding import Sheds, sheds_nothing

SWEEP_S = 0.25  # between two looks at every deadline; a thousand connections take 0.2 ms
_SHUTDOWN_S = 1.0  # how long the end of a TLS connection is waited for


class BridgeServer(web.Server):
    """aiohttp's plain server with our own connections."""

    def __init__(
        self,
        *,
        handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        house: House,
        sheds: Sheds = sheds_nothing,
    ) -> None:
        super().__init__(handle)
        self._house = house
        self._sheds = sheds

    def __call__(self) -> RequestHandler:
        """Return what serves one connection."""
        return Connection(self, house=self._house, sheds=self._sheds)

    async def sweep_once(self) -> int:
        """Check the deadlines of every connection and return how many were closed."""
        return self._house.connections.run_once(now_s=self._house.timer())


class Site(web.TCPSite):
    """aiohttp's listener, with a deadline for TLS handshakes, where the event loop has 60 s.

    Until its handshake is done a connection is not one of ours: no sweep and no bound sees it.
    """

    __slots__ = ("_handshake_s",)

    def __init__(self, *arguments: Any, handshake_s: float = RECEIVE_S, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._handshake_s = handshake_s

    async def start(self) -> None:
        """Listen."""
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None  # noqa: S101 # the line above has checked it
        tls = self._ssl_context is not None
        self._server = await asyncio.get_running_loop().create_server(
            server,
            self._host,
            self._port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=self._handshake_s if tls else None,
            ssl_shutdown_timeout=_SHUTDOWN_S if tls else None,
            backlog=self._backlog,
            reuse_port=self._reuse_port,
        )
        self._bound_port = self._server.sockets[0].getsockname()[1]
