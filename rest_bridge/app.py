"""One handler for every route, on aiohttp's plain server: no router, no middlewares to order."""

import asyncio
from collections.abc import Sequence
from math import inf
from typing import Protocol

import structlog
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from chassis.admission import Admission, Overloaded
from chassis.errors import ServiceError
from chassis.telemetry import request_id_of_call
from chassis.tracing import Tracing
from rest_bridge import surface as words
from rest_bridge.answered import Answered, unanswered
from rest_bridge.binding import Binder
from rest_bridge.codec import Codec
from rest_bridge.connection import Connection
from rest_bridge.contract import Contract
from rest_bridge.house import House
from rest_bridge.kinds import Kinds
from rest_bridge.openapi import openapi_document
from rest_bridge.pages import PAGE_PATHS, Page, Pages, page_name, static_files, unless_known
from rest_bridge.peers import FORWARDED_FOR, Peers
from rest_bridge.peers import Address as PeerAddress
from rest_bridge.responses import PART_BYTES, response_of, sent_in_parts
from rest_bridge.routes import Route, RouteTable
from rest_bridge.shedding import Shedding
from rest_bridge.surface import Refused, Reply
from rest_bridge.upstream import CallFailed, Upstream, forwarded_metadata

_PAGE_METHODS = (hdrs.METH_GET, hdrs.METH_HEAD)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_log = structlog.get_logger()


class _MayCall(Protocol):
    def __call__(self, *, address: PeerAddress | None) -> bool:
        """Tell whether a call is taken from `address`."""


ROUTE = web.RequestKey("route", str)  # the template of the route that a request means


