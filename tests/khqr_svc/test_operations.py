"""What the KHQR service tells operators of itself."""

import grpc
import pytest

from chassis.errors import from_rpc_error
from payments.khqr.v1 import operations_service_pb2 as pb
from payments.khqr.v1 import operations_service_pb2_grpc as rpc
from payments.operations.v1 import operations_pb2
from tests.khqr_svc.fakes import NOW, REASONS
from tests.khqr_svc.stage import KEY, PASSWORD, USERNAME, Stage


async def ask(stage: Stage, *, scope: str = "operations:read", bank: str | None = None) -> str:
    """Return the reason of the refusal, empty where there is none."""
    bearer = KEY.token(scopes=[scope], bank=bank, now=NOW)
    try:
        await told(stage, bearer)
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error=error, reasons=REASONS).reason
    return ""


async def told(stage: Stage, bearer: str) -> operations_pb2.Process:
    async with grpc.aio.insecure_channel(stage.address) as channel:
        answer = await rpc.KhqrOperationsServiceStub(channel).GetKhqrSystem(
            pb.GetKhqrSystemRequest(), metadata=(("authorization", f"Bearer {bearer}"),), timeout=5
        )
    return answer.process


@pytest.mark.parametrize(
    ("scope", "bank", "reason"),
    [
        ("operations:read", None, ""),
        ("operations:read", "AMK", "FORBIDDEN"),
        ("operations:act", None, "FORBIDDEN"),
        ("khqr:generate", None, "FORBIDDEN"),
    ],
)
async def test_only_an_operator_is_told(
    stage: Stage, scope: str, bank: str | None, reason: str
) -> None:
    assert await ask(stage, scope=scope, bank=bank) == reason


async def test_it_tells_the_breakers_and_latencies_of_what_it_called(stage: Stage) -> None:
    await stage.generate()
    process = await told(stage, KEY.token(scopes=["operations:read"], bank=None, now=NOW))
    assert (process.service, process.environment) == ("khqr", "development")
    breakers = {(one.owner, one.endpoint): one for one in process.breakers}
    assert set(breakers) == {
        (bank, endpoint) for bank in ("AMK", "USDONLY") for endpoint in ("sign-in", "qr-generator")
    }
    assert breakers["AMK", "qr-generator"].state == operations_pb2.BREAKER_STATE_CLOSED
    assert (breakers["AMK", "qr-generator"].calls, breakers["AMK", "qr-generator"].failed) == (1, 0)
    calls = {
        one.endpoint: sum(point.calls for point in one.points)
        for one in process.latencies
        if one.owner == "AMK"
    }
    assert calls == {"sign-in": 1, "qr-generator": 1}
    assert PASSWORD not in str(process)
    assert USERNAME not in str(process)
