"""A whole gateway in this process, over real gRPC, with a fake Integration Service over HTTP."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from chassis.settings import Address, Variables
from gateway_svc.service import GatewayProcess
from gateway_svc.settings import GatewaySettings, read_settings
from tests.support.tokens import SigningKey, write_jwks

BANK_KEY = "a dummy key, of no bank"
JOHN_DOE = (
    '{"policyNumber":"P123456789","payer":"John Doe","amount":150.00,"currency":"USD",'
    '"dueDate":"2025-11-15"}'
)


@dataclass(kw_only=True)
class FakeIntegration:
    """The insurer's look-up: answers by number, each a (status, body)."""

    answers: dict[str, tuple[int, str]] = field(
        default_factory=lambda: {"P123456789": (200, JOHN_DOE)}
    )
    asked: list[str] = field(default_factory=list)
    base_url: str = ""

    async def premium(self, request: web.Request) -> web.Response:
        """Answer one look-up."""
        number = request.match_info["number"]
        self.asked.append(number)
        status, body = self.answers.get(number, (404, ""))
        return web.Response(status=status, text=body, content_type="application/json")


@asynccontextmanager
async def fake_integration() -> AsyncIterator[FakeIntegration]:
    """Serve a fake Integration Service on a free port."""
    fake = FakeIntegration()
    app = web.Application()
    app.router.add_get("/policies/{number}/premium", fake.premium)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


def write_bank_key(var_dir: Path) -> None:
    """Write the key that the laptop's bank signs with."""
    path = var_dir / "keys" / "amk-hmac-key"
    path.parent.mkdir(exist_ok=True)
    path.write_text(BANK_KEY)


def gateway_settings(
    *, tmp_path: Path, key: SigningKey, environ: Mapping[str, str]
) -> GatewaySettings:
    """Return settings on free ports, keys and files under `tmp_path`."""
    keys = write_jwks(tmp_path / "jwks.json", key)
    write_bank_key(tmp_path)
    merged = {
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "JWT_KEYS_FILE": str(keys),
        "VAR_DIR": str(tmp_path),
    } | dict(environ)
    return read_settings(variables=Variables(environ=merged), environ=merged)


@asynccontextmanager
async def running_gateway(
    *, settings: GatewaySettings, **parts: Any
) -> AsyncIterator[tuple[GatewayProcess, Address]]:
    """Run a gateway and stop it as SIGTERM would."""
    process = GatewayProcess(settings=settings, **parts)
    address = await process.start()
    await process.probe_once()
    try:
        yield process, address
    finally:
        await process.stop()
