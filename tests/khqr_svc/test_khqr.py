"""A code is read when every part of it holds, and refused with the tag that does not.

The codes are written by a few lines of our own (`codes.py`), with a checksum computed bit by bit.

| changed                              | outcome                       |
|--------------------------------------|-------------------------------|
| any one character                    | refused                       |
| cut anywhere                         | refused                       |
| order of the middle, unknown tags    | read                          |
| a tag twice, empty, too long, absent | refused, naming it            |
| old codes: tag 99 with 00 alone      | read, without an end          |
"""

import hashlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.money import Currency, parse_money
from khqr_svc.khqr import KhqrUnreadable, crc16, parse_khqr
from tests.khqr_svc.codes import (
    CREATED_MS,
    DYNAMIC,
    EXPIRES_MS,
    STATIC,
    WITHOUT,
    Change,
    Tags,
    at,
    bitwise_crc,
    parts,
    refusal,
    sealed,
    unsealed,
    written,
)


def test_a_dynamic_merchant_code_gives_everything_it_says() -> None:
    text = written(DYNAMIC)
    code = parse_khqr(text)
    assert code.is_dynamic
    assert code.currency is Currency.USD
    assert code.money == parse_money(text="150.00", currency=Currency.USD)
    assert code.bakong_id == "amkbkhppxxx@amkb"
    assert (code.merchant_id, code.merchant_bank) == ("900000000290002", "AMK Bank")
    assert (code.merchant_name, code.city, code.mcc) == ("A Life Insurer", "Phnom Penh", "6300")
    assert code.bill_number == "150001"
    assert (code.store_label, code.terminal_label) == ("Head office", "70000002")
    assert (code.created_at, code.expires_at) == (at(CREATED_MS), at(EXPIRES_MS))
    assert code.md5 == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    assert code.tags["62.07"] == "70000002"
    assert code.tags["62"] == unsealed({"62": DYNAMIC["62"]})[4:]


def test_a_static_code_in_khmer_has_no_amount_and_no_times() -> None:
    code = parse_khqr(written(STATIC))
    assert not code.is_dynamic
    assert code.money is None
    assert code.currency is Currency.KHR
    assert code.merchant_name == "សុខ ដារ៉ា"
    assert code.bakong_id == "sok_dara@devb"
    assert (code.merchant_id, code.merchant_bank, code.bill_number) == (None, None, None)
    assert (code.created_at, code.expires_at) == (None, None)


@pytest.mark.parametrize(
    ("change", "amount"),
    [
        ({"54": "150"}, "150.00"),
        ({"54": "150.5"}, "150.50"),
        ({"54": "100.0"}, "100.00"),
        ({"54": "0.01"}, "0.01"),
        ({"54": "9999999999.99"}, "9999999999.99"),
        ({"53": "116", "54": "615000"}, "615000"),
        ({"53": "116", "54": "50000.0"}, "50000"),
        ({"53": "116", "54": "1234567890123"}, "1234567890123"),
    ],
)
def test_an_amount_is_exact(change: Change, amount: str) -> None:
    money = parse_khqr(written(DYNAMIC, change)).money
    assert str(money) == amount


@pytest.mark.parametrize(
    ("base", "change"),
    [
        (DYNAMIC, {"15": WITHOUT, "61": "12000", "85": "from a newer standard"}),
        (DYNAMIC, parts(DYNAMIC, "62", {"68": "0010PAYWAY@ABA", "02": "85512345678"})),
        (DYNAMIC, parts(DYNAMIC, "99", {"01": WITHOUT})),
        (DYNAMIC, parts(DYNAMIC, "99", {"01": str(CREATED_MS)})),
        (DYNAMIC, {"53": "116", "15": "1" * 31}),
        (DYNAMIC, {"64": {"00": "km", "01": "ក្រុមហ៊ុន", "02": "ភ្នំពេញ"}}),
        (DYNAMIC, {"59": "x" * 25, "60": "x" * 15}),
        (STATIC, {"54": "4000"}),
        (STATIC, {"99": {"00": str(CREATED_MS)}}),
        (STATIC, {"29": {"00": f"{'a' * 27}@devb", "01": "1" * 32, "02": "b" * 18}}),
    ],
)
def test_what_the_standard_or_an_older_writer_allows_is_read(base: Tags, change: Change) -> None:
    text = written(base, change)
    code = parse_khqr(text)
    assert unsealed({**code_tree(code.tags), "63": WITHOUT}) == text[:-8]


def code_tree(tags: Mapping[str, str]) -> Change:
    return {path: value for path, value in tags.items() if "." not in path}


