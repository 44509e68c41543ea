"""A decision on a bill notice as the rows that it leaves."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gateway_svc.answers import answer_text
from gateway_svc.bill_store import Leaving
from gateway_svc.payment import BillState, Channel, Decision, PaymentState, Settlement
from gateway_svc.rows import amount_columns


def in_order(decisions: Sequence[Decision]) -> list[Decision]:
    """Return `decisions` by their natural keys, so that two writers never wait for each other."""
    return sorted(decisions, key=lambda one: (one.notice.key, one.contradicts))


def settled_of(decisions: Sequence[Decision]) -> list[tuple[Decision, Settlement]]:
    """Return those of `decisions` that apply a payment, each with what it settles."""
    return [(one, one.settlement) for one in decisions if one.settlement is not None]


def leaving_of(settled: Sequence[tuple[Decision, Settlement]]) -> Leaving:
    """Return the bills that leave through `settled`."""
    return Leaving(
        obligation_ids=[one.obligation.obligation_id for _, one in settled],
        paid=[one.bill for _, one in settled if one.bill.state is BillState.OPEN],
        closed=[bill for _, one in settled for bill in one.closed],
    )


def notice_columns(*, decision: Decision, at: datetime) -> dict[str, Any]:
    """Return the row of `notices`."""
    notice = decision.notice
    return {
        "bank_code": notice.bank_code,
        "channel": Channel.BILL,
        "natural_key": notice.transaction_id,
        "contradicts": decision.contradicts,
        "bill_id": notice.bill_id,
        "policy_number": notice.policy_number,
        **amount_columns(notice.money),
        "payer": notice.payer,
        "paid_at": notice.paid_at,
        "received_at": notice.received_at,
        "body_digest": notice.body_digest,
        "subject": notice.subject,
        "request_id": notice.request_id,
        "answer": answer_text(decision.answer),
        "hold": decision.hold,
        "flags": " ".join(decision.flags),
        "state": decision.state,
        "state_at": at,
        "state_cause": decision.hold or "decided",
    }


def payment_words(settlement: Settlement) -> dict[str, Any]:
    """Return those columns of `payments` that say how money came and why it is applied."""
    return {
        "channel": Channel.BILL,
        "assurance": "BANK_NOTICE",
        "state": PaymentState.APPLIED,
        "state_cause": "late bill notice" if settlement.late else "bill notice",
    }
