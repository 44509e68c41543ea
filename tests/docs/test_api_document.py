"""docs/api.md is what the contracts say now, whole, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from chassis.rules import ContractFault
from rest_bridge.api_document import api_document
from rest_bridge.contract import Contract, default_contracts_image, load_contract
from tests.rest_bridge.contracts import compile_contract, with_real_contracts

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
TWO_OF_ONE_NAME = """
message Part { string text = 1; }
message AskRequest { string text = 1; }
message AskResponse {
  message Part { string text = 1; }
  Part one = 1;
  payments.demo.v1.Part other = 2;
}
service DemoService {
  rpc Ask(AskRequest) returns (AskResponse) { option (google.api.http) = {get: "/demo"}; }
}
"""
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(#([^)]+)\)")


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contract(image=default_contracts_image())


def test_it_is_what_the_contracts_say(contract: Contract) -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == api_document(contract=contract), (
        "make api-docs writes it anew"
    )


def test_every_call_has_its_chapter_with_scope_and_reasons(contract: Contract) -> None:
    chapters = DOCUMENT.read_text(encoding="utf-8").split("\n### ")
    for method in contract.methods:
        [chapter] = [one for one in chapters if one.startswith(f"{method.name}\n")]
        assert f"Scope `{method.scope}`" in chapter
        assert all(f"`{reason}`" in chapter for reason in method.reasons), method.name
        assert chapter.count("```http") == len(method.examples), method.name


def test_every_link_leads_to_one_chapter() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    anchors = [one.lower().replace(" ", "-") for one in _HEADING.findall(text)]
    assert len(set(anchors)) == len(anchors), "GitHub numbers the second of two equal headings"
    assert set(_LINK.findall(text)) <= set(anchors)


def test_what_the_bridge_fills_in_itself_is_not_told() -> None:
    assert "receivedBody" not in DOCUMENT.read_text(encoding="utf-8")


def test_two_types_of_one_name_are_refused_with_both() -> None:
    image = with_real_contracts(image=compile_contract(source=TWO_OF_ONE_NAME))
    with pytest.raises(ContractFault, match=r"demo\.v1\.Part, .*AskResponse\.Part: share a name"):
        api_document(contract=load_contract(image=image))
