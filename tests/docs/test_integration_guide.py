"""docs/integration.md has a row for every answer, names commands there are, asks what we ask."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from payctl.main import app
from payments.gateway.v1 import gateway_service_pb2 as pb
from rest_bridge.contract import default_contracts_image, load_contract
from rest_bridge.spelling import enum_names
from tests.support.khqr_system import KhqrSystem

TEXT = (Path(__file__).parents[2] / "docs" / "integration.md").read_text(encoding="utf-8")
_ANSWER = re.compile(r"^\| (\d{3}) ((?:`[A-Z_]+`(?:, )?)+) \|", re.MULTILINE)
_COMMAND = re.compile(r"`payctl (\w+)((?: --?[^`]*)?)`")
_OPTION = re.compile(r"--[a-z-]+")
_PARTNERS = re.compile(r"payments:|khqr:")


def answered() -> set[tuple[int, str]]:
    return {
        (int(status), name)
        for status, names in _ANSWER.findall(TEXT)
        for name in re.findall(r"`([A-Z_]+)`", names)
    }


def test_every_refusal_of_a_partners_call_has_a_row_and_no_other() -> None:
    contract = load_contract(image=default_contracts_image())
    named = {
        reason
        for method in contract.methods
        if _PARTNERS.match(method.scope)
        for reason in method.reasons
    }
    rules = [rule for rule in contract.reasons if rule.everywhere or rule.reason in named]
    expected = {(rule.http_status, rule.reason) for rule in rules}
    assert {one for one in answered() if one[0] != 200} == expected


def test_every_status_of_a_confirmation_has_a_row() -> None:
    expected = set(enum_names(pb.ConfirmationStatus.DESCRIPTOR).values())
    assert {name for status, name in answered() if status == 200} == expected


def commands() -> Iterator[tuple[str, list[str]]]:
    for name, rest in _COMMAND.findall(TEXT):
        yield name, _OPTION.findall(rest)


@pytest.mark.parametrize(("name", "options"), sorted({(n, tuple(o)) for n, o in commands()}))
def test_every_command_it_names_takes_the_options_it_shows(
    name: str, options: tuple[str, ...]
) -> None:
    helped = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "300", "TERM": "dumb"})
    assert helped.exit_code == 0, helped.output
    assert all(option in helped.output for option in options), helped.output


def test_the_checklist_names_doctor_and_certify() -> None:
    assert {"doctor", "certify", "sign"} <= {name for name, _ in commands()}


async def test_what_we_ask_of_the_bank_is_what_the_bank_is_asked(system: KhqrSystem) -> None:
    await system.operate("/sandbox/khqr/pay?query=P123456789")
    async with asyncio.timeout(10):
        while len(calls := (await system.state())["calls"]) < 3:  # noqa: ASYNC110 - a page is asked
            await asyncio.sleep(0.02)
    chapter = TEXT.partition("## What we ask of the bank\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[2:4] for line in chapter.splitlines() if line.startswith("| ")][1:]
    told = [tuple(re.findall(r"`(\w+)`", cell) for cell in row) for row in rows]
    seen = [
        (list(json.loads(one["asked"])), list(json.loads(one["answer"]))) for one in calls[::-1]
    ]
    # A sandbox shows no login: what is asked of sign-in is its own test's.
    assert told[1:] == seen[1:]
    assert told[0][1] == seen[0][1]
    [example] = re.findall(r"```json\n(.*?)\n```", chapter)
    assert list(json.loads(example)) == list(json.loads(calls[0]["answer"])["data"])
