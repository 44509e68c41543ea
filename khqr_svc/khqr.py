"""KHQR text: its shape, its checksum and the values inside. Pure: no I/O.

A code is a row of objects `TT LL value` (EMVCo, merchant-presented mode): a tag of two digits,
a length of two digits that counts characters, the value. Tag 00 is first; tag 63, a checksum of
the UTF-8 bytes before it, is last. What the tags hold is the National Bank of Cambodia's KHQR
standard. Wallets read tags we do not know: those are kept as they are.
"""

import binascii
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from chassis.money import Currency, Money, MoneyError, parse_money

_MOST_CHARACTERS = 512  # EMVCo's bound of a whole code; it bounds our work, too
_SEAL = re.compile(r"(.*6304)([0-9A-F]{4})", re.DOTALL)
_HEAD = re.compile(r"([0-9]{2})([0-9]{2})")
_UNREADABLE_CATEGORIES = frozenset({"Cc", "Cs"})  # control characters, lone surrogates
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DYNAMIC = "12"
_CURRENCIES = {"116": Currency.KHR, "840": Currency.USD}  # ISO 4217 numbers
_ACCOUNTS = ("29", "30")  # an individual's, a merchant's


class KhqrUnreadable(ValueError):
    """The text is no KHQR code we can vouch for; the message is one line naming the tag.

    `tag` is such as `54` or `62.01`, empty where the whole text is wrong.
    """

    def __init__(self, *, tag: str, why: str) -> None:
        super().__init__(f"tag {tag}: {why}" if tag else f"the text: {why}")
        self.tag = tag


