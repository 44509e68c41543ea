"""The gateway as its callers meet it: real gRPC, real database, a fake Integration Service.

| the caller                                | is told                               |
|-------------------------------------------|---------------------------------------|
| asks what is due                          | the bill; the same id again           |
| asks about an unknown policy, or paid one | RESOURCE_NOT_FOUND, and which         |
| asks while the insurer is unwell          | SERVER_UNAVAILABLE; no bill is made   |
| names a bank that is not here             | BANK_NOT_FOUND                        |
| is bound to another bank, or to none      | FORBIDDEN (to confirm, a bank is needed) |
| confirms twice                            | the same, `idempotent-replayed`       |
| asks how a bill stands                    | PENDING, PAID with transfer, CLOSED   |
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.type import date_pb2, decimal_pb2

from chassis.errors import Reasons, ServiceError, from_rpc_error
from chassis.open_channel import open_channel
from payments.errors.v1 import errors_pb2
from payments.gateway.v1 import gateway_service_pb2 as pb
from payments.gateway.v1 import gateway_service_pb2_grpc as rpc
from tests.support.gateway import (
    FakeIntegration,
    fake_integration,
    gateway_settings,
    running_gateway,
)
from tests.support.tokens import SigningKey

KEY = SigningKey(key_id="test")
REASONS = Reasons(
    pool=descriptor_pool.Default(), enum=errors_pb2.DESCRIPTOR.enum_types_by_name["ErrorReason"]
)


class Client:
    """Calls the gateway with a token."""

    def __init__(self, channel: grpc.aio.Channel, integration: FakeIntegration) -> None:
        self.stub = rpc.GatewayServiceStub(channel)
        self.integration = integration
        self.token = KEY.token()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)

    async def inquire(self, query: str = "P123456789", bank: str = "AMK") -> Any:
        return await self.stub.InquirePayment(
            pb.InquirePaymentRequest(bank_code=bank, query=query),
            metadata=self.metadata,
            timeout=5,
        )

    def confirm(self, **changes: Any) -> Any:
        content = {
            "bank_code": "AMK",
            "id": 150001,
            "policy_number": "P123456789",
            "amount": decimal_pb2.Decimal(value="150.00"),
            "currency": "USD",
            "bank_transaction_id": "T1",
            "payer": "John Doe",
        } | changes
        request = pb.ConfirmPaymentRequest(**content)
        request.paid_date.FromDatetime(datetime(2025, 10, 7, 5, tzinfo=UTC))
        return self.stub.ConfirmPayment(request, metadata=self.metadata, timeout=5)

    async def get(self, bill_id: int, bank: str = "AMK") -> Any:
        return await self.stub.GetPayment(
            pb.GetPaymentRequest(bank_code=bank, id=bill_id), metadata=self.metadata, timeout=5
        )


@pytest.fixture
async def client(database_url: str, tmp_path: Path) -> AsyncIterator[Client]:
    async with fake_integration() as integration:
        settings = gateway_settings(
            tmp_path=tmp_path,
            key=KEY,
            environ={"DATABASE_URL": database_url, "INTEGRATION_URL": integration.base_url},
        )
        async with (
            running_gateway(settings=settings) as (_, address),
            open_channel(target=str(address)) as channel,
        ):
            yield Client(channel, integration)


async def refusal(call: Any) -> ServiceError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(error=caught.value, reasons=REASONS)


async def test_an_inquiry_shows_the_bill_and_shows_it_again(client: Client) -> None:
    answer = await client.inquire()
    assert answer == pb.InquirePaymentResponse(
        id=150001,
        policy_number="P123456789",
        payer="John Doe",
        amount=decimal_pb2.Decimal(value="150.00"),
        currency="USD",
        due_date=date_pb2.Date(year=2025, month=11, day=15),
    )
    assert (await client.inquire()).id == 150001


@pytest.mark.parametrize(
    ("status", "body", "reason", "message"),
    [
        (404, "", "RESOURCE_NOT_FOUND", "Policy not found"),
        (204, "", "RESOURCE_NOT_FOUND", "No premium due"),
        (200, '{"amount":0}', "RESOURCE_NOT_FOUND", "No premium due"),
        (200, '{"amount":0.00}', "RESOURCE_NOT_FOUND", "No premium due"),
        (500, "", "SERVER_UNAVAILABLE", "Premiums cannot be looked up now"),
        (200, "<html>", "SERVER_UNAVAILABLE", "Premiums cannot be looked up now"),
        (200, '{"amount":-1}', "SERVER_UNAVAILABLE", "Premiums cannot be looked up now"),
        (200, '{"amount":1.005}', "SERVER_UNAVAILABLE", "Premiums cannot be looked up now"),
        (200, '{"amount":"NaN"}', "SERVER_UNAVAILABLE", "Premiums cannot be looked up now"),
        (200, '{"currency":"EUR"}', "SERVER_UNAVAILABLE", "Premiums cannot be looked up now"),
        (200, '{"dueDate":"2025-02-30"}', "SERVER_UNAVAILABLE", "Premiums cannot be looked up now"),
        (200, '{"policyNumber":"P 1"}', "SERVER_UNAVAILABLE", "Premiums cannot be looked up now"),
        (200, '{"payer":"J\\u0000"}', "SERVER_UNAVAILABLE", "Premiums cannot be looked up now"),
        (200, '{"payer":""}', "SERVER_UNAVAILABLE", "Premiums cannot be looked up now"),
    ],
)
async def test_an_inquiry_without_a_premium_says_why_and_makes_no_bill(
    client: Client, status: int, body: str, reason: str, message: str
) -> None:
    good = client.integration.answers["P123456789"][1]
    merged = json.dumps(json.loads(good) | json.loads(body)) if body.startswith("{") else body
    client.integration.answers["P123456789"] = (status, merged)
    error = await refusal(client.inquire())
    assert (error.reason, error.message) == (reason, message)
    assert (await refusal(client.get(150001))).reason == "RESOURCE_NOT_FOUND"


async def test_a_not_found_names_what_was_asked_for(client: Client) -> None:
    assert (await refusal(client.inquire("UNKNOWN1"))).details == "Query: UNKNOWN1"


async def test_a_paid_premium_is_not_due_whatever_the_insurer_still_says(client: Client) -> None:
    await client.inquire()
    await client.confirm()
    error = await refusal(client.inquire())
    assert (error.reason, error.message) == ("RESOURCE_NOT_FOUND", "No premium due")


async def test_a_confirmation_is_answered_and_a_repeat_is_replayed(client: Client) -> None:
    await client.inquire()
    first, again = client.confirm(), None
    answer = await first
    assert answer == pb.ConfirmPaymentResponse(
        transaction_id="T1",
        payment_reference_id="150001",
        status=pb.CONFIRMATION_STATUS_CONFIRMED,
        message="Payment successfully processed",
    )
    assert ("idempotent-replayed", "true") not in tuple(await first.initial_metadata())
    again = client.confirm()
    assert await again == answer
    assert ("idempotent-replayed", "true") in tuple(await again.initial_metadata())


async def test_a_refused_confirmation_is_replayed_too_but_not_found_is_not(
    client: Client,
) -> None:
    await client.inquire()
    wrong = {"amount": decimal_pb2.Decimal(value="1.00")}
    for call, replayed in (
        (client.confirm(**wrong), False),
        (client.confirm(**wrong), True),
        (client.confirm(id=7, bank_transaction_id="T2"), False),
        (client.confirm(id=7, bank_transaction_id="T2"), False),
    ):
        error = await refusal(call)
        assert error.reason in {
            "PAYMENT_VERIFICATION_DATA_MISMATCHED",
            "RESOURCE_NOT_FOUND",
        }
        assert (("idempotent-replayed", "true") in tuple(await call.initial_metadata())) is replayed


async def test_a_bill_stands_pending_then_paid_with_its_transfer(client: Client) -> None:
    await client.inquire()
    pending = await client.get(150001)
    assert (pending.status, pending.transaction_id) == (pb.PAYMENT_STATUS_PENDING, "")
    await client.confirm()
    paid = await client.get(150001)
    assert (paid.status, paid.transaction_id) == (pb.PAYMENT_STATUS_PAID, "T1")


async def test_a_replaced_bill_stands_closed(client: Client) -> None:
    await client.inquire()
    changed = client.integration.answers["P123456789"][1].replace("150.00", "180.00")
    client.integration.answers["P123456789"] = (200, changed)
    assert (await client.inquire()).id == 150002
    assert (await client.get(150001)).status == pb.PAYMENT_STATUS_CLOSED


async def test_a_caller_in_haste_is_told_when_to_come_back(client: Client) -> None:
    answers = await asyncio.gather(*(client.inquire() for _ in range(200)), return_exceptions=True)
    refused = [one for one in answers if isinstance(one, grpc.aio.AioRpcError)]
    assert 0 < len(refused) <= 100
    error = from_rpc_error(error=refused[0], reasons=REASONS)
    assert error.reason == "RATE_LIMITED"
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 1
    client.token = KEY.token(sub="somebody else")
    await client.inquire()
    client.token = KEY.token(scopes=["payments:inquire", "khqr:record"])
    await client.inquire()


async def test_a_bank_that_is_not_here_is_not_found(client: Client) -> None:
    for call in (client.inquire(bank="XYZ"), client.confirm(bank_code="XYZ"), client.get(1, "XYZ")):
        assert (await refusal(call)).reason == "BANK_NOT_FOUND"


async def test_a_token_bound_to_another_bank_is_forbidden(client: Client) -> None:
    client.token = KEY.token(bank="XYZ")
    for call in (client.inquire(), client.confirm(), client.get(1)):
        assert (await refusal(call)).reason == "FORBIDDEN"


async def test_only_a_token_bound_to_the_bank_confirms(client: Client) -> None:
    client.token = KEY.token(bank=None)
    await client.inquire()
    assert (await refusal(client.confirm())).reason == "FORBIDDEN"
    assert (await client.get(150001)).status == pb.PAYMENT_STATUS_PENDING
