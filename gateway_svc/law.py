"""The law of a payment: what a claim of the bank does to what is owed. Pure rules, no I/O."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chassis.money import Money
from gateway_svc.payment import (
    Answer,
    Bill,
    BillState,
    Confirmed,
    Decision,
    Hold,
    KnownNotice,
    Notice,
    NoticeState,
    Obligation,
    Refusal,
    Settlement,
)

# A look-up is over or given up after seconds: none can be recorded hours after it began.
_LONGEST_LOOKUP = timedelta(hours=2)
FINAL_REASONS = frozenset({"PAYMENT_VERIFICATION_DATA_MISMATCHED"})


def is_final(answer: Answer) -> bool:
    """Tell whether `answer` is stored and replayed as it was."""
    return isinstance(answer, Confirmed) or answer.reason in FINAL_REASONS


@dataclass(kw_only=True)
class Book:
    """What the database said, locked, about the notices at hand, and what was decided since.

    So the notices of one batch see each other. `bills` holds the claimed bills and every open
    bill of their obligations.
    """

    obligations: Mapping[int, Obligation]
    bills: Mapping[int, Bill]
    known: dict[tuple[str, str], list[KnownNotice]] = field(default_factory=dict)
    taken: set[tuple[str, str]] = field(default_factory=set)  # transactions that are payments
    settled: set[int] = field(default_factory=set)  # obligations, since

    def __post_init__(self) -> None:
        """Sort the bills by what they bill: a batch asks that for each of its notices."""
        self._bills_of: dict[int, list[Bill]] = defaultdict(list)
        for bill in self.bills.values():
            self._bills_of[bill.obligation_id].append(bill)

    def decide(self, notice: Notice) -> Decision:
        """Return what `notice` comes to, and remember it for the notices that follow."""
        decision = self._decided(notice)
        if not decision.replayed:
            self._remember(decision)
        return decision

    def _decided(self, notice: Notice) -> Decision:
        known = self.known.get(notice.key, [])
        for one in known:
            if one.content == notice.content:
                return Decision(notice=notice, answer=one.answer, replayed=True)
        if known:
            return _held(
                notice,
                Hold.CONTRADICTS,
                _mismatched("The transaction was notified before with other content"),
                contradicts=True,
            )
        if notice.key in self.taken:
            return _held(
                notice,
                Hold.TRANSACTION_TAKEN,
                _mismatched("The transaction is known as another payment"),
            )
        bill = self.bills.get(notice.bill_id)
        if bill is None or bill.bank_code != notice.bank_code:
            answer = Refusal(
                reason="RESOURCE_NOT_FOUND",
                message="Bill not found",
                details=f"Id: {notice.bill_id}",
            )
            return _held(notice, Hold.UNKNOWN_BILL, answer)
        return self._weighed(notice, bill)

    def _weighed(self, notice: Notice, bill: Bill) -> Decision:
        obligation = self.obligations[bill.obligation_id]
        if notice.policy_number not in bill.numbers:
            return _held(notice, Hold.MISMATCHED, _mismatched("policyNumber: not the bill's"))
        if obligation.paid or obligation.obligation_id in self.settled:
            answer = _mismatched("The premium was already paid by another transfer")
            return _held(notice, Hold.ALREADY_PAID, answer)
        if bill.state is BillState.OPEN:
            difference = _difference(notice.money, bill.money)
            if difference:
                return _held(notice, Hold.MISMATCHED, _mismatched(difference))
            return self._applied(notice, bill, late=False)
        return self._weighed_late(notice, bill)

    def _weighed_late(self, notice: Notice, bill: Bill) -> Decision:
        """Decide about a closed bill of an unpaid premium: only today's amount settles it."""
        open_bill = self._open_bill(bank_code=bill.bank_code, obligation_id=bill.obligation_id)
        if open_bill is None or notice.money != open_bill.money:
            answer = _mismatched("The bill is closed: the premium has changed")
            return _held(notice, Hold.BILL_CLOSED, answer)
        # The bill the money equals is the one that it pays: its own, or else the open one.
        return self._applied(notice, bill if bill.money == notice.money else open_bill, late=True)

    def _applied(self, notice: Notice, bill: Bill, *, late: bool) -> Decision:
        others = tuple(
            other
            for other in self._bills_of[bill.obligation_id]
            if other.state is BillState.OPEN and other.bill_id != bill.bill_id
        )
        flags = [
            name
            for name, holds in (
                ("late", late),
                ("paid_in_future", notice.paid_at > notice.received_at),
                # The bank's clock has whole seconds: a bill made within that second is no flag.
                ("paid_before_bill", notice.paid_at < bill.created_at.replace(microsecond=0)),
            )
            if holds
        ]
        return Decision(
            notice=notice,
            answer=Confirmed(transaction_id=notice.transaction_id, bill_id=notice.bill_id),
            settlement=Settlement(
                obligation=self.obligations[bill.obligation_id],
                bill=bill,
                closed=others,
                late=late,
            ),
            flags=tuple(flags),
        )

    def _open_bill(self, *, bank_code: str, obligation_id: int) -> Bill | None:
        return next(
            (
                bill
                for bill in self._bills_of[obligation_id]
                if bill.state is BillState.OPEN and bill.bank_code == bank_code
            ),
            None,
        )

    def _remember(self, decision: Decision) -> None:
        notice, settlement = decision.notice, decision.settlement
        self.known.setdefault(notice.key, []).append(
            KnownNotice(
                content=notice.content,
                answer=decision.answer,
            )
        )
        if settlement is not None:
            self.settled.add(settlement.obligation.obligation_id)


@dataclass(frozen=True, kw_only=True)
class Billing:
    """What an inquiry comes to: the bill to show, and what changes for it.

    `bill` is None where a new one must be made; `closes` is the bill it replaces;
    `affirms` means the open bill's amount was said again by a later look-up.
    """

    bill: Bill | None
    closes: Bill | None = None
    affirms: bool = False


def decide_billing(*, open_bill: Bill | None, money: Money, looked_up_at: datetime) -> Billing:
    """Return which bill answers an inquiry whose look-up began at `looked_up_at`.

    A newer amount closes the older bill only if its look-up began after the older one's:
    of two racing inquiries the one that asked the insurer last is right.
    """
    if open_bill is None:
        return Billing(bill=None)
    is_later = _is_later(looked_up_at, open_bill.looked_up_at)
    if open_bill.money == money:
        return Billing(bill=open_bill, affirms=is_later)
    if is_later:
        return Billing(bill=None, closes=open_bill)
    return Billing(bill=open_bill)


def _is_later(one: datetime, other: datetime) -> bool:
    """Tell whether `one` is later than `other`, or `other` was told by a clock that ran ahead.

    Else the bill it stands in would outlast every change of the premium until that moment.
    """
    return one > other or other - one > _LONGEST_LOOKUP


def _held(notice: Notice, hold: Hold, answer: Refusal, *, contradicts: bool = False) -> Decision:
    return Decision(
        notice=notice,
        answer=answer,
        state=NoticeState.HELD,
        hold=hold,
        contradicts=contradicts,
    )


def _mismatched(details: str) -> Refusal:
    return Refusal(
        reason="PAYMENT_VERIFICATION_DATA_MISMATCHED",
        message="The payment does not match the bill",
        details=details,
    )


def _difference(claimed: Money, billed: Money) -> str:
    if claimed.currency is not billed.currency:
        return f"currency: billed {billed.currency.name}, paid {claimed.currency.name}"
    if claimed != billed:
        return f"amount: billed {billed}, paid {claimed}"
    return ""
