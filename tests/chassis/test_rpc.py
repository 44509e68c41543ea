"""What a call meets on its way to a servicer, over a real grpc.aio server.

| the call                                   | the answer                             |
|--------------------------------------------|----------------------------------------|
| no, bad or expired token                   | UNAUTHENTICATED, UNAUTHORIZED          |
| token without the method's scope           | PERMISSION_DENIED, FORBIDDEN           |
| beside others on one stream of frames      | is judged by its own token             |
| a field that breaks its rule               | INVALID_ARGUMENT, every field named    |
| a servicer's ServiceError                  | its reason, details and retry delay    |
| any other exception                        | INTERNAL, its text never leaves        |
| past its deadline, or the budget           | UNAVAILABLE in time; work is cancelled |
| health                                     | needs no token; follows set_serving    |
| during a drain                             | finishes; new calls are refused        |
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.type import decimal_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from chassis.auth import Authenticator, read_keys
from chassis.errors import Reasons, ServiceError, from_rpc_error
from chassis.open_channel import open_channel
from chassis.rpc import CallInterceptor, call_being_served, utc_now
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
GOOD = pb.GetPaymentRequest(bank_code="AMK", id=150001)
Answer = Callable[[Any], Awaitable[pb.GetPaymentResponse]]


class Gateway(rpc.GatewayServiceServicer):
    """A servicer that does what a test says."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def GetPayment(  # noqa: N802 - the contract's name
        self,
        request: pb.GetPaymentRequest,  # noqa: ARG002 - the contract's form
        context: Any,
    ) -> pb.GetPaymentResponse:
        return await self._answer(context)


@asynccontextmanager
async def serving(
    tmp_path: Path, answer: Answer, *, budget_s: float = 5.0, with_reflection: bool = False
) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
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
            budget_s=budget_s,
            translate=lambda problem: (
                ServiceError(reason="SERVER_UNAVAILABLE", message="later", retry_after_s=2)
                if isinstance(problem, ConnectionError)
                else None
            ),
        ),
        services=[SERVICE],
        with_reflection=with_reflection,
    )
    rpc.add_GatewayServiceServicer_to_server(
        Gateway(answer),  # type: ignore[abstract] # the one method that is called
        server.handlers,
    )
    address = await server.start()
    await server.set_serving(serving=True)
    try:
        async with open_channel(target=str(address)) as channel:
            yield server, channel
    finally:
        await server.drain(grace_s=1)


async def ok(_context: Any) -> pb.GetPaymentResponse:
    return pb.GetPaymentResponse(id=150001)


async def call(
    channel: grpc.aio.Channel,
    *,
    token: str | None = None,
    request: pb.GetPaymentRequest = GOOD,
    timeout_s: float | None = 5,
    request_id: str = "",
) -> pb.GetPaymentResponse:
    headers = {"x-request-id": request_id} if request_id else {}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return await rpc.GatewayServiceStub(channel).GetPayment(
        request, timeout=timeout_s, metadata=tuple(headers.items())
    )


async def refusal_of(channel: grpc.aio.Channel, **how: Any) -> tuple[Any, ServiceError]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, **how)
    return caught.value.code(), from_rpc_error(error=caught.value, reasons=REASONS)


