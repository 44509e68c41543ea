"""The code that the sandbox writes, against an independent reading and a public library."""

import hashlib
import io
from datetime import UTC, datetime, timedelta

import pytest
from bakong_khqr import KHQR
from PIL import Image

from amk_sandbox.khqr_writer import CodeContents, Merchant, amount_text, crc, write_khqr
from amk_sandbox.qr_image import draw_png, read_png
from chassis.money import Currency, parse_money
from tests.amk_sandbox.partner import crc_is_right, tags

CREATED = datetime(2025, 10, 7, 5, 0, 0, 123456, tzinfo=UTC)
AMOUNTS = [
    ("150.00", "USD", "150"),
    ("150.50", "USD", "150.5"),
    ("0.01", "USD", "0.01"),
    ("100.00", "USD", "100"),
    ("615000", "KHR", "615000"),
    ("100", "KHR", "100"),
]
ORDER = ["00", "01", "30", "52", "53", "54", "58", "59", "60", "62", "99", "63"]
TOO_LONG = [
    {"bakong_id": "x" * 33},
    {"merchant_id": "9" * 33},
    {"name": "x" * 26},
    {"city": "x" * 16},
    {"store_id": "8" * 26},
    {"terminal_id": ""},
    {"bakong_id": "x" * 32, "merchant_id": "9" * 32, "bank": "A" * 32},  # together over 99
]


def _written(text: str = "150.00", code: str = "USD", merchant: Merchant | None = None) -> str:
    return write_khqr(
        contents=CodeContents(
            merchant=merchant or Merchant(),
            amount=parse_money(text=text, currency=Currency.parse(code)),
            bill_number="150001",
            created_at=CREATED,
            expires_at=CREATED + timedelta(minutes=30),
        )
    )


def test_every_object_is_where_and_what_the_standard_says() -> None:
    text = _written()
    found = tags(text)
    assert list(found) == ORDER
    assert crc_is_right(text)
    assert tags(found.pop("30")) == {
        "00": "amksandbox@amkb",
        "01": "900000000290002",
        "02": "AMK",
    }
    assert tags(found.pop("62")) == {"01": "150001", "03": "800000000270001", "07": "70000002"}
    assert tags(found.pop("99")) == {"00": "1759813200123", "01": "1759815000123"}
    found.pop("63")
    assert found == {
        "00": "01",
        "01": "12",
        "52": "6300",
        "53": "840",
        "54": "150",
        "58": "KH",
        "59": "A Life Insurer",
        "60": "Phnom Penh",
    }


@pytest.mark.parametrize(("text", "code", "expected"), AMOUNTS)
def test_an_amount_is_written_by_its_currencys_rule(text: str, code: str, expected: str) -> None:
    found = tags(_written(text, code))
    assert (found["54"], found["53"]) == (expected, {"USD": "840", "KHR": "116"}[code])


@pytest.mark.parametrize("change", TOO_LONG)
def test_a_value_longer_than_the_standard_allows_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="tag"):
        _written(merchant=Merchant(**change))


def test_an_amount_of_more_than_13_characters_is_refused() -> None:
    with pytest.raises(ValueError, match="54"):
        _written("12345678901.25")


def test_the_crc_is_the_one_of_the_catalogue() -> None:
    assert crc(data=b"123456789") == 0x29B1  # CRC-16/CCITT-FALSE, "check"


@pytest.mark.parametrize(("text", "code", "expected"), AMOUNTS)
def test_a_public_library_writes_the_common_objects_alike(
    text: str, code: str, expected: str
) -> None:
    oracle = KHQR("")
    theirs = oracle.create_qr(
        amount=float(text),
        account_id="amksandbox@amkb",
        merchant_name="A Life Insurer",
        merchant_city="Phnom Penh",
        currency=code,
        store_label="800000000270001",
        bill_number="150001",
        terminal_label="70000002",
    )
    ours = _written(text, code)
    their_tags, our_tags = tags(str(theirs)), tags(ours)
    assert crc_is_right(str(theirs))
    for tag in ("00", "01", "53", "54", "58", "59", "60"):
        assert our_tags[tag] == their_tags[tag]
    assert tags(our_tags["62"]).items() <= tags(their_tags["62"]).items()
    assert amount_text(amount=parse_money(text=text, currency=Currency(code))) == expected
    assert oracle.generate_md5(ours) == hashlib.md5(ours.encode()).hexdigest()  # noqa: S324 # Bakong's key of a code


def test_a_phone_reads_the_picture() -> None:
    image = draw_png(text=_written())
    assert read_png(image=image) == _written()


@pytest.mark.parametrize("image", [b"", b"nothing", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_a_phone_sees_no_code_where_there_is_none(image: bytes) -> None:
    assert read_png(image=image) is None


def test_a_phone_does_not_unpack_a_picture_larger_than_a_screen() -> None:
    with Image.open(io.BytesIO(draw_png(text="x"))) as code:
        large = Image.new("L", (3000, 3000), 255)
        large.paste(code, (100, 100))
    written = io.BytesIO()
    large.save(written, "PNG")
    assert read_png(image=written.getvalue()) is None
