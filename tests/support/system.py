"""Bridge and gateway in this process, over real HTTP and real gRPC, on a fresh database."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import text

from chassis.publisher import Publisher
from chassis.settings import Address
from gateway_svc.service import GatewayProcess
from rest_bridge.contract import load_contract, read_image
from rest_bridge.service import start as start_bridge
from tests.support.gateway import (
    FakeIntegration,
    fake_integration,
    gateway_settings,
    running_gateway,
)
from tests.support.tokens import SigningKey

KEY = SigningKey(key_id="test")
INQUIRY = "/AMK/payments?query=P123456789"
NOTICE = (
    b'{"id":150001,"policyNumber":"P123456789","amount":150.00,"currency":"USD",'
    b'"bankTransactionId":"AMK202510070001","payer":"John Doe","paidDate":"20251007120000"}'
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back over HTTP."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body, read with exact numbers as text."""
        return json.loads(self.body, parse_float=str)

    @property
    def code(self) -> str:
        """The code of an error, empty for a success."""
        return str(self.json.get("error", {}).get("code", ""))


@dataclass(kw_only=True)
class System:
    """A running gateway and bridge, and short ways to call and to look inside."""

    base_url: str
    http: aiohttp.ClientSession
    integration: FakeIntegration
    gateway: GatewayProcess
    token: str
    var_dir: Path

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """Send one request as it is, with our token unless another is given."""
        merged = {"Authorization": f"Bearer {self.token}"} | headers
        if body is not None:
            merged.setdefault("Content-Type", "application/json")
        async with self.http.request(
            method, f"{self.base_url}{path}", data=body, headers=merged
        ) as response:
            return Answer(
                status=response.status, body=await response.read(), headers=response.headers
            )

    async def get(self, path: str = INQUIRY) -> Answer:
        """Send a GET."""
        return await self.call("GET", path)

    async def post(self, body: bytes = NOTICE) -> Answer:
        """Send a notice."""
        return await self.call("POST", "/AMK/payments", body)

    async def rows(self, sql: str) -> list[Any]:
        """Return what a query of the gateway's database says."""
        async with self.gateway.database.reading() as connection:
            return [tuple(row) for row in await connection.execute(text(sql))]

    def published(self) -> list[dict[str, Any]]:
        """Return the events in the log, in their order."""
        path = self.var_dir / "events.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@asynccontextmanager
async def running_system(
    *,
    tmp_path: Path,
    database_url: str,
    publisher: Publisher | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[System]:
    """Run gateway and bridge; `publisher` replaces the log."""
    async with fake_integration() as integration:
        settings = gateway_settings(
            tmp_path=tmp_path,
            key=KEY,
            environ={"DATABASE_URL": database_url, "INTEGRATION_URL": integration.base_url}
            | dict(environ or {}),
        )
        parts = {} if publisher is None else {"publisher": publisher}
        async with running_gateway(settings=settings, **parts) as (gateway, address):
            bridge = await start_bridge(
                contract=load_contract(image=read_image(path=None)),
                targets={"GATEWAY": str(address)},
                listen=[Address(host="127.0.0.1", port=0)],
            )
            async with aiohttp.ClientSession() as http:
                yield System(
                    base_url=f"http://{bridge.addresses[0]}",
                    http=http,
                    integration=integration,
                    gateway=gateway,
                    token=KEY.token(),
                    var_dir=tmp_path,
                )
            await bridge.drain()
