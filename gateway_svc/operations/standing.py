"""How a case stands, in one word and in one sentence. Pure, no I/O.

Every sentence has a key; a translation needs only what the case has anyway: the bill's number,
its amount, the transfer. All keys and their English stand in `SENTENCES`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from gateway_svc.operations.exception import ExceptionState
from gateway_svc.payment import Bill, BillState, Channel

_AMOUNT = "Bill {bill} over {amount} {currency}"
SENTENCES = {
    "open_unpaid": f"{_AMOUNT} is open: nobody has paid it yet. Nothing to do.",
    "open_with_code": f"{_AMOUNT} is open and has a code that can be scanned. Nothing to do.",
    "paid_by_bill": f"{_AMOUNT} was paid by bill payment {{transaction}}. Nothing to do.",
    "paid_by_khqr": f"{_AMOUNT} was paid by KHQR, transfer {{transaction}}. Nothing to do.",
    "paid_late": (
        f"{_AMOUNT} was closed, then paid late by transfer {{transaction}}. Nothing to do."
    ),
    "paid_by_decision": (
        f"{_AMOUNT} was paid by transfer {{transaction}}, as two people decided. Nothing to do."
    ),
    "closed_premium_changed": (
        f"{_AMOUNT} was closed because the premium changed; a newer bill took its place."
        " Nothing to do."
    ),
    "closed_paid_elsewhere": (
        f"{_AMOUNT} was closed because the premium was paid through another bill. Nothing to do."
    ),
    "closed": f"{_AMOUNT} was closed. Nothing to do.",
    "waiting_for_bank": (
        f"{_AMOUNT} may have been paid: the bank is being asked, again and again until it says."
        " Nothing to do; see whether the bank answers if it takes long."
    ),
    "needs_person": (
        f"{_AMOUNT}: there is money or a claim that needs a person."
        " See the exceptions and propose how it ends."
    ),
    "needs_approval": (
        f"{_AMOUNT}: somebody proposed how an exception ends. Somebody else approves or rejects it."
    ),
    "refund_to_send": (
        f"{_AMOUNT}: money is to be sent back."
        " Send it, then propose REFUNDED with the bank's reference."
    ),
    "unknown_bill_held": (
        "There is no bill {bill}, yet the bank told of a payment of it."
        " See the exceptions and propose how it ends."
    ),
    "unknown_bill_ended": (
        "There is no bill {bill}; what the bank told of it was ended by people. Nothing to do."
    ),
}


class Standing(StrEnum):
    """How a case stands; the words of the contract."""

    OPEN = "OPEN"
    PAID = "PAID"
    CLOSED = "CLOSED"
    WAITING = "WAITING"
    EXCEPTION = "EXCEPTION"
    UNKNOWN_BILL = "UNKNOWN_BILL"


@dataclass(frozen=True, kw_only=True)
class Paying:
    """The payment that pays by a bill."""

    transaction_id: str
    channel: Channel
    by_decision: bool


@dataclass(frozen=True, kw_only=True)
class CaseFacts:
    """What a standing is told from."""

    bill_id: int
    bill: Bill | None
    closed_because: str  # the bill's state_cause
    paying: Paying | None
    waiting: bool  # a notice waits for the bank's word
    has_live_code: bool
    exceptions: Collection[ExceptionState]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A standing in a word, and in a sentence with its key."""

    standing: Standing
    key: str
    sentence: str


def stands(facts: CaseFacts) -> Told:
    """Return how a case stands: what needs a person goes before what is done."""
    standing, key = _found(facts)
    bill = facts.bill
    sentence = SENTENCES[key].format(
        bill=facts.bill_id,
        amount="" if bill is None else str(bill.money),
        currency="" if bill is None else bill.money.currency.value,
        transaction="" if facts.paying is None else facts.paying.transaction_id,
    )
    return Told(standing=standing, key=key, sentence=sentence)


def _found(facts: CaseFacts) -> tuple[Standing, str]:
    unresolved: set[ExceptionState] = {
        one for one in facts.exceptions if one is not ExceptionState.RESOLVED
    }
    if facts.bill is None:
        key = "unknown_bill_held" if unresolved else "unknown_bill_ended"
        return Standing.UNKNOWN_BILL, key
    if unresolved:
        return Standing.EXCEPTION, _exception_key(unresolved)
    if facts.waiting:
        return Standing.WAITING, "waiting_for_bank"
    if facts.paying is not None:
        return Standing.PAID, _paid_key(facts.bill, facts.paying)
    if facts.bill.state is BillState.OPEN:
        return Standing.OPEN, "open_with_code" if facts.has_live_code else "open_unpaid"
    return Standing.CLOSED, _CLOSED_KEYS.get(facts.closed_because, "closed")


def _exception_key(unresolved: set[ExceptionState]) -> str:
    if ExceptionState.OPEN in unresolved:
        return "needs_person"
    return "needs_approval" if ExceptionState.PROPOSED in unresolved else "refund_to_send"


def _paid_key(bill: Bill, paying: Paying) -> str:
    if paying.by_decision:
        return "paid_by_decision"
    if bill.state is BillState.CLOSED:
        return "paid_late"
    return "paid_by_khqr" if paying.channel is Channel.KHQR else "paid_by_bill"


_CLOSED_KEYS = {
    "premium changed": "closed_premium_changed",
    "obligation paid through another bill": "closed_paid_elsewhere",
}
