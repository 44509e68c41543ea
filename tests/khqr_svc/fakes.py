"""A gateway and a bank that do as they are told, over real gRPC and real HTTP."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import grpc
import zxingcpp
from aiohttp import web
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from PIL import Image

from chassis.errors import Reasons, ServiceError, to_abort
from payments.errors.v1 import errors_pb2
from payments.gateway.v1 import gateway_service_pb2 as gateway_pb
from tests.khqr_svc.codes import CREATED_MS, DYNAMIC, Change, at, parts, written

REASONS = Reasons(
    pool=descriptor_pool.Default(), enum=errors_pb2.DESCRIPTOR.enum_types_by_name["ErrorReason"]
)
NOW = at(CREATED_MS)


def picture(text: str) -> bytes:
    """Return a PNG of a QR code that says `text`."""
    barcode = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode)
    written_to = io.BytesIO()
    Image.fromarray(barcode.to_image(scale=4)).save(written_to, format="PNG")
    return written_to.getvalue()


def code_text(*, bill_id: int = 150001, amount: str = "150", change: Change | None = None) -> str:
    """Return the text of the code that the bank should draw, or of one with a `change`."""
    asked = parts(DYNAMIC, "62", {"01": str(bill_id)}) | {"54": amount}
    return written(DYNAMIC, asked | (change or {}))


@dataclass
class FakeGateway:
    """Knows one premium a number, keeps codes, and counts."""

    premiums: dict[str, tuple[int, str, str]] = field(
        default_factory=lambda: {"P123456789": (150001, "150.00", "USD")}
    )
    live: dict[int, gateway_pb.KhqrCode] = field(default_factory=dict)
    first: gateway_pb.KhqrCode | None = None  # recorded by somebody else, just before us
    refuse: dict[str, ServiceError] = field(default_factory=dict)  # by RPC
    hang: set[str] = field(default_factory=set)  # RPCs that never answer
    calls: list[tuple[str, Any]] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    remaining_s: list[float] = field(default_factory=list)
    health: Any = field(default_factory=health.aio.HealthServicer)

    def count(self, name: str) -> int:
        return sum(1 for called, _ in self.calls if called == name)

    def keep(self, *, text: str, left: timedelta, bill_id: int = 150001) -> gateway_pb.KhqrCode:
        """Make a code live that has `left` to live."""
        code = gateway_pb.KhqrCode(payload=text, image=picture(text))
        code.expires_at.FromDatetime(NOW + left)
        self.live[bill_id] = code
        return code

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the three RPCs that this service calls."""
        served: dict[str, tuple[Any, Any]] = {
            "InquirePayment": (self.inquire, gateway_pb.InquirePaymentRequest),
            "GetLiveKhqr": (self.live_code, gateway_pb.GetLiveKhqrRequest),
            "RecordKhqr": (self.record, gateway_pb.RecordKhqrRequest),
        }
        return grpc.method_handlers_generic_handler(
            "payments.gateway.v1.GatewayService",
            {
                name: grpc.unary_unary_rpc_method_handler(
                    serve, kind.FromString, lambda message: message.SerializeToString()
                )
                for name, (serve, kind) in served.items()
            },
        )

    async def _called(self, name: str, request: Any, context: Any) -> None:
        self.calls.append((name, request))
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining_s.append(context.time_remaining())
        if name in self.hang:
            await asyncio.Event().wait()
        if name in self.refuse:
            await context.abort(
                *to_abort(error=self.refuse[name], reasons=REASONS, domain="payments")
            )

    async def inquire(self, request: Any, context: Any) -> Any:
        await self._called("InquirePayment", request, context)
        bill_id, amount, currency = self.premiums[request.query]
        return gateway_pb.InquirePaymentResponse(
            id=bill_id,
            policy_number=request.query,
            payer="John Doe",
            amount={"value": amount},
            currency=currency,
            due_date={"year": 2025, "month": 11, "day": 15},
        )

    async def live_code(self, request: Any, context: Any) -> Any:
        await self._called("GetLiveKhqr", request, context)
        return gateway_pb.GetLiveKhqrResponse(code=self.live.get(request.bill_id))

    async def record(self, request: Any, context: Any) -> Any:
        await self._called("RecordKhqr", request, context)
        code = self.live[request.bill_id] = self.first or request.code
        return gateway_pb.RecordKhqrResponse(code=code)


Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass
class FakeBank:
    """Signs in and draws codes as AMK would, unless told otherwise."""

    shape: str = "qrCode"  # or qrString, both, image
    lasts_s: Any = 3600
    text: str | None = None  # what every code says
    sign_ins: list[dict[str, Any]] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    on_sign_in: Behaviour | None = None
    on_qr: Behaviour | None = None
    under_way: int = 0
    base_url: str = ""

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        self.sign_ins.append(json.loads(await request.read()))
        if self.on_sign_in and (told := await self._told(self.on_sign_in, request)):
            return told
        token = f"bank-token-{len(self.sign_ins)}"
        self.tokens.add(token)
        return web.json_response(
            {"access_token": token, "token_type": "Bearer", "expires_in": self.lasts_s}
        )

    async def qr(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append(body)
        if self.on_qr and (told := await self._told(self.on_qr, request)):
            return told
        if request.headers["Authorization"].removeprefix("Bearer ") not in self.tokens:
            return web.json_response({"message": "sign in"}, status=401)
        asked = json.loads(body, parse_float=Decimal)
        amount = f"{Decimal(asked['amount']).normalize():f}"
        currency = {"USD": "840", "KHR": "116"}[asked["currency"]]
        text = self.text or code_text(
            bill_id=int(asked["billNumber"]), amount=amount, change={"53": currency}
        )
        image = base64.b64encode(picture(text)).decode()
        match self.shape:
            case "image":
                return web.Response(body=picture(text), content_type="image/png")
            case "qrString":
                return web.json_response({"qrString": text})
            case "both":
                return web.json_response({"qrCode": image, "qrString": text})
            case _:
                return web.json_response({"qrCode": image})

    async def _told(self, behave: Behaviour, request: web.Request) -> web.StreamResponse | None:
        self.under_way += 1
        try:
            return await behave(request)
        finally:
            self.under_way -= 1


async def hang(_request: web.Request) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def cut(request: web.Request) -> None:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()


def answer(status: int, body: bytes = b"", content_type: str = "application/json") -> Behaviour:
    """Return a behaviour that always gives this answer."""

    async def behave(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, content_type=content_type)

    return behave


@asynccontextmanager
async def fake_gateway() -> AsyncIterator[tuple[FakeGateway, str]]:
    """Serve a fake gateway on a free port."""
    fake = FakeGateway()
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((fake.handlers(),))
    health_pb2_grpc.add_HealthServicer_to_server(fake.health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await fake.health.set("", health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    try:
        yield fake, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def fake_bank() -> AsyncIterator[FakeBank]:
    """Serve a fake bank on a free port."""
    fake = FakeBank()
    app = web.Application()
    app.router.add_post("/auth/sign-in", fake.sign_in)
    app.router.add_post("/qr/generator", fake.qr)
    # A handler must see that its caller has gone: that is what "no work goes on" looks like.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
