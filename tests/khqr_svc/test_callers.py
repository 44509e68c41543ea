"""Who may ask for what, and what the gateway and the configuration refuse.

| caller, bank                              | answer                                    |
|-------------------------------------------|-------------------------------------------|
| no token; another scope; bound elsewhere  | UNAUTHORIZED; FORBIDDEN; FORBIDDEN        |
| id unlike bank                            | BAD_REQUEST naming bankCode.bank          |
| unknown or disabled bank                  | BANK_NOT_FOUND                            |
| no account, or none for the currency      | MERCHANT_NOT_BIND                         |
| the gateway refuses the bill              | its reason                                |
| the gateway refuses us                    | INTERNAL_ERROR                            |
"""

import asyncio

import pytest
from grpc_health.v1 import health_pb2

from chassis.errors import ServiceError
from tests.khqr_svc.fakes import NOW
from tests.khqr_svc.stage import KEY, Stage


def token(*, scope: str = "khqr:generate", bank: str | None = None) -> str:
    return KEY.token(scopes=[scope], bank=bank, now=NOW)


async def failure(stage: Stage, **call: str) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await stage.generate(**call)  # type: ignore[arg-type]  # texts only
    return caught.value


@pytest.mark.parametrize(
    ("bearer", "reason"),
    [
        ("nonsense", "UNAUTHORIZED"),
        (token(scope="payments:inquire"), "FORBIDDEN"),
        (token(bank="USDONLY"), "FORBIDDEN"),
    ],
)
async def test_a_caller_that_may_not_is_refused(stage: Stage, bearer: str, reason: str) -> None:
    assert await stage.reason(token=bearer) == reason
    assert stage.gateway.calls == []


@pytest.mark.parametrize("bank", [None, "AMK"])
async def test_a_token_for_this_bank_or_for_any_is_good(stage: Stage, bank: str | None) -> None:
    assert (await stage.generate(token=token(bank=bank))).qr_code


async def test_a_caller_in_haste_is_told_when_to_come_back(stage: Stage) -> None:
    answers = await asyncio.gather(*(stage.generate() for _ in range(200)), return_exceptions=True)
    refused = [one for one in answers if isinstance(one, ServiceError)]
    assert 0 < len(refused) <= 100
    assert {one.reason for one in refused} == {"RATE_LIMITED"}
    await stage.generate(token=KEY.token(sub="another", scopes=["khqr:generate"], now=NOW))


async def test_id_unlike_bank_is_a_bad_request(stage: Stage) -> None:
    error = await failure(stage, bank="AMK", same="USDONLY")
    assert (error.reason, error.violations[0].field) == ("BAD_REQUEST", "bankCode.bank")
    assert stage.gateway.calls == []


async def test_a_bank_that_is_left_out_is_the_same(stage: Stage) -> None:
    assert (await stage.generate(bank="AMK", same="")).qr_code


@pytest.mark.parametrize("number", ["", "P12345678901", "P-1", "ព១២៣"])
async def test_a_bill_number_that_cannot_be_is_a_bad_request(stage: Stage, number: str) -> None:
    error = await failure(stage, number=number)
    assert (error.reason, error.violations[0].field) == ("BAD_REQUEST", "billNumber")


@pytest.mark.parametrize(
    ("bank", "reason"),
    [
        ("XYZ", "BANK_NOT_FOUND"),
        ("CLOSED", "BANK_NOT_FOUND"),
        ("NOACCOUNT", "MERCHANT_NOT_BIND"),
    ],
)
async def test_a_bank_we_cannot_use_is_refused_before_anybody_is_asked(
    stage: Stage, bank: str, reason: str
) -> None:
    error = await failure(stage, bank=bank)
    assert (error.reason, error.details) == (reason, f"Bank: {bank}")
    assert stage.gateway.calls == []


async def test_a_currency_the_account_does_not_take_is_refused(stage: Stage) -> None:
    stage.gateway.premiums["P1"] = (150002, "615000", "KHR")
    error = await failure(stage, bank="USDONLY", number="P1")
    assert (error.reason, error.details) == ("MERCHANT_NOT_BIND", "Bank: USDONLY, currency: KHR")
    assert stage.bank.asked == []


REFUSED = ServiceError(
    reason="RESOURCE_NOT_FOUND", message="No premium due", details="Query: P123456789"
)


@pytest.mark.parametrize("rpc", ["InquirePayment", "GetLiveKhqr", "RecordKhqr"])
@pytest.mark.parametrize(
    ("refusal", "answer"),
    [
        (REFUSED, REFUSED),
        (
            ServiceError(reason="BANK_NOT_FOUND", message="Bank configuration not found"),
            ServiceError(reason="BANK_NOT_FOUND", message="Bank configuration not found"),
        ),
        (
            ServiceError(reason="SERVER_UNAVAILABLE", message="Later", retry_after_s=7),
            ServiceError(reason="SERVER_UNAVAILABLE", message="Later", retry_after_s=7),
        ),
        (
            ServiceError(reason="UNAUTHORIZED", message="Whose token?"),
            ServiceError(reason="INTERNAL_ERROR", message="Internal error"),
        ),
        (
            ServiceError(reason="FORBIDDEN", message="Scope needed"),
            ServiceError(reason="INTERNAL_ERROR", message="Internal error"),
        ),
        (
            ServiceError(reason="BAD_REQUEST", message="code.image"),
            ServiceError(reason="INTERNAL_ERROR", message="Internal error"),
        ),
    ],
)
async def test_what_the_gateway_refuses_is_passed_on_but_not_our_own_refusal(
    stage: Stage, rpc: str, refusal: ServiceError, answer: ServiceError
) -> None:
    stage.gateway.refuse[rpc] = refusal
    error = await failure(stage)
    assert error == answer


async def test_health_follows_the_gateways(stage: Stage) -> None:
    statuses = health_pb2.HealthCheckResponse
    await stage.gateway.health.set("", statuses.NOT_SERVING)
    assert not await stage.process.probe_once()
    assert await health(stage) == statuses.NOT_SERVING
    await stage.gateway.health.set("", statuses.SERVING)
    for _ in range(50):
        if await stage.process.probe_once():
            break
    assert await health(stage) == statuses.SERVING


async def health(stage: Stage) -> int:
    request = health_pb2.HealthCheckRequest(service="payments.khqr.v1.KhqrService")
    answer = await stage.health.Check(request, timeout=1)
    return int(answer.status)
