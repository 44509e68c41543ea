"""`payctl why` and `payctl tail`, asking a whole running system like any client.

| asked                                  | told                                               |
|----------------------------------------|----------------------------------------------------|
| why, of a paid policy                  | the sentence, the steps with their times, exit 0   |
| why, of a refused transfer             | why it is held, what may end it                    |
| why, of many cases                     | the last one, the others by name; all with --all   |
| why, of nothing                        | that nothing is called so, exit 1                  |
| tail, twice                            | what came; then only what came since               |
| without an API, or a token for it      | one line, exit 1                                   |
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from payctl.api import Api, Where, opened
from payctl.main import app
from payctl.tail import Tail
from tests.support.khqr_system import KhqrSystem, running_khqr_system
from tests.support.system import KEY

READS = KEY.token(sub="dara", scopes=["operations:read"], bank=None)


@pytest.fixture
async def system(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KhqrSystem]:
    async with running_khqr_system(tmp_path=tmp_path, database_url=sqlite_url) as running:
        monkeypatch.setenv("BRIDGE_URL", running.base_url)
        monkeypatch.setenv("PAYCTL_TOKEN", READS)
        monkeypatch.setenv("VAR_DIR", str(tmp_path))
        yield running


async def payctl(*arguments: str) -> Result:
    """Return how a command ended; it has a loop of its own, as in a terminal."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, list(arguments)))


async def told(*arguments: str) -> Any:
    result = await payctl(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def test_a_paid_policy_is_told_from_its_bill_to_its_events(system: KhqrSystem) -> None:
    await system.operate("/sandbox/pay?query=P123456789")
    result = await payctl("why", "P123456789")
    assert result.exit_code == 0, result.output
    assert "was paid by bill payment" in result.stdout
    for words in ("bill created", "notice received", "payment applied", "event written"):
        assert words in result.stdout
    assert "+07:00" in result.stdout
    answer = await told("why", "P123456789")
    [case] = answer["cases"]
    assert (case["sentenceKey"], case["bill"]["amount"]) == ("paid_by_bill", "150.00")
    request_id = next(step["requestId"] for step in case["steps"] if step.get("requestId"))
    by_request = await told("why", request_id)
    assert by_request["found"][0]["foundAs"] == "REQUEST"
    assert by_request["cases"][0]["billId"] == case["billId"]


async def test_a_refused_transfer_is_told_with_what_may_end_it(system: KhqrSystem) -> None:
    await system.get()
    notice = (
        b'{"id":150001,"policyNumber":"P123456789","amount":149.99,"currency":"USD",'
        b'"bankTransactionId":"T9","payer":"John Doe","paidDate":"20251007120000"}'
    )
    assert (await system.post(notice)).status == 409
    result = await payctl("why", "T9")
    assert "needs a person" in result.stdout
    assert "notice-1 OPEN (MISMATCHED, 149.99 USD)" in result.stdout
    assert "May end by: APPLY, REFUND, VOID" in result.stdout


async def test_of_many_cases_the_last_is_told_and_the_others_are_named(system: KhqrSystem) -> None:
    await system.get()
    await system.operate("/sandbox/policies/P123456789/premium", {"amount": "180.00"})
    await system.get()
    result = await payctl("why", "P123456789")
    assert "1 more (--all tells them):" in result.stdout
    assert "150001  CLOSED" in result.stdout
    every = await told("why", "P123456789", "--all")
    assert {case["billId"] for case in every["cases"]} == {150001, 150002}


async def test_nothing_on_record_is_said_and_is_exit_1(system: KhqrSystem) -> None:
    assert system.base_url
    result = await payctl("why", "P999999999")
    assert (result.exit_code, result.stdout) == (
        1,
        "Nothing on record is called P999999999.\n",
    )


async def test_a_tail_tells_what_came_since_and_nothing_twice(system: KhqrSystem) -> None:
    said: list[str] = []
    async with opened(Where(base_url=system.base_url, token=READS)) as api:
        tail = Tail(api=api, say=said.append, as_json=True, last=10)
        assert await tail.run_once() == 0
        await system.operate("/sandbox/pay?query=P123456789")
        assert await tail.run_once() == 3
        assert await tail.run_once() == 0
        await system.operate("/sandbox/pay?query=P100000002")
        assert await tail.run_once() == 3
    rows = [json.loads(line) for line in said]
    assert [next(iter(row)) for row in rows] == [*("payment", "event", "event") * 2]
    assert [row["payment"]["amount"] for row in rows if "payment" in row] == ["150.00", 615000]


async def test_a_tail_that_begins_late_tells_the_last_few_first(system: KhqrSystem) -> None:
    for policy in ("P123456789", "P100000002"):
        await system.operate(f"/sandbox/pay?query={policy}")
    result = await payctl("tail", "--once", "--last", "1")
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert "payment APPLIED   BILL 615000 KHR" in lines[0]
    assert ".success" in lines[1]


class Flood(Api):
    """An API with more than anybody reads."""

    def __init__(self) -> None:
        self.given = 0

    async def get(self, path: str, **query: Any) -> Any:
        if path != "/ops/events":
            return {"payments": []}
        self.given += query["pageSize"]
        rows = [
            {"eventId": str(self.given - number), "createdAt": "2025-10-07T05:00:00Z"}
            for number in range(query["pageSize"])
        ]
        return {"events": rows, "nextPageToken": "more"}


async def test_a_tail_that_cannot_keep_up_says_so() -> None:
    said: list[str] = []
    tail = Tail(api=Flood(), say=said.append, as_json=True, last=1)
    await tail.run_once()
    assert await tail.run_once() == 1000
    assert '{"leftOut": "events"}' in said


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"BRIDGE_URL": "http://127.0.0.1:1"}, "http://127.0.0.1:1 does not answer"),
        ({"PAYCTL_TOKEN": "nonsense"}, "UNAUTHORIZED"),
        ({"PAYCTL_TOKEN": KEY.token()}, "FORBIDDEN"),
    ],
)
async def test_trouble_is_one_line_and_exit_1(
    system: KhqrSystem, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], said: str
) -> None:
    assert system
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for command in (["why", "P123456789"], ["tail", "--once"]):
        result = await payctl(*command)
        assert result.exit_code == 1
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_the_shell_is_told_how_to_complete() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert "--install-completion" in result.stdout
