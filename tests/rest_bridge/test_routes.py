"""What a path means, and which contracts stop the start."""

from pathlib import Path

import pytest

from chassis.rules import ContractFault
from rest_bridge.codec import Codec
from rest_bridge.contract import default_contracts_image, load_contract, read_image
from rest_bridge.pages import PAGE_PATHS
from rest_bridge.routes import RouteTable
from tests.rest_bridge.contracts import compile_contract

PATHS = [
    ("/AMK/payments", "GET, POST"),
    ("/%41MK/payments", "GET, POST"),
    ("/AMK/payments/150001", "GET"),
    ("/AMK/payments/x", "GET"),
    ("/amk/payments", None),
    ("/A/payments", None),
    ("/ABCDEFGHIJK/payments", None),
    ("/AMK%0A/payments", None),
    ("/AMK/payments/", None),
    ("//AMK/payments", None),
    ("/AMK//payments", None),
    ("/AMK%2Fpayments", None),
    ("/%FF/payments", None),
    ("/%zz/payments", None),
    ("/AMK/payments/%zz", None),
    ("/\u17e1\u17e2/payments", None),
    ("AMK/payments", None),
    ("*", None),
    ("", None),
]
REQUEST = """
message Q {
  string code = 1 [(payments.rest.v1.field_rule) = {pattern: "[A-Z]+"}];
  string id = 2;
  google.type.Decimal amount = 3;
  bytes raw = 4;
  repeated Q list = 5;
  Q one = 6;
}
message A { string id = 1; }
"""
FAULTS = {
    "a duplicate route": (
        (
            'rpc X(A) returns (A) {option (google.api.http) = {get: "/{id}/p"};}'
            'rpc Y(A) returns (A) {option (google.api.http) = {get: "/{id}/p"};}'
        ),
        "ambiguous",
    ),
    "two routes of which neither is the more literal": (
        (
            'rpc X(A) returns (A) {option (google.api.http) = {get: "/a/{id}"};}'
            'rpc Y(A) returns (A) {option (google.api.http) = {get: "/{id}/b"};}'
        ),
        "ambiguous",
    ),
    "a duplicate in additional_bindings": (
        (
            "rpc X(A) returns (A) {option (google.api.http) = "
            '{get: "/a" additional_bindings {get: "/a"}};}'
        ),
        "ambiguous",
    ),
    "a path of the bridge's own": (
        'rpc X(A) returns (A) {option (google.api.http) = {get: "/livez"};}',
        "the bridge's own",
    ),
    "a stream in": (
        'rpc X(stream A) returns (A) {option (google.api.http) = {get: "/a"};}',
        "streaming",
    ),
    "a stream out": (
        'rpc X(A) returns (stream A) {option (google.api.http) = {get: "/a"};}',
        "streaming",
    ),
    "a variable that is no field": (
        'rpc X(A) returns (A) {option (google.api.http) = {get: "/{nope}"};}',
        "no field nope",
    ),
    "a variable of a type without a text": (
        'rpc X(Q) returns (A) {option (google.api.http) = {get: "/{amount}"};}',
        "unsupported type",
    ),
    "a variable twice": (
        'rpc X(A) returns (A) {option (google.api.http) = {get: "/{id}/{id}"};}',
        "twice",
    ),
    "a template with a verb": (
        'rpc X(A) returns (A) {option (google.api.http) = {get: "/a:cancel"};}',
        "unsupported path part",
    ),
    "a template with a rest": (
        'rpc X(A) returns (A) {option (google.api.http) = {get: "/{id=**}"};}',
        "unsupported path part",
    ),
    "a template without a slash": (
        'rpc X(A) returns (A) {option (google.api.http) = {get: "a"};}',
        "must start with /",
    ),
    "a custom verb": (
        'rpc X(A) returns (A) {option (google.api.http) = {custom: {kind: "LOCK" path: "/a"}};}',
        "needs one of",
    ),
    "a GET with a body": (
        'rpc X(A) returns (A) {option (google.api.http) = {get: "/a" body: "*"};}',
        "no body",
    ),
    "a body that is no message": (
        'rpc X(A) returns (A) {option (google.api.http) = {post: "/a" body: "id"};}',
        "body must name",
    ),
    "a response_body": (
        'rpc X(A) returns (A) {option (google.api.http) = {get: "/a" response_body: "id"};}',
        "response_body",
    ),
    "a list of messages in the query": (
        'rpc X(Q) returns (A) {option (google.api.http) = {get: "/a"};}',
        "query parameter",
    ),
    "a float": (
        (
            "message F { double amount = 1; }"
            'rpc X(F) returns (A) {option (google.api.http) = {get: "/a"};}'
        ),
        "float",
    ),
    "a map deep inside an answer": (
        (
            "message M { map<string, string> labels = 1; } message N { M m = 1; }"
            'rpc X(A) returns (N) {option (google.api.http) = {get: "/a"};}'
        ),
        "unsupported type",
    ),
    "a oneof": (
        (
            "message O { oneof x { string a = 1; string b = 2; } }"
            'rpc X(O) returns (A) {option (google.api.http) = {get: "/a"};}'
        ),
        "oneof",
    ),
    "a bad pattern": (
        (
            'message P { string a = 1 [(payments.rest.v1.field_rule) = {pattern: "["}]; }'
            'rpc X(P) returns (A) {option (google.api.http) = {get: "/a"};}'
        ),
        "bad pattern",
    ),
    "a received body without a body": (
        (
            "message B { bytes b = 1 [(payments.rest.v1.field_rule) = {received_body: true}]; }"
            'rpc X(B) returns (A) {option (google.api.http) = {get: "/a"};}'
        ),
        "received_body",
    ),
}


