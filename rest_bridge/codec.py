"""JSON text <-> message, by each field's type and rule; strict in, exact out, never a float."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.errors import Violation
from chassis.rules import ContractFault, Rules
from rest_bridge.json_text import JsonConstant, JsonFault, JsonObject, parse_json, shown
from rest_bridge.spelling import Misspelled, Spelling, spelling_of

_HAS_NO_ZERO = frozenset(
    {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_ENUM}
)


@dataclass(kw_only=True)
class Reading:
    """What came to light while a request was read."""

    ignores_unknown: bool
    violations: list[Violation] = field(default_factory=list)
    unplaced: list[Violation] = field(default_factory=list)  # told only if no field is at fault
    ignored: int = 0

    def report(self, name: str, description: str) -> None:
        """Note that the field `name` breaks a rule."""
        self.violations.append(Violation(field=name, description=description))

    def meet_unknown(self, name: str, kind: str) -> None:
        """Note a member or parameter that the contract does not have."""
        if self.ignores_unknown:
            self.ignored += 1
        else:
            self.report(name, f"is not a {kind} of this call")


@dataclass(frozen=True, kw_only=True)
class Member:
    """A field as REST sees it; without a spelling it is a message of members."""

    field: FieldDescriptor
    spelling: Spelling | None
    omitted_if_empty: bool
    # Of the field, here because a descriptor makes its members anew when asked.
    name: str
    is_repeated: bool
    has_presence: bool
    store: Callable[[Message, Any], None]  # sets, or adds, what the spelling has read


class Codec:
    """Reads and writes messages; what a type needs is worked out once."""

    def __init__(self, *, rules: Rules) -> None:
        self._rules = rules
        self._members: dict[str, Mapping[str, Member]] = {}
        self._kept_bodies: dict[str, tuple[str, ...]] = {}

    def compile_all(self, descriptors: Iterable[Descriptor]) -> None:
        """Work out the members of `descriptors` and of all they hold.

        :raises ContractFault: a member has no exact spelling in JSON.
        """
        waiting = list(descriptors)
        while waiting:
            descriptor = waiting.pop()
            if descriptor.full_name not in self._members:
                waiting.extend(
                    one.field.message_type
                    for one in self.members(descriptor).values()
                    if one.spelling is None and one.field.message_type is not None
                )

    def members(self, descriptor: Descriptor) -> Mapping[str, Member]:
        """Return the members of a type by their JSON names, in the order of the contract."""
        found = self._members.get(descriptor.full_name)
        if found is None:
            found = {
                one.json_name: self._member(one)
                for one in descriptor.fields
                if not self._rules.rule_of(one).received_body
            }
            self._members[descriptor.full_name] = found
        return found

    def kept_bodies(self, descriptor: Descriptor) -> tuple[str, ...]:
        """Return the names of the fields that keep the body as it came."""
        found = self._kept_bodies.get(descriptor.full_name)
        if found is None:
            rule_of = self._rules.rule_of
            found = tuple(one.name for one in descriptor.fields if rule_of(one).received_body)
            self._kept_bodies[descriptor.full_name] = found
        return found

    def read_json(
        self,
        *,
        data: bytes,
        message: Message,
        prefix: str,
        place: str,
        besides: frozenset[str],
        reading: Reading,
    ) -> None:
        """Fill `message` with the object that `data` writes.

        Members are named `prefix` + JSON name, a fault of the whole is put on `place`;
        fields named in `besides` come from elsewhere and are unknown here.
        """
        try:
            text = parse_json(data=data)
        except JsonFault as fault:
            reading.report(place, str(fault))
            return
        if text.fault:
            reading.unplaced.append(Violation(field=place, description=text.fault))
        if isinstance(text.value, JsonObject):
            self._read_object(text.value, message, prefix, besides, reading)
        else:
            reading.report(place, "must be a JSON object")

    def set_text(
        self, *, message: Message, member: Member, text: str, name: str, reading: Reading
    ) -> None:
        """Set a member from the text of a path part or a query parameter."""
        if member.spelling is None:
            reading.report(name, "must be a JSON object")
            return
        try:
            member.store(message, member.spelling.read_text(text))
        except Misspelled as problem:
            reading.report(name, str(problem))

    def write(self, *, message: Message) -> str:
        """Return `message` as compact JSON, members in the order of the contract.

        Left out: unset messages and optional fields, and text, bytes and enums that are empty.

        :raises ValueError: the message holds what JSON cannot say, such as a number that is none.
        """
        descriptor: Any = message.DESCRIPTOR
        parts = []
        for name, member in self.members(descriptor).items():
            text = self._written(message, member)
            if text is not None:
                parts.append(f"{encode_basestring(name)}:{text}")
        return f"{{{','.join(parts)}}}"

    def _member(self, one: FieldDescriptor) -> Member:
        choice = one.containing_oneof
        if choice is not None and len(choice.fields) > 1:
            raise ContractFault(f"{one.full_name}: unsupported type: JSON has no oneof")
        return Member(
            field=one,
            spelling=spelling_of(field=one, rule=self._rules.rule_of(one)),
            omitted_if_empty=not one.has_presence and one.type in _HAS_NO_ZERO,
            name=one.name,
            is_repeated=one.is_repeated,
            has_presence=one.has_presence,
            store=_storing(one),
        )

    def _read_object(
        self,
        value: JsonObject,
        message: Message,
        prefix: str,
        besides: frozenset[str],
        reading: Reading,
    ) -> None:
        descriptor: Any = message.DESCRIPTOR
        members = self.members(descriptor)
        for name in value.repeated:
            reading.report(f"{prefix}{shown(name)}", "is given twice")
        for name, one in value.members.items():
            member = members.get(name)
            if member is None or member.name in besides:
                reading.meet_unknown(f"{prefix}{shown(name)}", "member")
            elif one is None:  # null is absent; a required field then says so itself
                pass
            elif member.is_repeated:
                self._read_list(one, message, member, f"{prefix}{name}", reading)
            elif member.spelling is None:
                self._read_value(one, message, member, f"{prefix}{name}", reading)
            else:  # what nearly all are
                try:
                    member.store(message, member.spelling.read(one))
                except Misspelled as problem:
                    reading.report(f"{prefix}{name}", _misspelled(one, problem))

    def _read_list(
        self, value: Any, message: Message, member: Member, name: str, reading: Reading
    ) -> None:
        if not isinstance(value, list):
            reading.report(name, "must be a list")
            return
        for index, one in enumerate(value):
            self._read_value(one, message, member, f"{name}[{index}]", reading)

    def _read_value(
        self, value: Any, message: Message, member: Member, name: str, reading: Reading
    ) -> None:
        if member.spelling is not None:
            try:
                member.store(message, member.spelling.read(value))
            except Misspelled as problem:
                reading.report(name, _misspelled(value, problem))
        elif not isinstance(value, JsonObject):
            reading.report(name, _misspelled(value, "must be an object"))
        else:
            held = _held(message, member.name, is_repeated=member.is_repeated)
            self._read_object(value, held, f"{name}.", frozenset(), reading)

    def _written(self, message: Message, member: Member) -> str | None:
        if member.has_presence and not message.HasField(member.name):
            return None
        value = getattr(message, member.name)
        if member.is_repeated:
            return f"[{','.join(self._written_value(item, member) for item in value)}]"
        if member.omitted_if_empty and not value:
            return None
        return self._written_value(value, member)

    def _written_value(self, value: Any, member: Member) -> str:
        return (
            self.write(message=value) if member.spelling is None else member.spelling.write(value)
        )


def _held(message: Message, name: str, *, is_repeated: bool) -> Message:
    """Return the message that a field of `message` holds, from now on present."""
    holder = getattr(message, name)
    held: Message = holder.add() if is_repeated else holder
    held.SetInParent()
    return held


def _storing(one: FieldDescriptor) -> Callable[[Message, Any], None]:
    """Return what sets the field to a value, or adds it: a scalar, or the members of a message."""
    name, is_repeated = one.name, one.is_repeated

    def store_members(message: Message, members: Mapping[str, Any]) -> None:
        held = _held(message, name, is_repeated=is_repeated)
        for part, value in members.items():
            setattr(held, part, value)

    def append(message: Message, value: Any) -> None:
        getattr(message, name).append(value)

    def store(message: Message, value: Any) -> None:
        setattr(message, name, value)

    if one.message_type is not None:
        return store_members
    return append if is_repeated else store


def _misspelled(value: Any, why: object) -> str:
    """Return what is wrong with `value`, of which no reader takes a word that JSON has not."""
    return f"must not be {value}" if isinstance(value, JsonConstant) else str(why)
