"""Writes KHQR merchant codes as text (National Bank of Cambodia, EMVCo merchant-presented).

An object is a tag, the length in characters in two digits, and the value.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chassis.money import Currency, Money

_CURRENCY_NUMBERS = {Currency.KHR: "116", Currency.USD: "840"}  # ISO 4217
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSURANCE = "6300"  # merchant category, ISO 18245
_LONGEST_PART = 32
_LONGEST_OBJECT = 99
_LONGEST_AMOUNT = 13
_LONGEST_ADDITION = 25
_CRC_START = 0xFFFF
_CRC_POLYNOMIAL = 0x1021
_CRC_TOP_BIT = 0x8000


@dataclass(frozen=True, kw_only=True)
class Merchant:
    """The insurer as the bank knows it; the defaults are the specification's numbers."""

    merchant_id: str = "900000000290002"
    store_id: str = "800000000270001"
    terminal_id: str = "70000002"
    bakong_id: str = "amksandbox@amkb"
    bank: str = "AMK"
    name: str = "A Life Insurer"
    city: str = "Phnom Penh"


@dataclass(frozen=True, kw_only=True)
class CodeContents:
    """What a dynamic merchant code says."""

    merchant: Merchant
    amount: Money
    bill_number: str
    created_at: datetime
    expires_at: datetime


def write_khqr(*, contents: CodeContents) -> str:
    """Return the text of the code, its CRC last.

    :raises ValueError: a value is longer than the standard allows.
    """
    merchant = contents.merchant
    body = "".join(
        (
            _object("00", "01"),
            _object("01", "12"),  # dynamic: it has an amount
            _object(
                "30",
                _object("00", merchant.bakong_id, most=_LONGEST_PART)
                + _object("01", merchant.merchant_id, most=_LONGEST_PART)
                + _object("02", merchant.bank, most=_LONGEST_PART),
            ),
            _object("52", _INSURANCE),
            _object("53", _CURRENCY_NUMBERS[contents.amount.currency]),
            _object("54", amount_text(amount=contents.amount), most=_LONGEST_AMOUNT),
            _object("58", "KH"),
            _object("59", merchant.name, most=25),
            _object("60", merchant.city, most=15),
            _object(
                "62",
                _object("01", contents.bill_number, most=_LONGEST_ADDITION)
                + _object("03", merchant.store_id, most=_LONGEST_ADDITION)
                + _object("07", merchant.terminal_id, most=_LONGEST_ADDITION),
            ),
            _object(
                "99",
                _object("00", _epoch_ms(contents.created_at))
                + _object("01", _epoch_ms(contents.expires_at)),
            ),
            "6304",
        )
    )
    return f"{body}{crc(data=body.encode()):04X}"


def amount_text(*, amount: Money) -> str:
    """Return the amount as tag 54 has it: `150`, `150.5`, whole riel."""
    text = str(amount)
    return text.rstrip("0").rstrip(".") if "." in text else text


def crc(*, data: bytes) -> int:
    """Return the CRC-16/CCITT-FALSE of `data`."""
    register = _CRC_START
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            carry = register & _CRC_TOP_BIT
            register = (register << 1 & 0xFFFF) ^ (_CRC_POLYNOMIAL if carry else 0)
    return register


def _object(tag: str, value: str, *, most: int = _LONGEST_OBJECT) -> str:
    if not 1 <= len(value) <= most:
        raise ValueError(f"tag {tag} must have 1 to {most} characters")
    return f"{tag}{len(value):02d}{value}"


def _epoch_ms(moment: datetime) -> str:
    return str((moment - _EPOCH) // timedelta(milliseconds=1))
