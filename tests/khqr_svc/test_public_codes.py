"""Public codes, where `KHQR_VECTORS` names a file of them: {"vectors": [{id, kind, ...}]}.

| kind             | must hold                                                              |
|------------------|------------------------------------------------------------------------|
| generate, decode | read: every tag and the md5                                            |
| verify_invalid   | refused; too old, or without an end: read, and its values show it      |
| generate_invalid | a code written from that input is refused                              |
| amount_format    | the amount of tag 54 is read as the amount asked for                   |
| crc16            | the checksum                                                           |
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chassis.money import Currency, parse_money
from khqr_svc.khqr import crc16, parse_khqr
from tests.khqr_svc.codes import CREATED_MS, DYNAMIC, EXPIRES_MS, WITHOUT, refusal, written

TEMPLATES = {"29", "30", "62", "64", "99"}
AT_FAULT = {  # the tag that a refused input has wrong
    "AccountIDRequired": "30",
    "AccountIDTooLong": "29.00",
    "AccountIDInvalid": "29.00",
    "AcquiringBankTooLong": "29.02",
    "InvalidAmount": "54",
    "MerchantNameTooLong": "59",
    "BillNumberTooLong": "62.01",
    "TerminalLabelTooLong": "62.07",
    "LanguagePreferenceRequired": "64.00",
    "MerchantNameAltRequired": "64.01",
    "ExpirationRequired": "99",
    "InvalidTimestamp": "99.01",
}


def _vectors() -> list[dict[str, Any]]:
    path = Path(os.environ.get("KHQR_VECTORS") or "no file named")
    if not path.is_file():
        return []
    vectors: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["vectors"]
    return vectors


INDIVIDUAL = {"bakong_account_id": "00", "account_information": "01", "acquiring_bank": "02"}
MERCHANT = {"bakong_account_id": "00", "merchant_id": "01", "acquiring_bank": "02"}
ADDITIONAL = {"bill_number": "01", "mobile_number": "02", "store_label": "03"}
ADDITIONAL |= {"terminal_label": "07", "purpose": "08"}
ALTERNATIVE = {"alt_language": "00", "alt_merchant_name": "01", "alt_merchant_city": "02"}
SOME_TIMES = {"creation_timestamp_ms": f"{CREATED_MS}", "expiration_timestamp_ms": f"{EXPIRES_MS}"}
TIMES = {"creation_timestamp_ms": "00", "expiration_timestamp_ms": "01"}


def asked(given_values: Mapping[str, str]) -> str:
    """Return the code that the input of a vector asks for, valid or not."""

    def group(names: Mapping[str, str]) -> dict[str, str]:
        return {tag: given_values.get(name, "") for name, tag in names.items()}

    merchant = given_values["type"] == "merchant"
    amount = given_values.get("amount", "")
    return written(
        {
            "00": "01",
            "01": "12" if amount else "11",
            "30" if merchant else "29": group(MERCHANT if merchant else INDIVIDUAL),
            "52": "5999",
            "53": "840" if given_values.get("currency") == "USD" else "116",
            "54": amount,
            "58": "KH",
            "59": given_values["merchant_name"],
            "60": given_values.get("merchant_city", "Phnom Penh"),
            "62": group(ADDITIONAL),
            "64": group(ALTERNATIVE),
            "99": group(TIMES) if amount else WITHOUT,
        }
    )


def flat(tags: Mapping[str, Any]) -> dict[str, str]:
    inside = {
        f"{tag}.{name}": text
        for tag, value in tags.items()
        if isinstance(value, dict)
        for name, text in value.items()
    }
    return inside | {tag: value for tag, value in tags.items() if isinstance(value, str)}


_ABSENT = pytest.mark.skip(reason="KHQR_VECTORS names no file of codes")
_FOUND: list[Any] = [*_vectors()]
_VECTORS = _FOUND or [pytest.param({}, marks=_ABSENT)]


@pytest.mark.parametrize("vector", _VECTORS, ids=lambda vector: vector.get("id", "none"))
def test_the_public_code_holds(vector: dict[str, Any]) -> None:
    values, expected = vector["input"], vector["expected"]
    match vector["kind"], expected.get("reason"):
        case (("generate" | "decode"), _):
            code = parse_khqr(expected.get("qr") or values["qr"])
            assert code.md5 == expected["md5"]
            read = {tag: text for tag, text in code.tags.items() if tag not in TEMPLATES}
            assert read == flat(expected["tags"])
        case "verify_invalid", "KHQRExpired":
            code = parse_khqr(values["qr"])
            assert code.expires_at is not None
            assert code.has_expired(now=code.expires_at)
        case "verify_invalid", "ExpirationRequired":
            code = parse_khqr(values["qr"])
            assert code.is_dynamic
            assert code.expires_at is None
        case "verify_invalid", _:
            refusal(values["qr"])
        case "generate_invalid", _:
            error = expected["error"].partition(" ")[0].partition(":")[0]
            times = {} if error == "ExpirationRequired" else SOME_TIMES
            assert refusal(asked({**times, **values})).tag == AT_FAULT[error]
        case "amount_format", _:
            currency = Currency.parse(values["currency"])
            number = "840" if currency is Currency.USD else "116"
            code = parse_khqr(written(DYNAMIC, {"53": number, "54": expected["tag54_value"]}))
            assert code.money == parse_money(text=values["amount"], currency=currency)
        case "crc16", _:
            assert f"{crc16(values['data'].encode()):04X}" == expected["crc"]
        case kind, _:
            pytest.fail(f"a kind of vector that nobody reads: {kind}")
