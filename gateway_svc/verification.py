"""The words of a KHQR payment: what the bank claims, and what it vouches for when asked."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chassis.money import Money
from gateway_svc.payment import Bill, NoticeState, Obligation, PaymentState, Refusal


class CodeState(StrEnum):
    """LIVE -> SUPERSEDED | EXPIRED | PAID."""

    LIVE = "LIVE"  # can be scanned
    SUPERSEDED = "SUPERSEDED"  # another code took its place, or its bill closed
    EXPIRED = "EXPIRED"  # its time is over
    PAID = "PAID"  # its bill was paid


class KhqrHold(StrEnum):
    """Why a KHQR notice needs a person."""

    UNKNOWN_BILL = "UNKNOWN_BILL"  # no such bill at this bank
    UNKNOWN_STATUS = "UNKNOWN_STATUS"  # a status we have no rule for
    MISMATCHED = "MISMATCHED"  # differs from its bill; the bank is asked in the background
    VERIFICATION_DIFFERS = "VERIFICATION_DIFFERS"  # the bank vouches for something else
    TAKEN_BACK = "TAKEN_BACK"  # REVERSED or REFUNDED
    ALREADY_PAID = "ALREADY_PAID"  # real money for a premium that is paid
    BILL_CLOSED = "BILL_CLOSED"  # real money for a bill that is closed, and nothing fits
    POSSIBLE_SECOND_TRANSFER = "POSSIBLE_SECOND_TRANSFER"  # told twice, the bank names one
    NEVER_VERIFIED = "NEVER_VERIFIED"  # the bank did not say paid for 24 hours


class Status(StrEnum):
    """What a KHQR notice may say, and how we acknowledge it."""

    SUCCESS = "SUCCESS"
    PENDING = "PENDING"
    FAILED = "FAILED"
    DECLINED = "DECLINED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    REVERSED = "REVERSED"
    REFUNDED = "REFUNDED"


NOTHING_PAID = frozenset({Status.FAILED, Status.DECLINED, Status.CANCELLED, Status.EXPIRED})
TAKEN_BACK = frozenset({Status.REVERSED, Status.REFUNDED})


@dataclass(frozen=True, kw_only=True)
class MerchantAccount:
    """Ours at one bank."""

    merchant_id: str
    store_id: str
    terminal_id: str


@dataclass(frozen=True, kw_only=True)
class KhqrNotice:
    """What a caller claims became of a code. Money and time may be absent unless SUCCESS."""

    bank_code: str
    bill_id: int
    merchant_number: str
    status: str
    money: Money | None
    paid_at: datetime | None
    received_at: datetime
    body_digest: str
    subject: str
    request_id: str

    @property
    def digest(self) -> str:
        """The natural key: everything claimed, the time by its second.

        The same notice with other microseconds is the same notice.
        """
        paid_at = self.paid_at.replace(microsecond=0).isoformat() if self.paid_at else ""
        money = f"{self.money} {self.money.currency.value}" if self.money else ""
        parts = (
            self.bank_code,
            self.merchant_number,
            str(self.bill_id),
            self.status,
            money,
            paid_at,
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Acknowledged:
    """A notice answered with success: what it comes to, such as CONFIRMED or FAILED."""

    status: str
    transaction_id: str


KhqrAnswer = Acknowledged | Refusal


@dataclass(frozen=True, kw_only=True)
class Verification:
    """An answer of the bank about one bill.

    `foreign` says why the answer is not about our transaction at all, else it is empty.
    """

    paid: bool
    money: Money | None
    transaction_id: str | None
    paid_at: datetime | None
    foreign: str
    asked_at: datetime
    answer_digest: str


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """The bank gave no answer we can use; `reason` is the contract's for that."""

    reason: str
    message: str


Finding = Verification | Unanswered


@dataclass(frozen=True, kw_only=True)
class OpenNotice:
    """A notice on disk that is not decided, or held and still worth asking about."""

    notice_id: int
    status: str
    state: NoticeState
    hold: str | None
    paid_at: datetime | None
    received_at: datetime
    asked: int
    request_id: str


@dataclass(frozen=True, kw_only=True)
class KnownPayment:
    """A payment on disk that a verification may speak of.

    `of_this_bill` if it pays the bill or the bank vouched for it when asked about the bill;
    `told_paid_at` is what the first notice of it said.
    """

    payment_id: int
    transaction_id: str
    state: PaymentState
    money: Money
    of_this_bill: bool
    vouched_for: bool  # by the bank, asked about this bill: not a transfer of the bill channel
    paid_at: datetime
    told_paid_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that is known, under lock, about one bill that the bank was asked about."""

    bill: Bill
    obligation: Obligation
    open_bill: Bill | None
    other_open_bills: tuple[Bill, ...]
    notices: tuple[OpenNotice, ...]
    payments: tuple[KnownPayment, ...]  # of this bill, or of the transaction that is named
    sent_back: bool = False  # two people send back, or sent, what a notice of the bill claims


@dataclass(frozen=True, kw_only=True)
class NewPayment:
    """Money the bank vouches for, to be recorded; `applied_to` is the bill that it pays."""

    transaction_id: str
    money: Money
    paid_at: datetime
    applied_to: Bill | None
    noted_bill: Bill | None  # whose amount it equals though it does not pay it
    closes: tuple[Bill, ...]
    late: bool


@dataclass(frozen=True, kw_only=True)
class NoticeChange:
    """What a notice comes to, or how it waits on."""

    notice: OpenNotice
    state: NoticeState
    hold: KhqrHold | None
    answer: KhqrAnswer | None  # None: the answer it has stays
    ask_again: bool
    settled_by_payment: bool  # linked to the payment of this case


@dataclass(frozen=True, kw_only=True)
class CaseDecision:
    """What one answer of the bank comes to."""

    case: Case
    finding: Finding
    payment: NewPayment | None
    known: KnownPayment | None  # the payment that the bank speaks of, where it is on disk
    changes: tuple[NoticeChange, ...]


def khqr_transaction_id(*, bank_code: str, bill_id: int) -> str:
    """Return our number of the KHQR payment of a bill."""
    return f"{bank_code}_KHQR_{bill_id}"
