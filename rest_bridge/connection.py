"""One connection: deadlines for what is received and what is sent, and strictness.

aiohttp's server waits for ever for a head, a body, or a client that reads its answer. Here
every state has a deadline, checked by one sweep over all connections:

| the client | is closed after |
|---|---|
| sends nothing, or a head byte by byte | `RECEIVE_S` from the connection or the first byte |
| sends a body byte by byte | `RECEIVE_S` from the first byte of the head, answered 408 |
| does not read its answer (32 KiB each time) | `RECEIVE_S` |
| is idle between two requests | `IDLE_S`, and at once where a newcomer needs the place |
"""

import asyncio
from http import HTTPStatus
from typing import Any, cast

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from rest_bridge import surface as words
from rest_bridge.farewell import Farewell, dismiss
from rest_bridge.heads import (
    HEAD_LIMIT_BYTES,
    HEADERS_LIMIT,
    ends_its_connection,
    fault_of,
    is_too_large,
)
from rest_bridge.house import House
from rest_bridge.one_task import OneTaskHandler
from rest_bridge.peers import Address as PeerAddress
from rest_bridge.peers import address_or_none
from rest_bridge.responses import response_of
from rest_bridge.shedding import Sheds
from rest_bridge.surface import Refused
from rest_bridge.unread import Unread

RECEIVE_S = 4.5  # with the sweep's half second a slow client is gone within five
IDLE_S = 75.0  # how long a connection may stay open between two requests
_TOLD_S = 1.0  # how long one that is turned away may take to ask and be told why
_LINGER_S = 2.0  # how long what is still sent is swallowed, so that the answer arrives
_PIPELINE = 4  # requests that are kept while one is answered; then reading pauses
_BUFFER_BYTES = 64 * 1024
_BODY_LIMIT_BYTES = 8 * words.BODY_LIMIT_BYTES  # on the wire; chunks of one byte need six

_log = structlog.get_logger()


