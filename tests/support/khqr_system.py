"""Sandbox, gateway, KHQR service and bridge in this process, over real HTTP and gRPC."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp

from amk_sandbox.service import RunningSandbox, running_sandbox
from amk_sandbox.settings import read_settings as read_sandbox_settings
from chassis.rpc import utc_now
from chassis.settings import Address, Variables
from chassis.tracing import open_tracing, otlp_endpoint
from gateway_svc.completer import PollPlan
from gateway_svc.settings import read_settings as read_gateway_settings
from khqr_svc.service import KhqrProcess
from khqr_svc.settings import read_settings as read_khqr_settings
from rest_bridge.contract import load_contract, read_image
from rest_bridge.service import Running as RunningBridge
from rest_bridge.service import start as start_bridge
from tests.support.gateway import FakeIntegration, running_gateway
from tests.support.system import KEY, System
from tests.support.tokens import write_jwks

ALL_SCOPES = ("payments:inquire", "payments:confirm", "khqr:generate")
IN_HASTE = PollPlan(
    first=timedelta(seconds=1), longest=timedelta(seconds=2), after_expiry=timedelta(hours=1)
)


@dataclass(kw_only=True)
class KhqrSystem(System):
    """A whole system, the bank played by the sandbox."""

    sandbox: RunningSandbox
    sandbox_url: str
    khqr: KhqrProcess
    bridge: RunningBridge

    async def operate(self, path: str, body: Any = None) -> Any:
        """Do what an operator does on the sandbox's page."""
        async with self.http.post(f"{self.sandbox_url}{path}", json=body) as response:
            assert response.status < 300, (path, response.status, await response.text())
            return await response.json()

    async def state(self) -> Any:
        """Return what the sandbox's page shows."""
        async with self.http.get(f"{self.sandbox_url}/sandbox/state") as response:
            return await response.json()

    async def code(self, policy: str) -> Any:
        """Ask for a code; return the answer."""
        return await self.get(f"/khqr?bankCode=AMK&billNumber={policy}")

    async def notices(self) -> list[Any]:
        """Return the KHQR notices on disk."""
        return await self.rows("SELECT state, hold FROM khqr_notices ORDER BY id")

    async def payments(self) -> list[str]:
        """Return the states of the payments, in their order."""
        return [state for (state,) in await self.rows("SELECT state FROM payments ORDER BY id")]

    async def topics(self) -> list[str]:
        """Return the short names of the events written."""
        rows = await self.rows("SELECT topic FROM outbox ORDER BY id")
        return [topic.rpartition(".")[2] for (topic,) in rows]


@asynccontextmanager
async def running_khqr_system(
    *,
    tmp_path: Path,
    database_url: str,
    environ: Mapping[str, str] | None = None,
    polls: PollPlan = IN_HASTE,
    parts: Mapping[str, Any] = MappingProxyType({}),
) -> AsyncIterator[KhqrSystem]:
    """Run everything on free ports, files under `tmp_path`; polls and pauses are short.

    `parts` replace the gateway's own, such as its clock or its publisher.
    """
    keys = tmp_path / "keys"
    keys.mkdir(exist_ok=True)
    (keys / "sandbox.token").write_text(KEY.token(sub="amk"))
    (keys / "app.token").write_text(KEY.token(sub="app", scopes=ALL_SCOPES))
    (keys / "khqr.token").write_text(
        KEY.token(sub="khqr", scopes=["payments:inquire", "khqr:record"], bank=None)
    )
    merged = {
        "VAR_DIR": str(tmp_path),
        "JWT_KEYS_FILE": str(write_jwks(tmp_path / "jwks.json", KEY)),
        "DATABASE_URL": database_url,
        "SANDBOX_LISTEN": "127.0.0.1:0",
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "KHQR_LISTEN": "127.0.0.1:0",
    } | dict(environ or {})
    sandbox_settings = read_sandbox_settings(variables=Variables(environ=merged))
    async with (
        running_sandbox(settings=sandbox_settings, clock=utc_now) as sandbox,
        _loops(sandbox),
    ):
        url = f"http://{sandbox.address}"
        merged |= {"INTEGRATION_URL": url, "AMK_BASE_URL": url}
        settings = replace(
            read_gateway_settings(variables=Variables(environ=merged), environ=merged),
            polls=polls,
            first_pause=timedelta(seconds=0.5),
        )
        async with running_gateway(settings=settings, **parts) as (gateway, gateway_address):
            merged["GATEWAY_TARGET"] = str(gateway_address)
            khqr = KhqrProcess(
                settings=read_khqr_settings(variables=Variables(environ=merged), environ=merged)
            )
            khqr_address = await khqr.start()
            async with asyncio.timeout(20):
                while not await khqr.probe_once():  # noqa: ASYNC110 - a busy machine may need two
                    await asyncio.sleep(0.1)
            bridge = await start_bridge(
                contract=load_contract(image=read_image(path=None)),
                targets={"GATEWAY": str(gateway_address), "KHQR": str(khqr_address)},
                listen=[Address(host="127.0.0.1", port=0)],
                tracing=open_tracing(
                    endpoint=otlp_endpoint(variables=Variables(environ=merged)),
                    service="bridge",
                    version="0",
                ),
            )
            base_url = f"http://{bridge.addresses[0]}"
            (tmp_path / "bridge.url").write_text(base_url)
            try:
                async with aiohttp.ClientSession() as http:
                    yield KhqrSystem(
                        base_url=base_url,
                        http=http,
                        integration=FakeIntegration(),
                        gateway=gateway,
                        token=KEY.token(scopes=ALL_SCOPES),
                        var_dir=tmp_path,
                        sandbox=sandbox,
                        sandbox_url=url,
                        khqr=khqr,
                        bridge=bridge,
                    )
            finally:
                await bridge.drain()
                await khqr.stop()


@asynccontextmanager
async def _loops(sandbox: RunningSandbox) -> AsyncIterator[None]:
    """Run the sandbox's loops."""

    async def repeat(run_once: Callable[[], Awaitable[int]]) -> None:
        while True:
            await run_once()
            await asyncio.sleep(0.05)

    tasks = [
        asyncio.create_task(repeat(run_once))
        for run_once in (
            sandbox.follower.run_once,
            sandbox.parts.bank.run_once,
            sandbox.parts.notices.run_once,
        )
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
