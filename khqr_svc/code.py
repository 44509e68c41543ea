"""Bills, the codes that ask for them, and what a code must say before it is handed out.

Pure: no I/O. A code is read before it is shown because money follows what it says, not what
we asked the bank for.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chassis.money import Money
from khqr_svc.khqr import Khqr, KhqrUnreadable, parse_khqr

LONGEST_LIFE = timedelta(minutes=30)
LEAST_LEFT = timedelta(minutes=5)  # with less, a customer may not get to the end of paying


class CodeRefused(Exception):
    """The code does not ask for the bill; the text says why and names no person."""


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What can be paid now, as the inquiry answered it."""

    bill_id: int
    policy_number: str
    payer: str = field(repr=False)
    money: Money


@dataclass(frozen=True, kw_only=True)
class Code:
    """A checked code: its text, its picture, and until when it can be paid (UTC)."""

    payload: str
    image: bytes = field(repr=False)
    expires_at: datetime

    def is_live(self, *, now: datetime) -> bool:
        """Tell whether the code can be paid at `now`."""
        return self.expires_at > now

    def is_reusable(self, *, now: datetime) -> bool:
        """Tell whether enough of the code's life is left at `now` to hand it out again."""
        return self.expires_at - now >= LEAST_LEFT


@dataclass(frozen=True, kw_only=True)
class MerchantAccount:
    """Our account at one bank; identifiers are text, whatever they look like."""

    merchant_id: str
    store_id: str
    terminal_id: str


_COMPARED: Mapping[str, tuple[str, Callable[[Khqr, Bill, MerchantAccount], bool]]] = {
    "merchant": ("30.01", lambda khqr, _, account: khqr.merchant_id == account.merchant_id),
    "bill_number": ("62.01", lambda khqr, bill, _: khqr.bill_number == str(bill.bill_id)),
    "store": ("62.03", lambda khqr, _, account: khqr.store_label == account.store_id),
    "terminal": ("62.07", lambda khqr, _, account: khqr.terminal_label == account.terminal_id),
}
CHECKS = frozenset(_COMPARED)


def expiry_of_checked(
    *,
    payload: str,
    claimed: str | None,
    bill: Bill,
    account: MerchantAccount,
    checks: Iterable[str],
    now: datetime,
) -> datetime:
    """Return until when the code `payload` can be paid, once it is known to ask for `bill`.

    `payload` is what the picture says, `claimed` what the bank says that it says, if it does.
    Checksum, shape, amount and currency always count; `checks` names what else does.

    :raises CodeRefused: it cannot be read, says something else, or its time is over.
    """
    if claimed not in (None, payload):
        raise CodeRefused("the picture and the text of the code differ")
    try:
        khqr = parse_khqr(payload)
    except KhqrUnreadable as problem:
        raise CodeRefused(str(problem)) from None
    if khqr.money != bill.money:  # amounts in different currencies differ
        raise CodeRefused(f"tag 54: is {_told(khqr.money)}, the bill {_told(bill.money)}")
    for check in checks:
        tag, fits = _COMPARED[check]
        if not fits(khqr, bill, account):
            raise CodeRefused(f"tag {tag}: is not the {check.replace('_', ' ')} of the bill")
    if khqr.has_expired(now=now):
        raise CodeRefused("tag 99.01: is over")
    longest = now + LONGEST_LIFE
    return longest if khqr.expires_at is None else min(khqr.expires_at, longest)


def _told(money: Money | None) -> str:
    return "absent" if money is None else f"{money} {money.currency.name}"
