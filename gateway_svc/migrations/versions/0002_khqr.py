"""KHQR: codes, notices of them, what banks vouch for. Adds only: older code runs on it."""

import sqlalchemy as sa
from alembic import op

from chassis.columns import UtcDateTime
from gateway_svc.migrations.triggers import trigger_statements

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_EDGES = {
    "codes": (("LIVE", "SUPERSEDED"), ("LIVE", "EXPIRED"), ("LIVE", "PAID")),
    "khqr_notices": (
        ("RECEIVED", "VERIFYING"),
        ("RECEIVED", "DONE"),
        ("RECEIVED", "HELD"),
        ("VERIFYING", "DONE"),
        ("VERIFYING", "HELD"),
        ("HELD", "DONE"),
    ),
}
_FROZEN = {
    "codes": ("id", "bill_id", "payload", "image", "expires_at", "created_at"),
    "khqr_notices": (
        "id",
        "bank_code",
        "digest",
        "bill_id",
        "merchant_number",
        "status",
        "amount_hundredths",
        "currency",
        "paid_at",
        "received_at",
        "body_digest",
    ),
    "verifications": (
        "id",
        "bank_code",
        "bill_id",
        "paid",
        "transaction_id",
        "amount_hundredths",
        "currency",
        "paid_at",
        "asked_at",
        "foreign_because",
        "answer_digest",
    ),
    "proofs": ("payment_id", "verification_id", "amount_hundredths", "currency"),
}
_KEPT = {"codes": "id", "khqr_notices": "id", "verifications": "id"}
# What is refused beyond keys and checks: (table, name, moment, condition, why).
_REFUSALS = (
    (
        "applications",
        "proven",
        "INSERT",
        "NOT EXISTS (SELECT 1 FROM payments WHERE id = NEW.payment_id AND channel = 'BILL') "
        "AND NOT EXISTS (SELECT 1 FROM proofs WHERE payment_id = NEW.payment_id)",
        "KHQR money needs a proof",
    ),
    (
        "proofs",
        "vouched",
        "INSERT",
        "NOT EXISTS (SELECT 1 FROM payments p JOIN verifications v ON v.id = NEW.verification_id "
        "WHERE p.id = NEW.payment_id AND v.paid AND v.foreign_because IS NULL "
        "AND p.bank_code = v.bank_code AND (p.bill_id IS NULL OR p.bill_id = v.bill_id) "
        "AND (v.transaction_id IS NULL OR v.transaction_id = p.transaction_id))",
        "the verification does not vouch for this payment",
    ),
    ("proofs", "kept_all", "DELETE", "TRUE", "facts are kept"),
    ("bill_numbers", "kept", "DELETE", "TRUE", "facts are kept"),
    ("outbox", "kept", "DELETE", "OLD.published_at IS NULL", "it is not published yet"),
    (
        "obligations",
        "sequence",
        "UPDATE",
        "NEW.event_sequence < OLD.event_sequence",
        "a sequence only grows",
    ),
    (
        "payments",
        "applied_bill",
        "UPDATE",
        "OLD.state = 'APPLIED' AND (NEW.bill_id <> OLD.bill_id "
        "OR NEW.obligation_id <> OLD.obligation_id)",
        "an applied payment stays where it is",
    ),
    (
        "payments",
        "assurance",
        "UPDATE",
        "NEW.assurance <> OLD.assurance",
        "this column never changes",
    ),
    (
        "notices",
        "answered",
        "UPDATE",
        "OLD.state = 'DONE' AND NEW.answer <> OLD.answer",
        "a final answer stays",
    ),
    (
        "khqr_notices",
        "answered",
        "UPDATE",
        "OLD.state = 'DONE' AND (NEW.answer <> OLD.answer "
        "OR (OLD.payment_id IS NOT NULL AND NEW.payment_id IS NULL))",
        "a final answer stays",
    ),
    (
        "bills",
        "paid_by",
        "UPDATE",
        "NEW.state = 'PAID' AND OLD.state <> 'PAID' "
        "AND NOT EXISTS (SELECT 1 FROM applications WHERE obligation_id = NEW.obligation_id)",
        "nothing pays it",
    ),
    (
        "bills",
        "unpaid",
        "INSERT",
        "NEW.state = 'OPEN' "
        "AND EXISTS (SELECT 1 FROM applications WHERE obligation_id = NEW.obligation_id)",
        "its obligation is paid",
    ),
)


