"""`google.api.http` rules -> a table of routes; a literal segment beats a variable one."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import FieldDescriptor

from chassis.field_rule import INTEGER_TYPES, is_text
from chassis.rules import ContractFault, Rules
from rest_bridge.contract import Method

WHOLE_BODY = "*"
_VERBS = ("get", "put", "post", "delete", "patch")
_WITHOUT_BODY = frozenset({"GET", "DELETE"})
_LITERAL = re.compile(r"[A-Za-z0-9_.~-]+", re.ASCII)
_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)(?:=\*)?\}", re.ASCII)
_MATCHES_KEPT = 512  # of at most 8 KiB each
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One part of a path between slashes: a literal, or a variable with its field."""

    literal: str = ""
    variable: FieldDescriptor | None = None
    pattern: re.Pattern[str] | None = None

    def fits(self, part: str) -> bool:
        """Tell whether the decoded path part `part` belongs here."""
        if self.variable is None:
            return part == self.literal
        if self.pattern is None:
            return bool(part)
        return part.isascii() and bool(self.pattern.fullmatch(part))


@dataclass(frozen=True, kw_only=True)
class Route:
    """One HTTP method and path template that leads to an RPC."""

    http_method: str
    segments: Sequence[Segment]
    body: str
    method: Method

    @cached_property
    def template(self) -> str:
        """The path as OpenAPI writes it, variables by their JSON names."""
        return "/" + "/".join(
            one.literal if one.variable is None else f"{{{one.variable.json_name}}}"
            for one in self.segments
        )

    @cached_property
    def variables(self) -> Sequence[FieldDescriptor]:
        """The fields of the request that come from the path."""
        return tuple(one.variable for one in self.segments if one.variable is not None)

    @cached_property
    def variable_names(self) -> frozenset[str]:
        """Their names."""
        return frozenset(one.name for one in self.variables)

    def values(self, parts: Sequence[str]) -> dict[str, str] | None:
        """Return the variables' texts by field name, or None if `parts` is another path."""
        if len(parts) != len(self.segments):
            return None
        pairs = list(zip(self.segments, parts, strict=True))
        if not all(segment.fits(part) for segment, part in pairs):
            return None
        return {one.variable.name: part for one, part in pairs if one.variable is not None}


@dataclass(frozen=True, kw_only=True)
class Match:
    """What a path leads to: the routes by HTTP method, each with its variables' texts."""

    by_method: Mapping[str, tuple[Route, Mapping[str, str]]]

    @property
    def allowed(self) -> str:
        """The value of an `Allow` header."""
        return ", ".join(sorted(self.by_method))


class RouteTable:
    """Every route of the contracts, and which one a path means."""

    def __init__(self, *, methods: Iterable[Method], rules: Rules, reserved: Iterable[str]) -> None:
        self.routes = tuple(route for method in methods for route in _routes(method, rules))
        _refuse_conflicts(self.routes, frozenset(reserved))
        # Where two templates fit, the one with a literal where the other has a variable wins.
        self._by_length: dict[int, list[Route]] = {}
        for route in sorted(self.routes, key=_rank):
            self._by_length.setdefault(len(route.segments), []).append(route)
        # Most calls are of a handful of paths; those with a number in them come and go.
        self._matched = lru_cache(maxsize=_MATCHES_KEPT)(self._match)

    def match(self, *, raw_path: bytes) -> Match | None:
        """Return what the undecoded path means, or None if no route has it."""
        return self._matched(raw_path)

    def _match(self, raw_path: bytes) -> Match | None:
        parts = path_parts(raw_path)
        if parts is None:
            return None
        found: dict[str, tuple[Route, Mapping[str, str]]] = {}
        for route in self._by_length.get(len(parts), ()):
            values = route.values(parts)
            if values is not None:
                found.setdefault(route.http_method, (route, values))
        return Match(by_method=found) if found else None


def path_parts(raw_path: bytes) -> Sequence[str] | None:
    """Return the decoded parts of a path, or None if it cannot be one of ours.

    Decoded after the split, so that `%2F` stays inside its part.
    """
    if not raw_path.startswith(b"/") or _BROKEN_ESCAPE.search(raw_path):
        return None
    try:
        return [unquote_to_bytes(part).decode() for part in raw_path[1:].split(b"/")]
    except UnicodeDecodeError:
        return None


