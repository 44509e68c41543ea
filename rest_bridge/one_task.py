"""aiohttp's connection, answering its requests in the one task that it has.

aiohttp makes a task for each request. That costs 2 us and two rounds of the event loop; requests of
a connection are answered one after the other anyway.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import _PAYLOAD_ACCESS_ERROR, ERROR, RequestHandler, _ErrInfo

_Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class OneTaskHandler(RequestHandler):
    """Answers what its parser has read, in order, until the connection ends."""

    __slots__ = ()

    async def start(self) -> None:
        """Answer requests until one of them is the last."""
        while not self._force_close:
            if not self._messages:
                await self._arrival()
            if not await self._answer_next():
                break
        if not self._force_close:
            self._task_handler = None  # it is not waited for when the server stops
            if self.transport is not None:
                self.transport.close()

    async def _arrival(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _answer_next(self) -> bool:
        """Answer one request, and tell whether there may be another."""
        request, handler, payload = self._next_request()
        try:
            response, has_left = await self._handle_request(request, None, handler)
            if has_left:
                return False
            self._keepalive = bool(response.keep_alive)
            await self._swallow(payload)
            payload.set_exception(_PAYLOAD_ACCESS_ERROR)
        except ConnectionError:
            return False
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception as problem:  # noqa: BLE001 - whatever it is, this connection is done
            self.log_exception("Unhandled exception", exc_info=problem)
            self.force_close()
        finally:
            request._task = None  # type: ignore[assignment] # noqa: SLF001 - a cycle otherwise
        return self._keepalive and not self._close and not self._force_close

    def _next_request(self) -> tuple[web.BaseRequest, _Answer, StreamReader]:
        message, payload = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        assert self._manager is not None  # noqa: S101 - it is there while the connection is
        assert self._request_factory is not None  # noqa: S101
        assert self._request_handler is not None  # noqa: S101
        self._manager.requests_count += 1
        handler = self._request_handler
        if isinstance(message, _ErrInfo):
            handler = self._make_error_handler(message)
            message = ERROR
        task = self._task_handler or asyncio.current_task()
        assert task is not None  # noqa: S101
        request = self._request_factory(
            message, payload, self, StreamWriter(self, self._loop), task
        )
        return request, handler, payload

    async def _swallow(self, payload: StreamReader) -> None:
        """Read what is left of a body, for a while, so that the next request can be read."""
        if payload.is_eof():
            return
        if self._lingering_time and not self._force_close:
            try:
                async with asyncio.timeout(self._lingering_time):
                    while not payload.is_eof():
                        await payload.readany()
            except TimeoutError:
                pass
        if not payload.is_eof() and not self._force_close:
            self.close()
