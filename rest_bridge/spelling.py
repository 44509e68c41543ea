"""How one value is spelled in JSON and in a URL, by its type and its rule; exact both ways.

A `read` takes a piece of a JSON tree, `read_text` the text of a path part or a parameter;
both answer with what the field is set to: a scalar, or the members of a google.type message.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from json.encoder import encode_basestring
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from chassis.field_rule import DATE, DECIMAL, INTEGER_TYPES, TIMESTAMP, FieldRule
from chassis.money import parse_decimal
from chassis.rules import ContractFault
from rest_bridge.json_text import JsonNumber

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,19})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_FRACTION = ".%f"
# What a time may be laid out with. A year below 1000 is refused: C's strftime does not pad it.
_PARTS = {
    "%Y": r"([1-9][0-9]{3})",
    "%m": r"([0-9]{2})",
    "%d": r"([0-9]{2})",
    "%H": r"([0-9]{2})",
    "%M": r"([0-9]{2})",
    "%S": r"([0-9]{2})",
    _FRACTION: r"(?:\.([0-9]{1,6}))?",
}
_PART = re.compile(r"\.%f|%.")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LETTERS = {"%Y": "yyyy", "%m": "MM", "%d": "dd", "%H": "HH", "%M": "mm", "%S": "ss"}
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: range(-(2**31), 2**31),
    FieldDescriptor.CPPTYPE_INT64: range(-(2**63), 2**63),
    FieldDescriptor.CPPTYPE_UINT32: range(2**32),
    FieldDescriptor.CPPTYPE_UINT64: range(2**64),
}
_WORDS = {"true": True, "false": False}


class Misspelled(ValueError):
    """The value is not spelled as its type is; the message says how it should be."""


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """One type's way of being written."""

    read: Callable[[Any], Any]
    read_text: Callable[[str], Any]
    write: Callable[[Any], str]


def spelling_of(*, field: FieldDescriptor, rule: FieldRule) -> Spelling | None:
    """Return how a value of `field` is spelled; None for a message, spelled by its members.

    :raises ContractFault: the type has no exact spelling here.
    """
    if field.message_type is not None:
        return _of_message(field.message_type.full_name, rule)
    if field.enum_type is not None:
        return _of_enum(field.enum_type)
    if field.cpp_type in INTEGER_TYPES:
        return _of_integer(_RANGES[field.cpp_type])
    if field.type == FieldDescriptor.TYPE_STRING:
        return Spelling(read=_read_text, read_text=_read_text, write=encode_basestring)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return Spelling(read=_read_bytes, read_text=_read_bytes, write=_write_bytes)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return Spelling(read=_read_bool, read_text=_read_word, write=_write_bool)
    raise ContractFault(f"{field.full_name}: unsupported type")


def enum_names(enum: EnumDescriptor) -> Mapping[int, str]:
    """Return the values as REST spells them: without the enum's prefix and without the zero."""
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
    return {one.number: one.name.removeprefix(prefix) for one in enum.values if one.number}


def layout_in_words(layout: str) -> str:
    """Return a strptime layout in the letters that partners know, such as `yyyyMMddHHmmss`."""
    for letter, word in _LETTERS.items():
        layout = layout.replace(letter, word)
    return layout.replace("%f", "SSSSSS")


def _of_message(kind: str, rule: FieldRule) -> Spelling | None:
    if kind == DECIMAL:
        return Spelling(read=_read_decimal, read_text=_decimal_of, write=_write_decimal)
    if kind == DATE:
        return Spelling(read=_read_date, read_text=_read_date, write=_write_date)
    if kind == TIMESTAMP and rule.time_layout:
        return _of_layout(rule)
    if kind == TIMESTAMP:
        return Spelling(read=_read_rfc3339, read_text=_read_rfc3339, write=_write_rfc3339)
    return None


def _of_enum(enum: EnumDescriptor) -> Spelling:
    names = enum_names(enum)
    numbers = {name: number for number, name in names.items()}

    def read(value: Any) -> int:
        if type(value) is not str or value not in numbers:
            raise Misspelled(f"must be one of {', '.join(numbers)}")
        return numbers[value]

    def write(number: int) -> str:
        # A service newer than this bridge: its number is better than a guess.
        return encode_basestring(names[number]) if number in names else str(number)

    return Spelling(read=read, read_text=read, write=write)


