"""The OpenAPI document: valid 3.1, in the contract's words, with every error; and its page."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from chassis.errors import Reasons
from rest_bridge.contract import default_contracts_image, load_contract
from rest_bridge.pages import PAGE_NAMES, page_name
from tests.rest_bridge.fakes import Stage

ROUTES = [
    ("/{bankCode}/payments", "get", "payments:inquire"),
    ("/{bankCode}/payments", "post", "payments:confirm"),
    ("/{bankCode}/khqr", "post", "payments:confirm"),
    ("/{bankCode}/payments/{id}", "get", "payments:inquire"),
    ("/khqr", "get", "khqr:generate"),
]
READ, ACT = "operations:read", "operations:act"
OPERATIONS = [
    ("/ops/today", "get", READ),
    ("/ops/cases", "get", READ),
    ("/ops/cases/{billId}", "get", READ),
    ("/ops/payments", "get", READ),
    ("/ops/bills", "get", READ),
    ("/ops/codes", "get", READ),
    ("/ops/notices", "get", READ),
    ("/ops/events", "get", READ),
    ("/ops/exceptions", "get", READ),
    ("/ops/exceptions/{exceptionId}/proposals", "post", ACT),
    ("/ops/proposals/{proposalId}/decision", "post", ACT),
    ("/ops/outbox", "get", READ),
    ("/ops/replays", "post", ACT),
    ("/ops/releases", "post", ACT),
    ("/ops/system", "get", READ),
    ("/ops/system/khqr", "get", READ),
]
FILES = [
    ("/docs/swagger-ui.css", "text/css", b".swagger-ui"),
    ("/docs/swagger-ui-bundle.js", "text/javascript", b"SwaggerUIBundle"),
    ("/docs/initializer.js", "text/javascript", b"openapi.json"),
]


@pytest.fixture
async def document(stage: Stage) -> Any:
    """Return the document as served, numbers exact."""
    async with stage.client.get(stage.url("/openapi.json")) as response:
        assert response.status == 200
        return json.loads(await response.text(), parse_float=Decimal)


async def test_it_is_valid_openapi_3_1(stage: Stage) -> None:
    async with stage.client.get(stage.url("/openapi.json")) as response:
        found = await response.json()
    assert found["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(found).validate()


def test_it_names_every_route_and_scope(document: Any) -> None:
    found = [
        (path, method, operation["security"][0]["bearer"][0])
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    assert sorted(found) == sorted(ROUTES + OPERATIONS)


def test_descriptions_are_the_contracts_comments(document: Any) -> None:
    inquire = document["paths"]["/{bankCode}/payments"]["get"]
    assert inquire["summary"] == "Ask what is due on a policy."
    assert "keeps its `id`" in inquire["description"]
    schema = document["components"]["schemas"]["InquirePaymentResponse"]
    assert schema["properties"]["payer"]["description"] == "Who pays."


def test_an_amount_in_an_example_keeps_its_two_decimals(stage: Stage) -> None:
    assert b'"amount":150.00,"currency":"USD"' in stage.running.bridge.pages._openapi


def test_every_route_lists_every_reason_it_may_answer_with(document: Any) -> None:
    reasons: Reasons = load_contract(image=default_contracts_image()).reasons
    everywhere = {rule.reason for rule in reasons if rule.everywhere}
    confirm = document["paths"]["/{bankCode}/payments"]["post"]["responses"]
    listed = {
        (int(status), reason)
        for status, response in confirm.items()
        if status != "200"
        for reason in response["content"]["application/json"].get("examples", {})
    }
    expected = everywhere | {
        "RESOURCE_NOT_FOUND",
        "BANK_NOT_FOUND",
        "PAYMENT_VERIFICATION_DATA_MISMATCHED",
    }
    assert listed == {(reasons[reason].http_status, reason) for reason in expected}
    assert {"408", "413", "415"} <= set(confirm)


def test_headers_are_listed_where_they_are_sent(document: Any) -> None:
    responses = document["paths"]["/{bankCode}/payments"]["post"]["responses"]
    assert "Idempotent-Replayed" in responses["200"]["headers"]
    assert "Idempotent-Replayed" in responses["409"]["headers"]
    assert "WWW-Authenticate" in responses["401"]["headers"]
    assert "Retry-After" in responses["429"]["headers"]
    assert "Retry-After" in responses["503"]["headers"]
    assert all("X-Request-ID" in one["headers"] for one in responses.values())
    headers = document["components"]["headers"]
    assert [name for name, one in headers.items() if not one["required"]] == ["Idempotent-Replayed"]


def test_what_the_bridge_fills_in_is_not_part_of_the_body(document: Any) -> None:
    schema = document["components"]["schemas"]["ConfirmPaymentRequest"]
    assert list(schema["properties"]) == [
        "id",
        "policyNumber",
        "amount",
        "currency",
        "bankTransactionId",
        "payer",
        "paidDate",
    ]
    assert schema["required"] == list(schema["properties"])
    assert schema["properties"]["amount"] == {
        "type": "number",
        "format": "decimal",
        "exclusiveMaximum": 10**16,
        "exclusiveMinimum": 0,
        "description": "What was paid; equal to the bill's amount.",
    }


def test_a_request_is_closed_where_unknown_members_are_refused_and_nowhere_else(
    document: Any,
) -> None:
    schemas = document["components"]["schemas"]
    closed = {name for name, one in schemas.items() if one.get("additionalProperties") is False}
    assert closed == {
        "BankCode",
        "DecideProposalRequest",
        "EventSelection",
        "Filter",
        "ProposeResolutionRequest",
        "ReleaseEventsRequest",
        "ReplayEventsRequest",
    }


def test_a_number_and_a_text_of_a_request_say_their_bounds(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["ConfirmPaymentRequest"]["properties"]["id"]["maximum"] == 2**63 - 1
    assert schemas["ConfirmPaymentRequest"]["properties"]["id"]["minimum"] == 1
    lists = document["paths"]["/ops/bills"]["get"]["parameters"]
    size = next(one["schema"] for one in lists if one.get("name") == "pageSize")
    assert (size["minimum"], size["maximum"]) == (0, 2**32 - 1)
    payer = schemas["ConfirmPaymentRequest"]["properties"]["payer"]["pattern"]
    assert re.search(payer, "សុខ ដារ៉ា")
    assert not re.search(payer, "John\x1bDoe")


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ("requestId", {"pattern": "^$|^(?:[!-~]+)$"}),
        ("currency", {"enum": ["USD", "KHR", ""]}),
        ("billId", {"minimum": 0}),
    ],
)
def test_a_member_that_may_be_absent_may_be_empty(
    document: Any, member: str, says: dict[str, Any]
) -> None:
    found = document["components"]["schemas"]["Filter"]["properties"][member]
    assert {name: found[name] for name in says} == says


async def test_the_page_needs_nothing_from_elsewhere(stage: Stage) -> None:
    async with stage.client.get(stage.url("/docs")) as response:
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert '<meta charset="utf-8">' in page
    assert "//" not in page.replace("<!doctype html>", ""), "no other host"
    assert "<script>" not in page
    assert "unsafe" not in policy


@pytest.mark.parametrize(("path", "kind", "content"), FILES)
async def test_the_page_finds_its_files(stage: Stage, path: str, kind: str, content: bytes) -> None:
    async with stage.client.get(stage.url(path)) as response:
        assert response.status == 200
        assert response.content_type == kind
        assert content in await response.read()


COUNTED_AS = [
    ("/console", "/console"),
    ("/console/app.js", "/console"),
    ("/kit/kit.css", "/kit"),
    ("/docs/swagger-ui.css", "/docs"),
    ("/livez", "/livez"),
]


@pytest.mark.parametrize(("path", "name"), COUNTED_AS)
def test_the_files_of_a_page_are_counted_as_one(path: str, name: str) -> None:
    assert page_name(path) == name
    assert name in PAGE_NAMES, "a name that metrics do not know is counted as no route"


async def test_the_root_leads_to_the_page(stage: Stage) -> None:
    async with stage.client.get(stage.url("/")) as response:
        assert response.url.path == "/docs"
