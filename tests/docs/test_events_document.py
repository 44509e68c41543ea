"""docs/events.md tells each member of the schema, in its order, and its examples are events."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import ParseDict

from gateway_svc.events import SCHEMA_VERSION, topics_of
from payments.events.v1 import events_pb2
from tests.support.khqr_system import KhqrSystem

TEXT = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
KINDS = [
    ("## A payment", events_pb2.PaymentEvent),
    ("## A code", events_pb2.KhqrGeneratedEvent),
]
_MEMBER = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
_EXAMPLE = re.compile(r"```json\n(.*?)\n```", re.DOTALL)


def chapter(heading: str) -> str:
    return TEXT.partition(f"{heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(("heading", "kind"), KINDS)
def test_the_table_names_every_member_in_its_order(heading: str, kind: Any) -> None:
    descriptor: Descriptor = kind.DESCRIPTOR
    assert _MEMBER.findall(chapter(heading)) == [one.json_name for one in descriptor.fields]


@pytest.mark.parametrize(("heading", "kind"), KINDS)
def test_the_example_is_an_event_of_the_schema(heading: str, kind: Any) -> None:
    [example] = _EXAMPLE.findall(chapter(heading))
    message = ParseDict(json.loads(example), kind())
    assert list(json.loads(example)) == [one.json_name for one in kind.DESCRIPTOR.fields]
    assert message.schema_version == SCHEMA_VERSION


def test_every_value_of_an_enum_is_told() -> None:
    for enum in (events_pb2.PaymentEventType, events_pb2.Assurance, events_pb2.Channel):
        prefix = enum.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
        for name in enum.keys()[1:]:
            told = chapter("## A payment")
            assert f"`{prefix}`" in told
            assert f"`{name.removeprefix(prefix)}`" in told


def test_the_topics_are_those_that_are_written_to() -> None:
    told = re.findall(r"^\| `\{prefix\}(\.[a-z.-]+)` \|", TEXT, re.MULTILINE)
    assert told == list(topics_of(prefix=""))


async def test_what_is_published_is_written_like_the_examples(system: KhqrSystem) -> None:
    await system.operate("/sandbox/khqr/pay?query=P123456789")
    async with asyncio.timeout(10):
        while len(found := system.published()) < 4:  # noqa: ASYNC110 - a file knows no event
            await asyncio.sleep(0.02)
    for heading, topic in (("## A payment", ".success"), ("## A code", ".generated-event")):
        [event] = [one["value"] for one in found if one["topic"].endswith(topic)]
        [example] = _EXAMPLE.findall(chapter(heading))
        kinds = {name: type(value) for name, value in json.loads(example).items()}
        assert {name: type(value) for name, value in event.items()} == kinds
        told = {name: event[name] for name in ("policyNumber", "billId", "amount", "sequence")}
        assert told == {name: json.loads(example)[name] for name in told}
