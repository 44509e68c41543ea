"""Money: exact decimals in a currency, and the whole hundredths they are stored as."""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

_DECIMAL_TEXT = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)
_DECIMALS = {"USD": 2, "KHR": 0}
MAX_INTEGER_DIGITS = 16  # 10^16 in hundredths is 10^18, which fits 64 bits (9.2 * 10^18)


class Currency(Enum):
    """A currency we take, by its ISO 4217 code."""

    USD = "USD"
    KHR = "KHR"

    @property
    def decimals(self) -> int:
        """The number of decimals an amount is written with."""
        return _DECIMALS[self._value_]  # `value` itself is a property of 0.1 us

    @classmethod
    def parse(cls, code: str) -> "Currency":
        """Return the currency with the ISO code `code`.

        :raises MoneyError: the code is not one of ours.
        """
        try:
            return cls(code)
        except ValueError:
            raise MoneyError(f"must be one of {', '.join(cls.__members__)}") from None


class MoneyError(ValueError):
    """The text or number is not an amount of this currency; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Money:
    """An exact amount: whole hundredths of one currency, KHR always in whole riel."""

    hundredths: int
    currency: Currency

    def __post_init__(self) -> None:
        """Refuse a fraction that the currency does not have."""
        if self.hundredths % 10 ** (2 - self.currency.decimals):
            raise MoneyError(f"{self.currency.name} has {self.currency.decimals} decimals")

    def __str__(self) -> str:
        """Return the amount with the currency's own decimals, such as `150.00` or `615000`."""
        sign = "-" if self.hundredths < 0 else ""
        whole, fraction = divmod(abs(self.hundredths), 100)
        return f"{sign}{whole}.{fraction:02}" if self.currency.decimals else f"{sign}{whole}"


def parse_decimal(text: str) -> Decimal:
    """Return the number that `text` writes in plain digits.

    :raises MoneyError: it has an exponent, more than 16 integer digits, or is no number.
    """
    _parts(text)
    return Decimal(text)


def _parts(text: str) -> tuple[str, str, str]:
    """Return sign, whole and fraction of the number that `text` writes in plain digits."""
    found = _DECIMAL_TEXT.fullmatch(text)
    if found is None:
        raise MoneyError("must be a plain decimal number")
    sign, whole, fraction = found.groups("")
    if len(whole) > MAX_INTEGER_DIGITS:
        raise MoneyError(f"must have at most {MAX_INTEGER_DIGITS} integer digits")
    return sign, whole, fraction


def parse_money(*, text: str, currency: Currency) -> Money:
    """Return the amount `text` writes, never rounded: `615000.00` riel is fine, `0.5` is not.

    :raises MoneyError: not a plain decimal, or finer than the currency allows.
    """
    return Money(hundredths=parse_hundredths(text=text, currency=currency), currency=currency)


def parse_hundredths(*, text: str, currency: Currency) -> int:
    """Return the amount `text` writes in whole hundredths, as `parse_money`."""
    sign, whole, fraction = _parts(text)
    if fraction[currency.decimals :].strip("0"):
        raise MoneyError(f"must have at most {currency.decimals} decimals in {currency.name}")
    hundredths = int(whole) * 100 + int(f"{fraction}00"[:2])
    return -hundredths if sign else hundredths
