"""A customer asks for a code, and everything goes well.

| situation                                    | bank asked | handed out                     |
|----------------------------------------------|------------|--------------------------------|
| no code yet, whatever shape the bank answers | once       | what the bank drew             |
| a live code with 5 minutes or more           | never      | the live code                  |
| a live code with less                        | once       | a new code                     |
| another process recorded one meanwhile       | once       | the one that was there first   |
| twenty at once on a fresh start              | once       | the same code, one sign-in     |
"""

import asyncio
import json
from datetime import timedelta
from decimal import Decimal

import pytest

from khqr_svc.image import read_code
from tests.khqr_svc.codes import EXPIRES_MS, at
from tests.khqr_svc.fakes import NOW, code_text
from tests.khqr_svc.stage import OWN_TOKEN, PASSWORD, USERNAME, Stage

MANY = 20
OLDER = code_text(change={"59": "An older code"})


@pytest.mark.parametrize("shape", ["qrCode", "qrString", "both", "image"])
async def test_the_code_of_the_bank_is_handed_out_and_recorded(stage: Stage, shape: str) -> None:
    stage.bank.shape = shape
    response = await stage.generate()
    assert (response.payment_id, response.policy_id) == (150001, "P123456789")
    assert (response.customer_name, response.amount.value) == ("John Doe", "150.00")
    assert response.currency == "USD"
    assert read_code(response.qr_code) == code_text()
    assert response.qr_code.startswith(b"\x89PNG")
    _, recorded = next(call for call in stage.gateway.calls if call[0] == "RecordKhqr")
    assert (recorded.bank_code, recorded.bill_id) == ("AMK", 150001)
    assert recorded.code.payload == code_text()
    assert recorded.code.image == response.qr_code


async def test_the_bank_is_asked_exactly_for_the_bill(stage: Stage) -> None:
    await stage.generate()
    assert stage.bank.asked == [
        b'{"merchantId":"900000000290002","currency":"USD","amount":150.00,'
        b'"billNumber":"150001","payer":"John Doe"}'
    ]
    assert stage.bank.sign_ins == [{"username": USERNAME, "password": PASSWORD}]


async def test_riel_is_asked_for_whole(stage: Stage) -> None:
    stage.gateway.premiums["P1"] = (150002, "615000", "KHR")
    response = await stage.generate(number="P1")
    assert (response.amount.value, response.currency) == ("615000", "KHR")
    assert json.loads(stage.bank.asked[0], parse_int=Decimal)["amount"] == Decimal(615000)


async def test_the_gateway_is_called_with_our_token_and_the_callers_request_id(
    stage: Stage,
) -> None:
    await stage.generate()
    assert stage.gateway.count("InquirePayment") == 1
    for metadata in stage.gateway.metadata:
        assert metadata["authorization"] == f"Bearer {OWN_TOKEN}"
        assert metadata["x-request-id"] == "request-1"


async def test_our_token_is_read_again_when_its_file_changes(stage: Stage) -> None:
    await stage.generate()
    file = stage.var_dir / "khqr.token"
    file.write_text("another.own.token\n", encoding="utf-8")
    await stage.generate()
    assert stage.gateway.metadata[-1]["authorization"] == "Bearer another.own.token"
    file.unlink()
    await stage.generate()
    assert stage.gateway.metadata[-1]["authorization"] == "Bearer another.own.token"


@pytest.mark.parametrize(
    ("change", "expires_at"),
    [
        ({}, min(at(EXPIRES_MS), NOW + timedelta(minutes=30))),
        ({"99": {"00": str(EXPIRES_MS - 1_800_000)}}, NOW + timedelta(minutes=30)),
        (
            {"99": {"00": str(EXPIRES_MS - 1_800_000), "01": str(EXPIRES_MS - 600_000)}},
            at(EXPIRES_MS - 600_000),
        ),
        (
            {"99": {"00": str(EXPIRES_MS - 1_800_000), "01": str(EXPIRES_MS + 600_000)}},
            NOW + timedelta(minutes=30),
        ),
    ],
)
async def test_a_code_lives_as_long_as_it_says_but_no_longer_than_half_an_hour(
    stage: Stage, change: dict[str, dict[str, str]], expires_at: object
) -> None:
    stage.bank.text = code_text(change=dict(change))
    await stage.generate()
    assert stage.gateway.live[150001].expires_at.ToDatetime(tzinfo=NOW.tzinfo) == expires_at


@pytest.mark.parametrize(
    ("left", "asked"),
    [
        (timedelta(minutes=29), 0),
        (timedelta(minutes=5), 0),
        (timedelta(minutes=5) - timedelta(microseconds=1), 1),
        (timedelta(0), 1),
        (timedelta(seconds=-1), 1),
    ],
)
async def test_a_live_code_is_handed_out_again_while_five_minutes_are_left(
    stage: Stage, left: timedelta, asked: int
) -> None:
    live = stage.gateway.keep(text=OLDER, left=left)
    response = await stage.generate()
    assert len(stage.bank.asked) == asked
    assert stage.gateway.count("RecordKhqr") == asked
    assert (response.qr_code == live.image) is (asked == 0)


async def test_the_code_that_was_recorded_first_is_the_one_handed_out(stage: Stage) -> None:
    stage.gateway.first = stage.gateway.keep(text=OLDER, left=timedelta(minutes=20))
    stage.gateway.live.clear()
    response = await stage.generate()
    assert read_code(response.qr_code) == OLDER


async def test_twenty_at_once_sign_in_once_and_ask_for_one_code(stage: Stage) -> None:
    found = await asyncio.gather(*(stage.generate() for _ in range(MANY)))
    assert len({response.qr_code for response in found}) == 1
    assert (len(stage.bank.sign_ins), len(stage.bank.asked)) == (1, 1)
    assert stage.gateway.count("RecordKhqr") == 1


async def test_twenty_bills_at_once_sign_in_once(stage: Stage) -> None:
    numbers = [f"P{index}" for index in range(MANY)]
    stage.gateway.premiums = {
        number: (150001 + index, "150.00", "USD") for index, number in enumerate(numbers)
    }
    found = await asyncio.gather(*(stage.generate(number=number) for number in numbers))
    assert [read_code(one.qr_code) for one in found] == [
        code_text(bill_id=150001 + index) for index in range(MANY)
    ]
    assert (len(stage.bank.sign_ins), len(stage.bank.asked)) == (1, MANY)
