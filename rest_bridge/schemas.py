"""Messages of the contracts as JSON Schema 2020-12, the dialect of OpenAPI 3.1."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from chassis.field_rule import DATE, DECIMAL, TIMESTAMP, FieldRule
from chassis.rules import Rules
from rest_bridge.codec import Codec, Member
from rest_bridge.spelling import enum_names, layout_in_words

_UNSIGNED = frozenset({FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64})
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

Schema = dict[str, Any]


class Schemas:
    """Writes the schema of any message, and collects the named ones it refers to."""

    def __init__(self, *, codec: Codec, rules: Rules, comments: Mapping[str, str]) -> None:
        self._codec = codec
        self._rules = rules
        self._comments = comments
        self.named: dict[str, Schema] = {}

    def reference(self, descriptor: Descriptor) -> Schema:
        """Return a reference to the schema of `descriptor`, which is kept in `named`."""
        name = self._name(descriptor)
        if name not in self.named:
            self.named[name] = {}  # a message may hold itself
            self.named[name] = self.of_message(descriptor, besides=frozenset())
        return {"$ref": f"#/components/schemas/{name}"}

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
        if one.message_type is not None and member.spelling is None:
            return self.reference(one.message_type)
        if one.message_type is not None:
            return _of_known_message(one.message_type.full_name, rule)
        if one.enum_type is not None:
            return {"type": "string", "enum": list(enum_names(one.enum_type).values())}
        if one.cpp_type in _FORMATS:
            return _of_integer(one, rule)
        return dict(_PLAIN[one.type]) if one.type in _PLAIN else _of_text(rule)

    def _name(self, descriptor: Descriptor) -> str:
        """Return the short name of a type; the full one where two packages share it."""
        return descriptor.full_name.removeprefix(f"{descriptor.file.package}.")


def _of_known_message(kind: str, rule: FieldRule) -> Schema:
    if kind == DECIMAL:
        schema: Schema = {"type": "number", "format": "decimal"}
        return {**schema, "exclusiveMinimum": 0} if rule.positive else schema
    if kind == DATE:
        return {"type": "string", "format": "date"}
    if kind == TIMESTAMP and rule.time_layout:
        return {"type": "string", "format": layout_in_words(rule.time_layout)}
    return {"type": "string", "format": "date-time"}


def _of_integer(one: FieldDescriptor, rule: FieldRule) -> Schema:
    schema: Schema = {"type": "integer", "format": _FORMATS[one.cpp_type]}
    if rule.positive:
        schema["minimum"] = 1
    elif one.cpp_type in _UNSIGNED:
        schema["minimum"] = 0
    return schema


def _of_text(rule: FieldRule) -> Schema:
    schema: Schema = {"type": "string"}
    if rule.pattern is not None:
        schema["pattern"] = f"^(?:{rule.pattern.pattern})$"
    if rule.min_length or rule.required:
        schema["minLength"] = max(rule.min_length, 1)
    if rule.max_length:
        schema["maxLength"] = rule.max_length
    if rule.one_of:
        schema = {"type": "string", "enum": list(rule.one_of)}
    return schema
