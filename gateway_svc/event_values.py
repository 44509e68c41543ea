"""The bytes of an event: the proto3 JSON mapping of its message, compact, in declared order.

The mapping is that of the protobuf library, which finds out anew for each message what each
field is; here that is worked out once for a type: 7 us a value instead of 21.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_TIMESTAMP = "google.protobuf.Timestamp"
_AS_TEXT = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})
_AS_NUMBER = frozenset({FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32})

_EPOCH = datetime.fromtimestamp(0, tz=UTC).replace(tzinfo=None)

_Write = Callable[[Any], str]


def event_value(*, message: Message) -> bytes:
    """Return `message` as it is published.

    :raises TypeError: a field is of a type that no event has yet.
    """
    [value] = event_values(message=message, each=({},))
    return value


def event_values(*, message: Message, each: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return `message` as it is published, once for each of `each`, with these members instead.

    What all of them share is written once. Members are named as in the contract.

    :raises TypeError: a field is of a type that no event has yet.
    :raises KeyError: `each` names a member that the message has not.
    """
    descriptor: Any = message.DESCRIPTOR
    members = _members(descriptor)
    shared = {
        name: start + write(getattr(message, name))
        if not has_presence or message.HasField(name)
        else ""
        for name, (start, has_presence, write) in members.items()
    }
    values = []
    for own in each:
        parts = dict(shared)
        for name, value in own.items():
            start, _, write = members[name]
            parts[name] = start + write(value)
        values.append(f"{{{','.join(filter(None, parts.values()))}}}".encode())
    return values


@lru_cache
def _members(descriptor: Descriptor) -> dict[str, tuple[str, bool, _Write]]:
    """Return how each member is written, in the order of the contract."""
    return {
        one.name: (f"{encode_basestring(one.json_name)}:", one.has_presence, _writer(one))
        for one in descriptor.fields
    }


def _writer(field: FieldDescriptor) -> _Write:
    kind = field.message_type.full_name if field.message_type is not None else ""
    if not field.is_repeated:
        if kind == _TIMESTAMP:
            return lambda value: _moment(value.seconds, value.nanos)
        if field.enum_type is not None:
            names = {number: f'"{one.name}"' for number, one in _values(field).items()}
            return lambda value: names[value]
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type != field.TYPE_BYTES:
            return encode_basestring
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return lambda value: "true" if value else "false"
        if field.cpp_type in _AS_TEXT:
            return lambda value: f'"{value}"'
        if field.cpp_type in _AS_NUMBER:
            return str
    raise TypeError(f"{field.full_name}: no event has such a field yet")


@lru_cache(maxsize=256)
def _moment(seconds: int, nanos: int) -> str:
    """Return a time as JSON; the events of a batch happened at one, those of a payment at two."""
    digits = 9 if nanos % 1000 else 6 if nanos % 1_000_000 else 3
    fraction = f".{nanos:09}"[: digits + 1] if nanos else ""
    return f'"{(_EPOCH + timedelta(seconds=seconds)).isoformat()}{fraction}Z"'


def _values(field: FieldDescriptor) -> dict[int, Any]:
    assert field.enum_type is not None  # noqa: S101 - its caller has looked
    return dict(field.enum_type.values_by_number)
