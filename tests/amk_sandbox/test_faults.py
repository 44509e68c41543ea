"""Faults: the switches, and those of generator and sign-in by their effect."""

import asyncio
import base64
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from amk_sandbox.faults import FAULTS
from tests.amk_sandbox.fault_cases import BILL, BY_CODE, generate, meeting
from tests.amk_sandbox.harness import PACE, eventually
from tests.amk_sandbox.partner import Answer, crc_is_right, scanned, tags
from tests.amk_sandbox.world import World, world

Cut = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


def refused(found: World, answer: Answer | None) -> None:
    assert answer is None
    assert found.partner.token


def generator_500(_: World, answer: Answer | None) -> None:
    assert answer is not None
    assert answer.status == 500


def generator_html(_: World, answer: Answer | None) -> None:
    assert answer is not None
    assert (answer.status, answer.content_type) == (200, "text/html")


def generator_slow(_: World, answer: Answer | None) -> None:
    assert answer is not None
    assert "qrString" in answer.json


def generator_wrong_amount(_: World, answer: Answer | None) -> None:
    assert answer is not None
    text = answer.json["qrString"]
    assert tags(text)["54"] == "26"
    assert crc_is_right(text)
    assert scanned(base64.b64decode(answer.json["qrCode"])) == text


def generator_wrong_crc(_: World, answer: Answer | None) -> None:
    assert answer is not None
    text = answer.json["qrString"]
    assert tags(text)["54"] == "25"
    assert not crc_is_right(text)
    assert scanned(base64.b64decode(answer.json["qrCode"])) == text


def generator_not_an_image(_: World, answer: Answer | None) -> None:
    assert answer is not None
    assert set(answer.json) == {"qrCode"}
    assert base64.b64decode(answer.json["qrCode"]) == b"This is not an image."


def generator_401(_: World, answer: Answer | None) -> None:
    assert answer is not None
    assert answer.status == 401


def generator_image_only(_: World, answer: Answer | None) -> None:
    assert answer is not None
    assert answer.content_type == "image/png"
    assert tags(scanned(answer.body))["54"] == "25"


def generator_text_only(_: World, answer: Answer | None) -> None:
    assert answer is not None
    assert set(answer.json) == {"qrString"}


OF_THE_GENERATOR: dict[str, Callable[[World, Answer | None], None]] = {
    "generator-500": generator_500,
    "generator-refused": refused,
    "generator-slow": generator_slow,
    "generator-wrong-amount": generator_wrong_amount,
    "generator-wrong-crc": generator_wrong_crc,
    "generator-not-an-image": generator_not_an_image,
    "generator-html": generator_html,
    "generator-401": generator_401,
    "generator-image-only": generator_image_only,
    "generator-text-only": generator_text_only,
}
OF_SIGN_IN = {"sign-in-500": 500, "sign-in-refused": None, "sign-in-401": 401}
NO_CODE = {"generator-500", "generator-refused", "generator-html", "generator-401"}


def test_every_fault_of_the_table_is_tested_and_has_its_policy() -> None:
    points = ("generator", "sign-in")
    tested = set(OF_THE_GENERATOR) | set(OF_SIGN_IN)
    assert tested == {code for code in BY_CODE if code.startswith(points)}
    policies = [fault.policy for fault in FAULTS if fault.code not in OF_SIGN_IN]
    assert None not in policies
    assert len(set(policies)) == len(policies)


@pytest.mark.parametrize("by_policy", [False, True], ids=["switched on", "by policy"])
@pytest.mark.parametrize("code", OF_THE_GENERATOR)
async def test_the_generator_meets_the_fault(tmp_path: Path, code: str, by_policy: bool) -> None:
    fault = BY_CODE[code]
    async with meeting(tmp_path, fault, by_policy=by_policy) as (found, payer):
        began_s = time.monotonic()
        try:
            answer = await generate(found, payer)
        except Cut:
            answer = None
        assert (time.monotonic() - began_s >= PACE.slow_s) is (code == "generator-slow")
        OF_THE_GENERATOR[code](found, answer)
        issued = [one for one in (await found.client.state())["codes"] if one["billId"] == BILL]
        assert bool(issued) is (code not in NO_CODE)


@pytest.mark.parametrize("code", OF_SIGN_IN)
async def test_sign_in_meets_the_fault(tmp_path: Path, code: str) -> None:
    async with world(tmp_path) as found:
        await found.client.post(f"/sandbox/faults/{code}/on", {"times": 1})
        before = found.partner.token
        try:
            status = (await found.partner.sign_in()).status
        except Cut:
            status = None
        assert status == OF_SIGN_IN[code]
        assert found.partner.token == before
        assert (await found.partner.sign_in()).status == 200


async def test_a_revoked_token_is_good_again_after_signing_in_once(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        payer = BY_CODE["generator-401"].payer
        assert (await generate(found, payer)).status == 401
        assert (await generate(found, payer)).status == 401  # the token is revoked
        await found.partner.sign_in()
        assert (await generate(found, payer)).status == 200


async def test_a_faults_policy_leaves_other_bills_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        await generate(found, BY_CODE["verify-500"].payer)
        assert (await found.partner.verify(found.partner.signed("150001"))).status == 200


async def test_a_fault_is_on_for_its_number_of_calls_and_over_a_restart(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        await found.client.post("/sandbox/faults/verify-500/on", {"times": 3})
        assert (await found.partner.verify(found.partner.signed())).status == 500
    async with world(tmp_path) as found:
        statuses = [(await found.partner.verify(found.partner.signed())).status for _ in range(3)]
        assert statuses == [500, 500, 200]


async def test_one_fault_is_on_at_a_point_and_all_can_be_switched_off(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        for code in ("verify-500", "verify-html", "webhook-never"):
            await found.client.post(f"/sandbox/faults/{code}/on")
        _, table = await found.client.get("/sandbox/faults")
        assert [one["code"] for one in table["faults"] if one["on"]] == [
            "verify-html",
            "webhook-never",
        ]
        await found.client.post("/sandbox/faults/verify-html/off")
        assert (await found.partner.verify(found.partner.signed())).status == 200
        _, table = await found.client.post("/sandbox/faults/off")
        assert not any(one["on"] for one in table["faults"])


BAD_SWITCHES = [
    ("no-such-fault/on", None, 404),
    ("no-such-fault/off", None, 404),
    ("verify-500/on", {"times": 0}, 400),
    ("verify-500/on", {"times": "3"}, 400),
    ("verify-500/on", {"times": True}, 400),
    ("verify-500/on", [3], 400),
]


@pytest.mark.parametrize(("path", "body", "status"), BAD_SWITCHES)
async def test_a_bad_switch_is_refused(
    tmp_path: Path, path: str, body: object, status: int
) -> None:
    async with world(tmp_path) as found:
        assert (await found.client.post(f"/sandbox/faults/{path}", body))[0] == status
        assert (await found.partner.verify(found.partner.signed())).status == 200


async def test_a_call_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as patient:  # it stays when the sandbox stops
        async with world(tmp_path) as found:
            await found.client.post("/sandbox/faults/verify-timeout/on", {"times": 1})
            found.partner.client = replace(found.client, session=patient)
            hanging = asyncio.create_task(found.partner.verify(found.partner.signed()))
            faults = found.client.running.parts.bank_parts.faults
            await eventually(lambda: not faults.switched_on())  # the call has met it
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 3
        with pytest.raises(aiohttp.ClientError):
            await hanging