class Connection(OneTaskHandler):
    """aiohttp's connection, bounded in time and strict about where a request ends."""

    __slots__ = (
        "_began_s",
        "_body_bytes",
        "_deaf",
        "_farewell",
        "_head_bytes",
        "_head_since_s",
        "_house",
        "_idle_since_s",
        "_is_guest",
        "_is_last",
        "_opened_s",
        "_receiving",
        "_sheds",
        "_unread",
        "_wire",
        "peer",
    )

    def __init__(self, server: web.Server, *, house: House, sheds: Sheds) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # writing a line per request halves aiohttp's speed
            auto_decompress=False,  # a bomb of 64 KiB would unpack to 64 MiB
            lingering_time=_LINGER_S,
            max_headers=HEADERS_LIMIT,
            read_bufsize=_BUFFER_BYTES,
        )
        self._max_msg_queue_size = _PIPELINE
        self._msg_queue_resume_size = 1
        self._house = house
        self._sheds = sheds
        self.peer: PeerAddress | None = None
        self._wire: asyncio.Transport | None = None
        self._is_guest = False
        self._deaf = False  # whatever still comes is not read as a request
        self._is_last = False  # the request under way is the last one
        self._opened_s = self._idle_since_s = house.timer()
        self._head_since_s: float | None = None
        self._head_bytes = 0
        self._began_s: float | None = None
        self._receiving: StreamReader = EMPTY_PAYLOAD
        self._body_bytes = 0
        self._farewell = Farewell()
        self._unread = Unread()

    @property
    def receive_by_s(self) -> float:
        """The moment by which the request under way must have arrived whole."""
        began_s = self._house.timer() if self._began_s is None else self._began_s
        return began_s + RECEIVE_S

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or turn it away."""
        self._wire = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self.peer = _peer_of(transport)
        self._is_guest = self._house.connections.enter(guest=self, now_s=self._opened_s)
        if self._is_guest:
            super().connection_made(transport)
            return
        self._house.log.info(event="connection_refused", address=str(self.peer))
        if not self._house.connections.turn_away(guest=self):
            self._tell_why()
            self._wire.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place free."""
        self._house.connections.leave(guest=self)
        self._wire = None
        self._farewell.client_left()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless nothing more is wanted of this connection."""
        if self._deaf:
            return
        if not self._is_guest:
            self._tell_why()
        elif self._receiving.is_eof():
            self._receive_head(data)
        else:
            self._body_bytes += len(data)
            if self._body_bytes > _BODY_LIMIT_BYTES:
                self._break_body()
            else:
                self._parse(data)

    def _receive_head(self, data: bytes) -> None:
        awaits = self._awaits_request()
        if awaits and data:
            if self._head_since_s is None:
                self._head_since_s = self._house.timer()
                self._house.connections.is_busy(guest=self)
            self._head_bytes += len(data)
        self._parse(data)
        if awaits and self._messages:
            self._began_s, self._head_since_s, self._head_bytes = self._head_since_s, None, 0
        elif self._head_since_s is not None and self._head_bytes > HEAD_LIMIT_BYTES:
            self._house.counts.add(kind="malformed", reason="head_too_large")
            self._refuse(words.malformed(why=words.HEAD_TOO_LONG))

    def _parse(self, data: bytes) -> None:
        known = len(self._messages)
        # Nobody is woken for what is answered here.
        waiter, self._waiter = self._waiter, None
        super().data_received(data)
        self._waiter = waiter
        if len(self._messages) > known:
            self._house.connections.is_busy(guest=self)
            self._inspect(known)
            if waiter is not None and not known:
                self._shed()
        if self._messages and waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _shed(self) -> None:
        """Refuse the one request there is, if it is here whole and there is no room for it."""
        wire = self._wire
        if (
            len(self._messages) != 1
            or self._deaf
            or self._is_last
            or not self._receiving.is_eof()
            or wire is None
            or wire.get_write_buffer_size()  # the answer before is not taken away
        ):
            return
        head, _payload = self._messages[0]
        if isinstance(head, _ErrInfo) or head.should_close or head.version != HttpVersion11:
            return
        answer = self._sheds(head=head, peer=self.peer)
        if answer is None:
            return
        self._messages.clear()
        if self._parser is not None:
            self._parser.message_consumed()
        self._head_since_s, self._head_bytes = None, 0
        wire.write(answer)
        self._idle_since_s = self._house.timer()
        self._house.connections.is_idle(guest=self)

    def cut(self, *, reason: str) -> None:
        """Close at once, whatever was still to be sent, and count why."""
        self._house.counts.add(kind="connections_closed", reason=reason)
        self._deaf = True
        if self._wire is not None:
            self._wire.abort()

    def check(self, *, now_s: float) -> str:
        """Close the connection if one of its deadlines has passed, and return which."""
        reason = self._passed(now_s)
        if reason == "slow_head":
            self._house.counts.add(kind="connections_closed", reason=reason)
            self._refuse(words.slow_head())
        elif reason:
            self.cut(reason=reason)
        return reason

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; the time to swallow an unread body is what is left for receiving."""
        if self._is_last and not resp.prepared:
            resp.force_close()
        left_s = min(_LINGER_S, max(0.0, self.receive_by_s - self._house.timer()))
        self._lingering_time = left_s
        finished = await super().finish_response(request, resp, start_time)
        if (self._deaf and not self._messages) or not resp.keep_alive:
            await self._part(left_s)
        self._began_s = None
        self._idle_since_s = self._house.timer()
        if not self._messages:
            self._house.connections.is_idle(guest=self)
        return finished

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
        surface = self._house.surface
        if isinstance(exc, Refused):
            reply = surface.refusal(refused=exc)
        elif status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._house.counts.add(kind="malformed", reason="parser")
            self._house.log.info(event="malformed_http", why=type(exc).__name__)
            why = words.HEAD_TOO_LONG if isinstance(exc, LineTooLong) else words.HEAD_MALFORMED
            reply = surface.refusal(refused=words.malformed(why=why))
        else:
            _log.error("answer_failed", exc_info=exc)
            reply = surface.fixed(reason="INTERNAL_ERROR")
        response = response_of(reply=reply, request_id=self._house.make_id())
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Write to our own log what aiohttp has to say."""
        _log.error("connection_failed", why=args[0] if args else "", exc_info=kw.get("exc_info"))

    def _awaits_request(self) -> bool:
        return not self._messages and (self._waiter is not None or not self._request_count)

    def _inspect(self, known: int) -> None:
        """Look at each new request before anything is done with it."""
        for index in range(known, len(self._messages)):
            message, payload = self._messages[index]
            if not self._receiving.is_eof():  # a fault within a body
                self._forget_from(index)
                self._break_body()
                return
            if self._is_last:
                self._forget_from(index)
                return
            if isinstance(message, _ErrInfo):
                self._deaf = True
                return
            why = words.HEAD_TOO_LONG if is_too_large(head=message) else fault_of(head=message)
            if why:
                self._forget_from(index)
                self._house.counts.add(kind="malformed", reason="head")
                self._house.log.info(event="malformed_http", why=why)
                self._refuse(words.malformed(why=why))
                return
            self._receiving, self._body_bytes = payload, 0
            self._is_last = ends_its_connection(head=message)

    def _forget_from(self, index: int) -> None:
        while len(self._messages) > index:
            self._messages.pop()

    def _break_body(self) -> None:
        """Tell whoever reads the body that it never ends: the parser itself tells nobody."""
        self._deaf = True
        self._house.counts.add(kind="malformed", reason="body")
        self._receiving.set_exception(web.RequestPayloadError("its framing is broken"))
        self._receiving.feed_eof()  # so that nothing more of it is waited for
        self._is_last = True

    def _refuse(self, refused: Refused) -> None:
        """Answer with `refused` after what was asked before it, close, and hear no more."""
        self._deaf = True
        self._head_since_s = None
        status = HTTPStatus.BAD_REQUEST
        self._messages.append((_ErrInfo(status, refused, ""), EMPTY_PAYLOAD))
        self._request_count += 1
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _part(self, left_s: float) -> None:
        """Hear nothing more, and let the client read its last answer."""
        self._deaf = True
        self._lingering_time = 0.0  # it is done here
        await self._farewell.say(wire=self._wire, left_s=left_s)

    def _passed(self, now_s: float) -> str:
        """Return which deadline has passed, or an empty text."""
        if not self._is_guest:
            return "turned_away" if now_s - self._opened_s >= _TOLD_S else ""
        if (
            self._wire is not None
            and self._unread.lasts_s(wire=self._wire, now_s=now_s) >= RECEIVE_S
        ):
            return "answer_not_read"
        if self._head_since_s is not None:
            return "slow_head" if now_s - self._head_since_s >= RECEIVE_S else ""
        if not self._awaits_request():
            return ""
        if not self._request_count:
            return "silent" if now_s - self._opened_s >= RECEIVE_S else ""
        return "idle" if now_s - self._idle_since_s >= IDLE_S else ""

    def _tell_why(self) -> None:
        """Send one that is turned away its 503, and nothing after it."""
        self._deaf = True
        if self._wire is not None:
            reply = self._house.surface.overloaded(retry_after_s=1)
            answer = words.raw_answer(reply=reply, request_id=self._house.make_id())
            dismiss(wire=self._wire, answer=answer)


def _peer_of(transport: asyncio.BaseTransport) -> PeerAddress | None:
    name = transport.get_extra_info("peername")
    return address_or_none(text=name[0].partition("%")[0]) if isinstance(name, tuple) else None
