"""Field rules of the contracts -> compiled checks, the same at the edge and in the services.

The rules are `google.api.field_behavior` REQUIRED and our `field_rule`; the types of
google.type and google.protobuf bring rules of their own. A contract that asks for
something we cannot keep is a `ContractFault`, found before the first call.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from chassis.errors import Violation
from chassis.field_rule import (
    DATE,
    DECIMAL,
    INTEGER_TYPES,
    TIMESTAMP,
    ContractFault,
    FieldRule,
    is_text,
    read_rule,
)
from chassis.money import Currency, MoneyError, parse_decimal, parse_hundredths

__all__ = ["ContractFault", "FieldRule", "Rules"]

_CURRENCY_FIELD = "currency"
_CURRENCIES = dict(Currency.__members__)
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # C0, DEL, C1, lone surrogates
_SECONDS_OF_YEARS_1_TO_9999 = range(-62_135_596_800, 253_402_300_800)
_NANOS_OF_A_SECOND = range(1_000_000_000)

_Faults = Callable[[Any, Message], Sequence[str]]
_NO_FAULTS: Sequence[str] = ()


class _Check(NamedTuple):
    """What a field is asked; worked out once: a descriptor makes its members anew when asked."""

    name: str
    json_name: str
    is_repeated: bool
    has_presence: bool
    required: str  # what to say of a missing value; empty where it may be missing
    faults: _Faults
    nested: Descriptor | None


class Rules:
    """The rules of every message of one pool, compiled once per type."""

    def __init__(self, *, pool: DescriptorPool) -> None:
        self._pool = pool
        self._checks: dict[str, tuple[_Check, ...]] = {}
        self._rules: dict[str, FieldRule] = {}

    def check(self, *, message: Message) -> list[Violation]:
        """Return every rule that `message` breaks, fields named as a caller writes them."""
        found: list[Violation] = []
        self._collect(message, "", found)
        return found

    def compile_all(self, messages: Iterable[Descriptor]) -> None:
        """Compile the rules of `messages` and of all they hold.

        :raises ContractFault: a rule cannot be kept.
        """
        waiting = list(messages)
        seen = set()
        while waiting:
            descriptor = waiting.pop()
            if descriptor.full_name in seen:
                continue
            seen.add(descriptor.full_name)
            waiting.extend(
                check.nested for check in self._compiled(descriptor) if check.nested is not None
            )

    def rule_of(self, field: FieldDescriptor) -> FieldRule:
        """Return what the contract says of `field`.

        :raises ContractFault: the rule does not fit the field's type, or is malformed.
        """
        if field.full_name not in self._rules:
            self._rules[field.full_name] = read_rule(pool=self._pool, field=field)
        return self._rules[field.full_name]

    def _collect(self, message: Message, prefix: str, found: list[Violation]) -> None:
        for check in self._compiled(cast("Descriptor", message.DESCRIPTOR)):
            name, json_name, is_repeated, has_presence, required, faults, nested = check
            is_absent = has_presence and not message.HasField(name)
            value = None if is_absent else getattr(message, name)
            if (not value and not has_presence) or value is None:
                if required:
                    found.append(Violation(field=f"{prefix}{json_name}", description=required))
            elif is_repeated:
                for index, one in enumerate(value):
                    place = f"{prefix}{json_name}[{index}]"
                    self._collect_value(check, one, message, place, found)
            elif nested is not None or faults(value, message):
                place = f"{prefix}{json_name}"
                self._collect_value(check, value, message, place, found)

    def _collect_value(
        self, check: _Check, value: Any, owner: Message, place: str, found: list[Violation]
    ) -> None:
        found += [Violation(field=place, description=fault) for fault in check.faults(value, owner)]
        if check.nested is not None:
            self._collect(value, f"{place}.", found)

    def _compiled(self, descriptor: Descriptor) -> tuple[_Check, ...]:
        checks = self._checks.get(descriptor.full_name)
        if checks is None:
            checks = tuple(self._compiled_field(field) for field in descriptor.fields)
            self._checks[descriptor.full_name] = checks
        return checks

    def _compiled_field(self, field: FieldDescriptor) -> _Check:
        rule = self.rule_of(field)
        faults = _faults_of_type(field, rule)
        required = "is required"
        if rule.positive and not field.has_presence:  # 0 and absent look alike
            required = "is required and must be greater than zero"
        return _Check(
            name=field.name,
            json_name=field.json_name,
            is_repeated=field.is_repeated,
            has_presence=field.has_presence,
            required=required if rule.required else "",
            faults=faults or _no_faults,
            nested=field.message_type if faults is None else None,
        )


def _faults_of_type(field: FieldDescriptor, rule: FieldRule) -> _Faults | None:
    """Return what may be wrong with a value of `field`; None where its members are asked."""
    if field.message_type is not None:
        return _faults_of_message(field, field.message_type, rule)
    if is_text(field):
        return _text_faults_of(rule)
    if field.cpp_type in INTEGER_TYPES and rule.positive:
        return lambda number, _owner: _NO_FAULTS if number > 0 else ("must be greater than zero",)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number
        return lambda number, _owner: _NO_FAULTS if number in known else ("is not a known value",)
    if field.cpp_type in {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}:
        raise ContractFault(f"{field.full_name}: unsupported type: a float is never exact")
    return _no_faults


def _faults_of_message(field: FieldDescriptor, held: Descriptor, rule: FieldRule) -> _Faults | None:
    kind = held.full_name
    if kind == DECIMAL:
        siblings = field.containing_type.fields_by_name if field.containing_type else {}
        sibling = siblings.get(_CURRENCY_FIELD)
        has_currency = sibling is not None and is_text(sibling) and not sibling.is_repeated
        return lambda value, owner: _decimal_faults(
            value.value,
            getattr(owner, _CURRENCY_FIELD) if has_currency else "",
            positive=rule.positive,
        )
    if kind == DATE:
        return lambda value, _owner: _date_faults(value)
    if kind == TIMESTAMP:
        return lambda value, _owner: _timestamp_faults(value)
    if kind.startswith("google.") or held.GetOptions().map_entry:
        raise ContractFault(f"{field.full_name}: unsupported type {kind}")
    return None


def _text_faults_of(rule: FieldRule) -> _Faults:
    least, most = rule.min_length, rule.max_length or sys.maxsize
    pattern, one_of = rule.pattern, frozenset(rule.one_of)

    def faults_of(text: str, _owner: Message) -> Sequence[str]:
        # What can be printed holds nothing that is forbidden, and that is known at once.
        if not text.isprintable() and _FORBIDDEN.search(text):
            return ("must not hold control characters or lone surrogates",)
        if not least <= len(text) <= most:
            return (_length_text(rule),)  # a pattern is only tried on a value of bounded length
        faults = _NO_FAULTS
        if pattern is not None and not (text.isascii() and pattern.fullmatch(text)):
            faults = (f"must match {pattern.pattern}",)
        if one_of and text not in one_of:
            faults = (*faults, f"must be one of {', '.join(rule.one_of)}")
        return faults

    return faults_of


def _length_text(rule: FieldRule) -> str:
    if not rule.max_length:
        return f"must have at least {rule.min_length} characters"
    if not rule.min_length:
        return f"must have at most {rule.max_length} characters"
    if rule.min_length == rule.max_length:
        return f"must have {rule.max_length} characters"
    return f"must have {rule.min_length} to {rule.max_length} characters"


def _decimal_faults(text: str, currency: str, *, positive: bool) -> Sequence[str]:
    number: Decimal | int
    try:
        known = _CURRENCIES.get(currency)
        if known is None:  # an unknown currency is its own field's fault
            number = parse_decimal(text)
        else:
            number = parse_hundredths(text=text, currency=known)
    except MoneyError as problem:
        return (str(problem),)
    return ("must be greater than zero",) if positive and number <= 0 else _NO_FAULTS


def _date_faults(value: Any) -> Sequence[str]:
    try:
        date(value.year, value.month, value.day)
    except ValueError:
        return ("must be a real date",)
    return _NO_FAULTS


def _timestamp_faults(value: Any) -> Sequence[str]:
    if value.seconds not in _SECONDS_OF_YEARS_1_TO_9999 or value.nanos not in _NANOS_OF_A_SECOND:
        return ("must be a time from the year 1 to 9999",)
    return _NO_FAULTS


def _no_faults(_value: Any, _owner: Message) -> Sequence[str]:
    return _NO_FAULTS
