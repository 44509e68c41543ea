"""The bridge's own pages: is it alive, is it ready, what can be called."""

import importlib.util
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from chassis.errors import ServiceError
from chassis.pages.folder import KIT, KIT_PATH, POLICY, StaticFile, is_known, read_folder
from chassis.single_flight import SingleFlight
from rest_bridge.surface import Reply, Surface
from rest_bridge.upstream import Upstream, is_serving

_READY_WITHIN_S = 1.0
_CONSOLE = Path(__file__).parent / "console"
_DOCS = Path(__file__).parent / "docs"
# Swagger UI draws its icons from `data:`.
_DOCS_POLICY = POLICY.replace("img-src 'self'", "img-src 'self' data:")
_FILE_HEADERS: Mapping[str, str] = {"Cache-Control": "public, max-age=3600"}
_PACKAGED = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}


Page = Callable[[], Awaitable[Reply]]
PAGE_PATHS = (
    "/",
    "/livez",
    "/readyz",
    "/openapi.json",
    *(f"/docs/{name}" for name in _PACKAGED),
)

_FOLDERS = ("/docs", "/console", KIT_PATH.rstrip("/"))


def page_name(path: str) -> str:
    """Return what a page's path is called where it is counted: the files of a folder are one."""
    return next((folder for folder in _FOLDERS if path.startswith(folder)), path)


PAGE_NAMES = (*dict.fromkeys(map(page_name, (*PAGE_PATHS, *_FOLDERS))),)


def static_files() -> Mapping[str, StaticFile]:
    """Return the console, the documents' page and the kit, by path."""
    files = {
        **read_folder(folder=_CONSOLE, at="/console/"),
        **read_folder(folder=_DOCS, at="/docs/"),
        **read_folder(folder=KIT, at=KIT_PATH),
    }
    for page in ("/console", "/docs"):
        files[page] = files.pop(f"{page}/index.html")
    return files


class Pages:
    """Answers for the paths that no contract names."""

    def __init__(
        self,
        *,
        surface: Surface,
        upstream: Upstream,
        openapi: bytes,
        static: Mapping[str, StaticFile],
    ) -> None:
        self._surface = surface
        self._upstream = upstream
        self._openapi = openapi
        self._static_files = static
        self._folder = swagger_folder()
        self._files: dict[str, bytes] = {}
        self._asking: SingleFlight[str, Mapping[str, str]] = SingleFlight()
        self.draining = False
        self._pages: Mapping[str, Page] = {
            "/": self._index,
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/openapi.json": self._document,
        }

    def page(self, path: str) -> Page | None:
        """Return what answers for `path`, or None if it is no page of ours."""
        name = path.removeprefix("/docs/")
        if name in _PACKAGED and path != name:
            return lambda: self._packaged(name)
        if path in self._static_files:
            return lambda: self._static(path)
        return self._pages.get(path)

    async def _index(self) -> Reply:
        return Reply(
            status=307,
            body=b'{"docs":"/docs","openapi":"/openapi.json"}',
            headers={"Location": "docs"},
        )

    async def _livez(self) -> Reply:
        return self._surface.success(data='{"alive":true}', metadata={})

    async def _readyz(self) -> Reply:
        # However many ask at once, each service is asked one question at a time.
        states = dict(
            await self._asking.fly(
                key="readiness", call=lambda: self._upstream.readiness(timeout_s=_READY_WITHIN_S)
            )
        )
        if self.draining:
            states["bridge"] = "DRAINING"
        if all(is_serving(state) for state in states.values()):
            return self._surface.success(data='{"ready":true}', metadata={})
        details = ", ".join(
            f"{name}: {state}" for name, state in states.items() if not is_serving(state)
        )
        return self._surface.failure(
            error=ServiceError(reason="SERVER_UNAVAILABLE", message="Not ready", details=details)
        )

    async def _document(self) -> Reply:
        return Reply(status=200, body=self._openapi)

    async def _static(self, path: str) -> Reply:
        file = self._static_files[path]
        policy = {"Content-Security-Policy": _DOCS_POLICY} if path == "/docs" else {}
        return Reply(
            status=200,
            body=file.body,
            content_type=file.content_type,
            headers={**file.headers, **policy},
        )

    async def _packaged(self, name: str) -> Reply:
        # Read once and kept: a thousand that ask for 1.5 MB at once share it.
        if name not in self._files:
            self._files[name] = (self._folder / name).read_bytes()
        return Reply(
            status=200,
            body=self._files[name],
            content_type=_PACKAGED[name],
            headers=_FILE_HEADERS,
        )


def unless_known(*, reply: Reply, if_none_match: str) -> Reply:
    """Return `reply`, or 304 without a body where the caller has what it says already."""
    if not is_known(tag=reply.headers.get("ETag", ""), if_none_match=if_none_match):
        return reply
    return Reply(status=304, body=b"", content_type=reply.content_type, headers=reply.headers)


def swagger_folder() -> Path:
    """Return the folder of Swagger UI's files inside the installed `swagger-ui-py`.

    Found without importing the package, which would load a template engine and a web
    framework for each framework it knows.

    :raises FileNotFoundError: the package is not installed, or keeps its files elsewhere.
    """
    spec = importlib.util.find_spec("swagger_ui")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place, "static")
        if all((folder / name).is_file() for name in _PACKAGED):
            return folder
    raise FileNotFoundError("the files of Swagger UI are not installed (swagger-ui-py)")
