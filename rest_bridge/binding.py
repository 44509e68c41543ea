"""Path + query + body -> a request, or every violation at once."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from chassis.errors import BadRequest, Violation
from chassis.rules import Rules
from rest_bridge.codec import Codec, Member, Reading
from rest_bridge.json_text import shown
from rest_bridge.routes import WHOLE_BODY, Route

BODY = "body"
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_VIOLATION_LIMIT = 50  # a body of 64 KiB has room for ten thousand wrong members


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A request that keeps every rule, and how many unknown names were ignored on the way."""

    message: Message
    ignored: int


class Binder:
    """Makes requests for every route of the contracts."""

    def __init__(self, *, codec: Codec, rules: Rules) -> None:
        self._codec = codec
        self._rules = rules

    def bind(
        self, *, route: Route, path: Mapping[str, str], raw_query: bytes, body: bytes
    ) -> Bound:
        """Return the request that the caller's parts make up.

        :raises BadRequest: with every field that breaks a rule.
        """
        message = route.method.request()
        reading = Reading(ignores_unknown=route.method.webhook)
        members = self._codec.members(route.method.request_type)
        for variable in route.variables:
            self._codec.set_text(
                message=message,
                member=members[variable.json_name],
                text=path[variable.name],
                name=variable.json_name,
                reading=reading,
            )
        self._read_query(route, raw_query, message, reading)
        self._read_body(route, body, message, reading)
        broken = self._rules.check(message=message)
        if route.body and any(one.field == BODY for one in reading.violations):
            broken = []  # the body could not be read: its fields are not missing but unknown
        if reading.violations or broken or reading.unplaced:
            found = _together(reading.violations, broken) or reading.unplaced
            raise BadRequest(violations=_bounded(found))
        return Bound(message=message, ignored=reading.ignored)

    def _read_body(self, route: Route, body: bytes, message: Message, reading: Reading) -> None:
        if not route.body:
            if body:
                reading.report(BODY, "this call has none")
            return
        for one in self._codec.kept_bodies(route.method.request_type):
            setattr(message, one, body)
        whole = route.body == WHOLE_BODY
        held = message if whole else getattr(message, route.body)
        if not whole:
            held.SetInParent()
        name = route.method.request_type.fields_by_name[route.body].json_name if not whole else ""
        self._codec.read_json(
            data=body,
            message=held,
            prefix="" if whole else f"{name}.",
            place=name or BODY,
            besides=route.variable_names if whole else frozenset(),
            reading=reading,
        )

    def _read_query(
        self, route: Route, raw_query: bytes, message: Message, reading: Reading
    ) -> None:
        if not raw_query:
            return
        taken = route.variable_names | {route.body}
        seen: set[str] = set()
        for raw_name, raw_value in _pairs(raw_query):
            name = _decoded(raw_name)
            if name is None:
                reading.meet_unknown(shown(raw_name.decode("ascii", "replace")), "parameter")
                continue
            target = self._target(route, taken, name, message)
            if target is None:
                reading.meet_unknown(shown(name), "parameter")
                continue
            owner, member = target
            if not member.field.is_repeated and _meets(seen, name):
                reading.report(name, "is given twice")
                continue
            seen.add(name)
            value = _decoded(raw_value)
            if value is None:
                reading.report(name, "must be UTF-8 text, percent-encoded")
            else:
                self._set_parameter(owner, member, name, value, reading)

    def _target(
        self, route: Route, taken: Iterable[str], name: str, message: Message
    ) -> tuple[Message, Member] | None:
        """Return what the parameter `name`, dotted or not, sets; None if it is unknown."""
        if route.body == WHOLE_BODY:
            return None
        owner = message
        descriptor: Descriptor | None = route.method.request_type
        *holders, last = name.split(".")
        for depth, part in enumerate([*holders, last]):
            member = self._codec.members(descriptor).get(part) if descriptor else None
            if member is None or (not depth and member.field.name in taken):
                return None
            if depth == len(holders):
                return owner, member
            if member.spelling is not None or member.field.is_repeated:
                return None
            owner = getattr(owner, member.field.name)
            descriptor = member.field.message_type
        return None

    def _set_parameter(
        self, owner: Message, member: Member, name: str, value: str, reading: Reading
    ) -> None:
        if member.spelling is not None:
            self._codec.set_text(
                message=owner, member=member, text=value, name=name, reading=reading
            )
            return
        held = getattr(owner, member.field.name)
        bare = self._rules.rule_of(member.field).bare_member
        if bare and not value.lstrip().startswith("{"):
            inner = next(
                one
                for one in self._codec.members(held.DESCRIPTOR).values()
                if one.field.name == bare
            )
            held.SetInParent()
            self._codec.set_text(message=held, member=inner, text=value, name=name, reading=reading)
            return
        held.SetInParent()
        self._codec.read_json(
            data=value.encode(),
            message=held,
            prefix=f"{name}.",
            place=name,
            besides=frozenset(),
            reading=reading,
        )


def _pairs(raw_query: bytes) -> Iterable[tuple[bytes, bytes]]:
    for part in raw_query.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            yield name, value


def _decoded(raw: bytes) -> str | None:
    """Return a part of a query as text, or None; `%FF` never turns into U+FFFD."""
    if _BROKEN_ESCAPE.search(raw):
        return None
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        return None


def _meets(seen: set[str], name: str) -> bool:
    """Tell whether `name` was given before, whole or by a member."""
    return any(
        one == name or one.startswith(f"{name}.") or name.startswith(f"{one}.") for one in seen
    )


def _together(unreadable: Sequence[Violation], broken: Sequence[Violation]) -> Sequence[Violation]:
    """Join both, without telling of a field that could not be read that it is missing."""
    named = {one.field for one in unreadable}
    return [
        *unreadable,
        *(one for one in broken if not any(_within(one.field, name) for name in named)),
    ]


def _within(field: str, name: str) -> bool:
    return (
        field == name
        or field.startswith((f"{name}.", f"{name}["))
        or name.startswith((f"{field}.", f"{field}["))
    )


def _bounded(violations: Sequence[Violation]) -> Sequence[Violation]:
    rest = len(violations) - _VIOLATION_LIMIT
    if rest <= 0:
        return violations
    more = Violation(field="...", description=f"and {rest} more")
    return [*violations[:_VIOLATION_LIMIT], more]
