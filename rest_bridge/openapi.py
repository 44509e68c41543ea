"""OpenAPI 3.1 from the same routes that are served."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from chassis.errors import ReasonRule
from chassis.rules import ContractFault
from rest_bridge.codec import Codec, Member
from rest_bridge.contract import Contract, Example, Method
from rest_bridge.routes import WHOLE_BODY, Route
from rest_bridge.schemas import Schema, Schemas, Use
from rest_bridge.surface import JSON_TYPE

_BEARER = "bearer"
_RETRIED = (429, 503)
_UNAUTHORIZED = 401
_SOMETIMES = "Idempotent-Replayed"  # the one header that not every such answer has
_KEPT_REFUSAL = 409  # final like a success: a repeat gets it again
_OF_EVERY_BODY = {
    408: "The body did not arrive in time.",
    413: "The body is larger than 64 KiB.",
    415: "The body is not JSON in UTF-8, or is compressed.",
}


def openapi_document(
    *, contract: Contract, codec: Codec, routes: Sequence[Route], version: str
) -> bytes:
    """Return the JSON of the OpenAPI document; numbers in examples keep their digits.

    :raises ContractFault: an example of the contract is not JSON.
    """
    return _Writer(contract, codec).document(routes, version)


class _Writer:
    def __init__(self, contract: Contract, codec: Codec) -> None:
        self._contract = contract
        self._codec = codec
        self._schemas = Schemas(codec=codec, rules=contract.rules, comments=contract.comments)

    def document(self, routes: Sequence[Route], version: str) -> bytes:
        paths: dict[str, dict[str, Any]] = {}
        used: set[str] = set()
        for route in routes:
            name = route.method.name
            while name in used:
                name += "_"
            used.add(name)
            operation = self._operation(route, name)
            paths.setdefault(route.template, {})[route.http_method.lower()] = operation
        services = dict.fromkeys(route.method.service for route in routes)
        document = {
            "openapi": "3.1.0",
            "info": {
                "title": "Payment gateway",
                "version": version,
                "description": "Premium inquiry and payment, for a bank and its customers. "
                "Amounts are JSON numbers written exactly. Only 429 and 5xx mean "
                '"try again"; 429 and 503 say after how many seconds.',
            },
            "servers": [{"url": "/"}],
            "tags": [
                {"name": _last(one), "description": self._schemas.comment(one)} for one in services
            ],
            "paths": paths,
            "components": self._components(),
        }
        return msgspec.json.Encoder(decimal_format="number").encode(document)

    def _operation(self, route: Route, name: str) -> Schema:
        method = route.method
        comment = self._schemas.comment(method.full_name)
        summary, _, rest = comment.partition("\n\n")
        operation: Schema = {
            "operationId": name,
            "tags": [_last(method.service)],
            "summary": summary,
            "description": _described(rest, method),
            "security": [{_BEARER: [method.scope] if method.scope else []}],
            "parameters": self._parameters(route),
            "responses": self._responses(route),
        }
        if route.body:
            operation["requestBody"] = {
                "required": True,
                "content": {JSON_TYPE: self._body(route)},
            }
        return operation

    def _asked(self, method: Method) -> Schemas:
        return self._schemas.used_as(Use.WEBHOOK if method.webhook else Use.REQUEST)

    def _body(self, route: Route) -> Schema:
        method = route.method
        if route.body == WHOLE_BODY:
            besides = frozenset(one.name for one in route.variables)
            schema = self._asked(method).reference(method.request_type, besides=besides)
        else:
            held = method.request_type.fields_by_name[route.body].message_type
            if held is None:  # the route table has refused it already
                raise TypeError(route.body)
            schema = self._asked(method).reference(held)
        examples = {
            _key(one.title): {"summary": one.title, "value": _exact(one.request)}
            for one in method.examples
            if one.request.startswith("{")  # a query string belongs to another binding
        }
        return {"schema": schema, "examples": examples} if examples else {"schema": schema}

    def _parameters(self, route: Route) -> list[Schema]:
        members = self._codec.members(route.method.request_type)
        found = [
            {
                **self._parameter(members[one.json_name], route.method),
                "in": "path",
                "required": True,
            }
            for one in route.variables
        ]
        if route.body != WHOLE_BODY:
            taken = {one.name for one in route.variables} | {route.body}
            found += [
                {**self._parameter(one, route.method), "in": "query"}
                for one in members.values()
                if one.field.name not in taken
            ]
        return [*found, {"$ref": "#/components/parameters/RequestId"}]

    def _parameter(self, member: Member, method: Method) -> Schema:
        schema = self._asked(method).of_member(member)
        described: Schema = {
            "name": member.field.json_name,
            "description": schema.pop("description", ""),
            "required": self._schemas.rule_of(member).required,
        }
        if member.spelling is None:
            return {**described, "content": {JSON_TYPE: {"schema": schema}}}
        for example in method.examples:
            values = dict(parse_qsl(example.request)) if "{" not in example.request else {}
            if member.field.json_name in values:
                described["example"] = values[member.field.json_name]
        return {**described, "schema": schema}

    def _responses(self, route: Route) -> Schema:
        responses: Schema = {"200": self._success(route.method)}
        by_status: dict[int, list[ReasonRule]] = {}
        for rule in self._contract.reasons:
            if rule.everywhere or rule.reason in route.method.reasons:
                by_status.setdefault(rule.http_status, []).append(rule)
        texts = _OF_EVERY_BODY if route.body else {}
        for status in sorted({*by_status, *texts}):
            responses[str(status)] = self._failure(status, by_status.get(status, []), texts)
        if route.method.repeatable and _KEPT_REFUSAL in by_status:
            responses[str(_KEPT_REFUSAL)]["headers"] |= _headers("Idempotent-Replayed")
        return responses

    def _success(self, method: Method) -> Schema:
        headers = _headers("X-Request-ID")
        if method.repeatable:
            headers |= _headers("Idempotent-Replayed")
        schema: Schema = {
            "type": "object",
            "required": ["success", "data"],
            "properties": {
                "success": {"const": True},
                "data": self._schemas.reference(method.response_type),
            },
        }
        examples = {
            _key(one.title): {"summary": one.title, "value": _answered(one)}
            for one in method.examples
            if one.response
        }
        content = {"schema": schema, **({"examples": examples} if examples else {})}
        return {"description": "Done.", "headers": headers, "content": {JSON_TYPE: content}}

    def _failure(
        self, status: int, rules: Sequence[ReasonRule], texts: Mapping[int, str]
    ) -> Schema:
        names = ["X-Request-ID"]
        names += ["Retry-After"] if status in _RETRIED else []
        names += ["WWW-Authenticate"] if status == _UNAUTHORIZED else []
        lines = [f"`{rule.reason}`: {self._reason_comment(rule)}" for rule in rules]
        content: Schema = {"schema": {"$ref": "#/components/schemas/Failure"}}
        if rules:
            content["examples"] = {
                rule.reason: {"value": _failed(rule.reason, rule.fixed_text)} for rule in rules
            }
        return {
            "description": "\n\n".join([*lines, *([texts[status]] if status in texts else [])]),
            "headers": _headers(*names),
            "content": {JSON_TYPE: content},
        }

    def _reason_comment(self, rule: ReasonRule) -> str:
        name = f"payments.errors.v1.ErrorReason.ERROR_REASON_{rule.reason}"
        return self._schemas.comment(name) or rule.fixed_text

    def _components(self) -> Schema:
        return {
            "securitySchemes": {
                _BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A signed token; each call names the scope it needs.",
                }
            },
            "parameters": {
                "RequestId": {
                    "name": "X-Request-ID",
                    "in": "header",
                    "description": "Comes back with the answer and stands in the logs; made up "
                    "if absent, or not 1 to 128 letters, digits, `.`, `_` and `-`.",
                    "schema": {"type": "string"},
                }
            },
            "headers": _header_components(),
            "schemas": {
                **self._schemas.named,
                "Failure": _failure_schema([rule.reason for rule in self._contract.reasons]),
            },
        }


def _described(text: str, method: Method) -> str:
    scope = f"Scope: `{method.scope}`." if method.scope else ""
    webhook = "Unknown members and parameters are ignored." if method.webhook else ""
    return "\n\n".join(part for part in (text, webhook, scope) if part)


def _headers(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header_components() -> Schema:
    texts = {
        "X-Request-ID": "The request's id, yours or made up.",
        "Retry-After": "Seconds to wait before the next try.",
        "WWW-Authenticate": "`Bearer`",
        "Idempotent-Replayed": "`true` if this answer was given before and nothing happened now.",
    }
    return {
        name: {
            "description": text,
            "required": name != _SOMETIMES,
            "schema": {"type": "string"},
        }
        for name, text in texts.items()
    }


def _failure_schema(reasons: Sequence[str]) -> Schema:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "Why a call failed.",
        "required": ["success", "error"],
        "properties": {
            "success": {"const": False},
            "error": {
                "type": "object",
                "required": ["code", "message", "details"],
                "properties": {
                    "code": {"type": "string", "enum": list(reasons)},
                    "message": {**text, "description": "For a person."},
                    "details": {**text, "description": "What exactly; every field that is wrong."},
                },
            },
        },
    }


def _failed(reason: str, message: str) -> Schema:
    return {"success": False, "error": {"code": reason, "message": message, "details": ""}}


def _answered(example: Example) -> Schema:
    return {"success": True, "data": _exact(example.response)}


def _exact(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError as problem:
        raise ContractFault(f"an example is not JSON: {problem}: {text}") from None


def _key(title: str) -> str:
    return "-".join("".join(one if one.isalnum() else " " for one in title).lower().split())


def _last(full_name: str) -> str:
    return full_name.rpartition(".")[2]
