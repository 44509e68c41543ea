"""Messages of the contracts as JSON Schema 2020-12, the dialect of OpenAPI 3.1."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from chassis.field_rule import DATE, DECIMAL, TIMESTAMP, FieldRule
from chassis.money import MAX_INTEGER_DIGITS
from chassis.rules import Rules
from rest_bridge.codec import Codec, Member
from rest_bridge.spelling import enum_names, layout_in_words

_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_FORMATS = {
    FieldDescriptor.CPPTYPE_INT32: "int32",
    FieldDescriptor.CPPTYPE_UINT32: "int64",
    FieldDescriptor.CPPTYPE_INT64: "int64",
    FieldDescriptor.CPPTYPE_UINT64: "uint64",
}
_PLAIN: Mapping[int, Mapping[str, str]] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}

# What no text of a request may hold: C0, DEL and C1 (lone surrogates are no JSON anyway).
_NO_CONTROLS = r"^[^\u0000-\u001F\u007F-\u009F]*$"

Schema = dict[str, Any]


class Use(Enum):
    """Who writes a message, and how strictly it is read."""

    ANSWER = "answer"
    """We do; its reader must bear members that come later."""
    REQUEST = "request"
    """A caller does; a member that we do not know is refused."""
    WEBHOOK = "webhook"
    """A bank does; a member that we do not know is ignored."""


class Schemas:
    """Writes the schema of any message, and collects the named ones it refers to."""

    def __init__(self, *, codec: Codec, rules: Rules, comments: Mapping[str, str]) -> None:
        self._codec = codec
        self._rules = rules
        self._comments = comments
        self._use = Use.ANSWER
        self._names: dict[tuple[str, Use, frozenset[str]], str] = {}
        self.named: dict[str, Schema] = {}

    def used_as(self, use: Use) -> "Schemas":
        """Return a writer of messages for `use` that collects into the same `named`."""
        other = Schemas(codec=self._codec, rules=self._rules, comments=self._comments)
        other._use = use
        other._names, other.named = self._names, self.named
        return other

    def reference(self, descriptor: Descriptor, *, besides: frozenset[str] = frozenset()) -> Schema:
        """Return a reference to the schema of `descriptor`, which is kept in `named`."""
        key = (descriptor.full_name, self._use, besides)
        if key not in self._names:
            name = self._name(descriptor)
            while name in self.named:
                name += "_"
            self._names[key] = name
            self.named[name] = {}  # a message may hold itself
            self.named[name] = self.of_message(descriptor, besides=besides)
        return {"$ref": f"#/components/schemas/{self._names[key]}"}

    def of_message(self, descriptor: Descriptor, *, besides: frozenset[str]) -> Schema:
        """Return the schema of a message without the fields named in `besides`."""
        members = {
            name: member
            for name, member in self._codec.members(descriptor).items()
            if member.field.name not in besides
        }
        required = [name for name, one in members.items() if self.rule_of(one).required]
        schema: Schema = {
            "type": "object",
            "description": self.comment(descriptor.full_name),
            "properties": {name: self.of_member(one) for name, one in members.items()},
        }
        if required:
            schema["required"] = required
        if self._use is Use.REQUEST:
            schema["additionalProperties"] = False
        return schema

    def of_member(self, member: Member) -> Schema:
        """Return the schema of one member, with its comment."""
        one = member.field
        described = {"description": self.comment(one.full_name)}
        schema = self._of_value(member)
        if one.is_repeated:
            schema = {"type": "array", "items": schema}
        return {**schema, **{key: text for key, text in described.items() if text}}

    def rule_of(self, member: Member) -> FieldRule:
        """Return the rule of a member."""
        return self._rules.rule_of(member.field)

    def comment(self, full_name: str) -> str:
        """Return what the contract says of something, in words."""
        return self._comments.get(full_name, "")

    def _of_value(self, member: Member) -> Schema:
        one, rule = member.field, self.rule_of(member)
        # Of a request: nothing and 0 look alike where the field cannot tell, and are let through.
        may_be_empty = (
            self._use is not Use.ANSWER
            and not rule.required
            and not one.has_presence
            and not one.is_repeated
        )
        if one.message_type is not None and member.spelling is None:
            return self.reference(one.message_type)
        if one.message_type is not None:
            return _of_known_message(one.message_type.full_name, rule, self._use)
        if one.enum_type is not None:
            return {"type": "string", "enum": list(enum_names(one.enum_type).values())}
        if one.cpp_type in _FORMATS:
            return _of_integer(one, least=(0 if may_be_empty else 1) if rule.positive else None)
        if one.type in _PLAIN:
            return dict(_PLAIN[one.type])
        return _or_empty(_of_text(rule, self._use)) if may_be_empty else _of_text(rule, self._use)

    def _name(self, descriptor: Descriptor) -> str:
        """Return the short name of a type; the full one where two packages share it."""
        return descriptor.full_name.removeprefix(f"{descriptor.file.package}.")


def _of_known_message(kind: str, rule: FieldRule, use: Use) -> Schema:
    if kind == DECIMAL:
        schema: Schema = {"type": "number", "format": "decimal"}
        if use is not Use.ANSWER:
            # Not `multipleOf`: readers that compute in binary would refuse 1.15.
            schema["exclusiveMaximum"] = 10**MAX_INTEGER_DIGITS
        return {**schema, "exclusiveMinimum": 0} if rule.positive else schema
    if kind == DATE:
        return {"type": "string", "format": "date"}
    if kind == TIMESTAMP and rule.time_layout:
        return {"type": "string", "format": layout_in_words(rule.time_layout)}
    return {"type": "string", "format": "date-time"}


def _of_integer(one: FieldDescriptor, *, least: int | None) -> Schema:
    lowest, most = _RANGES[one.cpp_type]
    return {
        "type": "integer",
        "format": _FORMATS[one.cpp_type],
        "minimum": lowest if least is None else least,
        "maximum": most,
    }


def _of_text(rule: FieldRule, use: Use) -> Schema:
    if rule.one_of:
        return {"type": "string", "enum": list(rule.one_of)}
    schema: Schema = {"type": "string"}
    if rule.pattern is not None:
        schema["pattern"] = f"^(?:{rule.pattern.pattern})$"
    elif use is not Use.ANSWER:
        schema["pattern"] = _NO_CONTROLS
    if rule.min_length or rule.required:
        schema["minLength"] = max(rule.min_length, 1)
    if rule.max_length:
        schema["maxLength"] = rule.max_length
    return schema


def _or_empty(schema: Schema) -> Schema:
    """Return the schema of a text that may also be empty."""
    found = {name: value for name, value in schema.items() if name != "minLength"}
    if "enum" in found:
        found["enum"] = [*found["enum"], ""]
    elif "pattern" in found and found["pattern"] != _NO_CONTROLS:
        found["pattern"] = f"^$|{found['pattern']}"
    return found
