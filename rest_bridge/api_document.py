"""The calls as a document for people, from the same contracts that are served.

`python -m rest_bridge.api_document docs/api.md` writes it; a test compares what is committed.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor import Descriptor

from rest_bridge.api_words import FOOT, HEAD, TypeWords, cell, link, table
from rest_bridge.codec import Codec
from rest_bridge.contract import Contract, Example, load_contract, read_image
from rest_bridge.pages import PAGE_PATHS
from rest_bridge.routes import WHOLE_BODY, Route, RouteTable

_BANK = "AMK"  # whose name stands in an example's path
_OPERATORS = "operations:"  # how their scopes begin
_FIELDS = ("field", "where", "value", "needed", "meaning")
_MEMBERS = ("member", "value", "meaning")


@dataclass(frozen=True, kw_only=True)
class ExampleCall:
    """A worked example as it is sent; `body` is empty where none is."""

    method: str
    target: str
    body: str


def example_call(*, route: Route, example: Example) -> ExampleCall:
    """Return the request of `example`: what the path names comes from its answer."""
    answered = json.loads(example.response or "{}")
    target = route.template
    for variable in route.variables:
        name = variable.json_name
        target = target.replace(f"{{{name}}}", str(answered.get(name, _BANK)))
    if route.body:
        return ExampleCall(method=route.http_method, target=target, body=example.request)
    query = f"?{example.request}" if example.request else ""
    return ExampleCall(method=route.http_method, target=f"{target}{query}", body="")


def api_document(*, contract: Contract) -> str:
    """Return the document as Markdown.

    :raises ContractFault: two types share a name.
    """
    codec = Codec(rules=contract.rules)
    table_of_routes = RouteTable(
        methods=contract.methods, rules=contract.rules, reserved=PAGE_PATHS
    )
    # Partners come first; operators read on.
    routes = sorted(table_of_routes.routes, key=lambda one: one.method.scope.startswith(_OPERATORS))
    return _Writer(contract, codec).document(routes)


class _Writer:
    def __init__(self, contract: Contract, codec: Codec) -> None:
        self._contract = contract
        self._codec = codec
        self._words = TypeWords(contract=contract, codec=codec)

    def document(self, routes: Sequence[Route]) -> str:
        parts = [HEAD, "## All calls", *self._overview(routes), "## Errors", *self._errors()]
        service = ""
        for route in routes:
            if route.method.service != service:
                service = route.method.service
                parts += [f"## {_last(service)}", self._words.comment(service)]
            parts += self._call(route)
        parts += ["## Types", *self._words.types(), FOOT]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _overview(self, routes: Sequence[Route]) -> Iterator[str]:
        rows = []
        for route in routes:
            summary = self._words.comment(route.method.full_name).partition("\n\n")[0]
            rows.append(
                (_call_name(route), link(route.method.name), summary, f"`{route.method.scope}`")
            )
        yield table(("call", "RPC", "what it does", "scope"), rows)

    def _errors(self) -> Iterator[str]:
        rows = []
        for rule in sorted(self._contract.reasons, key=lambda one: one.http_status):
            name = f"payments.errors.v1.ErrorReason.ERROR_REASON_{rule.reason}"
            rows.append(
                (
                    f"`{rule.reason}`",
                    str(rule.http_status),
                    rule.grpc_code.name,
                    "any call" if rule.everywhere else "where it is named",
                    self._words.comment(name),
                )
            )
        yield table(("code", "HTTP", "gRPC", "answered by", "when"), rows)

    def _call(self, route: Route) -> Iterator[str]:
        method = route.method
        summary, _, rest = self._words.comment(method.full_name).partition("\n\n")
        yield f"### {method.name}"
        yield f"`{route.http_method} {route.template}`"
        yield summary
        yield rest
        yield " ".join(self._promises(route))
        yield table(_FIELDS, self._request_rows(route)) or "It takes nothing."
        yield "The answer's `data`:"
        yield table(_MEMBERS, self._answer_rows(method.response_type)) or "It is empty."
        for example in method.examples:
            yield from _shown(route, example)

    def _promises(self, route: Route) -> Iterator[str]:
        method = route.method
        yield f"Scope `{method.scope}`."
        if method.webhook:
            yield "Unknown members and parameters are ignored."
        own = [f"`{reason}`" for reason in method.reasons]
        if own:
            yield f"Refused with {', '.join(own)}, or what any call may answer."

    def _request_rows(self, route: Route) -> Iterator[tuple[str, ...]]:
        in_path = {one.name for one in route.variables}
        for name, member in self._codec.members(route.method.request_type).items():
            field = member.field
            if field.name in in_path:
                where = "path"
            else:
                where = "body" if route.body in (WHOLE_BODY, field.name) else "query"
            needed = "yes" if self._words.rule_of(member).required else ""
            yield f"`{name}`", where, self._words.value(member), needed, self._words.meaning(member)

    def _answer_rows(self, descriptor: Descriptor) -> Iterator[tuple[str, ...]]:
        for name, member in self._codec.members(descriptor).items():
            yield f"`{name}`", self._words.value(member), self._words.meaning(member)


def _shown(route: Route, example: Example) -> Iterator[str]:
    call = example_call(route=route, example=example)
    yield f"Example: {cell(example.title[:1].lower() + example.title[1:])}."
    lines = [f"{call.method} {call.target}", "Authorization: Bearer …"]
    if call.body:
        lines += ["Content-Type: application/json", "", call.body]
    yield _fenced("http", "\n".join(lines))
    yield _fenced("json", f'{{"success":true,"data":{example.response}}}')


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _call_name(route: Route) -> str:
    return f"`{route.http_method} {route.template}`"


def _last(full_name: str) -> str:
    return full_name.rpartition(".")[2]


def main(*, path: Path) -> None:
    """Write the document to `path`."""
    document = api_document(contract=load_contract(image=read_image(path=None)))
    path.write_text(document, encoding="utf-8")


if __name__ == "__main__":
    main(path=Path(sys.argv[1]))