@given(st.permutations(list(DYNAMIC)[1:]))
def test_the_middle_may_stand_in_any_order(middle: list[str]) -> None:
    expected = parse_khqr(written(DYNAMIC))
    code = parse_khqr(written({tag: DYNAMIC[tag] for tag in ["00", *middle]}))
    assert code.money == expected.money
    assert {**code.tags, "63": ""} == {**expected.tags, "63": ""}


@pytest.mark.parametrize(
    ("tag", "base", "change"),
    [
        ("00", DYNAMIC, {"00": WITHOUT}),
        ("00", DYNAMIC, {"00": "02"}),
        ("01", DYNAMIC, {"01": WITHOUT}),
        ("01", DYNAMIC, {"01": "13"}),
        ("01", DYNAMIC, {"01": "012"}),
        ("15", DYNAMIC, {"15": "1" * 31}),  # beside USD
        ("30", DYNAMIC, {"30": WITHOUT}),
        ("30", DYNAMIC, {"29": {"00": "a@b"}}),
        ("30.00", DYNAMIC, parts(DYNAMIC, "30", {"00": WITHOUT})),
        ("30.01", DYNAMIC, parts(DYNAMIC, "30", {"01": WITHOUT})),
        ("30.02", DYNAMIC, parts(DYNAMIC, "30", {"02": WITHOUT})),
        ("30.01", DYNAMIC, parts(DYNAMIC, "30", {"01": "1" * 33})),
        ("30", DYNAMIC, {"30": "0"}),
        ("30.00", DYNAMIC, {"30": "0016short"}),
        ("30.00", DYNAMIC, {"30": "0003a@b0003a@b"}),
        *(("29.00", STATIC, {"29": {"00": name}}) for name in (
            "abcd", "@abcd", "abcd@", "abcd@@", "a@b@c", "a b@c", "ក@devb", f"{'a' * 28}@devb",
        )),
        ("29.01", STATIC, parts(STATIC, "29", {"01": "1" * 33})),
        ("29.02", STATIC, parts(STATIC, "29", {"02": "1" * 33})),
        ("52", DYNAMIC, {"52": WITHOUT}),
        *(("52", DYNAMIC, {"52": mcc}) for mcc in ("-100", "630", "63000", "៦៣០០", "630a")),
        ("53", DYNAMIC, {"53": WITHOUT}),
        *(("53", DYNAMIC, {"53": number}) for number in ("978", "8400", "USD", "٨٤٠")),
        ("54", DYNAMIC, {"54": WITHOUT}),
        *(("54", DYNAMIC, {"54": amount}) for amount in (
            "0", "0.00", "-1", "1.001", "1e2", "1,000", "0150", ".5", "5.", "១៥០", "+1",
            "10000000000.00", "12345678901234",
        )),
        ("54", DYNAMIC, {"53": "116", "54": "100.5"}),
        ("58", DYNAMIC, {"58": WITHOUT}),
        ("58", DYNAMIC, {"58": "TH"}),
        ("58", DYNAMIC, {"58": "kh"}),
        ("59", DYNAMIC, {"59": WITHOUT}),
        ("59", DYNAMIC, {"59": "x" * 26}),
        ("60", DYNAMIC, {"60": WITHOUT}),
        ("60", DYNAMIC, {"60": "x" * 16}),
        *((f"62.{name}", DYNAMIC, {"62": {name: "1" * 26}})
          for name in ("01", "02", "03", "07", "08")),
        ("64.00", DYNAMIC, {"64": {"01": "x"}}),
        ("64.00", DYNAMIC, {"64": {"00": "khm", "01": "x"}}),
        ("64.01", DYNAMIC, {"64": {"00": "km", "02": "x"}}),
        ("64.01", DYNAMIC, {"64": {"00": "km", "01": "x" * 26}}),
        ("64.02", DYNAMIC, {"64": {"00": "km", "01": "x", "02": "x" * 16}}),
        ("99", DYNAMIC, {"99": WITHOUT}),
        ("99.00", DYNAMIC, parts(DYNAMIC, "99", {"00": WITHOUT})),
        ("99.00", DYNAMIC, parts(DYNAMIC, "99", {"00": "1759813200"})),
        ("99.01", DYNAMIC, parts(DYNAMIC, "99", {"01": "17598150001234"})),
        ("99.01", DYNAMIC, parts(DYNAMIC, "99", {"01": "១៧៥៩៨១៥០០០១២៣"})),
        ("99.01", DYNAMIC, parts(DYNAMIC, "99", {"01": str(CREATED_MS - 1)})),
        ("", DYNAMIC, {"59": "two\nlines"}),
        ("", DYNAMIC, {"59": "nul\x00"}),
        ("", DYNAMIC, {str(tag): "x" * 90 for tag in range(80, 85)}),  # over 512 characters
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_tag(tag: str, base: Tags, change: Change) -> None:
    problem = refusal(written(base, change))
    assert problem.tag == tag
    assert str(problem).startswith(f"tag {tag}: " if tag else "the text: ")


BODY = unsealed(DYNAMIC)


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("63", ""),
        ("63", "EAB3"),
        ("63", BODY),
        ("63", f"{BODY}6304{(bitwise_crc(f'{BODY}6304'.encode()) + 1) & 0xFFFF:04X}"),
        ("63", sealed(f"{BODY}5904dupe")[:-4] + "abcd"),
        ("", f"{sealed(BODY)}\n"),
        ("63", f"{sealed(BODY)}0000"),
        ("63", sealed(f"{BODY}6304ABCD")),  # tag 63 twice
        ("63", sealed(f"{BODY}6308")),  # its length takes in the seal
        ("63", sealed(f"{BODY}8508")),  # the seal is the value of another tag
        ("63", sealed(f"{BODY}6304ABCD8508")),  # though there is a tag 63 in the middle
        ("63", sealed(f"{BODY}6304ABCD5802KH")[:-8]),
        ("59", sealed(f"{BODY}5904dupe")),
        ("59", sealed("0002015900")),
        ("85", sealed(f"{BODY}8509")),  # reaches over the end
        ("00", sealed(f"0102{'12'}{BODY.replace('010212', '')}")),
        ("00", sealed("")),
        ("", sealed(f"{BODY}៨៥០១x")),  # digits of another script
        ("", sealed(f"{BODY}+501x")),
        ("", f"{'0' * 513}"),
        ("", "\ud800"),
    ],
)
def test_what_has_no_shape_is_refused(tag: str, text: str) -> None:
    assert refusal(text).tag == tag


