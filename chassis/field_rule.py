"""What the contract says of one field: `field_behavior` REQUIRED and our `field_rule`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from chassis.descriptors import extension_of

DECIMAL = "google.type.Decimal"
DATE = "google.type.Date"
TIMESTAMP = "google.protobuf.Timestamp"
INTEGER_TYPES = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)
_OPTION = "payments.rest.v1.field_rule"
_BEHAVIOUR = "google.api.field_behavior"
_OFFSET = re.compile(r"([+-])([0-9]{2}):([0-5][0-9])", re.ASCII)
_SAMPLE_MOMENT = datetime(2025, 10, 7, 12, 34, 56, tzinfo=UTC)


class ContractFault(Exception):
    """A contract asks for something we cannot keep; the text names the place and says why."""


@dataclass(frozen=True, kw_only=True)
class FieldRule:
    """What the contract says of one field; everything empty where it says nothing."""

    required: bool = False
    time_layout: str = ""
    zone: tzinfo = UTC
    pattern: re.Pattern[str] | None = None
    min_length: int = 0
    max_length: int = 0
    positive: bool = False
    one_of: Sequence[str] = ()
    bare_member: str = ""
    received_body: bool = False


def read_rule(*, pool: DescriptorPool, field: FieldDescriptor) -> FieldRule:
    """Return what the contract says of `field`.

    :raises ContractFault: the rule does not fit the field's type, or is malformed.
    """
    behaviours = extension_of(pool=pool, descriptor=field, name=_BEHAVIOUR) or ()
    required = field_behavior_pb2.REQUIRED in behaviours
    if (
        required
        and field.cpp_type == FieldDescriptor.CPPTYPE_BOOL
        and not (field.has_presence or field.is_repeated)
    ):
        raise ContractFault(f"{field.full_name}: a required bool must be declared optional")
    option = extension_of(pool=pool, descriptor=field, name=_OPTION)
    if option is None:
        return FieldRule(required=required)
    _refuse_misplaced(field, option)
    if option.max_length and option.min_length > option.max_length:
        raise ContractFault(f"{field.full_name}: min_length is above max_length")
    return FieldRule(
        required=required,
        time_layout=option.time_layout,
        zone=_read_zone(field, option.time_layout, option.utc_offset),
        pattern=_read_pattern(field, option.pattern),
        min_length=option.min_length,
        max_length=option.max_length,
        positive=option.positive,
        one_of=tuple(option.one_of),
        bare_member=option.bare_member,
        received_body=option.received_body,
    )


def _refuse_misplaced(field: FieldDescriptor, option: Any) -> None:
    kind = field.message_type.full_name if field.message_type else ""
    members = field.message_type.fields_by_name if field.message_type else {}
    member = members.get(option.bare_member)
    misplaced = {
        "time_layout": option.time_layout and kind != TIMESTAMP,
        "utc_offset": option.utc_offset and not option.time_layout,
        "pattern": option.pattern and not is_text(field),
        "min_length": option.min_length and not is_text(field),
        "max_length": option.max_length and not is_text(field),
        "one_of": option.one_of and not is_text(field),
        "positive": option.positive and not (kind == DECIMAL or field.cpp_type in INTEGER_TYPES),
        "bare_member": option.bare_member and (member is None or not is_text(member)),
        "received_body": option.received_body
        and (field.type != FieldDescriptor.TYPE_BYTES or field.is_repeated),
    }
    for name, wrong in misplaced.items():
        if wrong:
            raise ContractFault(f"{field.full_name}: {name} does not fit a field of this type")


def _read_pattern(field: FieldDescriptor, pattern: str) -> re.Pattern[str] | None:
    if not pattern:
        return None
    if not pattern.isascii():
        raise ContractFault(f"{field.full_name}: the pattern must be ASCII")
    try:
        return re.compile(pattern, re.ASCII)
    except re.error as problem:
        raise ContractFault(f"{field.full_name}: bad pattern: {problem}") from None


def _read_zone(field: FieldDescriptor, layout: str, offset: str) -> tzinfo:
    if not layout:
        return UTC
    try:
        datetime.strptime(_SAMPLE_MOMENT.strftime(layout), layout)  # noqa: DTZ007 # only tried
    except ValueError as problem:
        raise ContractFault(f"{field.full_name}: bad time_layout: {problem}") from None
    found = _OFFSET.fullmatch(offset)
    if found is None:
        raise ContractFault(f"{field.full_name}: utc_offset must be written like +07:00")
    sign = -1 if found[1] == "-" else 1
    try:
        return timezone(sign * timedelta(hours=int(found[2]), minutes=int(found[3])))
    except ValueError as problem:
        raise ContractFault(f"{field.full_name}: bad utc_offset: {problem}") from None


def is_text(field: FieldDescriptor) -> bool:
    """Tell whether `field` holds text (bytes are none)."""
    return bool(field.type == FieldDescriptor.TYPE_STRING)
