"""What two people send back, or sent, as conditions of the database.

Money that goes back must not pay as well, and must not go back twice: whoever decides about a
transfer asks whether another claim of the same money is sent back.
"""

from typing import Any

from sqlalchemy import ColumnElement, Exists, Text, cast, literal, select

from gateway_svc.khqr_tables import khqr_notices
from gateway_svc.payment import Channel
from gateway_svc.proposal_tables import proposals
from gateway_svc.tables import notices


def is_sent_back(*, kind: str, number: ColumnElement[int]) -> ColumnElement[bool]:
    """Return the condition that a row of `proposals` sends back the exception `kind`-`number`."""
    # By its name, which is what proposals are found by (ix_proposals_exception_id).
    name = literal(f"{kind}-", Text).concat(cast(number, Text))
    return (
        (proposals.c.exception_id == name)
        & (proposals.c.state == "APPROVED")
        & proposals.c.action.in_(("REFUND", "REFUNDED"))
    )


def khqr_claim_sent_back(*, bill_id: ColumnElement[Any]) -> Exists:
    """Return the condition that what a KHQR notice of the bill claims is sent back."""
    return (
        select(proposals.c.id)
        .join(khqr_notices, is_sent_back(kind="khqr", number=khqr_notices.c.id))
        .where(khqr_notices.c.bill_id == bill_id)
        .exists()
    )


def transfer_sent_back(
    *,
    bank_code: ColumnElement[str],
    transaction_id: ColumnElement[str],
    besides: ColumnElement[int] | None = None,
) -> Exists:
    """Return the condition that a bill notice of the transfer, `besides` the one, is sent back."""
    other = notices.alias("other")
    told = select(proposals.c.id).join(other, is_sent_back(kind="notice", number=other.c.id))
    if besides is not None:
        told = told.where(other.c.id != besides)
    return told.where(
        other.c.bank_code == bank_code,
        other.c.channel == Channel.BILL,
        other.c.natural_key == transaction_id,
    ).exists()
