"""One address that the bridge listens on, with a limit on TLS handshakes."""

import asyncio

from aiohttp import web

_HANDSHAKE_S = 5.0  # asyncio waits 60 s for a peer that connects and is silent
_GOODBYE_S = 2.0  # and 30 s for one that does not say that it leaves
_BACKLOG = 128


class Site(web.TCPSite):
    """aiohttp's site, which does not hand these limits to the loop."""

    __slots__ = ()

    async def start(self) -> None:
        """Listen.

        :raises OSError: the address cannot be bound.
        """
        if self._ssl_context is None:
            await super().start()
            return
        await web.BaseSite.start(self)
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")
        self._server = await asyncio.get_running_loop().create_server(
            server,
            self._host,
            self._port,
            ssl=self._ssl_context,
            backlog=_BACKLOG,
            ssl_handshake_timeout=_HANDSHAKE_S,
            ssl_shutdown_timeout=_GOODBYE_S,
        )