def _of_integer(limits: range) -> Spelling:
    def parsed(text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise Misspelled("must be a whole number in plain digits")
        if (number := int(text)) not in limits:
            raise Misspelled(f"must be from {limits.start} to {limits.stop - 1}")
        return number

    def read(value: Any) -> int:
        if not isinstance(value, JsonNumber):
            raise Misspelled("must be a whole number")
        return parsed(value)

    return Spelling(read=read, read_text=parsed, write=str)


def _read_text(value: Any) -> str:
    if type(value) is not str:
        raise Misspelled("must be a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Misspelled("must not hold control characters or lone surrogates") from None
    return value


def _read_bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_read_text(value), validate=True)
    except (binascii.Error, ValueError):
        raise Misspelled("must be a base64 string") from None


def _write_bytes(value: bytes) -> str:
    return f'"{base64.b64encode(value).decode()}"'


def _read_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Misspelled("must be true or false")
    return value


def _read_word(text: str) -> bool:
    if text not in _WORDS:
        raise Misspelled("must be true or false")
    return _WORDS[text]


def _write_bool(value: bool) -> str:  # noqa: FBT001 # the value that is written
    return "true" if value else "false"


def _read_decimal(value: Any) -> Mapping[str, str]:
    if not isinstance(value, JsonNumber):
        raise Misspelled("must be a number")
    return {"value": str(value)}


def _decimal_of(text: str) -> Mapping[str, str]:
    if not _NUMBER.fullmatch(text):
        raise Misspelled("must be a number")
    return {"value": text}


def _write_decimal(value: Any) -> str:
    parse_decimal(value.value)  # a service's slip must not become broken JSON
    return str(value.value)


def _read_date(value: Any) -> Mapping[str, int]:
    found = _DATE.fullmatch(value) if type(value) is str else None
    if found is None:
        raise Misspelled("must be a date written YYYY-MM-DD")
    year, month, day = (int(part) for part in found.groups())
    try:
        date(year, month, day)
    except ValueError:
        raise Misspelled("must be a real date") from None
    return {"year": year, "month": month, "day": day}


def _write_date(value: Any) -> str:
    return f'"{date(value.year, value.month, value.day).isoformat()}"'


def _of_layout(rule: FieldRule) -> Spelling:
    """Return the spelling of a time in the contract's layout: exactly as many digits as it has.

    strptime would take 13 digits for 14, and 5 us instead of 2.

    :raises ContractFault: it has other parts than we read.
    """
    names = _PART.findall(rule.time_layout)
    ordered = [name for name in _PARTS if name in names]
    if sorted(names) != sorted(ordered) or not set(names) >= {*_PARTS} - {_FRACTION}:
        raise ContractFault(f"unsupported time_layout: {rule.time_layout}")
    places = [names.index(name) for name in ordered]
    fixed = _PART.split(rule.time_layout)
    parts = [re.escape(text) + _PARTS[name] for text, name in zip(fixed, names, strict=False)]
    pattern = re.compile("".join(parts) + re.escape(fixed[-1]), re.ASCII)
    fault = f"must be a real time written {layout_in_words(rule.time_layout)}"

    def read(value: Any) -> Mapping[str, int]:
        found = pattern.fullmatch(value) if type(value) is str else None
        if found is None:
            raise Misspelled(fault)
        given = found.groups("")
        year, month, day, hour, minute, second, *fraction = (given[place] for place in places)
        try:
            day_and_time = (int(year), int(month), int(day), int(hour), int(minute), int(second))
            micros = int(f"{fraction[0]:0<6}") if fraction else 0
            moment = datetime(*day_and_time, micros, tzinfo=rule.zone)
        except ValueError:
            raise Misspelled(fault) from None
        return _timestamp(moment - _EPOCH)

    def write(value: Any) -> str:
        moment = _moment(value).astimezone(rule.zone)
        return encode_basestring(moment.strftime(rule.time_layout))

    return Spelling(read=read, read_text=read, write=write)


def _read_rfc3339(value: Any) -> Mapping[str, int]:
    found = _RFC3339.fullmatch(value) if type(value) is str else None
    fault = Misspelled("must be a time written like 2025-10-07T12:00:00+07:00")
    if found is None:
        raise fault
    day, time, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{zone.upper()}")
    except ValueError:
        raise fault from None
    return {**_timestamp(moment - _EPOCH), "nanos": int(f"{fraction or '':0<9}")}


def _write_rfc3339(value: Any) -> str:
    fraction = f"{value.nanos:09}".rstrip("0")
    digits = next(size for size in (0, 3, 6, 9) if len(fraction) <= size)
    text = _moment(value).replace(tzinfo=None, microsecond=0).isoformat()
    return f'"{text}{f".{fraction:0<{digits}}" if digits else ""}Z"'


def _moment(value: Any) -> datetime:
    return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)


def _timestamp(since_epoch: timedelta) -> Mapping[str, int]:
    return {
        "seconds": since_epoch.days * 86_400 + since_epoch.seconds,
        "nanos": since_epoch.microseconds * 1000,
    }
