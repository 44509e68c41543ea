"""How many calls a service takes in at once, whoever calls: a bridge or a neighbour inside.

| when | a call is |
|---|---|
| every place is taken | UNAVAILABLE, SERVER_UNAVAILABLE with RetryInfo, at once, its token unread |
| a place is kept for webhooks | a webhook gets it, another call does not |
| a call ends | the next is served |
| the service is full | still healthy: refusing is not dying |
| its deadline passed on the way | never started |
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.admission import Bounds
from chassis.auth import Authenticator, read_keys
from chassis.errors import Reasons, from_rpc_error
from chassis.open_channel import open_channel
from chassis.rpc import CallInterceptor, utc_now
from chassis.rpc_server import Server
from chassis.settings import Address
from payments.errors.v1 import errors_pb2
from payments.gateway.v1 import gateway_service_pb2 as pb
from payments.gateway.v1 import gateway_service_pb2_grpc as rpc
from tests.support.tokens import AUDIENCE, ISSUER, SigningKey, write_jwks

SERVICE = pb.DESCRIPTOR.services_by_name["GatewayService"]
REASONS = Reasons(
    pool=descriptor_pool.Default(), enum=errors_pb2.DESCRIPTOR.enum_types_by_name["ErrorReason"]
)
KEY = SigningKey(key_id="test")
BOUNDS = Bounds(most=4, kept_for_vital=1, most_of_one_kind=4, waiting=0, waiting_vital=0)
READ = pb.GetPaymentRequest(bank_code="AMK", id=150001)
WEBHOOK = pb.ConfirmPaymentRequest(
    bank_code="AMK",
    id=150001,
    policy_number="P123456789",
    amount={"value": "150.00"},
    currency="USD",
    bank_transaction_id="AMK1",
    payer="John Doe",
    paid_date=Timestamp(seconds=1_760_000_000),
)


class Gateway(rpc.GatewayServiceServicer):
    """Holds every call open until it is told to let go."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.let_go = asyncio.Event()
        self.is_full = asyncio.Event()

    async def GetPayment(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        await self._hold("read")
        return pb.GetPaymentResponse(id=150001)

    async def ConfirmPayment(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        await self._hold("webhook")
        return pb.ConfirmPaymentResponse(transaction_id="AMK1")

    async def _hold(self, kind: str) -> None:
        self.started.append(kind)
        if len(self.started) >= 3:
            self.is_full.set()
        await self.let_go.wait()


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[tuple[Gateway, Server, grpc.aio.Channel]]:
    servicer = Gateway()  # type: ignore[abstract] # the methods that are called
    server = Server(
        listen=Address(host="127.0.0.1", port=0),
        interceptor=CallInterceptor(
            pool=descriptor_pool.Default(),
            services=[SERVICE],
            reasons=REASONS,
            domain="payments",
            authenticator=Authenticator(
                keys=read_keys(write_jwks(tmp_path / "jwks.json", KEY)),
                issuer=ISSUER,
                audience=AUDIENCE,
            ),
            clock=utc_now,
            budget_s=5.0,
            translate=lambda _problem: None,
            bounds=BOUNDS,
        ),
        services=[SERVICE],
        with_reflection=False,
    )
    rpc.add_GatewayServiceServicer_to_server(servicer, server.grpc_server)
    address = await server.start()
    await server.set_serving(serving=True)
    try:
        async with asyncio.timeout(20), open_channel(target=str(address)) as channel:
            yield servicer, server, channel
    finally:
        await server.drain(grace_s=1)


async def read(channel: grpc.aio.Channel, *, token: str | None = None, timeout_s: float = 5) -> Any:
    metadata = (("authorization", f"Bearer {token or KEY.token()}"),)
    return await rpc.GatewayServiceStub(channel).GetPayment(
        READ, timeout=timeout_s, metadata=metadata
    )


async def tell(channel: grpc.aio.Channel) -> Any:
    metadata = (("authorization", f"Bearer {KEY.token()}"),)
    return await rpc.GatewayServiceStub(channel).ConfirmPayment(
        WEBHOOK, timeout=5, metadata=metadata
    )


@asynccontextmanager
async def filled(tmp_path: Path) -> AsyncIterator[tuple[Gateway, Server, grpc.aio.Channel]]:
    """Serve with three reads under way; the fourth place is kept for webhooks."""
    async with serving(tmp_path) as (servicer, server, channel):
        held = [asyncio.create_task(read(channel)) for _ in range(3)]
        await servicer.is_full.wait()
        yield servicer, server, channel
        servicer.let_go.set()
        assert [one.id for one in await asyncio.gather(*held)] == [150001] * 3


async def test_beyond_the_bound_a_call_is_refused_at_once_with_a_time_to_come_again(
    tmp_path: Path,
) -> None:
    async with filled(tmp_path) as (servicer, server, channel):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await read(channel)
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        error = from_rpc_error(error=refusal.value, reasons=REASONS)
        assert (error.reason, error.retry_after_s) == ("SERVER_UNAVAILABLE", 1)
        assert servicer.started == ["read"] * 3
        assert server.interceptor.admission.shed == {False: 1, True: 0}


async def test_a_refusal_does_not_look_at_the_token(tmp_path: Path) -> None:
    async with filled(tmp_path) as (_, _, channel):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await read(channel, token="garbage")
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_webhook_gets_the_place_that_is_kept_for_it(tmp_path: Path) -> None:
    async with filled(tmp_path) as (servicer, server, channel):
        held = asyncio.create_task(tell(channel))
        while len(servicer.started) < 4:  # noqa: ASYNC110 # over the wire
            await asyncio.sleep(0.005)
        assert servicer.started[3] == "webhook"
        with pytest.raises(grpc.aio.AioRpcError):
            await tell(channel)
        assert server.interceptor.admission.shed == {False: 0, True: 1}
        servicer.let_go.set()
        assert (await held).transaction_id == "AMK1"


async def test_when_a_call_ends_the_next_is_served(tmp_path: Path) -> None:
    async with filled(tmp_path) as (servicer, server, channel):
        servicer.let_go.set()
        while server.interceptor.admission.under_way:  # noqa: ASYNC110 # over the wire
            await asyncio.sleep(0.005)
        assert (await read(channel)).id == 150001
        assert server.interceptor.admission.under_way == 0


async def test_a_full_service_is_healthy(tmp_path: Path) -> None:
    async with filled(tmp_path) as (_, _, channel):
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=5
        )
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_call_whose_time_is_up_is_never_started(tmp_path: Path) -> None:
    async with serving(tmp_path) as (servicer, _, channel):
        with pytest.raises(grpc.aio.AioRpcError):
            await read(channel, timeout_s=0.02)  # less than an answer needs to travel
        assert servicer.started == []