def upgrade() -> None:
    """Change the schema forwards."""
    op.create_index(
        "uq_payments_amount", "payments", ["id", "amount_hundredths", "currency"], unique=True
    )
    _create_codes()
    _create_khqr_notices()
    _create_verifications()
    _create_proofs()
    _create_questions()
    dialect = op.get_bind().dialect.name
    for statement in trigger_statements(
        dialect=dialect, edges=_EDGES, frozen=_FROZEN, kept=_KEPT, with_functions=False
    ):
        op.execute(statement)
    for statement in _refusal_statements(dialect):
        op.execute(statement)


def downgrade() -> None:
    """Refuse: facts would be lost."""
    raise NotImplementedError("notices, verifications and proofs are facts and are kept")


def _refusal_statements(dialect: str) -> list[str]:
    """Return the triggers of `_REFUSALS`; PostgreSQL allows no question in a WHEN."""
    statements = []
    for table, name, moment, condition, why in _REFUSALS:
        text = f"{moment} of {table} is refused: {why}"
        head = f"CREATE TRIGGER {table}_{name} BEFORE {moment} ON {table} FOR EACH ROW"
        if dialect == "sqlite":
            statements.append(f"{head} WHEN {condition} BEGIN SELECT RAISE(ABORT, '{text}'); END")
            continue
        row = "OLD" if moment == "DELETE" else "NEW"
        statements += [
            f"CREATE FUNCTION refuse_{table}_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF {condition} THEN RAISE EXCEPTION '{text}' USING ERRCODE = 'check_violation'; "
            f"END IF; RETURN {row}; END $$",
            f"{head} EXECUTE FUNCTION refuse_{table}_{name}()",
        ]
    return statements


