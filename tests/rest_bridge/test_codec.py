"""JSON text <-> message: the specification's examples byte for byte, and nothing inexact."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.gateway.v1 import gateway_service_pb2
from rest_bridge.codec import Codec, Reading
from rest_bridge.contract import default_contracts_image, load_contract
from rest_bridge.json_text import JsonFault, parse_json
from rest_bridge.surface import Surface
from tests.rest_bridge.contracts import compile_contract, with_real_contracts
from tests.rest_bridge.fakes import CONFIRMATION, INQUIRY, STATUS

CONTRACT = load_contract(image=default_contracts_image())
CODEC = Codec(rules=CONTRACT.rules)
SURFACE = Surface(reasons=CONTRACT.reasons)

GOLDEN = [
    (
        INQUIRY,
        (
            '{"success":true,"data":{"id":150001,"policyNumber":"P123456789","payer":"John Doe",'
            '"amount":150.00,"currency":"USD","dueDate":"2025-11-15"}}'
        ),
    ),
    (
        CONFIRMATION,
        (
            '{"success":true,"data":{"transactionId":"AMK202510070001","paymentReferenceId":"150001",'
            '"status":"CONFIRMED","message":"Payment successfully processed"}}'
        ),
    ),
    (
        STATUS,
        (
            '{"success":true,"data":{"id":150001,"policyNumber":"P123456789","amount":150.00,'
            '"currency":"USD","dueDate":"2025-11-15","status":"PENDING"}}'
        ),
    ),
]

EVERY_TYPE = """
message Inner {
  string name = 1;
  google.type.Decimal amount = 2;
}
enum Colour {
  COLOUR_UNSPECIFIED = 0;
  COLOUR_DARK_RED = 1;
}
message Everything {
  string text = 1;
  int32 small = 2;
  int64 big = 3;
  uint32 count = 4;
  uint64 huge = 5;
  bool flag = 6;
  bytes blob = 7;
  Colour colour = 8;
  google.type.Decimal amount = 9;
  google.type.Date day = 10;
  google.protobuf.Timestamp moment = 11;
  google.protobuf.Timestamp bank_time = 12 [(payments.rest.v1.field_rule) = {
    time_layout: "%Y-%m-%d %H:%M:%S.%f", utc_offset: "+07:00"
  }];
  google.protobuf.Timestamp compact_time = 13 [(payments.rest.v1.field_rule) = {
    time_layout: "%Y%m%d%H%M%S", utc_offset: "+07:00"
  }];
  Inner inner = 14 [json_name = "inner_one"];
  repeated Inner more = 15;
  optional string maybe = 16;
}
service S {
  rpc Echo(Everything) returns (Everything) {
    option (google.api.http) = {post: "/echo" body: "*"};
  }
}
"""
DEMO = load_contract(image=with_real_contracts(image=compile_contract(source=EVERY_TYPE)))
DEMO_CODEC = Codec(rules=DEMO.rules)
EVERYTHING = next(one for one in DEMO.methods if one.name == "Echo").request

ROUND_TRIPS = [
    '"text":"ភ្នំពេញ \\"x\\" \\\\ 😀"',
    '"small":-2147483648',
    '"big":9223372036854775807',
    '"big":9007199254740993',
    '"count":4294967295',
    '"huge":18446744073709551615',
    '"flag":true',
    '"blob":"AP/+"',
    '"colour":"DARK_RED"',
    '"amount":0.10',
    '"amount":-0.00',
    '"amount":9999999999999999.99',
    '"day":"2024-02-29"',
    '"moment":"2025-10-07T05:00:00Z"',
    '"moment":"2025-10-07T05:00:00.123456789Z"',
    '"moment":"0001-01-01T00:00:00.100Z"',
    '"bankTime":"2025-10-07 12:00:00.123456"',
    '"compactTime":"20251007120000"',
    '"inner_one":{"name":"a","amount":1.50}',
    '"more":[{"name":"a"},{"amount":2}]',
    '"maybe":""',
]
REFUSED = [
    ('{"text":1}', "text", "must be a string"),
    ('{"text":"a\\ud800b"}', "text", "lone surrogates"),
    ('{"small":2147483648}', "small", "must be from"),
    ('{"small":1.0}', "small", "whole number"),
    ('{"small":1e2}', "small", "whole number"),
    ('{"small":true}', "small", "whole number"),
    ('{"small":"1"}', "small", "whole number"),
    ('{"big":9223372036854775808}', "big", "must be from"),
    (f'{{"big":{"9" * 5000}}}', "big", "whole number"),
    ('{"count":-1}', "count", "must be from"),
    ('{"flag":1}', "flag", "true or false"),
    ('{"flag":"true"}', "flag", "true or false"),
    ('{"blob":"A"}', "blob", "base64"),
    ('{"blob":"A P8="}', "blob", "base64"),
    ('{"colour":"COLOUR_DARK_RED"}', "colour", "must be one of DARK_RED"),
    ('{"colour":"UNSPECIFIED"}', "colour", "must be one of"),
    ('{"colour":1}', "colour", "must be one of"),
    ('{"amount":"150"}', "amount", "must be a number"),
    ('{"amount":true}', "amount", "must be a number"),
    ('{"amount":{"value":"1"}}', "amount", "must be a number"),
    ('{"amount":NaN}', "amount", "must not be NaN"),
    ('{"amount":-Infinity}', "amount", "must not be -Infinity"),
    ('{"day":"2025-02-29"}', "day", "real date"),
    ('{"day":"2025-2-3"}', "day", "YYYY-MM-DD"),
    ('{"day":"\uff12\uff10\uff12\uff15-01-01"}', "day", "YYYY-MM-DD"),
    ('{"moment":"2025-10-07T05:00:00"}', "moment", "must be a time"),
    ('{"moment":"2025-10-07T24:00:00Z"}', "moment", "must be a time"),
    ('{"moment":"2025-10-07T05:00:00+7:00"}', "moment", "must be a time"),
    ('{"bankTime":"2025-10-07 12:00:00.1234567"}', "bankTime", "real time"),
    ('{"bankTime":"2025-10-07 12:00:00."}', "bankTime", "real time"),
    ('{"bankTime":"2025-10-07  12:00:00"}', "bankTime", "real time"),
    ('{"compactTime":"2025100712000"}', "compactTime", "yyyyMMddHHmmss"),
    ('{"compactTime":"20250230120000"}', "compactTime", "real time"),
    ('{"compactTime":"20251007246000"}', "compactTime", "real time"),
    ('{"compactTime":"20251007120000\\n"}', "compactTime", "real time"),
    (
        '{"compactTime":"\uff12\uff10\uff12\uff15\uff11\uff10\uff10\uff17\uff11\uff12\uff10\uff10\uff10\uff10"}',
        "compactTime",
        "real time",
    ),
    ('{"compactTime":20251007120000}', "compactTime", "real time"),
    ('{"inner_one":[]}', "inner_one", "must be an object"),
    ('{"inner_one":{"name":2}}', "inner_one.name", "must be a string"),
    ('{"inner_one":{"nam":"x"}}', "inner_one.nam", "is not a member"),
    ('{"innerOne":{}}', "innerOne", "is not a member"),
    ('{"inner_one":{"name":"a","name":"b"}}', "inner_one.name", "is given twice"),
    ('{"more":{}}', "more", "must be a list"),
    ('{"more":[{"name":"a"},{"name":1}]}', "more[1].name", "must be a string"),
    ('{"text":"a","text":"b"}', "text", "is given twice"),
    ('{"text":"a","t\\u0065xt":"b"}', "text", "is given twice"),
    ("[]", "body", "must be a JSON object"),
    ("", "body", "is not valid JSON"),
    ('{"text":"a"', "body", "is not valid JSON"),
    ('{"text":"a"}x', "body", "is not valid JSON"),
    ("{'text':'a'}", "body", "is not valid JSON"),
    ('\ufeff{"text":"a"}', "body", "is not valid JSON"),
    ('{"amount":01}', "body", "is not valid JSON"),
    ('{"amount":1.}', "body", "is not valid JSON"),
    ('{"amount":+1}', "body", "is not valid JSON"),
    ('{"amount":.5}', "body", "is not valid JSON"),
    ('{"x":' * 20 + "1" + "}" * 20, "body", "nested deeper"),
    ("[" * 60_000, "body", "nested deeper"),
    ('{"x":' * 13_000, "body", "nested deeper"),
]
TIMES = [
    ("2025-10-07 12:00:00.123456", 1759813200, 123_456_000),
    ("2025-10-07 12:00:00.5", 1759813200, 500_000_000),
    ("2025-10-07 12:00:00", 1759813200, 0),
]


def read(data: bytes | str) -> tuple[Any, Reading]:
    message = EVERYTHING()
    reading = Reading(ignores_unknown=False)
    DEMO_CODEC.read_json(
        data=data.encode() if isinstance(data, str) else data,
        message=message,
        prefix="",
        place="body",
        besides=frozenset(),
        reading=reading,
    )
    return message, reading


@pytest.mark.parametrize(("message", "text"), GOLDEN)
def test_the_specifications_examples_come_out_byte_for_byte(message: Any, text: str) -> None:
    reply = SURFACE.success(data=CODEC.write(message=message), metadata={})
    assert reply.body == text.encode()


@pytest.mark.parametrize("member", ROUND_TRIPS)
def test_a_member_comes_back_as_it_went_in(member: str) -> None:
    message, reading = read(f"{{{member}}}")
    assert not reading.violations
    assert member in DEMO_CODEC.write(message=message)


@pytest.mark.parametrize(("text", "field", "description"), REFUSED)
def test_what_is_misspelled_is_refused_by_its_name(text: str, field: str, description: str) -> None:
    _, reading = read(text)
    assert [one.field for one in reading.violations] == [field]
    assert description in reading.violations[0].description


@pytest.mark.parametrize(("text", "seconds", "nanos"), TIMES)
def test_a_bank_time_is_read_in_its_zone_with_any_fraction(
    text: str, seconds: int, nanos: int
) -> None:
    message, reading = read(json.dumps({"bankTime": text}))
    assert not reading.violations
    assert (message.bank_time.seconds, message.bank_time.nanos) == (seconds, nanos)


def test_invalid_utf_8_is_named_where_it_stands() -> None:
    _, reading = read(b'{"small":1,"text":"a\xffb"}')
    assert [one.field for one in reading.violations] == ["text"]


def test_invalid_utf_8_outside_any_known_member_is_a_fault_of_the_body() -> None:
    message, reading = EVERYTHING(), Reading(ignores_unknown=True)
    DEMO_CODEC.read_json(
        data=b'{"other":"\xff"}',
        message=message,
        prefix="",
        place="body",
        besides=frozenset(),
        reading=reading,
    )
    assert [str(one) for one in reading.unplaced] == ["body: is not UTF-8 text"]


def test_null_is_absent() -> None:
    message, reading = read('{"text":null,"inner_one":null}')
    assert not reading.violations
    assert not message.HasField("inner")


def test_every_fault_is_told_at_once() -> None:
    _, reading = read('{"text":1,"small":"x","nope":1,"inner_one":{"amount":"1"}}')
    assert [one.field for one in reading.violations] == [
        "text",
        "small",
        "nope",
        "inner_one.amount",
    ]


def test_a_strangers_name_is_shown_short_and_printable() -> None:
    _, reading = read(json.dumps({"a\ud800\x00" + "x" * 1000: 1}))
    assert reading.violations[0].field == "a\ufffd\ufffd" + "x" * 61 + "..."


def test_a_service_that_answers_no_number_does_not_break_the_json() -> None:
    broken = gateway_service_pb2.InquirePaymentResponse()
    broken.amount.value = '1,"x":2'
    with pytest.raises(ValueError, match="plain decimal"):
        CODEC.write(message=broken)


def test_zero_is_written_and_empty_text_is_not() -> None:
    assert DEMO_CODEC.write(message=EVERYTHING()) == (
        '{"small":0,"big":0,"count":0,"huge":0,"flag":false,"more":[]}'
    )


def test_only_json_is_parsed() -> None:
    with pytest.raises(JsonFault):
        parse_json(data=b"\x00")


@given(
    st.decimals(
        min_value=Decimal(-(10**16) + 1),
        max_value=Decimal(10**16 - 1),
        allow_nan=False,
        allow_infinity=False,
        places=4,
    )
)
def test_the_digits_of_a_decimal_survive_both_ways(number: Decimal) -> None:
    text = f"{number:f}"
    message, reading = read(f'{{"amount":{text}}}')
    assert not reading.violations
    assert message.amount.value == text
    assert f'"amount":{text},' in DEMO_CODEC.write(message=message)


@given(st.text())
def test_any_text_survives_or_is_refused(text: str) -> None:
    message, reading = read(json.dumps({"text": text}))
    assert not reading.violations
    assert message.text == text
    assert json.loads(DEMO_CODEC.write(message=message)).get("text", "") == text


@given(st.binary())
def test_no_bytes_make_the_parser_stumble(data: bytes) -> None:
    read(data)
