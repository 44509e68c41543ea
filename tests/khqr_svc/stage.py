"""The KHQR service over real gRPC, between a gateway and a bank that do as they are told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from chassis.errors import ServiceError, from_rpc_error
from chassis.settings import Variables
from khqr_svc.service import KhqrProcess
from khqr_svc.settings import KhqrSettings, read_settings
from payments.khqr.v1 import khqr_service_pb2 as pb
from payments.khqr.v1 import khqr_service_pb2_grpc as rpc
from tests.khqr_svc.fakes import (
    NOW,
    REASONS,
    FakeBank,
    FakeGateway,
    fake_bank,
    fake_gateway,
)
from tests.support.tokens import SigningKey, write_jwks

KEY = SigningKey(key_id="test")
OWN_TOKEN = "khqr.own.token"
USERNAME, PASSWORD = "insurer", "dummy-pass-phrase"
BANKS = """
[AMK]
currencies = ["USD", "KHR"]
base_url = "{base_url}"
merchant_id = "900000000290002"
store_id = "800000000270001"
terminal_id = "70000002"
[AMK.sign_in]
username = "env:AMK_USERNAME"
password = "file:amk-password"
[AMK.qr]
check = ["merchant", "bill_number"]
[AMK.verify]
path = "/for/the/gateway"
[USDONLY]
dialect = "AMK"
currencies = ["USD"]
base_url = "{base_url}"
merchant_id = "900000000290003"
[USDONLY.sign_in]
username = "env:AMK_USERNAME"
password = "file:amk-password"
[USDONLY.qr]
[NOACCOUNT]
currencies = ["USD"]
[CLOSED]
enabled = false
"""


@dataclass
class Clock:
    """A moment that tests move, and a timer that they push ahead."""

    now: datetime = NOW
    ahead_s: float = 0.0

    def __call__(self) -> datetime:
        return self.now

    def timer(self) -> float:
        return monotonic() + self.ahead_s


@dataclass(kw_only=True)
class Stage:
    """Everything that runs, and short ways to call."""

    process: KhqrProcess
    gateway: FakeGateway
    bank: FakeBank
    clock: Clock
    address: str
    token: str
    var_dir: Path
    stub: Any
    health: Any

    async def generate(
        self,
        *,
        bank: str = "AMK",
        same: str | None = None,
        number: str = "P123456789",
        token: str | None = None,
        timeout_s: float = 5.0,
    ) -> pb.GenerateKhqrResponse:
        """Return the code for `number`.

        :raises ServiceError: the reason why there is none.
        """
        request = pb.GenerateKhqrRequest(
            bank_code=pb.BankCode(id=bank, bank=bank if same is None else same), bill_number=number
        )
        metadata = (
            ("authorization", f"Bearer {token or self.token}"),
            ("x-request-id", "request-1"),
        )
        try:
            response: pb.GenerateKhqrResponse = await self.stub.GenerateKhqr(
                request, timeout=timeout_s, metadata=metadata
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error=error, reasons=REASONS) from None
        return response

    async def reason(self, **call: Any) -> str:
        """Return the reason why there is no code."""
        try:
            await self.generate(**call)
        except ServiceError as error:
            return error.reason
        raise AssertionError("a code was handed out")


def khqr_settings(
    *, tmp_path: Path, base_url: str, target: str, environ: Mapping[str, str] | None = None
) -> KhqrSettings:
    """Return settings on free ports, keys and files under `tmp_path`."""
    banks, token = tmp_path / "banks.toml", tmp_path / "khqr.token"
    banks.write_text(BANKS.format(base_url=base_url), encoding="utf-8")
    token.write_text(f"{OWN_TOKEN}\n", encoding="utf-8")
    (tmp_path / "amk-password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    merged = {
        "KHQR_LISTEN": "127.0.0.1:0",
        "GATEWAY_TARGET": target,
        "GATEWAY_TOKEN_FILE": str(token),
        "BANKS_FILE": str(banks),
        "AMK_USERNAME": USERNAME,
        "JWT_KEYS_FILE": str(write_jwks(tmp_path / "jwks.json", KEY)),
        "VAR_DIR": str(tmp_path),
    } | dict(environ or {})
    return read_settings(variables=Variables(environ=merged), environ=merged)


@asynccontextmanager
async def running_stage(
    *, tmp_path: Path, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Stage]:
    """Run everything, and stop it as SIGTERM would."""
    clock = Clock()
    async with fake_gateway() as (gateway, target), fake_bank() as bank:
        settings = khqr_settings(
            tmp_path=tmp_path, base_url=bank.base_url, target=target, environ=environ
        )
        process = KhqrProcess(settings=settings, clock=clock, timer=clock.timer)
        address = await process.start()
        for _ in range(10):  # each waits a second at most
            if await process.probe_once():
                break
        async with grpc.aio.insecure_channel(str(address)) as channel:
            yield Stage(
                process=process,
                gateway=gateway,
                bank=bank,
                clock=clock,
                address=str(address),
                token=KEY.token(scopes=["khqr:generate"], bank=None, now=NOW),
                var_dir=tmp_path,
                stub=rpc.KhqrServiceStub(channel),
                health=health_pb2_grpc.HealthStub(channel),
            )
        await process.stop()


async def until(condition: Callable[[], bool], *, within_s: float = 2.0) -> None:
    """Return once `condition` holds."""
    deadline = monotonic() + within_s
    while not condition():
        assert monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)
