"""Requests from outside: what arrives at the service, and what is refused by its name."""

import json
from typing import Any

import pytest
from yarl import URL

from tests.rest_bridge.fakes import BEARER, Stage

GOOD = {
    "id": "150001",
    "policyNumber": '"P123456789"',
    "amount": "150.00",
    "currency": '"USD"',
    "bankTransactionId": '"AMK202510070001"',
    "payer": '"John Doe"',
    "paidDate": '"20251007120000"',
}
JSON_BODY = {**BEARER, "Content-Type": "application/json"}

QUERIES = [
    ("", "query: is required"),
    ("query=", "query: is required"),
    ("query=P1234567890", "query: must have 1 to 10 characters"),
    ("query=P-1", "query: must match [A-Za-z0-9]+"),
    ("query=P123456789%0A", "query: must not hold control characters"),
    ("query=%00", "query: must not hold control characters"),
    ("query=%FF", "query: must be UTF-8 text, percent-encoded"),
    ("query=%ED%A0%80", "query: must be UTF-8 text, percent-encoded"),
    ("query=%C0%AF", "query: must be UTF-8 text, percent-encoded"),
    ("query=%zz", "query: must be UTF-8 text, percent-encoded"),
    ("query=P%", "query: must be UTF-8 text, percent-encoded"),
    ("query=%E1%9F%A1%E1%9F%A2", "query: must match [A-Za-z0-9]+"),
    ("query=%EF%BF%BD", "query: must match [A-Za-z0-9]+"),
    ("query=P1+2", "query: must match [A-Za-z0-9]+"),
    ("query=P1&query=P1", "query: is given twice"),
    ("query=P1&qu%65ry=P2", "query: is given twice"),
    ("query=P1&Query=P2", "Query: is not a parameter of this call"),
    ("query=P1&bankCode=ABA", "bankCode: is not a parameter of this call"),
    ("query=P1&bank_code=ABA", "bank_code: is not a parameter of this call"),
    ("query=P1&query.x=1", "query.x: is not a parameter of this call"),
    ("query=P1&%FF=1", "%FF: is not a parameter of this call"),
    ("query=P1&=1", ": is not a parameter of this call"),
    ("query=P1&receivedBody=QQ", "receivedBody: is not a parameter of this call"),
]
MEMBERS = [
    ("id", None, "id: is required"),
    ("id", "null", "id: is required"),
    ("id", "0", "id: is required and must be greater than zero"),
    ("id", "-1", "id: must be greater than zero"),
    ("id", '"150001"', "id: must be a whole number"),
    ("id", "150001.0", "id: must be a whole number"),
    ("id", "1e5", "id: must be a whole number"),
    ("id", "true", "id: must be a whole number"),
    ("id", "9223372036854775808", "id: must be from"),
    ("id", "9" * 5000, "id: must be a whole number"),
    ("policyNumber", '"P1234567"', "policyNumber: must have 9 to 10 characters"),
    ("policyNumber", '"P12345678901"', "policyNumber: must have 9 to 10 characters"),
    ("policyNumber", '"P12345678\\n"', "policyNumber: must not hold control characters"),
    ("policyNumber", '"P12345678-"', "policyNumber: must match"),
    ("policyNumber", '"១២៣៤៥៦៧៨៩"', "policyNumber: must match"),
    ("policyNumber", "123456789", "policyNumber: must be a string"),
    ("amount", None, "amount: is required"),
    ("amount", "0", "amount: must be greater than zero"),
    ("amount", "-150.00", "amount: must be greater than zero"),
    ("amount", "-0.00", "amount: must be greater than zero"),
    ("amount", '"150.00"', "amount: must be a number"),
    ("amount", "1e2", "amount: must be a plain decimal number"),
    ("amount", "1.5E2", "amount: must be a plain decimal number"),
    ("amount", "NaN", "amount: must not be NaN"),
    ("amount", "Infinity", "amount: must not be Infinity"),
    ("amount", "true", "amount: must be a number"),
    ("amount", "[150.00]", "amount: must be a number"),
    ("amount", '{"value":"150.00"}', "amount: must be a number"),
    ("amount", "150.001", "amount: must have at most 2 decimals in USD"),
    ("amount", "10000000000000000.00", "amount: must have at most 16 integer digits"),
    ("amount", "9" * 5000, "amount: must have at most 16 integer digits"),
    ("currency", None, "currency: is required"),
    ("currency", '"usd"', "currency: must be one of USD, KHR"),
    ("currency", '"EUR"', "currency: must be one of USD, KHR"),
    ("currency", '"USD\\u0000"', "currency: must not hold control characters"),
    ("bankTransactionId", '""', "bankTransactionId: is required"),
    ("bankTransactionId", f'"{"x" * 65}"', "bankTransactionId: must have 1 to 64 characters"),
    ("bankTransactionId", '"A B"', "bankTransactionId: must match [!-~]+"),
    ("bankTransactionId", '"A\u00e9"', "bankTransactionId: must match [!-~]+"),
    ("payer", '""', "payer: is required"),
    ("payer", f'"{"x" * 141}"', "payer: must have 1 to 140 characters"),
    ("payer", '"a\\u0085b"', "payer: must not hold control characters"),
    ("payer", '"a\\u007fb"', "payer: must not hold control characters"),
    ("payer", '"a\tb"', "payer: must not hold control characters"),
    ("payer", '"a\\ud83d"', "payer: must not hold control characters or lone surrogates"),
    ("payer", '{"a":1}', "payer: must be a string"),
    ("paidDate", '"2025100712000"', "paidDate: must be a real time written yyyyMMddHHmmss"),
    ("paidDate", '"20250230120000"', "paidDate: must be a real time"),
    ("paidDate", '"20251007120060"', "paidDate: must be a real time"),
    ("paidDate", '"2025-10-07T12:00:00Z"', "paidDate: must be a real time"),
    ("paidDate", "20251007120000", "paidDate: must be a real time"),
]
BODIES = [
    (b"", "body: is not valid JSON"),
    (b"[]", "body: must be a JSON object"),
    (b'"x"', "body: must be a JSON object"),
    (b"{", "body: is not valid JSON"),
    (b"\xff\xfe{}", "body: is not valid JSON"),
    (b"\xef\xbb\xbf{}", "body: is not valid JSON"),
    (b"[" * 60_000, "body: is nested deeper than 16 levels"),
    (b'{"id":1,"id":2}', "id: is given twice"),
    (b'{"payer":"\xff"}', "payer: must not hold"),
    (b'{"payer":"\xed\xa0\x80"}', "payer: must not hold"),
]


