"""Exceptions: what needs a person, how it stands, what may be done about it. Pure, no I/O.

An exception is a held notice, or money that the bank vouches for and that pays nothing. A held
KHQR notice whose money is such a payment is no exception of its own: the payment is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chassis.money import Money
from gateway_svc.payment import Bill, BillState, Channel, Hold
from gateway_svc.verification import KhqrHold

UNAPPLIED = "UNAPPLIED"  # the hold of a payment


class Kind(StrEnum):
    """What is held; the first part of an exception's id."""

    NOTICE = "notice"  # of the bill channel
    KHQR = "khqr"  # a KHQR notice
    PAYMENT = "payment"  # money


class Action(StrEnum):
    """How an exception may end."""

    APPLY = "APPLY"  # the money pays an open bill
    REFUND = "REFUND"  # the money is to go back
    REFUNDED = "REFUNDED"  # it went back
    VOID = "VOID"  # there is no money to move


class ProposalState(StrEnum):
    """PROPOSED -> APPROVED | REJECTED."""

    PROPOSED = "PROPOSED"  # waits for somebody else
    APPROVED = "APPROVED"  # carried out
    REJECTED = "REJECTED"  # or taken back


class ExceptionState(StrEnum):
    """How an exception stands."""

    OPEN = "OPEN"  # nobody has proposed anything
    PROPOSED = "PROPOSED"  # a proposal waits for somebody else
    REFUNDING = "REFUNDING"  # to be sent back, and not sent yet
    RESOLVED = "RESOLVED"  # ended


ENDINGS = frozenset({Action.APPLY, Action.REFUNDED, Action.VOID})
# Claims that may be money we got though the bank has not vouched for it.
_MAY_BE_MONEY = frozenset(
    {
        KhqrHold.UNKNOWN_BILL,
        KhqrHold.MISMATCHED,
        KhqrHold.VERIFICATION_DIFFERS,
        KhqrHold.ALREADY_PAID,
        KhqrHold.BILL_CLOSED,
        KhqrHold.POSSIBLE_SECOND_TRANSFER,
        KhqrHold.NEVER_VERIFIED,
    }
)
# Why it needs a person and what to do, by kind and hold.
EXPLANATIONS = {
    (Kind.NOTICE, Hold.UNKNOWN_BILL): (
        "The bank told of a payment for a bill that we never made, and was refused."
        " Ask the bank whether the money moved; apply it to the bill that was meant, or void it"
        " once the bank has taken it back."
    ),
    (Kind.NOTICE, Hold.MISMATCHED): (
        "The bank told of a payment that differs from its bill, and was refused."
        " Ask the bank whether it took the money back: void it then, else apply or refund it."
    ),
    (Kind.NOTICE, Hold.CONTRADICTS): (
        "The bank told of the same transfer before, with other content; the first one counts."
        " Ask the bank which is right."
    ),
    (Kind.NOTICE, Hold.TRANSACTION_TAKEN): (
        "The number of this transfer is that of a KHQR payment we have."
        " Ask the bank whether this is the same money: void it then."
    ),
    (Kind.NOTICE, Hold.ALREADY_PAID): (
        "The premium was paid by another transfer before this one, which was refused."
        " Ask the bank whether it took the money back: void it then, else apply or refund it."
    ),
    (Kind.NOTICE, Hold.BILL_CLOSED): (
        "The bill was closed, as the premium had changed, and the payment was refused."
        " Ask the bank whether it took the money back: void it then, else apply or refund it."
    ),
    (Kind.KHQR, KhqrHold.UNKNOWN_BILL): (
        "The bank told of a KHQR payment for a bill that we never made."
        " Ask the bank whose money it is: refund it, or void it if none moved."
    ),
    (Kind.KHQR, KhqrHold.UNKNOWN_STATUS): (
        "The bank told of a status that we have no rule for."
        " Ask the bank what it means, then void it; money is found by asking about the bill."
    ),
    (Kind.KHQR, KhqrHold.MISMATCHED): (
        "The bank's notice differs from the bill, and the bank has not vouched for it."
        " It is asked for a day; then ask the bank in person, and refund or void it."
    ),
    (Kind.KHQR, KhqrHold.VERIFICATION_DIFFERS): (
        "The bank, when asked, said something else than the bill, the notice or what it said"
        " before. Ask the bank which is right, then refund or void it."
    ),
    (Kind.KHQR, KhqrHold.TAKEN_BACK): (
        "The bank says that a payment was reversed or refunded."
        " See whether the bill was paid by it, settle that with the insurer, then void this."
    ),
    (Kind.KHQR, KhqrHold.ALREADY_PAID): (
        "Real money came for a premium that is paid. Refund it, or void it if it was ended before."
    ),
    (Kind.KHQR, KhqrHold.BILL_CLOSED): (
        "Real money came for a closed bill. Refund it, or void it if it was ended before."
    ),
    (Kind.KHQR, KhqrHold.POSSIBLE_SECOND_TRANSFER): (
        "The bank told twice of this code being paid and names one transfer."
        " Ask the bank whether there were two: refund the second, or void it if there was one."
    ),
    (Kind.KHQR, KhqrHold.NEVER_VERIFIED): (
        "The bank told of a payment and did not confirm it for a day."
        " Ask the bank in person: refund it if there was money, else void it."
    ),
    (Kind.PAYMENT, UNAPPLIED): (
        "The bank vouches for this money and it pays no bill."
        " Apply it to an open bill of the same amount, or refund it; void it if the bank took it"
        " back."
    ),
}
_SENT_BACK = (
    "The bank vouches for this money, and two people send back what another claim of the same bill"
    " or transfer told of. Ask the bank whether this is that money: void it then, and refund it"
    " only if it came besides."
)
_REFUNDING = "It is to be sent back: send it, then propose REFUNDED with the bank's reference."
_RESOLVED = "Ended; nothing to do."


