"""A server that answers everything alike."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def answering(
    status: int, body: str, *, date: str | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve one answer to everything, under the address that is yielded."""

    async def answer(_request: web.Request) -> web.Response:
        headers = {} if date is None else {"Date": date}
        return web.Response(
            status=status, text=body, content_type="application/json", headers=headers
        )

    served = web.Application()
    served.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(served, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
