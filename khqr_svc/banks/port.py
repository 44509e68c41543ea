"""The port that every bank which draws KHQR codes fits."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from chassis.money import Currency
from khqr_svc.code import Bill, MerchantAccount


class BankUnavailable(Exception):
    """The bank did not answer, or not in time; it may later. The text says how it failed."""

    def __init__(self, *, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class OutOfTime(BankUnavailable):
    """The caller's time ended before the bank answered; one with more time may ask again."""

    def __init__(self, *, deadline: float) -> None:
        super().__init__(why="no time was left")
        self.deadline = deadline


class BankNotUnderstood(Exception):
    """The bank answered with something else than a code; the text says what."""


@dataclass(frozen=True, kw_only=True)
class DrawnCode:
    """What a bank drew: a picture, its text, or both. Not checked yet."""

    image: bytes | None = field(repr=False)
    payload: str | None

    def __post_init__(self) -> None:
        """Refuse a code that is not there."""
        if self.image is None and self.payload is None:
            raise ValueError("a drawn code has a picture or a text")


class KhqrBank(Protocol):
    """A bank that draws codes for one merchant account of ours."""

    @property
    def code(self) -> str:
        """The bank's code, such as AMK."""

    @property
    def account(self) -> MerchantAccount:
        """Our account there."""

    @property
    def currencies(self) -> frozenset[Currency]:
        """What the account takes."""

    @property
    def checks(self) -> frozenset[str]:
        """What of a code is compared, beside checksum, amount and currency."""

    async def draw(self, *, bill: Bill, deadline: float) -> DrawnCode:
        """Return a code that should ask for `bill`; `deadline` is in monotonic seconds.

        :raises BankUnavailable: no answer, too slow, or a failure of the bank's own.
        :raises BankNotUnderstood: an answer that holds no code, or our login is refused.
        """

    async def close(self) -> None:
        """Stop what is under way."""


@runtime_checkable
class SignsIn(Protocol):
    """A bank that wants to be signed in to before it draws; others have no login to try."""

    async def sign_in(self, *, deadline: float) -> None:
        """Return if the bank takes our login, by `deadline` in monotonic seconds.

        :raises BankUnavailable: no answer, too slow, or a failure of the bank's own.
        :raises BankNotUnderstood: it refuses us, or answers with something else.
        """
