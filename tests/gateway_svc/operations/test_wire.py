"""The operators' service over real gRPC: scopes, rules of fields, and what a gateway tells.

| token                                   | may                        |
|-----------------------------------------|----------------------------|
| operations:read                         | read, and nothing else     |
| operations:act                          | act, and nothing else      |
| either, bound to a bank                 | nothing                    |
| a bank's or an app's                    | nothing                    |
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool

from chassis.errors import Reasons, from_rpc_error
from payments.errors.v1 import errors_pb2
from payments.gateway.v1 import gateway_service_pb2, gateway_service_pb2_grpc
from payments.gateway.v1 import operations_service_pb2 as pb
from payments.gateway.v1 import operations_service_pb2_grpc as rpc
from payments.operations.v1 import operations_pb2
from tests.support.gateway import fake_integration, gateway_settings, running_gateway
from tests.support.tokens import SigningKey

KEY = SigningKey(key_id="test")
REASONS = Reasons(
    pool=descriptor_pool.Default(),
    enum=errors_pb2.DESCRIPTOR.enum_types_by_name["ErrorReason"],
)


def token(*scopes: str, bank: str | None = None, sub: str = "dara") -> Any:
    return (("authorization", f"Bearer {KEY.token(scopes=scopes, bank=bank, sub=sub)}"),)


READS, ACTS = token("operations:read"), token("operations:act")


@asynccontextmanager
async def _gateway(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with fake_integration() as integration:
        settings = gateway_settings(
            tmp_path=tmp_path, key=KEY, environ={"INTEGRATION_URL": integration.base_url}
        )
        async with (
            running_gateway(settings=settings) as (_process, address),
            grpc.aio.insecure_channel(str(address)) as channel,
        ):
            yield channel


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with _gateway(tmp_path) as opened:
        yield opened


async def reason_of(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    error = from_rpc_error(error=refusal.value, reasons=REASONS)
    return error.reason, error.details


async def test_a_token_may_what_its_scopes_say_and_no_banks_token_anything(
    channel: grpc.aio.Channel,
) -> None:
    stub = rpc.OperationsServiceStub(channel)
    propose = pb.ProposeResolutionRequest(
        exception_id="notice-1", action=pb.RESOLUTION_ACTION_VOID, reason="none moved"
    )
    bills = await stub.ListBills(pb.ListBillsRequest(), metadata=READS)
    assert list(bills.bills) == []
    assert (await reason_of(stub.ProposeResolution(propose, metadata=ACTS)))[0] == (
        "RESOURCE_NOT_FOUND"
    )
    for call in (
        stub.ProposeResolution(propose, metadata=READS),
        stub.ListBills(pb.ListBillsRequest(), metadata=ACTS),
        stub.ListBills(pb.ListBillsRequest(), metadata=token("operations:read", bank="AMK")),
        stub.ListBills(pb.ListBillsRequest(), metadata=token("payments:inquire")),
    ):
        assert (await reason_of(call))[0] == "FORBIDDEN"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListPaymentsRequest(page_size=201), "pageSize"),
        (pb.ListPaymentsRequest(page_token="bm9uc2Vuc2U"), "pageToken"),
        (pb.ListPaymentsRequest(filter=pb.Filter(state="PAID")), "filter.state"),
        (pb.ListPaymentsRequest(filter=pb.Filter(bank_code="a")), "filter.bankCode"),
    ],
)
async def test_a_wrong_question_is_told_its_field(
    channel: grpc.aio.Channel, request_: pb.ListPaymentsRequest, field: str
) -> None:
    call = rpc.OperationsServiceStub(channel).ListPayments(request_, metadata=READS)
    reason, details = await reason_of(call)
    assert (reason, details.partition(":")[0]) == ("BAD_REQUEST", field)


async def test_a_gateway_tells_its_parts_its_calls_and_how_it_is_set(
    channel: grpc.aio.Channel,
) -> None:
    gateway = gateway_service_pb2_grpc.GatewayServiceStub(channel)
    await gateway.InquirePayment(
        gateway_service_pb2.InquirePaymentRequest(bank_code="AMK", query="P123456789"),
        metadata=token("payments:inquire", bank="AMK"),
    )
    stub = rpc.OperationsServiceStub(channel)
    system = await stub.GetSystem(pb.GetSystemRequest(), metadata=READS)
    today = await stub.GetToday(pb.GetTodayRequest(), metadata=READS)
    assert (system.schema_revision, system.database, system.events) == ("0006", "sqlite", "log")
    assert list(system.bank_codes) == ["AMK"]
    parts = {part.name: operations_pb2.Health.Name(part.health) for part in system.parts}
    assert parts == {
        "database": "HEALTH_WORKING",
        "relay": "HEALTH_WORKING",
        "events": "HEALTH_UNKNOWN",
        "AMK payment-verify": "HEALTH_UNKNOWN",
        "integration-service": "HEALTH_WORKING",
    }
    process = system.process
    assert (process.service, process.environment) == ("gateway", "development")
    assert [(one.owner, one.endpoint) for one in process.breakers] == [("AMK", "payment-verify")]
    assert {one.name: one.members for one in process.batches} == {
        "bill notices": 0,
        "look-ups": 1,
        "KHQR notices": 0,
        "KHQR questions": 0,
        "KHQR answers": 0,
    }
    assert [one.name for one in process.gauges if one.used > one.most] == []
    latencies = {one.owner: sum(point.calls for point in one.points) for one in today.latencies}
    assert latencies == {"AMK": 0, "INSURER": 1}
    assert len(today.arrivals) == 288


async def test_two_gateways_set_alike_have_one_fingerprint_and_another_has_another(
    tmp_path: Path,
) -> None:
    found = []
    for limit in ("100", "100", "50"):
        settings = gateway_settings(
            tmp_path=tmp_path, key=KEY, environ={"INQUIRIES_PER_MINUTE": limit}
        )
        async with (
            running_gateway(settings=settings) as (_process, address),
            grpc.aio.insecure_channel(str(address)) as channel,
        ):
            stub = rpc.OperationsServiceStub(channel)
            system = await stub.GetSystem(pb.GetSystemRequest(), metadata=READS)
            found.append(system.process.configuration_fingerprint)
    assert found[0] == found[1] != found[2]
