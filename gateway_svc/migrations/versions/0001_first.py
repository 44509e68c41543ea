"""The first schema: obligations, bills, notices, payments, applications, journal, outbox."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from chassis.columns import UtcDateTime
from gateway_svc.migrations.triggers import trigger_statements

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_EDGES = {
    "bills": (("OPEN", "PAID"), ("OPEN", "CLOSED")),
    "notices": (
        ("RECEIVED", "VERIFYING"),
        ("RECEIVED", "DONE"),
        ("RECEIVED", "HELD"),
        ("VERIFYING", "DONE"),
        ("VERIFYING", "HELD"),
        ("HELD", "DONE"),
    ),
    "payments": (("UNAPPLIED", "APPLIED"),),
}
_FROZEN = {
    "obligations": ("id", "policy_number", "due_on", "currency", "created_at"),
    "bills": ("id", "bank_code", "obligation_id", "amount_hundredths", "currency", "created_at"),
    "bill_numbers": ("bill_id", "number"),
    "notices": (
        "id",
        "bank_code",
        "channel",
        "natural_key",
        "contradicts",
        "bill_id",
        "policy_number",
        "amount_hundredths",
        "currency",
        "received_at",
        "body_digest",
    ),
    "payments": (
        "id",
        "bank_code",
        "transaction_id",
        "channel",
        "notice_id",
        "amount_hundredths",
        "currency",
        "paid_at",
        "recorded_at",
    ),
    "applications": ("obligation_id", "payment_id", "applied_at"),
    "journal": ("id", "entity", "entity_id", "from_state", "to_state", "cause", "at"),
    "outbox": ("id", "event_id", "topic", "event_key", "value", "created_at"),
}
_KEPT = {
    "obligations": "id",
    "bills": "id",
    "notices": "id",
    "payments": "id",
    "applications": "obligation_id",
    "journal": "id",
}


def upgrade() -> None:
    """Change the schema forwards."""
    _create_obligations()
    _create_bills()
    _create_bill_numbers()
    _create_notices()
    _create_payments()
    _create_applications()
    _create_journal()
    _create_outbox()
    for key in _payment_application_key(inline=False):
        op.create_foreign_key(
            key.name,
            "payments",
            "applications",
            ["obligation_id", "id"],
            ["obligation_id", "payment_id"],
            deferrable=True,
            initially="DEFERRED",
        )
    for statement in trigger_statements(
        dialect=op.get_bind().dialect.name, edges=_EDGES, frozen=_FROZEN, kept=_KEPT
    ):
        op.execute(statement)
    if op.get_bind().dialect.name == "sqlite":
        # PostgreSQL's identity starts there by itself.
        op.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('bills', 150000)")


def downgrade() -> None:
    """Refuse: the first schema is left only by dropping the database."""
    raise NotImplementedError("the first schema has nothing before it")


def _sqlite_integer(name: str) -> list[sa.CheckConstraint]:
    """Return the check that SQLite needs, which would keep 1.5 or 'x' in an integer column."""
    if op.get_bind().dialect.name != "sqlite":
        return []
    return [sa.CheckConstraint("typeof(amount_hundredths) = 'integer'", name=op.f(name))]


def _payment_application_key(*, inline: bool) -> list[Any]:
    """Return the key from payments to applications where this engine can take it.

    The two tables point at each other: SQLite takes the key with the table only, PostgreSQL
    only after both exist.
    """
    if inline is not (op.get_bind().dialect.name == "sqlite"):
        return []
    return [
        sa.ForeignKeyConstraint(
            ["obligation_id", "id"],
            ["applications.obligation_id", "applications.payment_id"],
            name="fk_payments_application",
            deferrable=True,
            initially="DEFERRED",
        )
    ]


def _create_obligations() -> None:
    """Create the table of what is owed."""
    op.create_table(
        "obligations",
        sa.Column("id", _BIG, sa.Identity(always=False, start=1), nullable=False),
        sa.Column("policy_number", sa.Text(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("event_sequence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("currency IN ('USD', 'KHR')", name=op.f("ck_obligations_currency")),
        sa.CheckConstraint("policy_number <> ''", name=op.f("ck_obligations_policy_number")),
        sa.CheckConstraint("event_sequence >= 0", name=op.f("ck_obligations_event_sequence")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_obligations")),
        sa.UniqueConstraint("id", "currency", name=op.f("uq_obligations_id_currency")),
        sa.UniqueConstraint(
            "policy_number",
            "due_on",
            "currency",
            name=op.f("uq_obligations_policy_number_due_on_currency"),
        ),
    )


def _create_bills() -> None:
    """Create the table of obligations presented at one bank for one amount."""
    op.create_table(
        "bills",
        sa.Column("id", _BIG, sa.Identity(always=False, start=150001), nullable=False),
        sa.Column("bank_code", sa.Text(), nullable=False),
        sa.Column("obligation_id", _BIG, nullable=False),
        sa.Column("amount_hundredths", _BIG, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("looked_up_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_at", UtcDateTime(), nullable=False),
        sa.Column("state_cause", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "currency <> 'KHR' OR amount_hundredths % 100 = 0", name=op.f("ck_bills_khr_whole")
        ),
        sa.CheckConstraint("currency IN ('USD', 'KHR')", name=op.f("ck_bills_currency")),
        sa.CheckConstraint("state IN ('OPEN', 'PAID', 'CLOSED')", name=op.f("ck_bills_state")),
        *_sqlite_integer("ck_bills_amount_integer"),
        sa.CheckConstraint(
            "amount_hundredths > 0 AND amount_hundredths <= 1000000000000000000",
            name=op.f("ck_bills_amount"),
        ),
        sa.CheckConstraint("id >= 150001", name=op.f("ck_bills_first_id")),
        sa.ForeignKeyConstraint(
            ["obligation_id", "currency"],
            ["obligations.id", "obligations.currency"],
            name=op.f("fk_bills_obligation_id_currency"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bills")),
        sa.UniqueConstraint(
            "id",
            "amount_hundredths",
            "currency",
            name=op.f("uq_bills_id_amount_hundredths_currency"),
        ),
        sa.UniqueConstraint("id", "bank_code", name=op.f("uq_bills_id_bank_code")),
        sa.UniqueConstraint("id", "obligation_id", name=op.f("uq_bills_id_obligation_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_bills_obligation_id", "bills", ["obligation_id"], unique=False)
    op.create_index(
        "uq_bills_open",
        "bills",
        ["bank_code", "obligation_id"],
        unique=True,
        postgresql_where=sa.text("state = 'OPEN'"),
        sqlite_where=sa.text("state = 'OPEN'"),
    )


def _create_bill_numbers() -> None:
    """Create the table of numbers a bill was asked for by."""
    op.create_table(
        "bill_numbers",
        sa.Column("bill_id", _BIG, nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["bill_id"], ["bills.id"], name=op.f("fk_bill_numbers_bill_id")),
        sa.PrimaryKeyConstraint("bill_id", "number", name=op.f("pk_bill_numbers")),
    )


def _create_notices() -> None:
    """Create the table of what callers claim."""
    op.create_table(
        "notices",
        sa.Column("id", _BIG, sa.Identity(always=False, start=1), nullable=False),
        sa.Column("bank_code", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("natural_key", sa.Text(), nullable=False),
        sa.Column(
            "contradicts", sa.Boolean(create_constraint=True, name="contradicts"), nullable=False
        ),
        sa.Column("bill_id", _BIG, nullable=False),
        sa.Column("policy_number", sa.Text(), nullable=False),
        sa.Column("amount_hundredths", _BIG, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("paid_at", UtcDateTime(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("body_digest", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("hold", sa.Text(), nullable=True),
        sa.Column("flags", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_at", UtcDateTime(), nullable=False),
        sa.Column("state_cause", sa.Text(), nullable=False),
        sa.CheckConstraint("(state = 'HELD') = (hold IS NOT NULL)", name=op.f("ck_notices_hold")),
        sa.CheckConstraint("channel IN ('BILL', 'KHQR')", name=op.f("ck_notices_channel")),
        sa.CheckConstraint(
            "currency <> 'KHR' OR amount_hundredths % 100 = 0", name=op.f("ck_notices_khr_whole")
        ),
        sa.CheckConstraint("currency IN ('USD', 'KHR')", name=op.f("ck_notices_currency")),
        sa.CheckConstraint(
            "state IN ('RECEIVED', 'VERIFYING', 'DONE', 'HELD')", name=op.f("ck_notices_state")
        ),
        *_sqlite_integer("ck_notices_amount_integer"),
        sa.CheckConstraint(
            "amount_hundredths > 0 AND amount_hundredths <= 1000000000000000000",
            name=op.f("ck_notices_amount"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint(
            "bank_code",
            "channel",
            "natural_key",
            "bill_id",
            "policy_number",
            "amount_hundredths",
            "currency",
            name="uq_notices_content",
        ),
    )
    op.create_index(
        "uq_notices_first",
        "notices",
        ["bank_code", "channel", "natural_key"],
        unique=True,
        postgresql_where=sa.text("NOT contradicts"),
        sqlite_where=sa.text("NOT contradicts"),
    )


def _create_payments() -> None:
    """Create the table of movements of money."""
    op.create_table(
        "payments",
        sa.Column("id", _BIG, sa.Identity(always=False, start=1), nullable=False),
        sa.Column("bank_code", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("notice_id", _BIG, nullable=True),
        sa.Column("bill_id", _BIG, nullable=True),
        sa.Column("obligation_id", _BIG, nullable=True),
        sa.Column("amount_hundredths", _BIG, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("paid_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("assurance", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_at", UtcDateTime(), nullable=False),
        sa.Column("state_cause", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(state = 'APPLIED') = (obligation_id IS NOT NULL)", name=op.f("ck_payments_applied")
        ),
        sa.CheckConstraint(
            "assurance IN ('BANK_NOTICE', 'BANK_VERIFIED')", name=op.f("ck_payments_assurance")
        ),
        sa.CheckConstraint("channel IN ('BILL', 'KHQR')", name=op.f("ck_payments_channel")),
        sa.CheckConstraint(
            "currency <> 'KHR' OR amount_hundredths % 100 = 0", name=op.f("ck_payments_khr_whole")
        ),
        sa.CheckConstraint("currency IN ('USD', 'KHR')", name=op.f("ck_payments_currency")),
        sa.CheckConstraint("state IN ('APPLIED', 'UNAPPLIED')", name=op.f("ck_payments_state")),
        sa.CheckConstraint("transaction_id <> ''", name=op.f("ck_payments_transaction_id")),
        *_sqlite_integer("ck_payments_amount_integer"),
        sa.CheckConstraint(
            "amount_hundredths > 0 AND amount_hundredths <= 1000000000000000000",
            name=op.f("ck_payments_amount"),
        ),
        sa.CheckConstraint(
            "obligation_id IS NULL OR bill_id IS NOT NULL", name=op.f("ck_payments_applied_bill")
        ),
        sa.ForeignKeyConstraint(
            ["bill_id", "amount_hundredths", "currency"],
            ["bills.id", "bills.amount_hundredths", "bills.currency"],
            name=op.f("fk_payments_bill_id_amount_hundredths_currency"),
        ),
        sa.ForeignKeyConstraint(
            ["bill_id", "bank_code"],
            ["bills.id", "bills.bank_code"],
            name=op.f("fk_payments_bill_id_bank_code"),
        ),
        sa.ForeignKeyConstraint(
            ["bill_id", "obligation_id"],
            ["bills.id", "bills.obligation_id"],
            name=op.f("fk_payments_bill_id_obligation_id"),
        ),
        sa.ForeignKeyConstraint(["notice_id"], ["notices.id"], name=op.f("fk_payments_notice_id")),
        *_payment_application_key(inline=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint(
            "bank_code", "transaction_id", name=op.f("uq_payments_bank_code_transaction_id")
        ),
        sa.UniqueConstraint("id", "obligation_id", name=op.f("uq_payments_id_obligation_id")),
        sa.UniqueConstraint("notice_id", name=op.f("uq_payments_notice_id")),
    )
    op.create_index("ix_payments_bill_id", "payments", ["bill_id"], unique=False)


def _create_applications() -> None:
    """Create the table of which payment pays which obligation."""
    op.create_table(
        "applications",
        sa.Column("obligation_id", _BIG, nullable=False),
        sa.Column("payment_id", _BIG, nullable=False),
        sa.Column("applied_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["obligation_id"], ["obligations.id"], name=op.f("fk_applications_obligation_id")
        ),
        sa.ForeignKeyConstraint(
            ["payment_id", "obligation_id"],
            ["payments.id", "payments.obligation_id"],
            name=op.f("fk_applications_payment_id_obligation_id"),
        ),
        sa.PrimaryKeyConstraint("obligation_id", name=op.f("pk_applications")),
        sa.UniqueConstraint(
            "obligation_id", "payment_id", name=op.f("uq_applications_obligation_id_payment_id")
        ),
        sa.UniqueConstraint("payment_id", name=op.f("uq_applications_payment_id")),
    )


def _create_journal() -> None:
    """Create the table of every move of a state."""
    op.create_table(
        "journal",
        sa.Column("id", _BIG, sa.Identity(always=False, start=1), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("entity_id", _BIG, nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal")),
    )
    op.create_index("ix_journal_entity_entity_id", "journal", ["entity", "entity_id"], unique=False)


def _create_outbox() -> None:
    """Create the table of events waiting to be published."""
    op.create_table(
        "outbox",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("event_key", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("published_at", UtcDateTime(), nullable=True),
        sa.Column("published_partition", sa.Integer(), nullable=True),
        sa.Column("published_offset", _BIG, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("parked_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("event_id", name=op.f("uq_outbox_event_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "outbox_unpublished",
        "outbox",
        ["id"],
        unique=False,
        sqlite_where=sa.text("published_at IS NULL"),
        postgresql_where=sa.text("published_at IS NULL"),
    )
    op.create_index(
        "outbox_unpublished_key",
        "outbox",
        ["event_key"],
        unique=False,
        sqlite_where=sa.text("published_at IS NULL"),
        postgresql_where=sa.text("published_at IS NULL"),
    )
