"""The promises of the public API: envelope, statuses and headers, whatever happens."""

import json
import re
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from chassis.errors import ServiceError
from rest_bridge.contract import default_contracts_image, load_contract
from rest_bridge.surface import BODY_LIMIT_BYTES, envelope
from tests.rest_bridge.fakes import BEARER, Stage

REASONS = load_contract(image=default_contracts_image()).reasons
# reason -> HTTP status, every reason of the contract
STATUSES = {
    "BAD_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "RESOURCE_NOT_FOUND": 404,
    "BANK_NOT_FOUND": 404,
    "MERCHANT_NOT_BIND": 400,
    "PAYMENT_VERIFICATION_DATA_MISMATCHED": 409,
    "TRANSACTION_VERIFY_FAILED": 422,
    "RATE_LIMITED": 429,
    "AMK_UNKNOWN_ERROR": 502,
    "SERVER_UNAVAILABLE": 503,
    "INTERNAL_ERROR": 500,
    "RESOLUTION_REFUSED": 409,
}
# a bare gRPC code -> the reason it stands for
BARE_CODES = {
    grpc.StatusCode.UNKNOWN: "INTERNAL_ERROR",
    grpc.StatusCode.INTERNAL: "INTERNAL_ERROR",
    grpc.StatusCode.UNIMPLEMENTED: "INTERNAL_ERROR",
    grpc.StatusCode.UNAVAILABLE: "SERVER_UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "SERVER_UNAVAILABLE",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "RATE_LIMITED",
    grpc.StatusCode.UNAUTHENTICATED: "UNAUTHORIZED",
    grpc.StatusCode.PERMISSION_DENIED: "FORBIDDEN",
}
INQUIRY = "/AMK/payments?query=P123456789"
JSON_BODY = {**BEARER, "Content-Type": "application/json"}
# method, path, headers, body -> status
REFUSALS: list[tuple[str, str, dict[str, str], bytes | None, int]] = [
    ("GET", "/nope", {}, None, 404),
    ("GET", "/amk/payments", BEARER, None, 404),
    ("GET", "/AMK/payments/", BEARER, None, 404),
    ("GET", "/docs/../settings.py", {}, None, 404),
    ("GET", "/docs/swagger-ui.js", {}, None, 404),
    ("HEAD", INQUIRY, BEARER, None, 405),
    ("OPTIONS", INQUIRY, {}, None, 405),
    ("PUT", "/AMK/payments", BEARER, b"{}", 405),
    ("DELETE", "/AMK/payments/150001", BEARER, None, 405),
    ("POST", "/livez", {}, b"{}", 405),
    ("PATCH", INQUIRY, BEARER, None, 405),
    ("GET", INQUIRY, {}, None, 401),
    ("GET", "/AMK/payments?nope=1", {}, None, 401),
    ("GET", INQUIRY, {"Authorization": "Basic eDp5"}, None, 401),
    ("GET", INQUIRY, {"Authorization": "Bearer"}, None, 401),
    ("GET", INQUIRY, {"Authorization": "Bearer " + "x" * 5000}, None, 401),
    ("GET", INQUIRY, {"Authorization": "Bearer t\u00f6ken"}, None, 401),
    ("POST", "/AMK/payments", {"Content-Type": "application/json"}, b"{}", 401),
    ("POST", "/AMK/payments", {**BEARER, "Content-Type": "text/plain"}, b"{}", 415),
    (
        "POST",
        "/AMK/payments",
        {**BEARER, "Content-Type": "application/x-www-form-urlencoded"},
        b"id=1",
        415,
    ),
    (
        "POST",
        "/AMK/payments",
        {**BEARER, "Content-Type": "application/json; charset=utf-16"},
        b"{}",
        415,
    ),
    ("POST", "/AMK/payments", {**JSON_BODY, "Content-Encoding": "gzip"}, b"\x1f\x8b", 415),
    ("POST", "/AMK/payments", JSON_BODY, b" " * (BODY_LIMIT_BYTES + 1), 413),
    ("POST", "/AMK/payments", JSON_BODY, b"{}", 400),
]
TAKEN = ["a", "A-b.c_9", "x" * 128]
NOT_TAKEN = ["", "x" * 129, "a b", "a/b", "caf\u00e9", 'a"b']