@dataclass(frozen=True, kw_only=True)
class Held:
    """What is held, or was, whatever became of it."""

    kind: Kind
    number: int
    bank_code: str
    channel: Channel
    hold: str
    since: datetime
    bill_id: int  # as claimed; 0 where nothing is
    policy_number: str
    money: Money | None
    transaction_id: str
    paid_at: datetime | None  # by the bank's word
    is_held: bool  # now, by the row itself and by no other exception
    is_taken: bool = False  # its transfer is a payment already
    is_sent_back: bool = False  # what another claim of the same money tells of is sent back

    @property
    def exception_id(self) -> str:
        """The name that people use for it."""
        return f"{self.kind.value}-{self.number}"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """How somebody would end an exception, and what somebody else said."""

    proposal_id: int
    exception_id: str
    hold: str
    held_since: datetime
    action: Action
    bill_id: int | None
    bank_reference: str | None
    reason: str
    proposed_by: str
    proposed_at: datetime
    request_id: str
    state: ProposalState
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str | None


@dataclass(frozen=True, kw_only=True)
class Exceptional:
    """An exception with all that was proposed about it, newest first."""

    held: Held
    proposals: tuple[Proposal, ...]
    fitting_bill_ids: tuple[int, ...] = ()

    @property
    def state(self) -> ExceptionState:
        """How it stands."""
        approved = self._approved
        if approved & ENDINGS or not self.held.is_held:
            return ExceptionState.RESOLVED
        if any(one.state is ProposalState.PROPOSED for one in self.proposals):
            return ExceptionState.PROPOSED
        return ExceptionState.REFUNDING if Action.REFUND in approved else ExceptionState.OPEN

    @property
    def actions(self) -> tuple[Action, ...]:
        """What may be proposed now."""
        if self.state in {ExceptionState.RESOLVED, ExceptionState.PROPOSED}:
            return ()
        return self.possible

    @property
    def possible(self) -> tuple[Action, ...]:
        """What may become of it, as far as it and what was approved before say."""
        held = self.held
        if Action.REFUND in self._approved:
            return (Action.REFUNDED, Action.VOID)
        found = []
        if may_be_applied(held):
            found.append(Action.APPLY)
        if held.money is not None and _may_be_money(held):
            found.append(Action.REFUND)
        return (*found, Action.VOID)

    @property
    def explanation(self) -> str:
        """Why it needs a person, and what to do."""
        if self.state is ExceptionState.RESOLVED:
            return _RESOLVED
        if Action.REFUND in self._approved:
            return _REFUNDING
        if self.held.kind is Kind.PAYMENT and self.held.is_sent_back:
            return _SENT_BACK
        return EXPLANATIONS.get(
            (self.held.kind, self.held.hold), f"Held: {self.held.hold}. Ask the bank."
        )

    @property
    def _approved(self) -> frozenset[Action]:
        return frozenset(
            one.action for one in self.proposals if one.state is ProposalState.APPROVED
        )


def may_be_applied(held: Held) -> bool:
    """Tell whether the money may pay a bill: a claim of KHQR that no bank vouches for may not."""
    return (
        held.kind is not Kind.KHQR
        and held.money is not None
        and not held.is_taken
        and not held.is_sent_back
    )


def misfit(*, held: Held, bill: Bill | None, obligation_paid: bool) -> str:
    """Return why the money of `held` cannot pay `bill`; empty where it can."""
    if bill is None:
        return "there is no such bill"
    if bill.bank_code != held.bank_code:
        return f"the bill is of another bank: {bill.bank_code}"
    if held.money != bill.money:
        return (
            f"the bill asks for {bill.money} {bill.money.currency.value},"
            f" not for {held.money} {held.money.currency.value if held.money else ''}"
        )
    if obligation_paid:
        return "the premium was paid meanwhile"
    if bill.state is not BillState.OPEN:
        return f"the bill is {bill.state.value}"
    return ""


def parse_exception_id(text: str) -> tuple[Kind, int]:
    """Return what `text` names; its form was checked by the contract."""
    kind, _, number = text.partition("-")
    return Kind(kind), int(number)


def fitting(*, held: Held, open_bills: Sequence[tuple[str, Bill]]) -> tuple[int, ...]:
    """Return which of `open_bills`, each with its policy, the money could pay."""
    if not may_be_applied(held):
        return ()
    return tuple(
        bill.bill_id
        for policy_number, bill in open_bills
        if policy_number == held.policy_number
        and bill.bank_code == held.bank_code
        and bill.money == held.money
    )


def _may_be_money(held: Held) -> bool:
    return held.kind is not Kind.KHQR or held.hold in _MAY_BE_MONEY
