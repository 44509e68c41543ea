"""The sandbox's page, its files and the kit they are made of."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import hdrs, web

from chassis.pages.folder import KIT, KIT_PATH, StaticFile, is_known, read_folder

_STATIC = Path(__file__).parent / "static"
_Handler = Callable[[web.Request], Awaitable[web.Response]]


def page_routes() -> list[web.RouteDef]:
    """Return a route for the page and for each of its files."""
    files = {**read_folder(folder=_STATIC, at="/static/"), **read_folder(folder=KIT, at=KIT_PATH)}
    files["/"] = files.pop("/static/index.html")
    return [web.get(path, _answering(file)) for path, file in files.items()]


def _answering(file: StaticFile) -> _Handler:
    async def answer(request: web.Request) -> web.Response:
        known = request.headers.get(hdrs.IF_NONE_MATCH, "")
        if is_known(tag=file.tag, if_none_match=known):
            return web.Response(status=304, headers=file.headers)
        return web.Response(
            body=file.body, headers=file.headers, content_type=file.content_type, charset="utf-8"
        )

    return answer