def promised(response: Any, body: str) -> dict[str, Any]:
    """Check what every answer carries and return its document."""
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", response.headers["X-Request-ID"])
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert "aiohttp" not in response.headers["Server"]
    document: dict[str, Any] = json.loads(body)
    if document["success"]:
        assert set(document) == {"success", "data"}
    else:
        assert set(document) == {"success", "error"}
        assert set(document["error"]) == {"code", "message", "details"}
        assert all(isinstance(one, str) for one in document["error"].values())
    return document


def failing(error: Exception) -> Any:
    async def behave(_request: Message, _context: Any) -> None:
        raise error

    return behave


@pytest.mark.parametrize(("method", "path", "headers", "body", "status"), REFUSALS)
async def test_every_refusal_wears_the_envelope(  # columns of the table
    stage: Stage,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | None,
    status: int,
) -> None:
    async with stage.client.request(
        method, stage.url(path), headers={**headers, "X-Request-ID": "mine-1"}, data=body
    ) as response:
        text = await response.text()
        assert response.status == status, text
        if method != "HEAD":
            document = promised(response, text)
            expected = "UNAUTHORIZED" if status == 401 else "BAD_REQUEST"
            assert document["error"]["code"] == expected
        assert response.headers["X-Request-ID"] == "mine-1"
        assert ("Allow" in response.headers) == (status == 405)
        assert (response.headers.get("WWW-Authenticate") == "Bearer") == (status == 401)
    assert stage.gateway.requests == []


def test_the_table_of_statuses_names_every_reason() -> None:
    assert {rule.reason: rule.http_status for rule in REASONS} == STATUSES


@pytest.mark.parametrize(("reason", "status"), STATUSES.items())
async def test_a_reason_has_its_status_and_keeps_its_words(
    stage: Stage, reason: str, status: int
) -> None:
    stage.gateway.behave = failing(
        ServiceError(reason=reason, message="In words", details="Query: ភ្នំពេញ")
    )
    async with stage.client.get(stage.url(INQUIRY), headers=BEARER) as response:
        document = promised(response, await response.text())
        assert response.status == status
        assert document["error"] == {
            "code": reason,
            "message": "In words",
            "details": "Query: ភ្នំពេញ",
        }
        default = {429: "1", 503: "5"}.get(status)
        assert response.headers.get("Retry-After") == default
        assert response.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)


async def test_retry_after_is_the_services_time_rounded_up(stage: Stage) -> None:
    stage.gateway.behave = failing(
        ServiceError(reason="SERVER_UNAVAILABLE", message="m", retry_after_s=2.1)
    )
    async with stage.client.get(stage.url(INQUIRY), headers=BEARER) as response:
        assert response.headers["Retry-After"] == "3"


@pytest.mark.parametrize(("code", "reason"), BARE_CODES.items())
async def test_a_bare_code_never_lets_an_internal_text_out(
    stage: Stage, code: grpc.StatusCode, reason: str
) -> None:
    async def behave(_request: Message, context: Any) -> None:
        await context.abort(code, "SELECT secret FROM bills")

    stage.gateway.behave = behave
    async with stage.client.get(stage.url(INQUIRY), headers=BEARER) as response:
        text = await response.text()
        assert "SELECT" not in text
        assert promised(response, text)["error"]["code"] == reason
        assert response.status == STATUSES[reason]


async def test_an_exception_inside_the_service_is_a_500_without_its_text(stage: Stage) -> None:
    stage.gateway.behave = failing(RuntimeError("the password is x"))
    async with stage.client.get(stage.url(INQUIRY), headers=BEARER) as response:
        text = await response.text()
        assert response.status == 500
        assert "password" not in text
        assert promised(response, text)["error"]["message"] == "Internal error"