def _create_codes() -> None:
    """Create the table of codes handed out."""
    op.create_table(
        "codes",
        sa.Column("id", _BIG, sa.Identity(always=False, start=1), nullable=False),
        sa.Column("bill_id", _BIG, nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("image", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("polls", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_poll_at", UtcDateTime(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_at", UtcDateTime(), nullable=False),
        sa.Column("state_cause", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('LIVE', 'SUPERSEDED', 'EXPIRED', 'PAID')", name=op.f("ck_codes_state")
        ),
        sa.ForeignKeyConstraint(["bill_id"], ["bills.id"], name=op.f("fk_codes_bill_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_codes")),
    )
    op.create_index(
        "ix_codes_next_poll_at",
        "codes",
        ["next_poll_at"],
        unique=False,
        postgresql_where=sa.text("next_poll_at IS NOT NULL"),
        sqlite_where=sa.text("next_poll_at IS NOT NULL"),
    )
    op.create_index(
        "uq_codes_live",
        "codes",
        ["bill_id"],
        unique=True,
        postgresql_where=sa.text("state = 'LIVE'"),
        sqlite_where=sa.text("state = 'LIVE'"),
    )


def _create_khqr_notices() -> None:
    """Create the table of what callers claim of codes."""
    op.create_table(
        "khqr_notices",
        sa.Column("id", _BIG, sa.Identity(always=False, start=1), nullable=False),
        sa.Column("bank_code", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("bill_id", _BIG, nullable=False),
        sa.Column("merchant_number", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount_hundredths", _BIG, nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("paid_at", UtcDateTime(), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("body_digest", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("hold", sa.Text(), nullable=True),
        sa.Column("payment_id", _BIG, nullable=True),
        sa.Column("asked", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_at", UtcDateTime(), nullable=False),
        sa.Column("state_cause", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(state = 'HELD') = (hold IS NOT NULL)", name=op.f("ck_khqr_notices_hold")
        ),
        sa.CheckConstraint(
            "currency <> 'KHR' OR amount_hundredths % 100 = 0",
            name=op.f("ck_khqr_notices_khr_whole"),
        ),
        sa.CheckConstraint(
            "state <> 'DONE' OR answer IS NOT NULL", name=op.f("ck_khqr_notices_answered")
        ),
        sa.CheckConstraint(
            "state IN ('RECEIVED', 'VERIFYING', 'DONE', 'HELD')", name=op.f("ck_khqr_notices_state")
        ),
        sa.CheckConstraint(
            "(amount_hundredths IS NULL) = (currency IS NULL)",
            name=op.f("ck_khqr_notices_amount_whole"),
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_khqr_notices_payment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_khqr_notices")),
        sa.UniqueConstraint("bank_code", "digest", name=op.f("uq_khqr_notices_bank_code_digest")),
    )
    op.create_index("ix_khqr_notices_bill_id", "khqr_notices", ["bill_id"], unique=False)
    op.create_index(
        "ix_khqr_notices_next_attempt_at",
        "khqr_notices",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
        sqlite_where=sa.text("next_attempt_at IS NOT NULL"),
    )


def _create_verifications() -> None:
    """Create the table of answers of banks."""
    op.create_table(
        "verifications",
        sa.Column("id", _BIG, sa.Identity(always=False, start=1), nullable=False),
        sa.Column("bank_code", sa.Text(), nullable=False),
        sa.Column("bill_id", _BIG, nullable=False),
        sa.Column("paid", sa.Boolean(create_constraint=True, name="paid"), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=True),
        sa.Column("amount_hundredths", _BIG, nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("paid_at", UtcDateTime(), nullable=True),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("foreign_because", sa.Text(), nullable=True),
        sa.Column("answer_digest", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(amount_hundredths IS NULL) = (currency IS NULL)",
            name=op.f("ck_verifications_amount_whole"),
        ),
        sa.CheckConstraint(
            "NOT paid OR amount_hundredths IS NOT NULL", name=op.f("ck_verifications_paid_amount")
        ),
        sa.ForeignKeyConstraint(["bill_id"], ["bills.id"], name=op.f("fk_verifications_bill_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verifications")),
        sa.UniqueConstraint(
            "bill_id", "answer_digest", name=op.f("uq_verifications_bill_id_answer_digest")
        ),
        sa.UniqueConstraint(
            "id",
            "amount_hundredths",
            "currency",
            name=op.f("uq_verifications_id_amount_hundredths_currency"),
        ),
    )


def _create_proofs() -> None:
    """Create the table of which answer proves which payment."""
    op.create_table(
        "proofs",
        sa.Column("payment_id", _BIG, nullable=False),
        sa.Column("verification_id", _BIG, nullable=False),
        sa.Column("amount_hundredths", _BIG, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["payment_id", "amount_hundredths", "currency"],
            ["payments.id", "payments.amount_hundredths", "payments.currency"],
            name=op.f("fk_proofs_payment_id_amount_hundredths_currency"),
        ),
        sa.ForeignKeyConstraint(
            ["verification_id", "amount_hundredths", "currency"],
            ["verifications.id", "verifications.amount_hundredths", "verifications.currency"],
            name=op.f("fk_proofs_verification_id_amount_hundredths_currency"),
        ),
        sa.PrimaryKeyConstraint("payment_id", name=op.f("pk_proofs")),
        sa.UniqueConstraint("verification_id", name=op.f("uq_proofs_verification_id")),
    )


def _create_questions() -> None:
    """Create the table of who is asking a bank."""
    op.create_table(
        "questions",
        sa.Column("bill_id", _BIG, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("leased_until", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["bill_id"], ["bills.id"], name=op.f("fk_questions_bill_id")),
        sa.PrimaryKeyConstraint("bill_id", name=op.f("pk_questions")),
    )
