"""What this process recorded and heard from banks: payments, and answers to its questions.

Counters of one process; what is open over all of them is in `work_metrics.py`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from prometheus_client import CollectorRegistry, Counter

from chassis.money import Currency
from gateway_svc.banks.port import Bank, Verifier
from gateway_svc.payment import Channel, Decision, Notice, PaymentState
from gateway_svc.verification import CaseDecision, Finding, Unanswered

Record = Callable[[Sequence[Notice]], Awaitable[Sequence[Decision]]]

_OTHER = "other"  # a bank that was configured away while its bills are still paid
_PAID, _NOT_PAID, _FOREIGN = "paid", "not_paid", "foreign"
_UNREADABLE, _UNAVAILABLE = "unreadable", "unavailable"
_FINDINGS = (_PAID, _NOT_PAID, _FOREIGN, _UNREADABLE, _UNAVAILABLE)


class PaymentMetrics:
    """Counts payments by bank, channel, currency and state, and what banks say when asked."""

    def __init__(self, *, registry: CollectorRegistry, banks: Mapping[str, object]) -> None:
        """Make every series there can be; `banks` are those of the configuration, by code."""
        payments = Counter(
            "payments_recorded",
            "Payments that this process recorded, after their commit.",
            ("bank", "channel", "currency", "state"),
            registry=registry,
        )
        self._payments = {
            (bank, channel, currency, state): payments.labels(
                bank, channel.value, currency.value, state.value
            )
            for bank in (*banks, _OTHER)
            for channel in Channel
            for currency in Currency
            for state in PaymentState
            if channel is Channel.KHQR or state is PaymentState.APPLIED
        }
        self._banks = frozenset(banks)
        self._findings = Counter(
            "bank_verifications",
            "Answers of banks to the question whether a bill was paid.",
            ("bank", "outcome"),
            registry=registry,
        )

    def counted(self, record: Record) -> Record:
        """Return `record`, with the payments it recorded counted."""

        async def counted_record(notices: Sequence[Notice]) -> Sequence[Decision]:
            decisions = await record(notices)
            for one in decisions:
                if one.settlement is not None and not one.replayed:
                    self._count(
                        one.notice.bank_code,
                        Channel.BILL,
                        one.notice.money.currency,
                        PaymentState.APPLIED,
                    )
            return decisions

        return counted_record

    def case_recorded(self, decision: CaseDecision) -> None:
        """Count the payment that a bank vouched for, if it was a new one."""
        payment = decision.payment
        if payment is not None:
            state = PaymentState.APPLIED if payment.applied_to else PaymentState.UNAPPLIED
            self._count(decision.case.bill.bank_code, Channel.KHQR, payment.money.currency, state)

    def watched(self, bank: Bank) -> Bank:
        """Return `bank`, with what it says counted."""
        if bank.verifier is None:
            return bank
        counters = {one: self._findings.labels(bank.code, one) for one in _FINDINGS}
        return replace(bank, verifier=_Counted(verifier=bank.verifier, counters=counters))

    def _count(self, bank: str, channel: Channel, currency: Currency, state: PaymentState) -> None:
        known = bank if bank in self._banks else _OTHER
        self._payments[known, channel, currency, state].inc()


class _Counted:
    """A bank that is asked as before."""

    def __init__(self, *, verifier: Verifier, counters: Mapping[str, Counter]) -> None:
        self._verifier = verifier
        self._counters = counters

    async def verify(self, *, bill_id: int, ends_at_s: float) -> Finding:
        """Return what the bank says; see `Verifier`."""
        finding = await self._verifier.verify(bill_id=bill_id, ends_at_s=ends_at_s)
        self._counters[_outcome(finding)].inc()
        return finding


def _outcome(finding: Finding) -> str:
    if isinstance(finding, Unanswered):
        return _UNREADABLE if finding.reason == "AMK_UNKNOWN_ERROR" else _UNAVAILABLE
    if finding.foreign:
        return _FOREIGN
    return _PAID if finding.paid else _NOT_PAID
