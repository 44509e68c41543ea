"""Two operators end an exception over REST, from the refused payment to the published event.

| step                                    | seen                                                  |
|-----------------------------------------|-------------------------------------------------------|
| the bank tells of a wrong bill          | 404, and one exception                                |
| dara proposes; dara approves            | 200; 409 RESOLUTION_REFUSED                           |
| sophea approves, twice                  | 200, the same answer; one payment, two events         |
| the events are asked for once more      | first dry, then for good; delivered once more         |
| a bank's token                          | 403 for each of it                                    |
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.system import KEY, NOTICE, Answer, System, running_system

BOTH = ["operations:read", "operations:act"]
DARA = KEY.token(sub="dara", scopes=BOTH, bank=None)
SOPHEA = KEY.token(sub="sophea", scopes=BOTH, bank=None)
WRONG = NOTICE.replace(b'"id":150001', b'"id":999999')


@pytest.fixture
async def system(tmp_path: Path, database_url: str) -> AsyncIterator[System]:
    async with running_system(tmp_path=tmp_path, database_url=database_url) as running:
        yield running


async def operate(system: System, token: str, method: str, path: str, body: Any = None) -> Answer:
    content = None if body is None else json.dumps(body).encode()
    return await system.call(method, path, content, Authorization=f"Bearer {token}")


async def published(system: System, count: int) -> list[str]:
    async with asyncio.timeout(15):
        while len(system.published()) < count:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.02)
    return [one["topic"].rpartition(".")[2] for one in system.published()]


async def test_two_operators_end_an_exception_and_downstream_hears_of_it(system: System) -> None:
    await system.get()
    assert (await system.post(WRONG)).status == 404
    listed = await operate(system, DARA, "GET", "/ops/exceptions?filter.channel=BILL")
    [exception] = listed.json["data"]["exceptions"]
    assert (exception["exceptionId"], exception["state"], exception["actions"]) == (
        *("notice-1", "OPEN"),
        ["APPLY", "REFUND", "VOID"],
    )
    assert exception["fittingBillIds"] == [150001]
    wish = {"action": "APPLY", "billId": 150001, "reason": "the customer mistyped the bill"}
    path = "/ops/exceptions/notice-1/proposals"
    proposed = await operate(system, DARA, "POST", path, wish)
    assert (proposed.status, proposed.json["data"]["proposal"]["proposedBy"]) == (200, "dara")
    word = {"verdict": "APPROVE", "reason": "the bank says the money is ours"}
    decision = "/ops/proposals/1/decision"
    alone = await operate(system, DARA, "POST", decision, word)
    assert (alone.status, alone.code) == (409, "RESOLUTION_REFUSED")
    approved = await operate(system, SOPHEA, "POST", decision, word)
    assert approved.json["data"]["exception"]["state"] == "RESOLVED"
    assert (await operate(system, SOPHEA, "POST", decision, word)).body == approved.body
    assert await system.rows("SELECT count(*) FROM payments") == [(1,)]
    assert await published(system, 2) == ["confirmed", "success"]
    case = await operate(system, DARA, "GET", "/ops/cases/150001")
    assert case.json["data"]["standing"] == "PAID"
    due = await system.get()
    assert (due.status, due.json["error"]["message"]) == (404, "No premium due")


async def test_events_are_delivered_once_more_for_who_asks(system: System) -> None:
    await system.get()
    await system.post()
    await published(system, 2)
    wanted: dict[str, Any] = {"selection": {"key": "P123456789"}}
    async with asyncio.timeout(15):
        while True:  # published first, marked a moment later
            dry = await operate(system, DARA, "POST", "/ops/replays", wanted | {"dryRun": True})
            if dry.json["data"]["events"] == 2:
                break
    assert len(system.published()) == 2
    done = await operate(
        system, DARA, "POST", "/ops/replays", wanted | {"reason": "the warehouse lost a day"}
    )
    assert done.json["data"]["events"] == 2
    assert await published(system, 4) == ["confirmed", "success"] * 2
    outbox = await operate(system, DARA, "GET", "/ops/outbox")
    [order] = outbox.json["data"]["orders"]
    assert (order["kind"], order["requestedBy"]) == ("REPLAY", "dara")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/ops/today", None),
        ("GET", "/ops/system", None),
        ("GET", "/ops/payments", None),
        ("POST", "/ops/replays", {"selection": {"key": "P1"}, "dryRun": True}),
        ("POST", "/ops/exceptions/notice-1/proposals", {"action": "VOID", "reason": "none"}),
    ],
)
async def test_a_token_of_a_bank_opens_nothing(
    system: System, method: str, path: str, body: Any
) -> None:
    bound = KEY.token(sub="amk", scopes=BOTH, bank="AMK")
    for token in (bound, system.token):
        refused = await operate(system, token, method, path, body)
        assert (refused.status, refused.code) == (403, "FORBIDDEN")
