"""The look-up, and who may say that nothing is due."""

import json
from pathlib import Path

import pytest

from amk_sandbox.faults import FAULTS
from tests.amk_sandbox.harness import Clock, FakeInsurer, sandbox

SUCCESS = {
    "eventId": "e-1",
    "schemaVersion": 1,
    "type": "PAYMENT_EVENT_TYPE_SUCCESS",
    "policyNumber": "P123456789",
    "dueOn": "2025-11-15",
    "amount": "150.00",
    "currency": "USD",
}
TOPIC = "dev.gateway.payment.success"

PREMIUMS = [
    (
        "P123456789",
        (
            '{"policyNumber":"P123456789","payer":"John Doe","amount":150.00,"currency":"USD",'
            '"dueDate":"2025-11-15"}'
        ),
    ),
    (
        "P100000002",
        (
            '{"policyNumber":"P100000002","payer":"Sok Dara","amount":615000,"currency":"KHR",'
            '"dueDate":"2025-12-01"}'
        ),
    ),
    (
        "A20250004",
        (
            '{"policyNumber":"P100000004","payer":"Kim Sreymom","amount":320.00,"currency":"USD",'
            '"dueDate":"2025-12-15"}'
        ),
    ),
    (
        "P100000003",
        (
            '{"policyNumber":"P100000003","payer":"ចាន់ សុភា","amount":89.50,"currency":"USD",'
            '"dueDate":"2025-12-10"}'
        ),
    ),
    (
        "P100000006",
        (
            '{"policyNumber":"P100000006","payer":"Chea Bopha","amount":0.00,"currency":"USD",'
            '"dueDate":"2026-01-31"}'
        ),
    ),
]

NOT_THE_OBLIGATION = [
    {"type": "PAYMENT_EVENT_TYPE_CONFIRMED"},
    {"dueOn": "2024-11-15"},
    {"currency": "KHR"},
    {"policyNumber": "P100000003"},
]


def _line(value: object, *, topic: str = TOPIC) -> str:
    return json.dumps({"topic": topic, "key": "P123456789", "value": value}) + "\n"


