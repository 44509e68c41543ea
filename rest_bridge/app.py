"""One handler for every route, on aiohttp's plain server: no router, no middlewares to order."""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import HttpVersion10, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from chassis.errors import ServiceError
from chassis.telemetry import request_id_of_call
from rest_bridge import surface as words
from rest_bridge.binding import Binder
from rest_bridge.codec import Codec
from rest_bridge.contract import Contract
from rest_bridge.openapi import openapi_document
from rest_bridge.pages import PAGE_PATHS, Pages
from rest_bridge.routes import Route, RouteTable
from rest_bridge.surface import Refused, Reply, Surface
from rest_bridge.upstream import CallFailed, Upstream, forwarded_metadata

_PAGE_METHODS = (hdrs.METH_GET, hdrs.METH_HEAD)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_IDLE_S = 75.0  # how long a connection may stay open between two requests
_LINGER_S = 2.0  # how long an unread body is swallowed, so that a refusal arrives

_log = structlog.get_logger()


class Bridge:
    """Turns HTTP requests into calls, and what comes of them into answers."""

    def __init__(
        self,
        *,
        contract: Contract,
        upstream: Upstream,
        budget_s: float,
        make_id: Callable[[], str],
        version: str,
    ) -> None:
        codec = Codec(rules=contract.rules)
        for method in contract.methods:
            codec.compile_all((method.request_type, method.response_type))
        self._table = RouteTable(
            methods=contract.methods, rules=contract.rules, reserved=PAGE_PATHS
        )
        self._codec = codec
        self._binder = Binder(codec=codec, rules=contract.rules)
        self._reasons = contract.reasons
        self._upstream = upstream
        self._budget_s = budget_s
        self.make_id = make_id
        self.surface = Surface(reasons=contract.reasons)
        self.pages = Pages(
            surface=self.surface,
            upstream=upstream,
            openapi=openapi_document(
                contract=contract, codec=codec, routes=self._table.routes, version=version
            ),
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the answer to `request`, whatever happens on the way."""
        deadline_s = time.monotonic() + self._budget_s
        given = request.headers.getall(words.REQUEST_ID, [])
        request_id = words.request_id_or(
            given=given[0] if len(given) == 1 else "", made=self.make_id()
        )
        request_id_of_call.set(request_id)
        try:
            reply = await self._reply(request, request_id, deadline_s)
        except ServiceError as error:
            reply = self.surface.failure(error=error)
        except CallFailed as failed:
            reply = self.surface.failure(error=failed.error, metadata=failed.metadata)
        except Refused as refused:
            reply = self.surface.refusal(refused=refused)
        except ConnectionError:
            raise  # the caller has left
        except Exception:  # noqa: BLE001 # the last line of defence: logged, never shown
            _log.exception("call_failed", method=request.method)
            reply = self.surface.fixed(reason="INTERNAL_ERROR")
        return response_of(reply=reply, request_id=request_id)

    async def _reply(self, request: web.BaseRequest, request_id: str, deadline_s: float) -> Reply:
        if request.version < HttpVersion10:
            raise words.malformed(too_long=False)
        raw_path, raw_query = _target(request)
        page = self.pages.page(raw_path.decode("latin-1"))
        if page is not None:
            if request.method not in _PAGE_METHODS:
                raise words.method_not_allowed(allowed=", ".join(_PAGE_METHODS))
            return await page()
        match = self._table.match(raw_path=raw_path)
        if match is None:
            raise words.no_such_route()
        if request.method not in match.by_method:
            raise words.method_not_allowed(allowed=match.allowed)
        authorization = words.checked_authorization(
            given=request.headers.getall(hdrs.AUTHORIZATION, []), reasons=self._reasons
        )
        route, path = match.by_method[request.method]
        body = await self._body(request, route, deadline_s)
        bound = self._binder.bind(route=route, path=path, raw_query=raw_query, body=body)
        if bound.ignored:
            _log.info("unknown_ignored", rpc=route.method.full_name, count=bound.ignored)
        answer = await self._upstream.call(
            method=route.method,
            request=bound.message,
            metadata=forwarded_metadata(
                authorization=authorization,
                request_id=request_id,
                traceparent=request.headers.get("traceparent", ""),
            ),
            timeout_s=deadline_s - time.monotonic(),
        )
        data = self._codec.write(message=answer.message)
        return self.surface.success(data=data, metadata=answer.metadata)

    async def _body(self, request: web.BaseRequest, route: Route, deadline_s: float) -> bytes:
        if not request.body_exists:
            return b""
        if route.body:
            words.refuse_unreadable_body(
                content_type=request.content_type if hdrs.CONTENT_TYPE in request.headers else "",
                charset=request.charset,
                encoding=request.headers.get(hdrs.CONTENT_ENCODING, ""),
            )
        if (request.content_length or 0) > words.BODY_LIMIT_BYTES:
            raise words.too_large()
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            await request.writer.write(_CONTINUE)
            request.writer.output_size = 0  # nothing of the answer itself is out yet
        try:
            async with asyncio.timeout(deadline_s - time.monotonic()):
                return await _read_bounded(request)
        except TimeoutError:
            raise words.too_slow() from None
        except (web.RequestPayloadError, HttpProcessingError):
            raise words.unreadable_body() from None


class BridgeServer(web.Server):
    """aiohttp's plain server with our own words for what is no HTTP."""

    def __init__(self, *, bridge: Bridge) -> None:
        super().__init__(bridge.handle)
        self._bridge = bridge

    def __call__(self) -> RequestHandler:
        """Return what serves one connection."""
        return _Connection(
            self,
            bridge=self._bridge,
            loop=asyncio.get_running_loop(),
            access_log=None,  # writing a line per request halves aiohttp's speed
            auto_decompress=False,
            lingering_time=_LINGER_S,
            keepalive_timeout=_IDLE_S,
        )


class _Connection(RequestHandler):
    __slots__ = ("_bridge",)

    def __init__(self, server: BridgeServer, *, bridge: Bridge, **options: Any) -> None:
        super().__init__(server, **options)
        self._bridge = bridge

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the envelope for what never reached the handler, and close."""
        del message  # it quotes what the stranger sent
        if isinstance(exc, ConnectionError):
            raise exc  # the caller has left: nobody to tell, nothing to log
        if request.writer.output_size > 0:
            raise ConnectionError("part of another answer is out already")
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.info("malformed_http", why=type(exc).__name__)
            refused = words.malformed(too_long=isinstance(exc, LineTooLong))
            reply = self._bridge.surface.refusal(refused=refused)
        else:
            _log.error("answer_failed", exc_info=exc)
            reply = self._bridge.surface.fixed(reason="INTERNAL_ERROR")
        response = response_of(reply=reply, request_id=self._bridge.make_id())
        response.force_close()
        return response


def response_of(*, reply: Reply, request_id: str) -> web.Response:
    """Return `reply` as aiohttp sends it."""
    response = web.Response(
        status=reply.status,
        body=reply.body,
        headers=words.all_headers(reply=reply, request_id=request_id),
    )
    if reply.close:
        response.force_close()
    return response


def _target(request: web.BaseRequest) -> tuple[bytes, bytes]:
    """Return path and query as they came, undecoded; an absolute target loses its origin."""
    raw = request.raw_path.encode("utf-8", "surrogateescape").partition(b"#")[0]
    if not raw.startswith(b"/") and b"://" in raw:
        _, separator, rest = raw.partition(b"://")[2].partition(b"/")
        raw = separator + rest
    path, _, query = raw.partition(b"?")
    return path, query


async def _read_bounded(request: web.BaseRequest) -> bytes:
    parts, size = [], 0
    while part := await request.content.readany():
        parts.append(part)
        size += len(part)
        if size > words.BODY_LIMIT_BYTES:
            raise words.too_large()
    return b"".join(parts)
