"""Every example of the contracts is sent, as docs/api.md spells it, to a fresh running system.

What comes back is the example, member by member in its order, every number with its digits. Bytes
alone differ from run to run (a picture of a code): any base64 will do. On a fresh
system the examples' own numbers are right, so nothing is filled in: the first bill is 150001, and
the policy is the sandbox's first. What must have happened before an example is in ARRANGED.

| example             | what must have happened                          |
|---------------------|--------------------------------------------------|
| InquirePayment      | nothing                                          |
| ConfirmPayment      | the bill was asked for                           |
| GetPayment          | and paid                                         |
| GenerateKhqr        | nothing                                          |
| ConfirmKhqrPayment  | a code was shown and paid, its webhook was lost  |
"""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from rest_bridge.api_document import api_document, example_call
from rest_bridge.contract import Example, default_contracts_image, load_contract
from rest_bridge.pages import PAGE_PATHS
from rest_bridge.routes import Route, RouteTable
from tests.support.khqr_system import KhqrSystem
from tests.support.system import INQUIRY, KEY, NOTICE

CONTRACT = load_contract(image=default_contracts_image())
ROUTES = RouteTable(methods=CONTRACT.methods, rules=CONTRACT.rules, reserved=PAGE_PATHS).routes
EXAMPLES = [
    pytest.param(route, example, id=f"{route.method.name}: {example.title}")
    for route in ROUTES
    for example in route.method.examples
]
_BYTES = {"qrCode"}  # the members that are base64


async def nothing(_system: KhqrSystem) -> None:
    """Leave the system fresh."""


async def asked(system: KhqrSystem) -> None:
    assert (await system.get(INQUIRY)).status == 200


async def paid(system: KhqrSystem) -> None:
    await asked(system)
    assert (await system.post(NOTICE)).status == 200


async def paid_by_code(system: KhqrSystem) -> None:
    assert (await system.code("P123456789")).status == 200
    await system.operate("/sandbox/faults/webhook-never/on")
    await system.operate("/sandbox/khqr/150001/pay")


ARRANGED: Mapping[str, Callable[[KhqrSystem], Awaitable[None]]] = {
    "InquirePayment": nothing,
    "ConfirmPayment": asked,
    "GetPayment": paid,
    "GenerateKhqr": nothing,
    "ConfirmKhqrPayment": paid_by_code,
}


@pytest.mark.parametrize(("route", "example"), EXAMPLES)
async def test_an_example_is_answered_as_the_contract_says(
    system: KhqrSystem, route: Route, example: Example
) -> None:
    await ARRANGED[route.method.name](system)
    call = example_call(route=route, example=example)
    answer = await system.call(call.method, call.target, call.body.encode() or None)
    assert (answer.status, told(answer.body)) == (
        200,
        told(f'{{"success":true,"data":{example.response}}}'.encode()),
    )


@pytest.mark.parametrize("spelled", ['filter={"state":"APPLIED"}', "filter.state=APPLIED"])
async def test_a_parameter_that_holds_an_object_is_written_either_way(
    system: KhqrSystem, spelled: str
) -> None:
    await paid(system)
    token = KEY.token(scopes=["operations:read"], bank=None)
    path = f"/ops/payments?{spelled}"
    answer = await system.call("GET", path, Authorization=f"Bearer {token}")
    assert (answer.status, len(answer.json["data"]["payments"])) == (200, 1)
    other = await system.call(
        "GET", path.replace("APPLIED", "UNAPPLIED"), Authorization=f"Bearer {token}"
    )
    assert other.json["data"].get("payments", []) == []


def test_the_examples_that_are_sent_are_those_that_are_printed() -> None:
    document = api_document(contract=CONTRACT)
    assert EXAMPLES
    for one in EXAMPLES:
        route, example = one.values
        call = example_call(route=route, example=example)  # type: ignore[arg-type] # a row is of objects
        assert f"```http\n{call.method} {call.target}\n" in document
        assert call.body in document


def test_bytes_are_compared_by_kind_and_all_else_to_the_digit() -> None:
    assert told(b'{"amount":150.00}') != told(b'{"amount":150.0}')
    assert told(b'{"a":1,"b":2}') != told(b'{"b":2,"a":1}'), "the order is the contract's"
    assert told(b'{"qrCode":"aGVsbG8="}') == told(b'{"qrCode":"aGVsbG9oZWxsbw=="}')


def told(body: bytes) -> Any:
    """Return JSON as lists of pairs, numbers by their text, bytes by their kind."""

    def members(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return [(name, _kind(name, value)) for name, value in pairs]

    return json.loads(
        body,
        object_pairs_hook=members,
        parse_float=lambda text: ("number", text),
        parse_int=lambda text: ("number", text),
    )


def _kind(name: str, value: Any) -> Any:
    if name not in _BYTES:
        return value
    # An example is cut short: four characters stand for three bytes, what is over is dropped.
    return ("bytes", bool(base64.b64decode(value[: len(value) // 4 * 4], validate=True)))