def test_an_upper_case_checksum_is_asked_for() -> None:
    body = next(
        text
        for number in range(100)
        if (text := unsealed({**DYNAMIC, "54": f"{number + 1}"}))
        and sealed(text)[-4:] != sealed(text)[-4:].lower()
    )
    parse_khqr(sealed(body))
    assert refusal(sealed(body)[:-4] + sealed(body)[-4:].lower()).tag == "63"


@pytest.mark.parametrize("base", [DYNAMIC, STATIC])
def test_every_change_of_one_character_is_refused(base: Tags) -> None:
    text = written(base)
    for position, old in enumerate(text):
        for new in map(chr, range(0x20, 0x7F)):
            if new != old:
                refusal(f"{text[:position]}{new}{text[position + 1 :]}")


@pytest.mark.parametrize("base", [DYNAMIC, STATIC])
def test_every_cut_is_refused(base: Tags) -> None:
    text = written(base)
    for end in range(len(text)):
        refusal(text[:end])
        refusal(text[end + 1 :])


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    for attempt in (text, sealed_anyhow(text), sealed_anyhow(f"000201{text}")):
        try:
            code = parse_khqr(attempt)
        except KhqrUnreadable:
            continue
        assert code.tags["00"] == "01"


def sealed_anyhow(body: str) -> str:
    return f"{body}6304{bitwise_crc(f'{body}6304'.encode(errors='replace')):04X}"


DIGITS = st.text(alphabet="0123456789", max_size=14)
TAG = st.sampled_from([*DYNAMIC, "15", "29", "61", "63", "64", "85"])


@given(
    st.lists(
        st.tuples(
            TAG, st.one_of(DIGITS, st.text(max_size=30), st.dictionaries(TAG, DIGITS, max_size=4))
        ),
        max_size=3,
    )
)
def test_no_code_with_changed_objects_raises_anything_else(
    changes: list[tuple[str, str | dict[str, str]]],
) -> None:
    text = unsealed({**DYNAMIC, **dict(changes)})
    try:
        code = parse_khqr(sealed_anyhow(text))
    except KhqrUnreadable:
        return
    assert code.money is None or code.money.hundredths > 0
    assert code.is_dynamic == (code.tags["01"] == "12")


@given(st.binary(max_size=600))
def test_the_checksum_is_the_bitwise_one(data: bytes) -> None:
    assert crc16(data) == bitwise_crc(data)


def test_the_checksum_has_its_published_check_value() -> None:
    assert crc16(b"123456789") == 0x29B1


def test_a_code_expires_at_its_own_end_and_one_without_an_end_never() -> None:
    code = parse_khqr(written(DYNAMIC))
    assert not code.has_expired(now=at(EXPIRES_MS - 1))
    assert code.has_expired(now=at(EXPIRES_MS))
    assert not parse_khqr(written(STATIC)).has_expired(now=at(EXPIRES_MS * 2))