@dataclass(frozen=True, kw_only=True)
class Khqr:
    """What a code says. Texts are as written; absent ones are None."""

    is_dynamic: bool  # made for one payment, with an amount
    currency: Currency
    money: Money | None  # None: the payer types the amount
    bakong_id: str  # `name@bank`
    merchant_id: str | None  # None on an individual's code
    merchant_bank: str | None
    merchant_name: str
    city: str
    mcc: str  # ISO 18245 merchant category, four digits
    bill_number: str | None
    store_label: str | None
    terminal_label: str | None
    created_at: datetime | None  # UTC
    expires_at: datetime | None  # UTC; codes of older writers do not say
    md5: str  # of the whole text, lower-case hex: Bakong's key of the transaction
    tags: Mapping[str, str] = field(repr=False)  # every tag by path, `62` and `62.01`, unknown too

    def has_expired(self, *, now: datetime) -> bool:
        """Tell whether the code's own time is over at `now`; one that names none never expires."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, kw_only=True)
class _Rule:
    pattern: re.Pattern[str]
    says: str
    required: bool


def _text(most: int, *, required: bool = False) -> _Rule:
    return _Rule(
        pattern=re.compile(f".{{1,{most}}}", re.DOTALL),
        says=f"must be 1 to {most} characters",
        required=required,
    )


def _coded(pattern: str, says: str, *, required: bool = True) -> _Rule:
    return _Rule(pattern=re.compile(pattern), says=says, required=required)


_BAKONG_ID = _coded(
    r"(?=.{3,32}\Z)[!-?A-~]+@[!-?A-~]+", "must be name@bank, 3 to 32 ASCII characters"
)
_MILLISECONDS = "must be 13 digits, milliseconds since 1970"
_RULES = {
    "00": _coded("01", "must be 01"),
    "01": _coded("11|12", "must be 11 (static) or 12 (dynamic)"),
    "15": _text(99),
    "52": _coded("[0-9]{4}", "must be 4 digits"),
    "53": _coded("116|840", "must be 116 (KHR) or 840 (USD)"),
    "54": _text(13),
    "58": _coded("KH", "must be KH"),
    "59": _text(25, required=True),
    "60": _text(15, required=True),
    "63": _coded("[0-9A-F]{4}", "must be 4 upper-case hex digits"),
}
_TEMPLATES: dict[str, dict[str, _Rule]] = {
    "29": {"00": _BAKONG_ID, "01": _text(32), "02": _text(32)},
    "30": {"00": _BAKONG_ID, "01": _text(32, required=True), "02": _text(32, required=True)},
    "62": {name: _text(25) for name in ("01", "02", "03", "07", "08")},
    "64": {
        "00": _coded(".{2}", "must be 2 characters"),
        "01": _text(25, required=True),
        "02": _text(15),
    },
    "99": {
        "00": _coded("[0-9]{13}", _MILLISECONDS),
        "01": _coded("[0-9]{13}", _MILLISECONDS, required=False),
    },
}


def crc16(data: bytes) -> int:
    """Return the CRC-16/CCITT-FALSE of `data`: polynomial 0x1021, start 0xFFFF, not reflected."""
    return binascii.crc_hqx(data, 0xFFFF)


def parse_khqr(text: str) -> Khqr:
    """Return what the code `text` says, once all of it is checked.

    :raises KhqrUnreadable: the checksum, the shape or a tag is wrong.
    """
    digest = _unsealed(text)
    tags = _objects(text)
    if next(iter(tags)) != "00":
        raise KhqrUnreadable(tag="00", why="must be first")
    _follow(tags, _RULES, inside="")
    for name, rules in _TEMPLATES.items():
        if name in tags:
            parts = _objects(tags[name], inside=f"{name}.")
            _follow(parts, rules, inside=f"{name}.")
            tags |= parts
    account = _account(tags)
    currency = _CURRENCIES[tags["53"]]
    if "15" in tags and currency is Currency.USD:
        raise KhqrUnreadable(tag="15", why="a UnionPay account does not take USD")
    is_dynamic = tags["01"] == _DYNAMIC
    _require(tags, "54", "99", where=is_dynamic)
    created_at, expires_at = _moment(tags, "99.00"), _moment(tags, "99.01")
    if created_at is not None and expires_at is not None and expires_at < created_at:
        raise KhqrUnreadable(tag="99.01", why="must not be before 99.00")
    return Khqr(
        is_dynamic=is_dynamic,
        currency=currency,
        money=_money(tags["54"], currency) if "54" in tags else None,
        bakong_id=tags[f"{account}.00"],
        merchant_id=tags.get("30.01"),
        merchant_bank=tags.get(f"{account}.02"),
        merchant_name=tags["59"],
        city=tags["60"],
        mcc=tags["52"],
        bill_number=tags.get("62.01"),
        store_label=tags.get("62.03"),
        terminal_label=tags.get("62.07"),
        created_at=created_at,
        expires_at=expires_at,
        md5=digest,
        tags=MappingProxyType(tags),
    )


def _unsealed(text: str) -> str:
    """Return the md5 of `text` after checking what concerns all of it."""
    if len(text) > _MOST_CHARACTERS:
        raise KhqrUnreadable(tag="", why=f"must be at most {_MOST_CHARACTERS} characters")
    if any(unicodedata.category(character) in _UNREADABLE_CATEGORIES for character in text):
        raise KhqrUnreadable(tag="", why="must not hold control characters")
    seal = _SEAL.fullmatch(text)
    if seal is None:
        raise KhqrUnreadable(tag="63", why="must be last, 4 upper-case hex digits")
    if crc16(seal[1].encode()) != int(seal[2], 16):
        raise KhqrUnreadable(tag="63", why="the checksum does not fit the text")
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _objects(text: str, *, inside: str = "") -> dict[str, str]:
    """Return the values in `text` by tag, in their order; `inside` goes before each tag."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        head = _HEAD.match(text, position)
        if head is None:
            raise KhqrUnreadable(
                tag=inside.rstrip("."),
                why=f"tag and length must be 4 digits at character {position + 1}",
            )
        tag, length = inside + head[1], int(head[2])
        value = text[head.end() : head.end() + length]
        if len(value) != length:
            raise KhqrUnreadable(tag=tag, why=f"must have {length} characters, has {len(value)}")
        if not value:
            raise KhqrUnreadable(tag=tag, why="must not be empty")
        if tag in found:
            raise KhqrUnreadable(tag=tag, why="must not be there twice")
        found[tag] = value
        position = head.end() + length
    if not inside and next(reversed(found), "") != "63":
        # The last characters look like tag 63 but belong to the value of another tag.
        raise KhqrUnreadable(tag="63", why="must be last")
    return found


def _follow(tags: Mapping[str, str], rules: Mapping[str, _Rule], *, inside: str) -> None:
    for name, rule in rules.items():
        value = tags.get(inside + name)
        if value is not None and not rule.pattern.fullmatch(value):
            raise KhqrUnreadable(tag=inside + name, why=rule.says)
        _require(tags, inside + name, where=rule.required)


def _require(tags: Mapping[str, str], *names: str, where: bool) -> None:
    for name in names:
        if where and name not in tags:
            raise KhqrUnreadable(tag=name, why="is missing")


def _account(tags: Mapping[str, str]) -> str:
    """Return the tag of the one account that is paid; with two, wallets would choose."""
    match [name for name in _ACCOUNTS if name in tags]:
        case [name]:
            return name
        case []:
            raise KhqrUnreadable(tag="30", why="is missing, and so is 29")
        case _:
            raise KhqrUnreadable(tag="30", why="must not be there beside 29")


def _money(text: str, currency: Currency) -> Money:
    try:
        money = parse_money(text=text, currency=currency)
    except MoneyError as problem:
        raise KhqrUnreadable(tag="54", why=str(problem)) from None
    if money.hundredths <= 0:
        raise KhqrUnreadable(tag="54", why="must be more than 0")
    return money


def _moment(tags: Mapping[str, str], name: str) -> datetime | None:
    return _EPOCH + timedelta(milliseconds=int(tags[name])) if name in tags else None