def body_with(member: str, text: str | None) -> str:
    members = {**GOOD, member: text}
    inner = ",".join(f'"{name}":{one}' for name, one in members.items() if one)
    return f"{{{inner}}}"


async def refused(response: Any) -> str:
    document = json.loads(await response.text())
    assert response.status == 400, document
    assert document["success"] is False
    assert document["error"]["code"] == "BAD_REQUEST"
    return str(document["error"]["details"])


@pytest.mark.parametrize(("query", "details"), QUERIES)
async def test_a_bad_query_names_its_parameter(stage: Stage, query: str, details: str) -> None:
    url = URL(stage.url(f"/AMK/payments?{query}"), encoded=True)
    async with stage.client.get(url, headers=BEARER) as response:
        assert details in await refused(response)
    assert stage.gateway.requests == []


@pytest.mark.parametrize(("member", "text", "details"), MEMBERS)
async def test_a_bad_member_is_named_and_nothing_is_called(
    stage: Stage, member: str, text: str | None, details: str
) -> None:
    async with stage.client.post(
        stage.url("/AMK/payments"), data=body_with(member, text), headers=JSON_BODY
    ) as response:
        found = await refused(response)
    assert found.startswith(details)
    assert ";" not in found, "only this member is wrong"
    assert stage.gateway.requests == []


@pytest.mark.parametrize(("body", "details"), BODIES)
async def test_a_bad_body_is_named_and_nothing_is_called(
    stage: Stage, body: bytes, details: str
) -> None:
    async with stage.client.post(
        stage.url("/AMK/payments"), data=body, headers=JSON_BODY
    ) as response:
        assert details in await refused(response)
    assert stage.gateway.requests == []


async def test_half_a_riel_names_the_amount(stage: Stage) -> None:
    body = body_with("amount", "0.5").replace("USD", "KHR")
    async with stage.client.post(
        stage.url("/AMK/payments"), data=body, headers=JSON_BODY
    ) as response:
        assert await refused(response) == "amount: must have at most 0 decimals in KHR"


async def test_whole_riel_with_zero_decimals_pass_as_written(stage: Stage) -> None:
    body = body_with("amount", "615000.00").replace("USD", "KHR")
    async with stage.client.post(
        stage.url("/AMK/payments"), data=body, headers=JSON_BODY
    ) as response:
        assert response.status == 200
    assert stage.gateway.requests[0].amount.value == "615000.00"


async def test_every_fault_is_told_in_one_answer(stage: Stage) -> None:
    async with stage.client.post(
        stage.url("/AMK/payments"), data='{"id":"x","amount":1e2}', headers=JSON_BODY
    ) as response:
        found = await refused(response)
    names = [part.partition(":")[0] for part in found.split("; ")]
    assert sorted(names) == sorted(GOOD)


async def test_a_bad_path_variable_is_named(stage: Stage) -> None:
    async with stage.client.get(stage.url("/AMK/payments/15x"), headers=BEARER) as response:
        assert await refused(response) == "id: must be a whole number in plain digits"


async def test_a_body_where_none_belongs_is_refused(stage: Stage) -> None:
    async with stage.client.get(
        stage.url("/AMK/payments?query=P1"), headers=BEARER, data=b"{}"
    ) as response:
        assert await refused(response) == "body: this call has none"


async def test_a_bank_may_send_members_and_parameters_we_do_not_know(stage: Stage) -> None:
    body = body_with("remark", '{"deep":["line\\n"],"bankCode":1}')
    async with stage.client.post(
        stage.url("/AMK/payments?trace=1&trace=2&%FF=1"), data=body, headers=JSON_BODY
    ) as response:
        assert response.status == 200
    assert stage.gateway.requests[0].payer == "John Doe"


async def test_a_bank_cannot_set_the_received_body_or_the_path(stage: Stage) -> None:
    body = body_with("receivedBody", '"QUJD"').replace("{", '{"bankCode":"ABA",', 1)
    async with stage.client.post(
        stage.url("/AMK/payments"), data=body, headers=JSON_BODY
    ) as response:
        assert response.status == 200
    received = stage.gateway.requests[0]
    assert received.bank_code == "AMK"
    assert received.received_body == body.encode()


async def test_a_raw_control_character_in_an_ignored_member_is_no_json(stage: Stage) -> None:
    async with stage.client.post(
        stage.url("/AMK/payments"), data=body_with("remark", '"a\nb"'), headers=JSON_BODY
    ) as response:
        assert "body: is not valid JSON: Invalid control character" in await refused(response)


async def test_ten_thousand_faults_make_no_long_answer(stage: Stage) -> None:
    url = stage.url("/AMK/payments?query=P1" + "".join(f"&a{n}=" for n in range(1000)))
    async with stage.client.get(url, headers=BEARER) as response:
        found = await refused(response)
    assert found.endswith("...: and 950 more")