def _routes(method: Method, rules: Rules) -> Iterator[Route]:
    for http in (method.http, *method.http.additional_bindings):
        yield _route(method, rules, http)


def _route(method: Method, rules: Rules, http: Any) -> Route:
    verb = http.WhichOneof("pattern")
    if verb not in _VERBS:
        raise ContractFault(f"{method.full_name}: the route needs one of {', '.join(_VERBS)}")
    if http.response_body:
        raise ContractFault(f"{method.full_name}: response_body is not supported")
    if http.body and verb.upper() in _WITHOUT_BODY:
        raise ContractFault(f"{method.full_name}: {verb} has no body")
    template = getattr(http, verb)
    if not template.startswith("/"):
        raise ContractFault(f"{method.full_name}: the path {template!r} must start with /")
    segments = tuple(_segment(method, rules, part) for part in template[1:].split("/"))
    route = Route(http_method=verb.upper(), segments=segments, body=http.body, method=method)
    _refuse_unreachable(route, rules)
    return route


def _segment(method: Method, rules: Rules, part: str) -> Segment:
    if _LITERAL.fullmatch(part):
        return Segment(literal=part)
    found = _VARIABLE.fullmatch(part)
    if found is None:
        raise ContractFault(f"{method.full_name}: unsupported path part {part!r}")
    variable = method.request_type.fields_by_name.get(found[1])
    if variable is None:
        raise ContractFault(f"{method.full_name}: the request has no field {found[1]}")
    if variable.is_repeated or not (is_text(variable) or variable.cpp_type in INTEGER_TYPES):
        raise ContractFault(f"{variable.full_name}: unsupported type of a path variable")
    return Segment(variable=variable, pattern=rules.rule_of(variable).pattern)


def _refuse_unreachable(route: Route, rules: Rules) -> None:
    names = [variable.name for variable in route.variables]
    if len(set(names)) != len(names):
        raise ContractFault(f"{route.method.full_name}: a variable stands twice in the path")
    fields = route.method.request_type.fields_by_name
    if route.body not in ("", WHOLE_BODY):
        held = fields.get(route.body)
        if held is None or held.message_type is None or held.is_repeated or route.body in names:
            raise ContractFault(f"{route.method.full_name}: body must name a message field or be *")
    for member in fields.values():
        if rules.rule_of(member).received_body:
            if not route.body or member.name in names:
                raise ContractFault(f"{member.full_name}: received_body needs a route with a body")
        elif route.body != WHOLE_BODY and member.is_repeated and member.message_type is not None:
            raise ContractFault(f"{member.full_name}: unsupported type of a query parameter")


def _refuse_conflicts(routes: Sequence[Route], reserved: frozenset[str]) -> None:
    for number, route in enumerate(routes):
        if route.template in reserved:
            raise ContractFault(f"{route.method.full_name}: {route.template} is the bridge's own")
        for other in routes[:number]:
            if _ambiguous(route, other):
                raise ContractFault(
                    f"{route.http_method} {route.template} of {route.method.full_name} and "
                    f"{other.template} of {other.method.full_name} are ambiguous"
                )


def _ambiguous(one: Route, other: Route) -> bool:
    """Tell whether some path fits both and neither is the more literal one throughout."""
    if one.http_method != other.http_method or len(one.segments) != len(other.segments):
        return False
    pairs = list(zip(one.segments, other.segments, strict=True))
    if not all(_overlap(left, right) for left, right in pairs):
        return False
    more = any(left.variable is None and right.variable is not None for left, right in pairs)
    less = any(left.variable is not None and right.variable is None for left, right in pairs)
    return more == less


def _overlap(left: Segment, right: Segment) -> bool:
    if left.variable is None:
        return right.fits(left.literal)
    return right.variable is not None or left.fits(right.literal)


def _rank(route: Route) -> tuple[bool, ...]:
    return tuple(segment.variable is not None for segment in route.segments)