async def test_an_exception_inside_the_bridge_is_a_500_without_its_text(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> str:
        raise RuntimeError("the password is x")

    monkeypatch.setattr(stage.running.bridge._codec, "write", broken)
    headers = {**BEARER, "X-Request-ID": "mine-1"}
    async with stage.client.get(stage.url(INQUIRY), headers=headers) as response:
        assert response.headers["X-Request-ID"] == "mine-1"
        text = await response.text()
        assert response.status == 500
        assert "password" not in text
        assert promised(response, text)["error"]["code"] == "INTERNAL_ERROR"


@pytest.mark.parametrize("given", TAKEN)
async def test_a_good_request_id_is_taken_echoed_and_forwarded(stage: Stage, given: str) -> None:
    headers = {**BEARER, "X-Request-ID": given}
    async with stage.client.get(stage.url(INQUIRY), headers=headers) as response:
        assert response.headers["X-Request-ID"] == given
    assert stage.gateway.metadata[0]["x-request-id"] == given


@pytest.mark.parametrize("given", NOT_TAKEN)
async def test_another_request_id_is_replaced(stage: Stage, given: str) -> None:
    headers = {**BEARER, "X-Request-ID": given}
    async with stage.client.get(stage.url(INQUIRY), headers=headers) as response:
        echoed = response.headers["X-Request-ID"]
        promised(response, await response.text())
    assert echoed != given
    assert stage.gateway.metadata[0]["x-request-id"] == echoed


async def test_only_allowed_headers_reach_the_service(stage: Stage) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {**BEARER, "traceparent": trace, "X-Evil": "1", "grpc-timeout": "9H", "bank": "ABA"}
    async with stage.client.get(stage.url(INQUIRY), headers=headers) as response:
        assert response.status == 200
    got = stage.gateway.metadata[0]
    assert got["authorization"] == BEARER["Authorization"]
    assert got["traceparent"] == trace
    assert set(got) - {"user-agent"} == {"authorization", "traceparent", "x-request-id"}


@pytest.mark.parametrize(
    "trace",
    [
        "x",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    ],
)
async def test_a_malformed_traceparent_is_dropped(stage: Stage, trace: str) -> None:
    headers = {**BEARER, "traceparent": trace}
    async with stage.client.get(stage.url(INQUIRY), headers=headers) as response:
        assert response.status == 200
    assert "traceparent" not in stage.gateway.metadata[0]


def test_an_envelope_is_utf_8_whatever_it_is_given() -> None:
    body = envelope(code="BAD_REQUEST", message="a\ud800", details="\x00ខ")
    assert json.loads(body.decode())["error"]["message"] == "a?"


async def test_a_replayed_answer_says_so_and_internal_metadata_stays_inside(stage: Stage) -> None:
    async def behave(_request: Message, context: Any) -> None:
        await context.send_initial_metadata(
            (("idempotent-replayed", "true"), ("x-internal", "secret"))
        )

    stage.gateway.behave = behave
    async with stage.client.get(stage.url(INQUIRY), headers=BEARER) as response:
        assert response.headers["Idempotent-Replayed"] == "true"
        assert "x-internal" not in response.headers
    method = next(one for one in stage.gateway.contract.methods if one.name == "GetPayment")
    answer = await stage.running.upstream.call(
        method=method, request=method.request(id=1), metadata=(), timeout_s=5
    )
    assert answer.metadata == {"idempotent-replayed": "true"}


async def test_a_replayed_refusal_says_so_too(stage: Stage) -> None:
    async def behave(_request: Message, context: Any) -> None:
        await context.send_initial_metadata((("idempotent-replayed", "true"),))
        raise ServiceError(reason="PAYMENT_VERIFICATION_DATA_MISMATCHED", message="m")

    stage.gateway.behave = behave
    async with stage.client.get(stage.url(INQUIRY), headers=BEARER) as response:
        assert response.status == 409
        assert response.headers["Idempotent-Replayed"] == "true"
