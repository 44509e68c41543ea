"""Field rules: what they refuse, in which words, in any pool; and which rules cannot be kept."""

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

from chassis.rules import ContractFault, Rules
from payments.gateway.v1 import gateway_service_pb2
from tests.rest_bridge.contracts import compile_contract

SOURCE = """
enum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 1; }
message Inner {
  string name = 1 [
    (google.api.field_behavior) = REQUIRED,
    json_name = "inner_name"
  ];
  google.type.Decimal amount = 2;
}
message Subject {
  string must = 1 [(google.api.field_behavior) = REQUIRED];
  string digits = 2 [(payments.rest.v1.field_rule) = {pattern: "[0-9]+"}];
  string word = 3 [(payments.rest.v1.field_rule) = {pattern: "\\\\w+"}];
  string not_x = 4 [(payments.rest.v1.field_rule) = {pattern: "[^x]+"}];
  string long_one = 5 [(payments.rest.v1.field_rule) = {min_length: 2 max_length: 3}];
  string least = 6 [(payments.rest.v1.field_rule) = {min_length: 2}];
  string exact = 7 [(payments.rest.v1.field_rule) = {min_length: 2 max_length: 2}];
  string choice = 8 [(payments.rest.v1.field_rule) = {one_of: ["A", "B"]}];
  int64 number = 9 [(payments.rest.v1.field_rule) = {positive: true}];
  google.type.Decimal amount = 10 [(payments.rest.v1.field_rule) = {positive: true}];
  string currency = 11;
  google.type.Date day = 12;
  google.protobuf.Timestamp moment = 13;
  Inner inner = 14;
  repeated Inner more = 15;
  repeated string tags = 16 [(payments.rest.v1.field_rule) = {max_length: 2}];
  Colour colour = 17;
  optional int32 maybe = 18 [
    (google.api.field_behavior) = REQUIRED,
    (payments.rest.v1.field_rule) = {positive: true}
  ];
  string free = 19;
}
"""
GOOD: dict[str, Any] = {"must": "x", "maybe": 1}
# what is set beside GOOD -> what is said of it
BROKEN: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"must": ""}, ["must: is required"]),
    ({"maybe": 0}, ["maybe: must be greater than zero"]),
    ({"digits": "123"}, []),
    ({"digits": "12a"}, ["digits: must match [0-9]+"]),
    ({"digits": "12\n"}, ["digits: must not hold control characters or lone surrogates"]),
    ({"digits": "១២"}, ["digits: must match [0-9]+"]),
    ({"word": "១២"}, [r"word: must match \w+"]),
    ({"word": "\u017f"}, [r"word: must match \w+"]),
    ({"not_x": "ខ"}, ["notX: must match [^x]+"]),
    ({"long_one": "a"}, ["longOne: must have 2 to 3 characters"]),
    ({"long_one": "abc"}, []),
    ({"long_one": "abcd"}, ["longOne: must have 2 to 3 characters"]),
    ({"long_one": "ខខខ"}, []),
    ({"least": "a"}, ["least: must have at least 2 characters"]),
    ({"exact": "abc"}, ["exact: must have 2 characters"]),
    ({"choice": "B"}, []),
    ({"choice": "b"}, ["choice: must be one of A, B"]),
    ({"number": -1}, ["number: must be greater than zero"]),
    ({"amount": {"value": "0.01"}}, []),
    ({"amount": {"value": ""}}, ["amount: must be a plain decimal number"]),
    ({"amount": {"value": "1e2"}}, ["amount: must be a plain decimal number"]),
    ({"amount": {"value": " 1"}}, ["amount: must be a plain decimal number"]),
    ({"amount": {"value": "1\n"}}, ["amount: must be a plain decimal number"]),
    ({"amount": {"value": "១"}}, ["amount: must be a plain decimal number"]),
    ({"amount": {"value": "NaN"}}, ["amount: must be a plain decimal number"]),
    ({"amount": {"value": "0.00"}}, ["amount: must be greater than zero"]),
    ({"amount": {"value": "-1"}}, ["amount: must be greater than zero"]),
    ({"amount": {"value": "9" * 17}}, ["amount: must have at most 16 integer digits"]),
    ({"amount": {"value": "1.001"}}, []),
    (
        {"amount": {"value": "1.001"}, "currency": "USD"},
        ["amount: must have at most 2 decimals in USD"],
    ),
    ({"amount": {"value": "1.000"}, "currency": "USD"}, []),
    (
        {"amount": {"value": "0.5"}, "currency": "KHR"},
        ["amount: must have at most 0 decimals in KHR"],
    ),
    ({"amount": {"value": "615000.00"}, "currency": "KHR"}, []),
    ({"amount": {"value": "1.001"}, "currency": "EUR"}, []),
    ({"day": {"year": 2024, "month": 2, "day": 29}}, []),
    ({"day": {"year": 2025, "month": 2, "day": 29}}, ["day: must be a real date"]),
    ({"day": {"year": 2025, "month": 2}}, ["day: must be a real date"]),
    ({"moment": {"seconds": 253_402_300_799, "nanos": 999_999_999}}, []),
    ({"moment": {"seconds": 253_402_300_800}}, ["moment: must be a time from the year 1 to 9999"]),
    ({"moment": {"nanos": -1}}, ["moment: must be a time from the year 1 to 9999"]),
    ({"inner": {}}, ["inner.inner_name: is required"]),
    (
        {"inner": {"name": "a\x00", "amount": {"value": "x"}}},
        [
            "inner.inner_name: must not hold control characters or lone surrogates",
            "inner.amount: must be a plain decimal number",
        ],
    ),
    ({"more": [{"name": "a"}, {}]}, ["more[1].inner_name: is required"]),
    ({"tags": ["ab", "abc"]}, ["tags[1]: must have at most 2 characters"]),
    ({"colour": 1}, []),
    ({"colour": 7}, ["colour: is not a known value"]),
    *(
        ({"free": f"a{one}b"}, ["free: must not hold control characters or lone surrogates"])
        for one in "\x00\t\n\r\x1b\x7f\x80\x85\x9f"
    ),
    ({"free": "ភ្នំពេញ 😀 \u00a0"}, []),
]
FAULTS = [
    ("double a = 1;", "float"),
    ("map<string, string> a = 1;", "unsupported type"),
    ("google.type.Money a = 1;", "unsupported type google.type.Money"),
    ("bool a = 1 [(google.api.field_behavior) = REQUIRED];", "declared optional"),
    *(
        (f"{field} a = 1 [(payments.rest.v1.field_rule) = {{{rule}}}];", reason)
        for field, rule, reason in (
            ("string", 'pattern: "["', "bad pattern"),
            ("string", 'pattern: "ខ"', "must be ASCII"),
            ("int64", 'pattern: "1"', "pattern does not fit"),
            ("bytes", "max_length: 1", "max_length does not fit"),
            ("bool", 'one_of: "A"', "one_of does not fit"),
            ("string", "positive: true", "positive does not fit"),
            ("string", "min_length: 3 max_length: 2", "min_length is above"),
            ("string", "received_body: true", "received_body does not fit"),
            ("string", 'time_layout: "%Y" utc_offset: "+07:00"', "time_layout does not fit"),
            ("string", 'bare_member: "x"', "bare_member does not fit"),
            (
                "google.protobuf.Timestamp",
                'time_layout: "%Y%Q" utc_offset: "+07:00"',
                "time_layout",
            ),
            ("google.protobuf.Timestamp", 'time_layout: "%Y"', "utc_offset must be written"),
            ("google.protobuf.Timestamp", 'utc_offset: "+07:00"', "utc_offset does not fit"),
            (
                "google.protobuf.Timestamp",
                'time_layout: "%Y" utc_offset: "+24:00"',
                "bad utc_offset",
            ),
        )
    ),
]