def _append(var: Path, text: str) -> None:
    with (var / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.parametrize(("number", "expected"), PREMIUMS)
async def test_a_premium_is_written_exactly(tmp_path: Path, number: str, expected: str) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        assert await client.text(f"/policies/{number}/premium") == expected


async def test_a_dozen_policies_and_one_per_fault_are_there_on_the_first_start_only(
    tmp_path: Path,
) -> None:
    faults = {fault.policy for fault in FAULTS if fault.policy}
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        _, found = await client.get("/sandbox/policies")
        due = {one["number"] for one in found["policies"] if one["due"]}
        assert len(found["policies"]) == 12 + len(faults)
        assert faults < due
        assert client.running.parts.policies.seed() == 0


async def test_an_unknown_policy_is_404(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        status, answer = await client.get("/policies/P000000404/premium")
        assert (status, answer["error"]["code"]) == (404, "UNKNOWN_POLICY")


async def test_the_operator_settles_a_premium_and_makes_it_due_again(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        await client.post("/sandbox/policies/P123456789/settle")
        assert (await client.get("/policies/P123456789/premium"))[0] == 204
        _, answer = await client.post("/sandbox/policies/P123456789/due")
        assert (answer["policy"]["due"], answer["policy"]["dueDate"]) == (True, "2025-11-15")
        assert (await client.get("/policies/P123456789/premium"))[0] == 200


async def test_paying_alone_leaves_the_premium_due(tmp_path: Path) -> None:
    async with (
        FakeInsurer().listening() as insurer,
        sandbox(var=tmp_path, clock=Clock(), bridge_url=insurer.url) as client,
    ):
        _, paid = await client.post("/sandbox/pay?query=P123456789")
        assert paid["transfer"]["state"] == "CONFIRMED"
        assert (await client.get("/policies/P123456789/premium"))[0] == 200


async def test_a_success_event_settles_its_premium(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        _append(tmp_path, _line(SUCCESS))
        assert await client.running.follower.run_once() == 1
        assert (await client.get("/policies/P123456789/premium"))[0] == 204
        assert await client.running.follower.run_once() == 0


@pytest.mark.parametrize("other", NOT_THE_OBLIGATION)
async def test_an_event_about_something_else_settles_nothing(
    tmp_path: Path, other: dict[str, str]
) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        _append(tmp_path, _line({**SUCCESS, **other}))
        await client.running.follower.run_once()
        assert (await client.get("/policies/P123456789/premium"))[0] == 200


async def test_an_event_on_another_topic_settles_nothing(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        _append(tmp_path, _line(SUCCESS, topic="dev.gateway.payment.confirmed"))
        assert await client.running.follower.run_once() == 0
        assert (await client.get("/policies/P123456789/premium"))[0] == 200


async def test_an_event_seen_before_changes_nothing_even_when_due_again(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        _append(tmp_path, _line(SUCCESS))
        await client.running.follower.run_once()
        due_again = {"dueDate": "2025-11-15"}
        await client.post("/sandbox/policies/P123456789/due", due_again)
        _append(tmp_path, _line(SUCCESS))
        assert await client.running.follower.run_once() == 0
        assert (await client.get("/policies/P123456789/premium"))[0] == 200


async def test_a_premium_that_was_paid_is_due_again_a_year_later(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        _append(tmp_path, _line(SUCCESS))
        await client.running.follower.run_once()
        _, answer = await client.post("/sandbox/policies/P123456789/due")
        assert answer["policy"]["dueDate"] == "2026-11-15"


async def test_a_line_still_being_written_waits_for_its_end(tmp_path: Path) -> None:
    line = _line(SUCCESS)
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        _append(tmp_path, line[:40])
        assert await client.running.follower.run_once() == 0
        _append(tmp_path, line[40:])
        assert await client.running.follower.run_once() == 1


async def test_an_unreadable_line_holds_up_no_other(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        _append(tmp_path, "nonsense\n" + _line({"eventId": 7}) + _line(SUCCESS))
        assert await client.running.follower.run_once() == 1


async def test_a_log_made_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        _append(tmp_path, _line(SUCCESS))
        await client.running.follower.run_once()
        (tmp_path / "events.jsonl").unlink()
        other = {**SUCCESS, "eventId": "e-2", "policyNumber": "P100000003", "dueOn": "2025-12-10"}
        _append(tmp_path, _line(other) + _line(SUCCESS))
        assert await client.running.follower.run_once() == 1
        assert (await client.get("/policies/P100000003/premium"))[0] == 204


async def test_the_position_and_the_settled_premiums_survive_a_restart(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        _append(tmp_path, _line(SUCCESS))
        await client.running.follower.run_once()
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        assert await client.running.follower.run_once() == 0
        assert (await client.get("/policies/P123456789/premium"))[0] == 204
        _, state = await client.get("/sandbox/state")
        assert len(state["events"]) == 1


RAISED = [
    ("P100000007", None, "220.00"),
    ("P100000007", "215.5", "215.50"),
    ("P100000002", None, "676500"),
    ("P100000008", None, "1.01"),
    ("P100000009", None, "200"),
]


@pytest.mark.parametrize(("number", "amount", "expected"), RAISED)
async def test_the_operator_changes_a_premium(
    tmp_path: Path, number: str, amount: str | None, expected: str
) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        body = {"amount": amount} if amount else None
        status, answer = await client.post(f"/sandbox/policies/{number}/premium", body)
        assert (status, answer["policy"]["amount"]) == (200, expected)


BAD_CHANGES = [
    ("premium", {"amount": "1.005"}, "BAD_AMOUNT"),
    ("premium", {"amount": "-1.00"}, "BAD_AMOUNT"),
    ("premium", {"amount": 12.5}, "BAD_BODY"),
    ("premium", ["12.50"], "BAD_BODY"),
    ("due", {"dueDate": "tomorrow"}, "BAD_DATE"),
]


@pytest.mark.parametrize(("action", "body", "code"), BAD_CHANGES)
async def test_a_bad_change_is_refused_and_changes_nothing(
    tmp_path: Path, action: str, body: object, code: str
) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        before = await client.text("/policies/P100000007/premium")
        status, answer = await client.post(f"/sandbox/policies/P100000007/{action}", body)
        assert (status, answer["error"]["code"]) == (400, code)
        assert await client.text("/policies/P100000007/premium") == before


NEW = {
    "number": "D000000001",
    "payer": "ឡុង ពិសី",
    "amount": "615000",
    "currency": "KHR",
    "dueDate": "2027-01-31",
}


async def test_the_operator_opens_a_policy_and_saying_it_again_changes_nothing(
    tmp_path: Path,
) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        for _ in range(2):
            status, answer = await client.post("/sandbox/policies", NEW)
            assert (status, answer["policy"]["amount"]) == (200, "615000")
        assert await client.text("/policies/D000000001/premium") == (
            '{"policyNumber":"D000000001","payer":"ឡុង ពិសី","amount":615000,"currency":"KHR",'
            '"dueDate":"2027-01-31"}'
        )


BAD_POLICIES = [
    ({"number": "D1"}, 400, "BAD_NUMBER"),
    ({"number": "D00000000១"}, 400, "BAD_NUMBER"),
    ({"payer": ""}, 400, "BAD_PAYER"),
    ({"amount": "615000.50"}, 400, "BAD_AMOUNT"),
    ({"amount": "0"}, 400, "BAD_AMOUNT"),
    ({"currency": "THB"}, 400, "BAD_AMOUNT"),
    ({"dueDate": "soon"}, 400, "BAD_DATE"),
    ({"amount": 1}, 400, "BAD_BODY"),
    ({"number": "P123456789"}, 409, "NUMBER_TAKEN"),
]


@pytest.mark.parametrize(("change", "expected", "code"), BAD_POLICIES)
async def test_a_bad_policy_is_refused_and_none_is_made(
    tmp_path: Path, change: dict[str, object], expected: int, code: str
) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        _, before = await client.get("/sandbox/policies")
        status, answer = await client.post("/sandbox/policies", NEW | change)
        assert (status, answer["error"]["code"]) == (expected, code)
        assert (await client.get("/sandbox/policies"))[1] == before
