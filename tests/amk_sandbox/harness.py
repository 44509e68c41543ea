"""A sandbox over real HTTP on port 0, and a fake of the insurer's public API beside it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from amk_sandbox.bank_api import Pace
from amk_sandbox.service import RunningSandbox, running_sandbox
from amk_sandbox.settings import read_settings
from chassis.settings import Variables

PACE = Pace(slow_s=0.5, byte_s=0.05, silence_s=20)  # quicker than a demonstration's
TOKEN = "bank-token-for-tests"
CONFIRMED = '{"success":true,"data":{"status":"CONFIRMED"}}'
JOHN = (
    '{"success":true,"data":{"id":150001,"policyNumber":"P123456789","payer":"John Doe",'
    '"amount":150.00,"currency":"USD","dueDate":"2025-11-15"}}'
)
DARA = (
    '{"success":true,"data":{"id":150002,"policyNumber":"P100000002","payer":"Sok Dara",'
    '"amount":615000,"currency":"KHR","dueDate":"2025-12-01"}}'
)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)  # noon in Phnom Penh

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class FakeInsurer:
    """Answers look-ups from `bills` and webhooks from `answers`, the last one for ever."""

    bills: dict[str, tuple[int, str]] = field(
        default_factory=lambda: {"P123456789": (200, JOHN), "P100000002": (200, DARA)}
    )
    answers: list[tuple[int, str]] = field(default_factory=lambda: [(200, CONFIRMED)])
    bodies: list[bytes] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    url: str = ""
    gate: asyncio.Event | None = None  # answers to webhooks wait for it
    notices: list[bytes] = field(default_factory=list)  # webhooks of codes
    notice_tokens: list[str | None] = field(default_factory=list)
    code_queries: list[str] = field(default_factory=list)  # raw
    code_tokens: list[str | None] = field(default_factory=list)
    make_code: Callable[[str], Awaitable[tuple[int, str]]] | None = None

    async def _inquire(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization"))
        unknown = (404, '{"success":false,"error":{"code":"RESOURCE_NOT_FOUND","message":"None"}}')
        status, text = self.bills.get(request.query["query"], unknown)
        return web.Response(status=status, text=text, content_type="application/json")

    async def _confirm(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.tokens.append(request.headers.get("Authorization"))
        if self.gate is not None:
            await self.gate.wait()
        status, text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, text=text, content_type="application/json")

    async def _confirm_khqr(self, request: web.Request) -> web.Response:
        self.notices.append(await request.read())
        self.notice_tokens.append(request.headers.get("Authorization"))
        if self.gate is not None:
            await self.gate.wait()
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401, text='{"success":false}')
        status, text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, text=text, content_type="application/json")

    async def _show(self, request: web.Request) -> web.Response:
        self.code_queries.append(request.rel_url.raw_query_string)
        self.code_tokens.append(request.headers.get("Authorization"))
        assert self.make_code is not None
        status, text = await self.make_code(request.query["billNumber"])
        return web.Response(status=status, text=text, content_type="application/json")

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["FakeInsurer"]:
        app = web.Application()
        app.add_routes(
            [
                web.get("/AMK/payments", self._inquire),
                web.post("/AMK/payments", self._confirm),
                web.post("/AMK/khqr", self._confirm_khqr),
                web.get("/khqr", self._show),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


@dataclass
class Client:
    """Speaks to the sandbox over HTTP."""

    base: str
    session: aiohttp.ClientSession
    running: RunningSandbox

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(self.base + path) as response:
            return response.status, await response.json() if response.status != 204 else None

    async def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.session.post(self.base + path, json=body) as response:
            return response.status, await response.json()

    async def state(self) -> dict[str, Any]:
        _, found = await self.get("/sandbox/state")
        whole: dict[str, Any] = found
        return whole

    async def text(self, path: str) -> str:
        async with self.session.get(self.base + path) as response:
            return await response.text()


@contextlib.asynccontextmanager
async def sandbox(
    *,
    var: Path,
    clock: Clock,
    bridge_url: str = "http://127.0.0.1:1",
    **environ: str,
) -> AsyncIterator[Client]:
    """Run a sandbox on `var` until the block ends; its loops are run by the test."""
    token_file = var / "sandbox.token"
    token_file.write_text(TOKEN)
    given = {
        "VAR_DIR": str(var),
        "SANDBOX_LISTEN": "127.0.0.1:0",
        "SANDBOX_TOKEN_FILE": str(token_file),
        "BRIDGE_URL": bridge_url,
        **environ,
    }
    settings = read_settings(variables=Variables(environ={k: v for k, v in given.items() if v}))
    async with (
        running_sandbox(settings=settings, clock=clock, pace=PACE) as running,
        aiohttp.ClientSession() as session,
    ):
        yield Client(base=f"http://{running.address}", session=session, running=running)


async def eventually(condition: Callable[[], bool], *, within_s: float = 10) -> None:
    """Return once `condition` holds; fail if it does not in time."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 # the condition is another process's or file's
            await asyncio.sleep(0.02)
