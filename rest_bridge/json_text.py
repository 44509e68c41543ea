"""JSON text -> a tree that keeps numbers as they were written and forgets nothing (RFC 8259).

The standard parser takes the last of two equal names, reads `1e2` and `NaN` as floats and
lets an integer of any length through; here every one of these stays visible.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_DEPTH_LIMIT = 16  # the deepest request of ours has 2
_SHOWN_CHARACTERS = 64
_CONTROL_FAULT = "Invalid control character"


class JsonNumber(str):
    """A number literal, as written."""

    __slots__ = ()


class JsonConstant(str):
    """`NaN` or an infinity: words that JSON does not have."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class JsonObject:
    """The members of an object, and the names that stood there more than once."""

    members: dict[str, Any]
    repeated: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class JsonText:
    """What a text holds; `fault` is what is wrong with its characters, if anything.

    A wrong character inside a member's value is still read, so that the member can be named.
    """

    value: Any
    fault: str


class JsonFault(ValueError):
    """The text is no JSON we read; the message says where."""


def parse_json(*, data: bytes) -> JsonText:
    """Return what `data` holds.

    :raises JsonFault: it is no JSON, or nested deeper than 16 levels.
    """
    fault = ""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode(errors="surrogateescape")
        fault = "is not UTF-8 text"
    try:
        value = _parsed(text, strict=True)
    except json.JSONDecodeError as problem:
        if not problem.msg.startswith(_CONTROL_FAULT):
            raise JsonFault(_place(problem)) from None
        fault = fault or _place(problem)
        try:
            value = _parsed(text, strict=False)
        except json.JSONDecodeError as worse:
            raise JsonFault(_place(worse)) from None
    if _deeper(value, _DEPTH_LIMIT):
        raise JsonFault(f"is nested deeper than {_DEPTH_LIMIT} levels")
    return JsonText(value=value, fault=fault)


def shown(name: str) -> str:
    """Return a stranger's name short and printable, fit for an error text."""
    printable = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in name)
    return printable if len(name) <= _SHOWN_CHARACTERS else f"{printable[:_SHOWN_CHARACTERS]}..."


def _parsed(text: str, *, strict: bool) -> Any:
    try:
        return (_STRICT if strict else _LENIENT).decode(text)
    except RecursionError:
        raise JsonFault(f"is nested deeper than {_DEPTH_LIMIT} levels") from None


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    members = dict(pairs)
    if len(members) == len(pairs):
        return JsonObject(members=members, repeated=())
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for name, _ in pairs:
        if name in seen:
            repeated[name] = None
        seen.add(name)
    return JsonObject(members=members, repeated=tuple(repeated))


def _deeper(value: Any, levels: int) -> bool:
    if type(value) is JsonObject:
        held: Iterable[Any] = value.members.values()
    elif type(value) is list:
        held = value
    else:
        return False
    return not levels or any(type(one) in _HOLDERS and _deeper(one, levels - 1) for one in held)


def _decoder(*, strict: bool) -> json.JSONDecoder:
    return json.JSONDecoder(
        strict=strict,
        parse_int=JsonNumber,
        parse_float=JsonNumber,
        parse_constant=JsonConstant,
        object_pairs_hook=_object,
    )


_HOLDERS = frozenset({JsonObject, list})
_STRICT, _LENIENT = _decoder(strict=True), _decoder(strict=False)  # 1 us to make


def _place(problem: json.JSONDecodeError) -> str:
    return f"is not valid JSON: {problem.msg} at line {problem.lineno} column {problem.colno}"
