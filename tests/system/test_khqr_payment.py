"""A KHQR code from the customer's screen to the event log, with the sandbox as the bank.

| what is done                                 | what is seen                              |
|----------------------------------------------|-------------------------------------------|
| the specification's two KHQR examples        | its answers; the code says what is due    |
| thirty equal webhooks at once                | 1 payment, 1 success, 30 equal answers    |
| verify is down, then up                      | 503, nothing published; then once         |
| a caller gives 300 ms                        | no answer in time, no question to the bank |
| twenty codes at once on a fresh start        | one sign-in                               |
"""

import asyncio
import base64
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import zxingcpp
from PIL import Image

from chassis.open_channel import open_channel
from gateway_svc.completer import PollPlan
from khqr_svc.khqr import parse_khqr
from payments.gateway.v1 import gateway_service_pb2 as pb
from payments.gateway.v1 import gateway_service_pb2_grpc as rpc
from tests.support.khqr_system import KhqrSystem, running_khqr_system
from tests.support.system import KEY, Answer

NOTICE = (
    b'{"invoice_number":"150001","status":"SUCCESS","merchant_number":"900000000290002",'
    b'"paid_amount":150.00,"currency":"USD","paid_datetime":"2025-10-07 12:00:00.123456"}'
)
CONFIRMED = (
    b'{"success":true,"data":{"transactionId":"AMK_KHQR_150001","status":"CONFIRMED",'
    b'"message":"KHQR payment successfully processed"}}'
)


@pytest.fixture
async def system(tmp_path: Path, database_url: str) -> AsyncIterator[KhqrSystem]:
    async with running_khqr_system(tmp_path=tmp_path, database_url=database_url) as running:
        yield running


async def tell(system: KhqrSystem, notice: bytes = NOTICE) -> Answer:
    return await system.call("POST", "/AMK/khqr", notice)


async def pay_silently(system: KhqrSystem) -> None:
    """Show a code and pay it, the bank's webhook lost."""
    await system.code("P123456789")
    await system.operate("/sandbox/faults/webhook-never/on")
    await system.operate("/sandbox/khqr/150001/pay")


async def test_the_specifications_code_is_answered_and_says_what_is_due(
    system: KhqrSystem,
) -> None:
    answer = await system.call(
        "GET", '/khqr?bankCode={"id":"AMK","bank":"AMK"}&billNumber=P123456789'
    )
    head = (
        b'{"success":true,"data":{"paymentId":150001,"policyId":"P123456789",'
        b'"customerName":"John Doe","amount":150.00,"currency":"USD","qrCode":"iVBORw0KGgo'
    )
    assert (answer.status, answer.body[: len(head)]) == (200, head)
    image = Image.open(io.BytesIO(base64.b64decode(answer.json["data"]["qrCode"])))
    [read] = zxingcpp.read_barcodes(image.convert("L"))
    code = parse_khqr(read.text)
    assert code.money is not None
    assert (str(code.money), code.money.currency.value) == ("150.00", "USD")
    assert (code.bill_number, code.merchant_id) == ("150001", "900000000290002")
    again = await system.code("P123456789")
    assert again.body == answer.body
    assert await system.topics() == ["generated-event"]


async def test_the_specifications_notice_is_answered_byte_for_byte(system: KhqrSystem) -> None:
    await pay_silently(system)
    answer = await tell(system)
    assert (answer.status, answer.body) == (200, CONFIRMED)
    again = await tell(system)
    assert (again.body, again.headers["Idempotent-Replayed"]) == (CONFIRMED, "true")
    standing = await system.get("/AMK/payments/150001")
    assert standing.json["data"]["status"] == "PAID"


async def test_thirty_equal_webhooks_at_once_are_one_payment(system: KhqrSystem) -> None:
    await pay_silently(system)
    answers = await asyncio.gather(*(tell(system) for _ in range(30)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, CONFIRMED)}
    assert await system.payments() == ["APPLIED"]
    assert (await system.topics()).count("success") == 1


async def test_while_verify_is_down_nothing_is_published_and_then_it_completes_by_itself(
    system: KhqrSystem,
) -> None:
    await pay_silently(system)
    await system.operate("/sandbox/faults/verify-500/on")
    answer = await tell(system)
    assert (answer.status, answer.code) == (503, "SERVER_UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) >= 1
    assert await system.topics() == ["generated-event"]
    await system.operate("/sandbox/faults/verify-500/off")
    await settled(system)
    assert (await system.topics()).count("success") == 1
    assert (await tell(system)).body == CONFIRMED


async def test_a_caller_in_a_hurry_costs_the_bank_no_question(
    tmp_path: Path, database_url: str
) -> None:
    # Nobody polls meanwhile: the only question could be the caller's.
    async with running_khqr_system(
        tmp_path=tmp_path, database_url=database_url, polls=PollPlan()
    ) as system:
        await _hurry(system)


async def _hurry(system: KhqrSystem) -> None:
    await pay_silently(system)
    asked = await questions(system)
    async with open_channel(target=str(system.gateway.address)) as channel:
        request = pb.ConfirmKhqrPaymentRequest(
            bank_code="AMK",
            invoice_number="150001",
            status="SUCCESS",
            merchant_number="900000000290002",
            currency="USD",
        )
        request.paid_amount.value = "150.00"
        request.paid_datetime.FromSeconds(1759813200)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc.GatewayServiceStub(channel).ConfirmKhqrPayment(
                request, timeout=0.3, metadata=(("authorization", f"Bearer {KEY.token()}"),)
            )
    assert caught.value.code() in {
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
    }
    assert await questions(system) == asked
    assert await system.notices() == [("RECEIVED", None)]
    await settled(system)


async def test_twenty_codes_at_once_on_a_fresh_start_sign_in_once(system: KhqrSystem) -> None:
    answers = await asyncio.gather(*(system.code("P123456789") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    counts = (await system.state())["callCounts"]
    assert (counts["sign-in"], counts["generator"]) == (1, 1)


async def questions(system: KhqrSystem) -> int:
    """Return how often the bank was asked whether a bill is paid."""
    counts: dict[str, int] = (await system.state())["callCounts"]
    return counts.get("verify", 0)


async def settled(system: KhqrSystem) -> None:
    """Wait until the payment is applied."""
    ends_at = time.monotonic() + 20
    while await system.payments() != ["APPLIED"]:
        assert time.monotonic() < ends_at, await system.notices()
        await asyncio.sleep(0.1)
