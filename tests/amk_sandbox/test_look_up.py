"""What the bank makes of our answer to a look-up, or of none."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from amk_sandbox.insurer import Insurer, InsurerSettings
from tests.amk_sandbox.harness import (
    TOKEN,
    Clock,
    FakeInsurer,
    sandbox,
)

LOOK_UPS = [
    ((404, '{"error":{"code":"RESOURCE_NOT_FOUND","message":"No premium due"}}'), 404),
    ((401, '{"error":{"code":"UNAUTHORIZED","message":"no"}}'), 502),
    ((503, "<html>"), 502),
    ((200, "<html>"), 502),
    ((200, '{"success":true,"data":{"id":1}}'), 502),
    ((200, '{"success":true,"data":{"id":"1"}}'), 502),
]


@pytest.mark.parametrize(("answer", "status"), LOOK_UPS)
async def test_a_look_up_without_a_bill_says_so(
    tmp_path: Path, answer: tuple[int, str], status: int
) -> None:
    async with (
        FakeInsurer(bills={"P1": answer}).listening() as insurer,
        sandbox(var=tmp_path, clock=Clock(), bridge_url=insurer.url) as client,
    ):
        found, document = await client.post("/sandbox/pay?query=P1")
        assert found == status
        assert document["error"]["message"].startswith("The insurer")
        assert insurer.bodies == []


async def test_an_insurer_that_is_away_is_503(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        assert (await client.post("/sandbox/lookup?query=P123456789"))[0] == 503


async def test_an_insurer_that_is_slow_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    async with (
        FakeInsurer(gate=asyncio.Event()).listening() as fake,
        aiohttp.ClientSession() as session,
    ):
        where = InsurerSettings(
            url=fake.url,
            url_file=tmp_path / "bridge.url",
            default_url="",
            token_file=tmp_path / "token",
            app_token_file=tmp_path / "app.token",
            bank_code="AMK",
        )
        insurer = Insurer(settings=where, session=session, timeout_s=0.2)
        answer = await insurer.tell_paid(body=b"{}")
        assert (answer.status, answer.text) == (None, "no answer within 0.2 s")
        assert fake.gate is not None
        fake.gate.set()


async def test_a_missing_token_file_is_said(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        (tmp_path / "sandbox.token").unlink()
        _, answer = await client.post("/sandbox/lookup?query=P123456789")
        assert "token cannot be read" in answer["error"]["message"]


async def test_the_insurers_address_is_read_when_it_is_needed(tmp_path: Path) -> None:
    async with (
        FakeInsurer().listening() as insurer,
        sandbox(var=tmp_path, clock=Clock(), bridge_url="") as client,
    ):
        (tmp_path / "bridge.url").write_text(f"{insurer.url}\n")
        assert (await client.post("/sandbox/lookup?query=P123456789"))[0] == 200
