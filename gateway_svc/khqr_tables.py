"""The schema of KHQR: codes handed out, notices of them, what the bank vouched for."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from chassis.columns import COUNTED_ID, UtcDateTime
from gateway_svc.tables import id_column, metadata, payments, recorded_in_order, state_columns

__all__ = ["codes", "khqr_notices", "metadata", "proofs", "questions", "verifications"]

# What a proof points at: the payment with its own amount.
Index(
    "uq_payments_amount",
    payments.c.id,
    payments.c.amount_hundredths,
    payments.c.currency,
    unique=True,
)

codes = Table(
    "codes",
    metadata,
    id_column(),
    Column("bill_id", COUNTED_ID, nullable=False),
    Column("payload", Text, nullable=False),
    Column("image", LargeBinary, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("polls", Integer, nullable=False, server_default=text("0")),
    Column("next_poll_at", UtcDateTime),
    *state_columns(),
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["bill_id"], ["bills.id"]),
    CheckConstraint("state IN ('LIVE', 'SUPERSEDED', 'EXPIRED', 'PAID')", name="state"),
)
Index(
    "uq_codes_live",
    codes.c.bill_id,
    unique=True,
    postgresql_where=text("state = 'LIVE'"),
    sqlite_where=text("state = 'LIVE'"),
)
Index(
    "ix_codes_next_poll_at",
    codes.c.next_poll_at,
    postgresql_where=text("next_poll_at IS NOT NULL"),
    sqlite_where=text("next_poll_at IS NOT NULL"),
)
# The codes of one bill, ended ones too.
Index("ix_codes_bill_id", codes.c.bill_id)
recorded_in_order("ix_codes_created_at", codes.c.created_at)

khqr_notices = Table(
    "khqr_notices",
    metadata,
    id_column(),
    Column("bank_code", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("bill_id", COUNTED_ID, nullable=False),  # as claimed: there may be no such bill
    Column("merchant_number", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("amount_hundredths", COUNTED_ID),
    Column("currency", Text),
    Column("paid_at", UtcDateTime),
    Column("received_at", UtcDateTime, nullable=False),
    Column("body_digest", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("answer", Text),
    Column("hold", Text),
    Column("payment_id", COUNTED_ID),
    Column("asked", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", UtcDateTime),
    *state_columns(),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("bank_code", "digest"),
    ForeignKeyConstraint(["payment_id"], ["payments.id"]),
    CheckConstraint("state IN ('RECEIVED', 'VERIFYING', 'DONE', 'HELD')", name="state"),
    CheckConstraint("(state = 'HELD') = (hold IS NOT NULL)", name="hold"),
    CheckConstraint("state <> 'DONE' OR answer IS NOT NULL", name="answered"),
    CheckConstraint("(amount_hundredths IS NULL) = (currency IS NULL)", name="amount_whole"),
    CheckConstraint("currency <> 'KHR' OR amount_hundredths % 100 = 0", name="khr_whole"),
)
Index("ix_khqr_notices_bill_id", khqr_notices.c.bill_id)
Index(
    "ix_khqr_notices_next_attempt_at",
    khqr_notices.c.next_attempt_at,
    postgresql_where=text("next_attempt_at IS NOT NULL"),
    sqlite_where=text("next_attempt_at IS NOT NULL"),
)
# What needs a person, whatever the number of notices that are decided.
Index(
    "ix_khqr_notices_held",
    khqr_notices.c.id,
    postgresql_where=text("state = 'HELD'"),
    sqlite_where=text("state = 'HELD'"),
)
# Whose money a payment is.
Index(
    "ix_khqr_notices_payment_id",
    khqr_notices.c.payment_id,
    postgresql_where=text("payment_id IS NOT NULL"),
    sqlite_where=text("payment_id IS NOT NULL"),
)
Index("ix_khqr_notices_request_id", khqr_notices.c.request_id)
recorded_in_order("ix_khqr_notices_received_at", khqr_notices.c.received_at)

# What waits for the bank's word; a PENDING notice waits for nothing.
_WAITING = "state IN ('RECEIVED', 'VERIFYING') AND next_attempt_at IS NOT NULL"
Index(
    "ix_khqr_notices_waiting",
    khqr_notices.c.id,
    postgresql_where=text(_WAITING),
    sqlite_where=text(_WAITING),
)

verifications = Table(
    "verifications",
    metadata,
    id_column(),
    Column("bank_code", Text, nullable=False),
    Column("bill_id", COUNTED_ID, nullable=False),
    Column("paid", Boolean(create_constraint=True, name="paid"), nullable=False),
    Column("transaction_id", Text),
    Column("amount_hundredths", COUNTED_ID),
    Column("currency", Text),
    Column("paid_at", UtcDateTime),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("foreign_because", Text),  # why the answer is not about this bill; null: it is
    Column("answer_digest", Text, nullable=False),  # of its bytes, and of how they were read
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["bill_id"], ["bills.id"]),
    UniqueConstraint("bill_id", "answer_digest"),  # the same bytes, read alike, are the same answer
    UniqueConstraint("id", "amount_hundredths", "currency"),
    CheckConstraint("NOT paid OR amount_hundredths IS NOT NULL", name="paid_amount"),
    CheckConstraint("(amount_hundredths IS NULL) = (currency IS NULL)", name="amount_whole"),
)

# A verification proves one payment, never two, and of the same amount.
proofs = Table(
    "proofs",
    metadata,
    Column("payment_id", COUNTED_ID, nullable=False),
    Column("verification_id", COUNTED_ID, nullable=False),
    Column("amount_hundredths", COUNTED_ID, nullable=False),
    Column("currency", Text, nullable=False),
    PrimaryKeyConstraint("payment_id"),
    UniqueConstraint("verification_id"),
    ForeignKeyConstraint(
        ["payment_id", "amount_hundredths", "currency"],
        ["payments.id", "payments.amount_hundredths", "payments.currency"],
    ),
    ForeignKeyConstraint(
        ["verification_id", "amount_hundredths", "currency"],
        ["verifications.id", "verifications.amount_hundredths", "verifications.currency"],
    ),
)

# One question to the bank in flight per bill, whichever process asks.
questions = Table(
    "questions",
    metadata,
    Column("bill_id", COUNTED_ID, nullable=False),
    Column("owner", Text, nullable=False),
    Column("leased_until", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("bill_id"),
    ForeignKeyConstraint(["bill_id"], ["bills.id"]),
)
