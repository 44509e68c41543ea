"""The words of a payment: what is owed, what is claimed, what was paid. Pure values, no I/O.

An **obligation** is what the insurer says is owed; a **bill** is an obligation presented at
one bank for one amount; a **notice** is what the bank claims; a **payment** is one movement
of money; an **application** is a payment that pays an obligation, at most one for each.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from chassis.money import Currency, Money


class BillState(StrEnum):
    """OPEN -> PAID | CLOSED."""

    OPEN = "OPEN"  # can be paid
    PAID = "PAID"  # the obligation was paid by a payment of this bill
    CLOSED = "CLOSED"  # the premium changed, or another bill's payment paid the obligation


class NoticeState(StrEnum):
    """RECEIVED -> VERIFYING -> DONE | HELD."""

    RECEIVED = "RECEIVED"  # on disk, nothing decided
    VERIFYING = "VERIFYING"  # the bank is being asked
    DONE = "DONE"  # decided for good
    HELD = "HELD"  # needs a person


class PaymentState(StrEnum):
    """Whether money has found the obligation it pays."""

    APPLIED = "APPLIED"
    UNAPPLIED = "UNAPPLIED"


class Channel(StrEnum):
    """How the customer paid."""

    BILL = "BILL"
    KHQR = "KHQR"


class Hold(StrEnum):
    """Why a notice needs a person."""

    UNKNOWN_BILL = "UNKNOWN_BILL"  # no such bill at this bank
    MISMATCHED = "MISMATCHED"  # differs from its bill
    CONTRADICTS = "CONTRADICTS"  # same bank transaction id, other content
    TRANSACTION_TAKEN = "TRANSACTION_TAKEN"  # the bank's number is that of a KHQR payment
    ALREADY_PAID = "ALREADY_PAID"  # another transfer paid the obligation
    BILL_CLOSED = "BILL_CLOSED"  # the bill is closed and no open bill fits


@dataclass(frozen=True, kw_only=True)
class Premium:
    """What the insurer says is due on a policy, as looked up at a moment."""

    policy_number: str
    payer: str
    money: Money
    due_on: date


@dataclass(frozen=True, kw_only=True)
class Obligation:
    """What is owed, whatever the bank: (policy number, due date, currency)."""

    obligation_id: int
    policy_number: str
    due_on: date
    currency: Currency
    event_sequence: int  # of the last event published about it
    paid: bool


@dataclass(frozen=True, kw_only=True)
class Bill:
    """An obligation presented at one bank for one amount."""

    bill_id: int
    bank_code: str
    obligation_id: int
    money: Money
    payer: str
    state: BillState
    looked_up_at: datetime  # when the last look-up that said this amount began
    created_at: datetime
    numbers: frozenset[str] = frozenset()  # the policy number and every number asked for


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What a caller claims about one transfer of the bill channel."""

    bank_code: str
    transaction_id: str
    bill_id: int
    policy_number: str
    money: Money
    payer: str
    paid_at: datetime
    received_at: datetime
    body_digest: str
    subject: str
    request_id: str

    @property
    def key(self) -> tuple[str, str]:
        """The natural key: what makes a repeat a repeat."""
        return (self.bank_code, self.transaction_id)

    @property
    def content(self) -> tuple[int, str, Money]:
        """What must be equal in a repeat; payer and time are stored, never compared."""
        return (self.bill_id, self.policy_number, self.money)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An answer that is not a success: a reason of the contract, and why in words."""

    reason: str
    message: str
    details: str


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """The answer to a notice that is accepted and recorded."""

    transaction_id: str
    bill_id: int


Answer = Confirmed | Refusal


@dataclass(frozen=True, kw_only=True)
class KnownNotice:
    """A notice that is on disk already, or decided earlier in the same batch."""

    content: tuple[int, str, Money]
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """A payment applied: which bill it pays, what it closes, and what it is worth knowing."""

    obligation: Obligation
    bill: Bill
    closed: tuple[Bill, ...]
    late: bool


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What one notice comes to.

    `replayed` means that the notice was decided before and nothing is to be recorded.
    """

    notice: Notice
    answer: Answer
    state: NoticeState = NoticeState.DONE
    hold: Hold | None = None
    contradicts: bool = False
    settlement: Settlement | None = None
    flags: tuple[str, ...] = ()
    replayed: bool = False


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """A premium that was looked up for one bank, to be presented as a bill."""

    bank_code: str
    number: str  # as asked for: the policy's or an application's
    premium: Premium
    looked_up_at: datetime  # when the look-up began


@dataclass(frozen=True, kw_only=True)
class BillStanding:
    """How a bill stands, and the transfer that paid it."""

    bill: Bill
    obligation: Obligation
    transaction_id: str | None
