"""Money is exact: what a bank reports is never rounded and never a float.

| currency | accepted                     | refused                               |
|----------|------------------------------|---------------------------------------|
| USD      | 150, 150.5, 150.00, 150.000  | 150.001, 1e2, .5, 1., +1, 17 digits   |
| KHR      | 615000, 615000.00            | 615000.5                              |
"""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.money import Currency, Money, MoneyError, parse_decimal, parse_money

USD, KHR = Currency.USD, Currency.KHR


@pytest.mark.parametrize(
    ("text", "currency", "hundredths", "written"),
    [
        ("150", USD, 15000, "150.00"),
        ("150.5", USD, 15050, "150.50"),
        ("150.00", USD, 15000, "150.00"),
        ("150.000", USD, 15000, "150.00"),
        ("0.01", USD, 1, "0.01"),
        ("-1.5", USD, -150, "-1.50"),
        ("9999999999999999.99", USD, 999999999999999999, "9999999999999999.99"),
        ("615000", KHR, 61500000, "615000"),
        ("615000.00", KHR, 61500000, "615000"),
    ],
)
def test_an_amount_keeps_its_value_and_is_written_with_its_currencys_decimals(
    text: str, currency: Currency, hundredths: int, written: str
) -> None:
    money = parse_money(text=text, currency=currency)
    assert money.hundredths == hundredths
    assert str(money) == written
    assert Decimal(money.hundredths).scaleb(-2) == Decimal(text)


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("150.001", USD),
        ("615000.5", KHR),
        *(
            (text, USD)
            for text in (
                "1e2", "1E+2", ".5", "1.", "+1", "", " 1", "1 ", "1\n", "0x10", "01", "--1",
                "NaN", "Infinity", "1,000", "1_000", "١٥٠", "១៥០", "12345678901234567",
            )
        ),
    ],
)  # fmt: skip
def test_what_is_no_plain_amount_is_refused(text: str, currency: Currency) -> None:
    with pytest.raises(MoneyError):
        parse_money(text=text, currency=currency)


def test_khr_has_no_fraction_however_it_is_made() -> None:
    with pytest.raises(MoneyError, match="0 decimals"):
        Money(hundredths=150, currency=KHR)


def test_a_currency_we_do_not_take_is_named_with_those_we_do() -> None:
    with pytest.raises(MoneyError, match="USD, KHR"):
        Currency.parse("EUR")


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_hundredths_survive_being_written_and_read(hundredths: int) -> None:
    money = Money(hundredths=hundredths, currency=USD)
    if abs(hundredths) < 10**18:
        assert parse_money(text=str(money), currency=USD) == money
    else:
        with pytest.raises(MoneyError):
            parse_decimal(str(money))
