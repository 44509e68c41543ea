"""A server of nothing but the kit, for what needs no page of ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from chassis.pages.folder import KIT, KIT_PATH, StaticFile, read_folder

_PAGE = (
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>Kit</title>'
    b'<link rel="icon" href="/kit/icon.svg"><link rel="stylesheet" href="/kit/kit.css">'
    b'<main id="place"></main></html>'
)


@asynccontextmanager
async def kit_server() -> AsyncIterator[str]:
    """Serve an empty page and the kit; yield the page's address."""
    files = dict(read_folder(folder=KIT, at=KIT_PATH))
    files["/"] = StaticFile(body=_PAGE, content_type="text/html", tag='"kit"')

    async def answer(request: web.Request) -> web.Response:
        file = files.get(request.path)
        if file is None:
            raise web.HTTPNotFound
        return web.Response(body=file.body, content_type=file.content_type, headers=file.headers)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