class Bridge:
    """Turns HTTP requests into calls, and what comes of them into answers."""

    def __init__(
        self,
        *,
        contract: Contract,
        upstream: Upstream,
        admission: Admission,
        peers: Peers,
        house: House,
        budget_s: float,
        version: str,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        codec = Codec(rules=contract.rules)
        for method in contract.methods:
            codec.compile_all((method.request_type, method.response_type))
        static = static_files()
        self._table = RouteTable(
            methods=contract.methods, rules=contract.rules, reserved=(*PAGE_PATHS, *static)
        )
        self._codec = codec
        self._binder = Binder(codec=codec, rules=contract.rules)
        self._reasons = contract.reasons
        self._upstream = upstream
        self._admission = admission
        self._peers = peers
        self._house = house
        self._budget_s = budget_s
        self._answered: Answered = unanswered
        self._kinds = Kinds()
        self.shed = Shedding(
            table=self._table,
            admission=admission,
            kinds=self._kinds,
            peers=peers,
            surface=house.surface,
            counts=house.counts,
            make_id=house.make_id,
            timer=house.timer,
            budget_s=budget_s,
        )
        self.pages = Pages(
            surface=house.surface,
            upstream=upstream,
            openapi=openapi_document(
                contract=contract, codec=codec, routes=self._table.routes, version=version
            ),
            static=static,
        )

    @property
    def routes(self) -> Sequence[Route]:
        """Every route that is served."""
        return self._table.routes

    def watch(self, answered: Answered) -> None:
        """Tell `answered` of every request from now on."""
        self._answered = self.shed.answered = answered

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the answer to `request`, whatever happens on the way."""
        started_s, status, traced = self._house.timer(), None, None
        if self._tracing is not None:
            traced = self._tracing.request(
                method=request.method, traceparent=words.traceparent_of(request.headers)
            )
        given = request.headers.getall(words.REQUEST_ID, [])
        request_id = words.request_id_or(
            given=given[0] if len(given) == 1 else "", make=self._house.make_id
        )
        told = request_id_of_call.set(request_id)  # the task is the connection's
        try:
            response = await self._answer(request, request_id, started_s + self._budget_s)
            status = response.status
        finally:
            self._answered(
                method=request.method,
                route=request.get(ROUTE),
                status=status,
                elapsed_s=self._house.timer() - started_s,
            )
            if traced is not None:
                traced(request.get(ROUTE, "unmatched"), status)
            request_id_of_call.reset(told)
        return response

    def _traceparent(self, request: web.BaseRequest) -> str:
        if self._tracing is None:
            return words.traceparent_of(request.headers)
        return dict(self._tracing.headers()).get("traceparent", "")

    async def _answer(
        self, request: web.BaseRequest, request_id: str, deadline_s: float
    ) -> web.StreamResponse:
        try:
            reply = await self._reply(request, request_id, deadline_s)
        except ServiceError as error:
            reply = self._house.surface.failure(error=error)
        except CallFailed as failed:
            reply = self._house.surface.failure(error=failed.error, metadata=failed.metadata)
        except Overloaded as overload:
            reason = "webhook" if overload.vital else "other"
            self._house.counts.add(kind="shed", reason=reason)
            reply = self._house.surface.overloaded(retry_after_s=overload.retry_after_s)
        except Refused as refused:
            reply = self._house.surface.refusal(refused=refused)
        except ConnectionError:
            raise  # the caller has left
        except Exception:  # noqa: BLE001 # the last line of defence: logged, never shown
            _log.exception("call_failed", method=request.method)
            reply = self._house.surface.fixed(reason="INTERNAL_ERROR")
        if len(reply.body) > PART_BYTES:
            return await sent_in_parts(request=request, reply=reply, request_id=request_id)
        return response_of(reply=reply, request_id=request_id)

    async def _reply(self, request: web.BaseRequest, request_id: str, deadline_s: float) -> Reply:
        raw_path, raw_query = _target(request)
        name = raw_path.decode("latin-1")
        page = self.pages.page(name)
        if page is not None:
            return await self._page(request, page, page_name(name))
        match = self._table.match(raw_path=raw_path)
        if match is None:
            raise words.no_such_route()
        if request.method not in match.by_method:
            request[ROUTE] = next(iter(match.by_method.values()))[0].template
            raise words.method_not_allowed(allowed=match.allowed)
        route, path = match.by_method[request.method]
        request[ROUTE] = route.template
        if route.method.webhook:
            self._refuse_strange_address(request, self._peers.may_call_webhooks, route.method.name)
        elif route.template.startswith(words.OPERATIONS):
            self._refuse_strange_address(request, self._peers.may_operate, route.method.name)
        # Asked before anything is read or parsed, so that what is shed costs next to nothing;
        # taken only with the whole body at hand, so that nobody holds a place by being slow.
        kind = self._kinds.of(method=route.method, path=path)
        self._admission.check(kind=kind, vital=route.method.webhook, ends_at_s=deadline_s)
        authorization = words.checked_authorization(
            given=request.headers.getall(hdrs.AUTHORIZATION, []), reasons=self._reasons
        )
        body = await self._body(request, route, deadline_s)
        async with self._admission.turn(
            kind=kind, vital=route.method.webhook, ends_at_s=deadline_s
        ) as turn:
            bound = self._binder.bind(route=route, path=path, raw_query=raw_query, body=body)
            if bound.ignored:
                _log.info("unknown_ignored", rpc=route.method.full_name, count=bound.ignored)
            try:
                answer = await self._upstream.call(
                    method=route.method,
                    request=bound.message,
                    metadata=forwarded_metadata(
                        authorization=authorization,
                        request_id=request_id,
                        traceparent=self._traceparent(request),
                    ),
                    timeout_s=deadline_s - self._house.timer(),
                )
            except CallFailed as failed:
                if failed.error.overloaded:
                    turn.refused_behind()
                raise
        self._kinds.meet(path=path)
        data = self._codec.write(message=answer.message)
        return self._house.surface.success(data=data, metadata=answer.metadata)

    async def _page(self, request: web.BaseRequest, page: Page, name: str) -> Reply:
        request[ROUTE] = name
        if name.startswith(words.OPERATIONS):
            self._refuse_strange_address(request, self._peers.may_operate, name)
        if request.method not in _PAGE_METHODS:
            raise words.method_not_allowed(allowed=", ".join(_PAGE_METHODS))
        known = request.headers.get(hdrs.IF_NONE_MATCH, "")
        return unless_known(reply=await page(), if_none_match=known)

    def _refuse_strange_address(self, request: web.BaseRequest, may: _MayCall, what: str) -> None:
        address = self._peers.caller(
            peer=_peer(request), forwarded=request.headers.getall(FORWARDED_FOR, [])
        )
        if not may(address=address):
            self._house.counts.add(kind="refused", reason="address")
            self._house.log.info(event="address_refused", address=str(address), what=what)
            raise words.address_refused(address=address)

    async def _body(self, request: web.BaseRequest, route: Route, deadline_s: float) -> bytes:
        expected = request.headers.get(hdrs.EXPECT, "").lower()
        if expected not in ("", "100-continue"):
            self._house.counts.add(kind="refused", reason="expectation")
            raise words.unexpected()
        if not request.body_exists:
            return b""
        given = request.headers.get(hdrs.CONTENT_TYPE, "")
        if route.body and (given != words.JSON_TYPE or hdrs.CONTENT_ENCODING in request.headers):
            words.refuse_unreadable_body(
                content_type=request.content_type if given else "",
                charset=request.charset,
                encoding=request.headers.get(hdrs.CONTENT_ENCODING, ""),
            )
        if (request.content_length or 0) > words.BODY_LIMIT_BYTES:
            self._house.counts.add(kind="refused", reason="too_large")
            raise words.too_large()
        if expected and request.version >= HttpVersion11:
            await request.writer.write(_CONTINUE)
            request.writer.output_size = 0  # nothing of the answer itself is out yet
        try:
            if request.content.is_eof():  # it came with the head, as nearly all do
                return _within_limit(request.content.read_nowait())
            async with asyncio.timeout(
                min(deadline_s, _receive_by_s(request)) - self._house.timer()
            ):
                return await _read_bounded(request)
        except TimeoutError:
            self._house.counts.add(kind="refused", reason="slow_body")
            raise words.too_slow() from None
        except (web.RequestPayloadError, HttpProcessingError):
            raise words.unreadable_body() from None


def _peer(request: web.BaseRequest) -> PeerAddress | None:
    return request.protocol.peer if isinstance(request.protocol, Connection) else None


def _receive_by_s(request: web.BaseRequest) -> float:
    protocol = request.protocol
    return protocol.receive_by_s if isinstance(protocol, Connection) else inf


def _target(request: web.BaseRequest) -> tuple[bytes, bytes]:
    """Return path and query as they came, undecoded; an absolute target loses its origin."""
    raw = request.raw_path.encode("utf-8", "surrogateescape").partition(b"#")[0]
    if not raw.startswith(b"/") and b"://" in raw:
        _, separator, rest = raw.partition(b"://")[2].partition(b"/")
        raw = separator + rest
    path, _, query = raw.partition(b"?")
    return path, query


def _within_limit(body: bytes) -> bytes:
    if len(body) > words.BODY_LIMIT_BYTES:
        raise words.too_large()
    return body


async def _read_bounded(request: web.BaseRequest) -> bytes:
    parts, size = [], 0
    while part := await request.content.readany():
        parts.append(part)
        size += len(part)
        if size > words.BODY_LIMIT_BYTES:
            raise words.too_large()
    return b"".join(parts)
