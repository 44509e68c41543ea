"""An event's bytes are those of protobuf's own JSON mapping, whatever its fields hold."""

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from gateway_svc.event_values import event_value
from payments.events.v1 import events_pb2

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_MOMENTS = st.tuples(st.integers(-62135596800, 253402300799), st.integers(0, 999_999_999))


def _as_protobuf(message: Message) -> bytes:
    """Return protobuf's mapping, compact, its members in the order of their declaration."""
    found = MessageToDict(message, always_print_fields_with_no_presence=True)
    ordered = {
        one.json_name: found[one.json_name]
        for one in message.DESCRIPTOR.fields
        if one.json_name in found
    }
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode()


@given(
    texts=st.lists(_TEXTS, min_size=8, max_size=8),
    numbers=st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2),
    bill_id=st.integers(-(2**63), 2**63 - 1),
    kinds=st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)),
    late=st.booleans(),
    moments=st.lists(st.none() | _MOMENTS, min_size=2, max_size=2),
)
def test_a_payment_event_is_written_as_protobuf_writes_it(
    texts: list[str],
    numbers: list[int],
    bill_id: int,
    kinds: tuple[int, int, int],
    late: bool,
    moments: list[tuple[int, int] | None],
) -> None:
    message: Any = events_pb2.PaymentEvent
    message = message(
        event_id=texts[0],
        schema_version=numbers[0],
        type=kinds[0],
        sequence=numbers[1],
        assurance=kinds[1],
        bank_code=texts[1],
        channel=kinds[2],
        policy_number=texts[2],
        due_on=texts[3],
        bill_id=bill_id,
        transaction_id=texts[4],
        amount=texts[5],
        currency=texts[6],
        late=late,
    )
    for field, moment in zip((message.occurred_at, message.paid_at), moments, strict=True):
        if moment is not None:
            field.seconds, field.nanos = moment
            field.SetInParent()
    assert event_value(message=message) == _as_protobuf(message)


@pytest.mark.parametrize("message", [events_pb2.PaymentEvent(), events_pb2.KhqrGeneratedEvent()])
def test_what_is_empty_is_written_as_protobuf_writes_it(message: Message) -> None:
    assert event_value(message=message) == _as_protobuf(message)


def test_a_type_that_no_event_has_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"google\.protobuf\.Struct\.fields"):
        event_value(message=Struct())
