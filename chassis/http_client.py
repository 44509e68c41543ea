"""One HTTP exchange: `Send` takes a request and gives a response, or says what failed.

Retries, breakers and the meaning of an answer are built around a `Send`; this file only
talks HTTP, so a fake one can stand in for the whole network.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

_RESPONSE_LIMIT_BYTES = 256 * 1024  # a partner's answer is a few hundred bytes, a QR image 20 KiB


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """What is sent: `timeout_s` bounds the whole exchange, connection included."""

    method: str
    url: str
    timeout_s: float
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class HttpResponse:
    """What came back, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ExchangeFailed(Exception):
    """No answer came; `sent` tells whether the other side may have seen the request."""

    def __init__(self, *, why: str, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


Send = Callable[[HttpRequest], Awaitable[HttpResponse]]


class HttpClient:
    """A `Send` over a pool of connections; opens nothing before its first exchange."""

    def __init__(self, *, connections: int) -> None:
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Return the answer to `request`; redirects are answers, not followed.

        :raises ExchangeFailed: no connection, cut, too slow, or an answer over 256 KiB.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        try:
            async with self._session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=request.timeout_s),
            ) as response:
                body = await response.content.read(_RESPONSE_LIMIT_BYTES + 1)
                while len(body) <= _RESPONSE_LIMIT_BYTES:
                    chunk = await response.content.read(_RESPONSE_LIMIT_BYTES + 1 - len(body))
                    if not chunk:
                        break
                    body += chunk
                if len(body) > _RESPONSE_LIMIT_BYTES:
                    raise ExchangeFailed(why="the answer is too large", sent=True)
                return HttpResponse(
                    status=response.status, headers=dict(response.headers), body=body
                )
        except aiohttp.ClientConnectorError as problem:
            raise ExchangeFailed(why=type(problem).__name__, sent=False) from problem
        except TimeoutError as problem:
            raise ExchangeFailed(why="no answer in time", sent=True) from problem
        except (aiohttp.ClientError, OSError) as problem:
            raise ExchangeFailed(why=type(problem).__name__, sent=True) from problem

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None
