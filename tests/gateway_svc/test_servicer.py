"""The servicer by itself, driven by grpcio-testing through an adapter for coroutines.

grpcio-testing knows synchronous servicers only: an async one "succeeds" there with a coroutine
object and status OK. The first test shows that lie, and that the adapter does not tell it.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc_testing
import pytest

from chassis.auth import Caller
from chassis.errors import ServiceError
from chassis.rpc import Call, call_being_served
from gateway_svc.banks.port import Bank
from gateway_svc.servicer import GatewayServicer
from payments.gateway.v1 import gateway_service_pb2 as pb
from tests.support.sync_servicer import SynchronousServicer

SERVICE = pb.DESCRIPTOR.services_by_name["GatewayService"]
NOW = datetime(2025, 10, 7, tzinfo=UTC)


class NoDatabase:
    """A database that nobody should reach."""

    def reading(self) -> Any:
        raise AssertionError("the database was asked")


@pytest.fixture
def servicer() -> Iterator[GatewayServicer]:
    token = call_being_served.set(
        Call(
            caller=Caller(subject="s", scopes=frozenset(), bank="AMK", expires_at_s=0),
            request_id="r",
            ends_at_s=0,
        )
    )
    parts: Any = NoDatabase()
    yield GatewayServicer(
        banks={"AMK": Bank(code="AMK", currencies=frozenset())},
        policies=parts,
        database=parts,
        lookups=parts,
        notices=parts,
        khqr=parts,
        codes=parts,
        inquiry_limit=parts,
        clock=lambda: NOW,
    )
    call_being_served.reset(token)


def answer_of(servicer: object, request: pb.GetPaymentRequest) -> tuple[Any, Any]:
    server = grpc_testing.server_from_dictionary(
        {SERVICE: servicer}, grpc_testing.strict_real_time()
    )
    call = server.invoke_unary_unary(SERVICE.methods_by_name["GetPayment"], (), request, 5)
    response, _, code, _ = call.termination()
    return response, code


def test_grpcio_testing_calls_a_coroutine_a_success_and_the_adapter_does_not(
    servicer: GatewayServicer,
) -> None:
    unknown_bank = pb.GetPaymentRequest(bank_code="XYZ", id=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the coroutine that nobody awaits
        lie, code = answer_of(servicer, unknown_bank)
        assert (inspect.iscoroutine(lie), code) == (True, grpc.StatusCode.OK)
        lie.close()
    _, code = answer_of(SynchronousServicer(servicer), unknown_bank)
    assert code is not grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("bank", "reason"), [("XYZ", "BANK_NOT_FOUND"), ("OTHER", "BANK_NOT_FOUND")]
)
def test_a_bank_that_is_not_here_is_told_before_anything_is_asked(
    servicer: GatewayServicer, bank: str, reason: str
) -> None:
    call: Callable[..., Any] = SynchronousServicer(servicer).GetPayment
    with pytest.raises(ServiceError) as refusal:
        call(pb.GetPaymentRequest(bank_code=bank, id=1), None)
    assert refusal.value.reason == reason
