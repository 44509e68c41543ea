"""Types and rules of the contracts in a reader's words, as cells of Markdown tables."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, timedelta, tzinfo

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from chassis.field_rule import (
    DATE,
    DECIMAL,
    INTEGER_TYPES,
    TIMESTAMP,
    ContractFault,
    FieldRule,
)
from rest_bridge.codec import Codec, Member
from rest_bridge.contract import Contract
from rest_bridge.spelling import enum_names, layout_in_words

_HEAD = (
    "# The calls",
    "",
    "<!-- Written by `make api-docs` from the contracts in protos/. Change those, not this. -->",
    "",
    (
        "This page is written from the contracts, and a test compares the two. A test also "
        "sends each example to a running system and compares the answer. A running bridge "
        "serves the same as `/openapi.json` and, as a page, `/docs`. How a bank uses the "
        "calls, step by step: [integration.md](integration.md)."
    ),
    "",
    "What every call shares:",
    "",
    (
        "- **Token**: `Authorization: Bearer …`, a signed JWT. Each call names the scope it "
        "needs; the member `bank` of a token binds it to one bank."
    ),
    (
        '- **Envelope**: success is `{"success":true,"data":{…}}`, failure '
        '`{"success":false,"error":{"code","message","details"}}`. `code` is for programs, '
        "`message` and `details` are for people and may change."
    ),
    "- **Try again** on 429 and 5xx only, after `Retry-After` seconds where that header is there.",
    (
        "- **Amounts** are JSON numbers with the currency's own decimals: USD two (`150.00`), "
        "KHR none (`615000`). Read them as decimals, never as floats."
    ),
    (
        "- **Bodies** are JSON in UTF-8 with `Content-Type: application/json`, at most 64 "
        "KiB, sent within five seconds. Duplicate members, wrong types and control characters "
        "are refused; `details` names every field that is wrong, all at once."
    ),
    (
        "- **Parameters** that hold an object are written as its JSON or member by member "
        'with a dot: `filter={"state":"HELD"}` or `filter.state=HELD`.'
    ),
    (
        "- **`X-Request-ID`** (1 to 128 of `A-Z a-z 0-9 . _ -`) comes back with the answer "
        "and stands in our logs; without one we make one. Quote it when you ask us."
    ),
    (
        "- What is no call of ours is `BAD_REQUEST` with a status of its own: 404 no such "
        "path, 405 another method, 408 too slow, 413 too large, 415 not JSON, 417 unknown "
        "`Expect`."
    ),
)
HEAD = "\n".join(_HEAD)
FOOT = (
    "The same calls exist over gRPC for services of the house (`protos/`), with the codes "
    "of the table of errors and the reason in `google.rpc.ErrorInfo`."
)

_PLAIN = {
    FieldDescriptor.TYPE_BYTES: "base64",
    FieldDescriptor.TYPE_BOOL: "`true` or `false`",
}
_Named = Descriptor | EnumDescriptor


class TypeWords:
    """Says what values may be, and remembers the types it named on the way."""

    def __init__(self, *, contract: Contract, codec: Codec) -> None:
        self._contract = contract
        self._codec = codec
        self._named: dict[str, _Named] = {}

    def comment(self, full_name: str) -> str:
        """Return what the contract says of something."""
        return self._contract.comments.get(full_name, "")

    def meaning(self, member: Member) -> str:
        """Return what the contract says of a member."""
        return self.comment(member.field.full_name)

    def rule_of(self, member: Member) -> FieldRule:
        """Return the rule of a member."""
        return self._contract.rules.rule_of(member.field)

    def value(self, member: Member) -> str:
        """Return what a value of `member` may be.

        :raises ContractFault: its type shares a name with another.
        """
        one, rule = member.field, self.rule_of(member)
        words = self._single(member, one, rule)
        return f"list of {words}" if one.is_repeated else words

    def types(self) -> Iterator[str]:
        """Yield a chapter for each type that was named, and for those which they name."""
        done: dict[str, list[str]] = {}
        while waiting := [name for name in self._named if name not in done]:
            for name in waiting:
                done[name] = list(self._chapter(self._named[name]))
        for name in sorted(done):
            yield from done[name]

    def _single(self, member: Member, one: FieldDescriptor, rule: FieldRule) -> str:
        if one.enum_type is not None:
            return self._reference(one.enum_type)
        if one.message_type is not None and member.spelling is None:
            reference = self._reference(one.message_type)
            alone = f", or its `{rule.bare_member}` alone" if rule.bare_member else ""
            return f"{reference}{alone}"
        if one.message_type is not None:
            return _known(one.message_type.full_name, rule)
        return _scalar(one, rule)

    def _reference(self, descriptor: _Named) -> str:
        other = self._named.setdefault(descriptor.name, descriptor)
        if other.full_name != descriptor.full_name:
            raise ContractFault(f"{descriptor.full_name}, {other.full_name}: share a name")
        return link(descriptor.name)

    def _chapter(self, descriptor: _Named) -> Iterator[str]:
        yield f"### {descriptor.name}"
        yield self.comment(descriptor.full_name)
        if isinstance(descriptor, EnumDescriptor):
            comments = {one.number: self.comment(_value_name(one)) for one in descriptor.values}
            names = enum_names(descriptor).items()
            yield table(("value", "meaning"), [(f"`{name}`", comments[n]) for n, name in names])
            return
        rows = [
            (
                f"`{name}`",
                self.value(member),
                "yes" if self.rule_of(member).required else "",
                self.meaning(member),
            )
            for name, member in self._codec.members(descriptor).items()
        ]
        if any(row[2] for row in rows):
            yield table(("member", "value", "needed", "meaning"), rows)
        else:
            yield table(("member", "value", "meaning"), [(*row[:2], row[3]) for row in rows])


def link(name: str) -> str:
    """Return a link to the chapter `name` of the same document."""
    return f"[{name}](#{name.lower()})"


def cell(text: str) -> str:
    """Return `text` as it may stand in a cell: one line, bars escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, nothing for no rows."""
    lines = [f"| {' | '.join(cell(one) for one in row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines])


def _value_name(value: object) -> str:
    enum: EnumDescriptor = value.type  # type: ignore[attr-defined] # the stubs lack it
    return f"{enum.full_name}.{value.name}"  # type: ignore[attr-defined] # of an enum's value


def _known(kind: str, rule: FieldRule) -> str:
    if kind == DECIMAL:
        return "amount above 0" if rule.positive else "amount"
    if kind == DATE:
        return "date `YYYY-MM-DD`"
    if kind == TIMESTAMP and rule.time_layout:
        return f"time `{layout_in_words(rule.time_layout)}`, {_zone(rule.zone)}"
    return "time, RFC 3339"


def _zone(zone: tzinfo) -> str:
    offset = zone.utcoffset(None) or timedelta()
    if zone is UTC or not offset:
        return "UTC"
    hours = offset // timedelta(hours=1)
    return f"GMT{hours:+g}"


def _scalar(one: FieldDescriptor, rule: FieldRule) -> str:
    if one.cpp_type in INTEGER_TYPES:
        return "whole number above 0" if rule.positive else "whole number"
    if one.type in _PLAIN:
        return _PLAIN[one.type]
    return _text(rule)


def _text(rule: FieldRule) -> str:
    if rule.one_of:
        return " or ".join(f"`{one}`" for one in rule.one_of)
    words = f"text `{rule.pattern.pattern}`" if rule.pattern else "text"
    if not rule.max_length and not rule.min_length:
        return words
    if not rule.max_length:
        return f"{words}, at least {rule.min_length} characters"
    if rule.min_length:
        return f"{words}, {rule.min_length} to {rule.max_length} characters"
    return f"{words}, at most {rule.max_length} characters"
