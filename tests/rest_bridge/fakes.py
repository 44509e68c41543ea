"""A gateway that answers as it is told, over a real grpc.aio server, and a bridge before it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from chassis.errors import ServiceError, to_abort
from chassis.settings import Address
from payments.gateway.v1 import gateway_service_pb2 as gateway
from rest_bridge.contract import Contract, default_contracts_image, load_contract
from rest_bridge.service import Running, start

BEARER = {"Authorization": "Bearer of.some.token"}
INQUIRY = gateway.InquirePaymentResponse(
    id=150001,
    policy_number="P123456789",
    payer="John Doe",
    amount={"value": "150.00"},
    currency="USD",
    due_date={"year": 2025, "month": 11, "day": 15},
)
CONFIRMATION = gateway.ConfirmPaymentResponse(
    transaction_id="AMK202510070001",
    payment_reference_id="150001",
    status=gateway.CONFIRMATION_STATUS_CONFIRMED,
    message="Payment successfully processed",
)
STATUS = gateway.GetPaymentResponse(
    id=150001,
    policy_number="P123456789",
    amount={"value": "150.00"},
    currency="USD",
    due_date={"year": 2025, "month": 11, "day": 15},
    status=gateway.PAYMENT_STATUS_PENDING,
)
_ANSWERS: dict[str, tuple[Any, Message]] = {
    "InquirePayment": (gateway.InquirePaymentRequest, INQUIRY),
    "ConfirmPayment": (gateway.ConfirmPaymentRequest, CONFIRMATION),
    "GetPayment": (gateway.GetPaymentRequest, STATUS),
}

Behaviour = Callable[[Message, Any], Awaitable[Message | None]]


@dataclass
class FakeGateway:
    """Records every request; answers the specification's examples, or as `behave` says."""

    contract: Contract
    requests: list[Any] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    remaining_s: list[float] = field(default_factory=list)
    behave: Behaviour | None = None
    health: Any = field(default_factory=health.aio.HealthServicer)

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            "payments.gateway.v1.GatewayService",
            {
                name: grpc.unary_unary_rpc_method_handler(
                    self._answering(answer), kind.FromString, lambda one: one.SerializeToString()
                )
                for name, (kind, answer) in _ANSWERS.items()
            },
        )

    def _answering(self, answer: Message) -> Any:
        async def serve(request: Message, context: Any) -> Message:
            self.requests.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            self.remaining_s.append(context.time_remaining())
            try:
                return (await self.behave(request, context) if self.behave else None) or answer
            except ServiceError as error:
                await context.abort(
                    *to_abort(error=error, reasons=self.contract.reasons, domain="test")
                )
                raise

        return serve


@dataclass
class Stage:
    """A running bridge, the gateway behind it and a client before it."""

    running: Running
    gateway: FakeGateway
    client: aiohttp.ClientSession

    @property
    def address(self) -> Address:
        return self.running.addresses[0]

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"


@asynccontextmanager
async def served(
    *, image: bytes | None = None, budget_s: float = 5.0, extra: Any = None, **parts: Any
) -> AsyncIterator[Stage]:
    """Run a fake gateway (with the generic handlers `extra`) and a bridge on port 0.

    `parts` are handed to the bridge: its limits, peers and timer.
    """
    contract = load_contract(image=image or default_contracts_image())
    fake = FakeGateway(contract=contract)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((fake.handlers(), *([extra] if extra else [])))
    health_pb2_grpc.add_HealthServicer_to_server(fake.health, server)
    await fake.health.set("", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        running = await start(
            contract=contract,
            targets={method.target: f"127.0.0.1:{port}" for method in contract.methods},
            listen=(Address(host="127.0.0.1", port=0), Address(host="127.0.0.1", port=0)),
            budget_s=budget_s,
            **parts,
        )
        try:
            async with aiohttp.ClientSession() as client:
                yield Stage(running=running, gateway=fake, client=client)
        finally:
            await running.drain()
    finally:
        await server.stop(None)
