"""What operators read: each thing with what it belongs to, in one statement."""

from typing import Any

from sqlalchemy import ColumnElement, Text, and_, cast, func, literal, or_, select, union
from sqlalchemy.sql import CompoundSelect, Select

from gateway_svc.khqr_tables import codes, khqr_notices, proofs, verifications
from gateway_svc.payment import Channel
from gateway_svc.proposal_tables import proposals
from gateway_svc.sent_back import khqr_claim_sent_back, transfer_sent_back
from gateway_svc.tables import bills, notices, obligations, outbox, payments, replays

# A held KHQR notice of these holds claims the money that the bank, asked about the same bill,
# vouched for with another amount.
_OF_THE_SAME_MONEY = ("MISMATCHED", "VERIFICATION_DIFFERS")
ENDING_ACTIONS = ("APPLY", "REFUNDED", "VOID")


def select_bills() -> Select[Any]:
    """Return bills with their policy number and due date."""
    return select(bills, obligations.c.policy_number, obligations.c.due_on).join(
        obligations, obligations.c.id == bills.c.obligation_id
    )


def select_notices() -> Select[Any]:
    """Return notices of the bill channel with the id of the payment each led to."""
    led_to = select(payments.c.id).where(payments.c.notice_id == notices.c.id).scalar_subquery()
    return select(notices, led_to.label("led_to"))


def select_khqr_notices() -> Select[Any]:
    """Return KHQR notices."""
    return select(khqr_notices)


def select_payments() -> Select[Any]:
    """Return payments with the bill each was sent for, and its policy.

    Money that pays nothing was sent for the bill that the bank was asked about.
    """
    policy_number = (
        select(obligations.c.policy_number)
        .join(bills, bills.c.obligation_id == obligations.c.id)
        .where(bills.c.id == _sent_for())
        .scalar_subquery()
    )
    return select(payments, _sent_for().label("sent_for"), policy_number.label("policy_number"))


def select_held_payments() -> Select[Any]:
    """Return payments with what makes one an exception."""
    sent_back = or_(
        and_(payments.c.channel == Channel.KHQR, khqr_claim_sent_back(bill_id=_sent_for())),
        transfer_sent_back(
            bank_code=payments.c.bank_code, transaction_id=payments.c.transaction_id
        ),
    )
    return select_payments().add_columns(sent_back.label("sent_back"))


def _sent_for() -> ColumnElement[int]:
    asked_about = (
        select(verifications.c.bill_id)
        .join(proofs, proofs.c.verification_id == verifications.c.id)
        .where(proofs.c.payment_id == payments.c.id)
        .scalar_subquery()
    )
    return func.coalesce(payments.c.bill_id, asked_about)


def select_codes() -> Select[Any]:
    """Return codes, without their pictures, with the policy of their bill."""
    shown = [column for column in codes.c if column.name != "image"]
    return (
        select(*shown, obligations.c.policy_number)
        .join(bills, bills.c.id == codes.c.bill_id)
        .join(obligations, obligations.c.id == bills.c.obligation_id)
    )


def select_verifications() -> Select[Any]:
    """Return answers of banks with the id of the payment each proves."""
    proves = (
        select(proofs.c.payment_id)
        .where(proofs.c.verification_id == verifications.c.id)
        .scalar_subquery()
    )
    return select(verifications, proves.label("proves"))


def select_events() -> Select[Any]:
    """Return events with how often each was delivered once more."""
    again = replays.replays
    count = (
        select(func.count())
        .where(again.c.outbox_id == outbox.c.id, again.c.delivered_at.is_not(None))
        .scalar_subquery()
    )
    return select(outbox, count.label("replays"))


def has_ended(exception_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that two people have ended an exception."""
    return (
        select(proposals.c.id)
        .where(
            proposals.c.exception_id == exception_id,
            proposals.c.state == "APPROVED",
            proposals.c.action.in_(ENDING_ACTIONS),
        )
        .exists()
    )


def is_waiting_money() -> ColumnElement[bool]:
    """Return the condition that a payment pays nothing and nobody has ended that."""
    name = literal("payment-", Text).concat(cast(payments.c.id, Text))
    return and_(payments.c.state == "UNAPPLIED", ~has_ended(name))


def is_covered() -> ColumnElement[bool]:
    """Return the condition that a held KHQR notice is no exception: its money is one."""
    linked = (
        select(payments.c.id)
        .where(payments.c.id == khqr_notices.c.payment_id, is_waiting_money())
        .correlate(khqr_notices)
        .exists()
    )
    vouched_for = (
        select(payments.c.id)
        .join(proofs, proofs.c.payment_id == payments.c.id)
        .join(verifications, verifications.c.id == proofs.c.verification_id)
        .where(verifications.c.bill_id == khqr_notices.c.bill_id, is_waiting_money())
        .correlate(khqr_notices)
        .exists()
    )
    return or_(linked, and_(is_of_same_money(), vouched_for))


def is_of_same_money() -> ColumnElement[bool]:
    """Return the condition that a KHQR notice claims what its bank vouched for otherwise."""
    return and_(khqr_notices.c.payment_id.is_(None), khqr_notices.c.hold.in_(_OF_THE_SAME_MONEY))


def bills_of_policy(number: str) -> Select[Any]:
    """Return the ids of the bills of one policy, by the insurer's spelling."""
    return (
        select(bills.c.id)
        .join(obligations, obligations.c.id == bills.c.obligation_id)
        .where(obligations.c.policy_number == number)
    )


def payments_about(bill_ids: Any) -> CompoundSelect[Any]:
    """Return the ids of payments of bills, a list or query, and of money sent for them."""
    return union(
        select(payments.c.id).where(payments.c.bill_id.in_(bill_ids)),
        select(proofs.c.payment_id)
        .join(verifications, verifications.c.id == proofs.c.verification_id)
        .where(verifications.c.bill_id.in_(bill_ids)),
    )
