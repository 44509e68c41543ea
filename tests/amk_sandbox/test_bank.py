"""The bank: its books, the webhook it sends, and what it makes of our answer."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from amk_sandbox.bank import RESEND_PAUSES_S, state_after
from amk_sandbox.insurer import TIMEOUT_S, Answer
from amk_sandbox.transfers import TransferState
from tests.amk_sandbox.harness import (
    CONFIRMED,
    JOHN,
    TOKEN,
    Client,
    Clock,
    FakeInsurer,
    eventually,
    sandbox,
)

MISMATCH = '{"success":false,"error":{"code":"PAYMENT_VERIFICATION_DATA_MISMATCHED"}}'
OPENING = {"CUSTOMER-USD": "100000.00", "INSURER-USD": "0.00", "BANK-USD": "-100000.00"}
PAID = {"CUSTOMER-USD": "99850.00", "INSURER-USD": "150.00", "BANK-USD": "-100000.00"}

STATES = [
    (200, CONFIRMED, "CONFIRMED"),
    (200, '{"success":"true"}', "PENDING"),
    (200, "<html>", "PENDING"),
    (200, "[]", "PENDING"),
    (409, MISMATCH, "REVERSED"),
    (429, "", "PENDING"),
    (500, "", "PENDING"),
    (503, "", "PENDING"),
    (None, "no answer", "PENDING"),
    (400, "", "REFUSED"),
    (401, "", "REFUSED"),
    (404, "", "REFUSED"),
    (302, "", "REFUSED"),
]


@pytest.mark.parametrize(("status", "text", "state"), STATES)
def test_only_an_explicit_yes_confirms(status: int | None, text: str, state: str) -> None:
    answer = Answer(status=status, text=text, elapsed_ms=1)
    assert state_after(answer=answer) is TransferState(state)


async def _balances(client: Client, currency: str = "USD") -> dict[str, str]:
    _, state = await client.get("/sandbox/state")
    return {a["id"]: a["balance"] for a in state["accounts"] if a["currency"] == currency}


async def _state(client: Client) -> dict[str, Any]:
    _, state = await client.get("/sandbox/state")
    latest: dict[str, Any] = state["transfers"][0]
    return latest


async def test_the_webhook_is_the_specifications_example_member_for_member(tmp_path: Path) -> None:
    async with (
        FakeInsurer().listening() as insurer,
        sandbox(var=tmp_path, clock=Clock(), bridge_url=insurer.url) as client,
    ):
        status, answer = await client.post("/sandbox/pay?query=P123456789")
        assert (status, answer["transfer"]["state"]) == (200, "CONFIRMED")
        assert insurer.bodies == [
            (
                b'{"id":150001,"policyNumber":"P123456789","amount":150.00,"currency":"USD",'
                b'"bankTransactionId":"AMK202611230001","payer":"John Doe",'
                b'"paidDate":"20261123120000"}'
            )
        ]
        assert insurer.tokens == [f"Bearer {TOKEN}"] * 2
        assert answer["transfer"]["body"].encode() == insurer.bodies[0]
        assert answer["transfer"]["answers"][0]["answer"] == CONFIRMED
        assert await _balances(client) == PAID


async def test_riel_have_no_decimals_in_the_webhook(tmp_path: Path) -> None:
    async with (
        FakeInsurer().listening() as insurer,
        sandbox(var=tmp_path, clock=Clock(), bridge_url=insurer.url) as client,
    ):
        await client.post("/sandbox/pay?query=P100000002")
        assert b'"amount":615000,"currency":"KHR"' in insurer.bodies[0]


async def test_a_bill_is_looked_up_and_then_paid_by_its_id(tmp_path: Path) -> None:
    async with (
        FakeInsurer().listening() as insurer,
        sandbox(var=tmp_path, clock=Clock(), bridge_url=insurer.url) as client,
    ):
        _, found = await client.post("/sandbox/lookup?query=P123456789")
        assert found["bill"]["amount"] == "150.00"
        assert (await client.post("/sandbox/bills/150001/pay"))[0] == 200
        status, answer = await client.post("/sandbox/bills/150001/pay")
        assert (status, answer["error"]["code"]) == (409, "ALREADY_PAID")
        status, answer = await client.post("/sandbox/bills/150001/pay?again=true")
        assert (status, answer["transfer"]["bankTransactionId"]) == (200, "AMK202611230002")


async def test_a_409_makes_the_bank_reverse(tmp_path: Path) -> None:
    fake = FakeInsurer(answers=[(409, MISMATCH)])
    async with (
        fake.listening() as insurer,
        sandbox(var=tmp_path, clock=Clock(), bridge_url=insurer.url) as client,
    ):
        _, answer = await client.post("/sandbox/pay?query=P123456789")
        assert answer["transfer"]["state"] == "REVERSED"
        assert await _balances(client) == OPENING
        await client.post("/sandbox/transfers/AMK202611230001/resend")
        assert await _balances(client) == OPENING


FINAL = [((200, CONFIRMED), (409, MISMATCH)), ((409, MISMATCH), (200, CONFIRMED))]


@pytest.mark.parametrize(("first", "later"), FINAL)
async def test_a_final_answer_is_not_changed_by_a_later_one(
    tmp_path: Path, first: tuple[int, str], later: tuple[int, str]
) -> None:
    async with (
        FakeInsurer(answers=[first, later]).listening() as insurer,
        sandbox(var=tmp_path, clock=Clock(), bridge_url=insurer.url) as client,
    ):
        _, answer = await client.post("/sandbox/pay?query=P123456789")
        state, balances = answer["transfer"]["state"], await _balances(client)
        status, answer = await client.post("/sandbox/transfers/AMK202611230001/resend")
        assert (status, answer["transfer"]["state"]) == (200, state)
        assert answer["transfer"]["answers"][0]["status"] == later[0]
        assert await _balances(client) == balances


async def test_a_customer_without_the_money_moves_none_and_tells_nobody(tmp_path: Path) -> None:
    dear = JOHN.replace("150.00", "100000.01")
    async with (
        FakeInsurer(bills={"P123456789": (200, dear)}).listening() as insurer,
        sandbox(var=tmp_path, clock=Clock(), bridge_url=insurer.url) as client,
    ):
        status, answer = await client.post("/sandbox/pay?query=P123456789")
        assert (status, answer["error"]["code"]) == (409, "INSUFFICIENT_FUNDS")
        assert insurer.bodies == []
        assert await _balances(client) == OPENING
        _, state = await client.get("/sandbox/state")
        assert state["transfers"] == []


async def test_a_failed_webhook_is_sent_again_byte_for_byte_until_it_is_answered(
    tmp_path: Path,
) -> None:
    clock, fake = Clock(), FakeInsurer(answers=[(503, ""), (429, ""), (200, CONFIRMED)])
    async with (
        fake.listening() as insurer,
        sandbox(var=tmp_path, clock=clock, bridge_url=insurer.url) as client,
    ):
        bank = client.running.parts.bank
        _, answer = await client.post("/sandbox/pay?query=P123456789")
        assert answer["transfer"]["state"] == "PENDING"
        assert await bank.run_once() == 0
        for pause_s in RESEND_PAUSES_S[:2]:
            clock.advance(pause_s)
            assert await bank.run_once() == 1
        assert (await _state(client))["state"] == "CONFIRMED"
        assert len(set(insurer.bodies)) == 1
        assert len(insurer.bodies) == 3
        clock.advance(1000)
        assert await bank.run_once() == 0


async def test_sending_by_itself_ends_and_an_operator_goes_on(tmp_path: Path) -> None:
    clock, fake = Clock(), FakeInsurer(answers=[(500, "")])
    async with (
        fake.listening() as insurer,
        sandbox(var=tmp_path, clock=clock, bridge_url=insurer.url) as client,
    ):
        await client.post("/sandbox/pay?query=P123456789")
        for _ in range(20):
            clock.advance(1000)
            await client.running.parts.bank.run_once()
        assert len(insurer.bodies) == 1 + len(RESEND_PAUSES_S)
        assert (await _state(client))["nextSendAt"] is None
        fake.answers = [(200, CONFIRMED)]
        _, answer = await client.post("/sandbox/transfers/AMK202611230001/resend")
        assert answer["transfer"]["state"] == "CONFIRMED"
        assert answer["transfer"]["answers"][0]["sentBy"] == "OPERATOR"


async def test_a_refused_transfer_waits_for_a_person_who_gives_it_back(tmp_path: Path) -> None:
    clock, fake = Clock(), FakeInsurer(answers=[(401, "{}")])
    async with (
        fake.listening() as insurer,
        sandbox(var=tmp_path, clock=clock, bridge_url=insurer.url) as client,
    ):
        await client.post("/sandbox/pay?query=P123456789")
        clock.advance(1000)
        assert await client.running.parts.bank.run_once() == 0
        assert await _balances(client) == PAID
        _, answer = await client.post("/sandbox/transfers/AMK202611230001/reverse")
        assert answer["transfer"]["state"] == "REVERSED"
        assert await _balances(client) == OPENING
        status, answer = await client.post("/sandbox/transfers/AMK202611230001/reverse")
        assert (status, answer["error"]["code"]) == (409, "NOT_REVERSIBLE")
        assert await _balances(client) == OPENING


async def test_a_transfer_and_its_webhook_survive_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeInsurer().listening() as insurer:
        async with sandbox(var=tmp_path, clock=clock, bridge_url=insurer.url) as client:
            await client.post("/sandbox/lookup?query=P123456789")
            insurer.answers = [(503, "")]
            await client.post("/sandbox/bills/150001/pay")
        insurer.answers = [(200, CONFIRMED)]
        async with sandbox(var=tmp_path, clock=clock, bridge_url=insurer.url) as client:
            clock.advance(60)
            assert await client.running.parts.bank.run_once() == 1
            assert (await _state(client))["state"] == "CONFIRMED"
            assert await _balances(client) == PAID
        assert len(set(insurer.bodies)) == 1


async def test_a_transfer_booked_but_never_sent_is_sent_by_the_schedule(tmp_path: Path) -> None:
    clock = Clock()
    async with (
        FakeInsurer().listening() as insurer,
        sandbox(var=tmp_path, clock=clock, bridge_url=insurer.url) as client,
    ):
        bank = client.running.parts.bank
        await bank.look_up(query="P123456789")
        bill = client.running.parts.store.row("SELECT * FROM bills")
        assert bill is not None
        bank._book(bill)  # and here the process ended
        assert await bank.run_once() == 0
        clock.advance(10)
        assert await bank.run_once() == 1
        assert len(insurer.bodies) == 1


async def test_a_webhook_under_way_is_not_sent_by_the_schedule_too(tmp_path: Path) -> None:
    clock, fake = Clock(), FakeInsurer(gate=asyncio.Event())
    assert fake.gate is not None
    async with (
        fake.listening() as insurer,
        sandbox(var=tmp_path, clock=clock, bridge_url=insurer.url) as client,
    ):
        paying = asyncio.create_task(client.post("/sandbox/pay?query=P123456789"))
        await eventually(lambda: len(insurer.bodies) == 1)
        clock.advance(TIMEOUT_S - 0.1)
        assert await client.running.parts.bank.run_once() == 0
        fake.gate.set()
        await paying
        assert len(insurer.bodies) == 1