async def test_each_call_of_a_stream_of_frames_is_judged_by_its_own_token(tmp_path: Path) -> None:
    async def answer(_context: Any) -> pb.GetPaymentResponse:
        served = call_being_served.get()
        return pb.GetPaymentResponse(policy_number=f"{served.caller.subject} {served.request_id}")

    async with (
        serving(tmp_path, answer) as (server, _),
        open_channel(target=str(server.address), streams=1) as channel,
    ):
        for name in ("first", "second"):
            response = await call(channel, token=KEY.token(sub=name), request_id=f"r-{name}")
            assert response.policy_number == f"{name} r-{name}"
        code, error = await refusal_of(channel)
    assert (code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHORIZED")


async def test_a_good_call_reaches_its_servicer_which_knows_who_calls(tmp_path: Path) -> None:
    async def answer(_context: Any) -> pb.GetPaymentResponse:
        served = call_being_served.get()
        return pb.GetPaymentResponse(policy_number=f"{served.caller.bank} {served.request_id}")

    async with serving(tmp_path, answer) as (_, channel):
        response = await call(channel, token=KEY.token(), request_id="r-1")
    assert response.policy_number == "AMK r-1"


@pytest.mark.parametrize(
    "token", [None, "", "garbage", KEY.token(iss="else"), SigningKey(key_id="test").token()]
)
async def test_a_call_without_a_good_token_is_unauthenticated(
    tmp_path: Path, token: str | None
) -> None:
    async with serving(tmp_path, ok) as (_, channel):
        code, error = await refusal_of(channel, token=token)
    assert (code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHORIZED")


async def test_a_token_without_the_scope_is_forbidden(tmp_path: Path) -> None:
    async with serving(tmp_path, ok) as (_, channel):
        code, error = await refusal_of(channel, token=KEY.token(scopes=["payments:confirm"]))
    assert (code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")
    assert "payments:inquire" in error.details


async def test_a_broken_rule_is_a_bad_request_that_names_every_field(tmp_path: Path) -> None:
    async with serving(tmp_path, ok) as (_, channel):
        code, error = await refusal_of(
            channel, token=KEY.token(), request=pb.GetPaymentRequest(bank_code="amk", id=-1)
        )
    assert (code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST")
    assert {violation.field for violation in error.violations} == {"bankCode", "id"}


async def test_an_internal_caller_cannot_pass_an_amount_the_currency_does_not_have(
    tmp_path: Path,
) -> None:
    request = pb.ConfirmPaymentRequest(
        bank_code="AMK",
        id=150001,
        policy_number="P123456789",
        amount=decimal_pb2.Decimal(value="150.001"),
        currency="USD",
        bank_transaction_id="T",
        payer="J",
    )
    request.paid_date.FromSeconds(1759813200)
    async with serving(tmp_path, ok) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc.GatewayServiceStub(channel).ConfirmPayment(
                request, metadata=(("authorization", f"Bearer {KEY.token()}"),)
            )
    error = from_rpc_error(error=caught.value, reasons=REASONS)
    assert [violation.field for violation in error.violations] == ["amount"]


async def test_a_service_error_keeps_reason_details_and_retry(tmp_path: Path) -> None:
    async def answer(_context: Any) -> pb.GetPaymentResponse:
        raise ServiceError(
            reason="RESOURCE_NOT_FOUND", message="Bill not found", details="Id: 7", retry_after_s=2
        )

    async with serving(tmp_path, answer) as (_, channel):
        code, error = await refusal_of(channel, token=KEY.token())
    assert code is grpc.StatusCode.NOT_FOUND
    assert error == ServiceError(
        reason="RESOURCE_NOT_FOUND", message="Bill not found", details="Id: 7", retry_after_s=2
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [("r-1", True), ("a" * 128, True), ("a" * 129, False), ('a"b', False), ("a b", False)],
)
async def test_a_hostile_request_id_is_replaced(tmp_path: Path, given: str, kept: bool) -> None:
    async def answer(_context: Any) -> pb.GetPaymentResponse:
        return pb.GetPaymentResponse(policy_number=call_being_served.get().request_id)

    async with serving(tmp_path, answer) as (_, channel):
        response = await call(channel, token=KEY.token(), request_id=given)
    assert (response.policy_number == given) is kept
    assert len(response.policy_number) == (len(given) if kept else 36)


@pytest.mark.parametrize(
    "part", ["chassis.auth.Authenticator.authenticate", "chassis.rules.Rules.check"]
)
async def test_a_fault_on_the_way_to_the_servicer_keeps_its_text_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def broken(*_arguments: Any, **_options: Any) -> None:
        raise LookupError("inner words")

    monkeypatch.setattr(part, broken)
    async with serving(tmp_path, ok) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, token=KEY.token())
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "inner words" not in f"{caught.value.details()} {caught.value.trailing_metadata()}"


async def test_an_unexpected_error_keeps_its_text_inside(tmp_path: Path) -> None:
    async def answer(_context: Any) -> pb.GetPaymentResponse:
        raise RuntimeError("password=hunter2")

    async with serving(tmp_path, answer) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, token=KEY.token())
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in repr(caught.value)


async def test_trouble_of_a_port_is_translated_by_the_service(tmp_path: Path) -> None:
    async def answer(_context: Any) -> pb.GetPaymentResponse:
        raise ConnectionError

    async with serving(tmp_path, answer) as (_, channel):
        code, error = await refusal_of(channel, token=KEY.token())
    assert (code, error.retry_after_s) == (grpc.StatusCode.UNAVAILABLE, 2)


@pytest.mark.parametrize(
    ("timeout_s", "budget_s", "codes"),
    [
        # The caller's own clock may be a moment faster than our answer.
        (0.3, 30.0, {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}),
        (30.0, 0.3, {grpc.StatusCode.UNAVAILABLE}),
        (None, 0.3, {grpc.StatusCode.UNAVAILABLE}),
    ],
)
async def test_a_call_past_its_deadline_or_budget_is_answered_and_its_work_cancelled(
    tmp_path: Path, timeout_s: float | None, budget_s: float, codes: set[grpc.StatusCode]
) -> None:
    cancelled = asyncio.Event()

    async def answer(_context: Any) -> pb.GetPaymentResponse:
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.set()
        raise AssertionError

    async with serving(tmp_path, answer, budget_s=budget_s) as (_, channel):
        code, error = await refusal_of(channel, token=KEY.token(), timeout_s=timeout_s)
        await asyncio.wait_for(cancelled.wait(), 5)
    assert code in codes
    assert error.reason == "SERVER_UNAVAILABLE"


async def test_health_needs_no_token_and_follows_the_service(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, ok) as (server, _),
        # Not our own channel: that one sends nothing to a server that is not serving.
        grpc.aio.insecure_channel(str(server.address)) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        for serving_now in (True, False, True):
            await server.set_serving(serving=serving_now)
            for name in ("", SERVICE.full_name):
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
                statuses = health_pb2.HealthCheckResponse
                assert answer.status == (statuses.SERVING if serving_now else statuses.NOT_SERVING)


@pytest.mark.parametrize("with_reflection", [True, False])
async def test_reflection_answers_only_where_it_is_switched_on(
    tmp_path: Path, with_reflection: bool
) -> None:
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    async with serving(tmp_path, ok, with_reflection=with_reflection) as (_, channel):
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([asked])
        )
        if with_reflection:
            async for answer in stream:
                names = {one.name for one in answer.list_services_response.service}
                assert SERVICE.full_name in names
        else:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in stream:
                    pass
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_drain_lets_a_call_finish_and_refuses_new_ones(tmp_path: Path) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def answer(_context: Any) -> pb.GetPaymentResponse:
        entered.set()
        await leave.wait()
        return pb.GetPaymentResponse(id=1)

    async with serving(tmp_path, answer) as (server, channel):
        pending = asyncio.ensure_future(call(channel, token=KEY.token()))
        await entered.wait()
        drain = asyncio.create_task(server.drain(grace_s=5))
        refused_by = asyncio.get_running_loop().time() + 5
        while True:  # the listener closes a moment after the drain begins
            try:
                await asyncio.wait_for(call(channel, token=KEY.token(), timeout_s=0.2), 1)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    break
            assert asyncio.get_running_loop().time() < refused_by
        leave.set()
        assert (await pending).id == 1
        await drain


async def test_two_servers_never_share_a_port_by_accident(tmp_path: Path) -> None:
    async with serving(tmp_path, ok) as (server, _):
        taken = Server(
            listen=Address(host="127.0.0.1", port=server.address.port),
            interceptor=server.interceptor,
            services=[],
            with_reflection=False,
        )
        with pytest.raises(OSError, match="cannot listen"):
            await taken.start()
        await taken.drain(grace_s=0)