def table_of(image: bytes) -> RouteTable:
    contract = load_contract(image=image)
    codec = Codec(rules=contract.rules)
    for method in contract.methods:
        codec.compile_all((method.request_type, method.response_type))
    return RouteTable(methods=contract.methods, rules=contract.rules, reserved=PAGE_PATHS)


def source_of(text: str) -> str:
    messages, rpc, rpcs = text.partition("rpc X")
    return f"{REQUEST} {messages} service S {{ {rpc}{rpcs} }}"


REAL = table_of(default_contracts_image())


@pytest.mark.parametrize(("path", "allowed"), PATHS)
def test_a_path_means_its_route_or_nothing(path: str, allowed: str | None) -> None:
    match = REAL.match(raw_path=path.encode())
    assert (match.allowed if match else None) == allowed


@pytest.mark.parametrize(("text", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_in_a_contract_stops_the_start_with_the_reason(text: str, reason: str) -> None:
    image = compile_contract(source=source_of(text))
    with pytest.raises(ContractFault, match=reason):
        table_of(image)


def test_a_literal_beats_a_variable_in_either_order() -> None:
    variable = 'rpc X(A) returns (A) {option (google.api.http) = {get: "/{id}/p"};}'
    literal = 'rpc Xb(A) returns (A) {option (google.api.http) = {get: "/khqr/p"};}'
    for text in (variable + literal, literal + variable):
        match = table_of(compile_contract(source=source_of(text))).match(raw_path=b"/khqr/p")
        assert match is not None
        assert match.by_method["GET"][0].method.name == "Xb"


def test_a_pattern_that_excludes_the_literal_leaves_no_doubt() -> None:
    text = (
        'rpc X(A) returns (A) {option (google.api.http) = {get: "/khqr/{id}"};}'
        'rpc Y(Q) returns (A) {option (google.api.http) = {post: "/{code}/payments" body: "*"};}'
    )
    assert len(table_of(compile_contract(source=source_of(text))).routes) == 2


def test_a_package_outside_ours_has_no_target() -> None:
    source = source_of('rpc X(A) returns (A) {option (google.api.http) = {get: "/a"};}')
    with pytest.raises(ContractFault, match=r"payments\.<name>"):
        table_of(compile_contract(source=source, package="other.v1"))


def test_a_file_that_is_no_descriptor_set_is_a_fault() -> None:
    with pytest.raises(ContractFault, match="cannot be read"):
        load_contract(image=b"\xff\xff\xff")


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ContractFault, match="No such file"):
        read_image(path=tmp_path / "nope.binpb")