def private_pool(source: str) -> DescriptorPool:
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(compile_contract(source=source)).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


POOL = private_pool(SOURCE)
RULES = Rules(pool=POOL)
SUBJECT = message_factory.GetMessageClass(POOL.FindMessageTypeByName("payments.demo.v1.Subject"))


@pytest.mark.parametrize(("members", "said"), BROKEN)
def test_a_broken_rule_is_told_in_the_callers_words(
    members: dict[str, Any], said: list[str]
) -> None:
    message = SUBJECT(**{**GOOD, **members})
    assert [str(one) for one in RULES.check(message=message)] == said


@pytest.mark.parametrize(("field", "reason"), FAULTS)
def test_a_rule_that_cannot_be_kept_is_a_fault_of_the_contract(field: str, reason: str) -> None:
    pool = private_pool(f"message M {{ {field} }} message Outer {{ M m = 1; }}")
    with pytest.raises(ContractFault, match=reason):
        Rules(pool=pool).compile_all([pool.FindMessageTypeByName("payments.demo.v1.Outer")])


def test_the_stubs_of_the_default_pool_obey_the_same_rules() -> None:
    rules = Rules(pool=descriptor_pool.Default())
    found = rules.check(message=gateway_service_pb2.ConfirmPaymentRequest())
    assert [one.field for one in found] == [
        "bankCode",
        "id",
        "policyNumber",
        "amount",
        "currency",
        "bankTransactionId",
        "payer",
        "paidDate",
    ]


def test_a_message_that_holds_itself_compiles() -> None:
    pool = private_pool("message M { M m = 1; repeated M more = 2; string a = 3; }")
    descriptor = pool.FindMessageTypeByName("payments.demo.v1.M")
    rules = Rules(pool=pool)
    rules.compile_all([descriptor])
    kind = message_factory.GetMessageClass(descriptor)
    found = rules.check(message=kind(m={"more": [{"a": "\x00"}]}))
    assert [one.field for one in found] == ["m.more[0].a"]


def test_a_rule_can_be_read_by_others() -> None:
    field = SUBJECT.DESCRIPTOR.fields_by_name["choice"]
    assert RULES.rule_of(field).one_of == ("A", "B")  # type: ignore[arg-type] # upb's own class
    assert not RULES.rule_of(field).required  # type: ignore[arg-type] # upb's own class
