"""The schema of how people end what is held: one proposes, somebody else approves."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from chassis.columns import COUNTED_ID, UtcDateTime
from gateway_svc.khqr_tables import metadata
from gateway_svc.tables import id_column, state_columns

__all__ = ["metadata", "proposals"]

# Exactly one of these names what is held.
HELD_COLUMNS = {"notice": "notice_id", "khqr": "khqr_notice_id", "payment": "payment_id"}

proposals = Table(
    "proposals",
    metadata,
    id_column(),
    Column("exception_id", Text, nullable=False),
    Column("notice_id", COUNTED_ID),
    Column("khqr_notice_id", COUNTED_ID),
    Column("payment_id", COUNTED_ID),
    Column("hold", Text, nullable=False),  # why it was held, as of proposing
    Column("held_since", UtcDateTime, nullable=False),
    Column("action", Text, nullable=False),
    Column("bill_id", COUNTED_ID),
    Column("bank_reference", Text),
    Column("reason", Text, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("proposed_at", UtcDateTime, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", UtcDateTime),
    Column("decision_reason", Text),
    *state_columns(),
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["notice_id"], ["notices.id"]),
    ForeignKeyConstraint(["khqr_notice_id"], ["khqr_notices.id"]),
    ForeignKeyConstraint(["payment_id"], ["payments.id"]),
    ForeignKeyConstraint(["bill_id"], ["bills.id"]),
    CheckConstraint("action IN ('APPLY', 'REFUND', 'REFUNDED', 'VOID')", name="action"),
    CheckConstraint("state IN ('PROPOSED', 'APPROVED', 'REJECTED')", name="state"),
    CheckConstraint(
        "(notice_id IS NOT NULL AND khqr_notice_id IS NULL AND payment_id IS NULL"
        " AND exception_id = 'notice-' || CAST(notice_id AS TEXT))"
        " OR (notice_id IS NULL AND khqr_notice_id IS NOT NULL AND payment_id IS NULL"
        " AND exception_id = 'khqr-' || CAST(khqr_notice_id AS TEXT))"
        " OR (notice_id IS NULL AND khqr_notice_id IS NULL AND payment_id IS NOT NULL"
        " AND exception_id = 'payment-' || CAST(payment_id AS TEXT))",
        name="one_exception",
    ),
    CheckConstraint("(action = 'APPLY') = (bill_id IS NOT NULL)", name="apply_bill"),
    CheckConstraint(
        "(action = 'REFUNDED') = (bank_reference IS NOT NULL)"
        " AND (bank_reference IS NULL OR trim(bank_reference) <> '')",
        name="bank_reference",
    ),
    CheckConstraint("action <> 'APPLY' OR khqr_notice_id IS NULL", name="apply_money"),
    CheckConstraint("trim(reason) <> ''", name="reason"),
    CheckConstraint("trim(proposed_by) <> ''", name="proposed_by"),
    CheckConstraint(
        "(state = 'PROPOSED' AND decided_by IS NULL AND decided_at IS NULL"
        " AND decision_reason IS NULL)"
        " OR (state <> 'PROPOSED' AND decided_by IS NOT NULL AND trim(decided_by) <> ''"
        " AND decided_at IS NOT NULL AND decision_reason IS NOT NULL"
        " AND trim(decision_reason) <> '')",
        name="decided",
    ),
    CheckConstraint("state <> 'APPROVED' OR decided_by <> proposed_by", name="two_people"),
)
# One proposal at a time; one end; and money is sent back once.
Index(
    "uq_proposals_open",
    proposals.c.exception_id,
    unique=True,
    postgresql_where=text("state = 'PROPOSED'"),
    sqlite_where=text("state = 'PROPOSED'"),
)
ENDED = "state = 'APPROVED' AND action IN ('APPLY', 'REFUNDED', 'VOID')"
Index(
    "uq_proposals_ended",
    proposals.c.exception_id,
    unique=True,
    postgresql_where=text(ENDED),
    sqlite_where=text(ENDED),
)
REFUNDING = "state = 'APPROVED' AND action = 'REFUND'"
Index(
    "uq_proposals_refunding",
    proposals.c.exception_id,
    unique=True,
    postgresql_where=text(REFUNDING),
    sqlite_where=text(REFUNDING),
)
# All that was proposed about one exception.
Index("ix_proposals_exception_id", proposals.c.exception_id)
