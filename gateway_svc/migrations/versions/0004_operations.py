"""Operations: what people look for, and how two of them end what is held.

Adds tables and indexes, and refuses only what no version before it does: older code runs on it.
"""

import sqlalchemy as sa
from alembic import op

from chassis.columns import UtcDateTime
from gateway_svc.migrations.triggers import trigger_statements

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_EDGES = {"proposals": (("PROPOSED", "APPROVED"), ("PROPOSED", "REJECTED"))}
_FROZEN = {
    "proposals": (
        "id",
        "exception_id",
        "notice_id",
        "khqr_notice_id",
        "payment_id",
        "hold",
        "held_since",
        "action",
        "bill_id",
        "bank_reference",
        "reason",
        "proposed_by",
        "proposed_at",
        "request_id",
    ),
}
_KEPT = {"proposals": "id"}

# What was approved before about the same exception; `proposals` is the table.
_ENDED = (
    "EXISTS (SELECT 1 FROM proposals p WHERE p.exception_id = NEW.exception_id"
    " AND p.state = 'APPROVED' AND p.action IN ('APPLY', 'REFUNDED', 'VOID'))"
)
_REFUNDING = (
    "EXISTS (SELECT 1 FROM proposals p WHERE p.exception_id = NEW.exception_id"
    " AND p.state = 'APPROVED' AND p.action = 'REFUND')"
)
# What is refused beyond keys and checks: (table, name, moment, when, condition, why). `when` is
# cheap and asks no table: only rows that pass it are asked about.
_REFUSALS = (
    (
        "proposals",
        "fresh",
        "INSERT",
        "NEW.state <> 'PROPOSED'",
        "TRUE",
        "nothing is decided by whoever proposes it",
    ),
    (
        "proposals",
        "once",
        "UPDATE",
        "OLD.state <> 'PROPOSED'",
        "TRUE",
        "it is decided",
    ),
    (
        "proposals",
        "order",
        "UPDATE",
        "NEW.state = 'APPROVED'",
        f"{_ENDED} OR (NEW.action IN ('APPLY', 'REFUND') AND {_REFUNDING})"
        f" OR (NEW.action = 'REFUNDED' AND NOT {_REFUNDING})",
        "what was approved before does not allow it",
    ),
    (
        "proposals",
        "unapplied",
        "UPDATE",
        "NEW.state = 'APPROVED' AND NEW.payment_id IS NOT NULL",
        "NOT EXISTS (SELECT 1 FROM payments p WHERE p.id = NEW.payment_id"
        " AND p.state = 'UNAPPLIED')",
        "the money pays a bill",
    ),
    # Money that waits, and a bank's claim that was refused, move on the word of two people.
    (
        "payments",
        "two_people",
        "UPDATE",
        "OLD.state = 'UNAPPLIED' AND NEW.state = 'APPLIED'",
        "NOT EXISTS (SELECT 1 FROM proposals p WHERE p.payment_id = NEW.id"
        " AND p.action = 'APPLY' AND p.state = 'APPROVED' AND p.bill_id = NEW.bill_id)",
        "nobody approved it",
    ),
    (
        "notices",
        "two_people",
        "UPDATE",
        "OLD.state = 'HELD' AND NEW.state = 'DONE'",
        "NOT EXISTS (SELECT 1 FROM proposals p WHERE p.notice_id = NEW.id"
        " AND p.state = 'APPROVED' AND p.action IN ('APPLY', 'REFUNDED', 'VOID'))",
        "nobody approved it",
    ),
)
_HELD = "state = 'HELD'"
_UNAPPLIED = "state = 'UNAPPLIED'"
_WITH_PAYMENT = "payment_id IS NOT NULL"
# name, table, column, condition; what each is for stands beside the tables.
_INDEXES = (
    ("ix_notices_held", "notices", "id", _HELD),
    ("ix_khqr_notices_held", "khqr_notices", "id", _HELD),
    ("ix_payments_unapplied", "payments", "id", _UNAPPLIED),
    ("ix_khqr_notices_payment_id", "khqr_notices", "payment_id", _WITH_PAYMENT),
    ("ix_khqr_notices_request_id", "khqr_notices", "request_id", None),
    ("ix_notices_bill_id", "notices", "bill_id", None),
    ("ix_codes_bill_id", "codes", "bill_id", None),
    ("ix_bill_numbers_number", "bill_numbers", "number", None),
    ("ix_outbox_event_key", "outbox", "event_key", None),
    ("ix_outbox_request_id", "outbox", "request_id", None),
)
_MOMENTS = (
    ("bills", "created_at"),
    ("codes", "created_at"),
    ("notices", "received_at"),
    ("khqr_notices", "received_at"),
    ("payments", "recorded_at"),
    ("outbox", "created_at"),
)


def upgrade() -> None:
    """Change the schema forwards."""
    _create_proposals()
    for name, table, column, condition in _INDEXES:
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, [column], postgresql_where=where, sqlite_where=where)
    for table, column in _MOMENTS:
        op.create_index(
            f"ix_{table}_{column}",
            table,
            [column],
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 32},
        )
    dialect = op.get_bind().dialect.name
    for statement in trigger_statements(
        dialect=dialect, edges=_EDGES, frozen=_FROZEN, kept=_KEPT, with_functions=False
    ):
        op.execute(statement)
    for statement in _refusal_statements(dialect):
        op.execute(statement)


def downgrade() -> None:
    """Refuse: what people decided would be lost."""
    raise NotImplementedError("decisions are facts and are kept")


def _refusal_statements(dialect: str) -> list[str]:
    """Return the triggers of `_REFUSALS`; PostgreSQL allows no question in a WHEN."""
    statements = []
    for table, name, moment, when, condition, why in _REFUSALS:
        text = f"{moment} of {table} is refused: {why}"
        head = f"CREATE TRIGGER {table}_{name} BEFORE {moment} ON {table} FOR EACH ROW"
        if dialect == "sqlite":
            statements.append(
                f"{head} WHEN ({when}) AND ({condition}) BEGIN SELECT RAISE(ABORT, '{text}'); END"
            )
            continue
        statements += [
            f"CREATE FUNCTION refuse_{table}_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF {condition} THEN RAISE EXCEPTION '{text}' USING ERRCODE = 'check_violation'; "
            f"END IF; RETURN NEW; END $$",
            f"{head} WHEN ({when}) EXECUTE FUNCTION refuse_{table}_{name}()",
        ]
    return statements


def _create_proposals() -> None:
    """Create the table of how people would end what is held."""
    op.create_table(
        "proposals",
        sa.Column("id", _BIG, sa.Identity(always=False, start=1), nullable=False),
        sa.Column("exception_id", sa.Text(), nullable=False),
        sa.Column("notice_id", _BIG, nullable=True),
        sa.Column("khqr_notice_id", _BIG, nullable=True),
        sa.Column("payment_id", _BIG, nullable=True),
        sa.Column("hold", sa.Text(), nullable=False),
        sa.Column("held_since", UtcDateTime(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("bill_id", _BIG, nullable=True),
        sa.Column("bank_reference", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("proposed_at", UtcDateTime(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_at", UtcDateTime(), nullable=False),
        sa.Column("state_cause", sa.Text(), nullable=False),
        *(
            sa.CheckConstraint(condition, name=op.f(f"ck_proposals_{name}"))
            for name, condition in _CHECKS.items()
        ),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=op.f(f"fk_proposals_{column}"))
            for column, table in _POINTS_AT.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
    )
    for name, condition in _ONE_EACH.items():
        op.create_index(
            name,
            "proposals",
            ["exception_id"],
            unique=True,
            postgresql_where=sa.text(condition),
            sqlite_where=sa.text(condition),
        )
    op.create_index("ix_proposals_exception_id", "proposals", ["exception_id"], unique=False)


_POINTS_AT = {
    "notice_id": "notices",
    "khqr_notice_id": "khqr_notices",
    "payment_id": "payments",
    "bill_id": "bills",
}
_ONE_EACH = {
    "uq_proposals_open": "state = 'PROPOSED'",
    "uq_proposals_ended": "state = 'APPROVED' AND action IN ('APPLY', 'REFUNDED', 'VOID')",
    "uq_proposals_refunding": "state = 'APPROVED' AND action = 'REFUND'",
}
_CHECKS = {
    "action": "action IN ('APPLY', 'REFUND', 'REFUNDED', 'VOID')",
    "state": "state IN ('PROPOSED', 'APPROVED', 'REJECTED')",
    "one_exception": (
        "(notice_id IS NOT NULL AND khqr_notice_id IS NULL AND payment_id IS NULL"
        " AND exception_id = 'notice-' || CAST(notice_id AS TEXT))"
        " OR (notice_id IS NULL AND khqr_notice_id IS NOT NULL AND payment_id IS NULL"
        " AND exception_id = 'khqr-' || CAST(khqr_notice_id AS TEXT))"
        " OR (notice_id IS NULL AND khqr_notice_id IS NULL AND payment_id IS NOT NULL"
        " AND exception_id = 'payment-' || CAST(payment_id AS TEXT))"
    ),
    "apply_bill": "(action = 'APPLY') = (bill_id IS NOT NULL)",
    "bank_reference": (
        "(action = 'REFUNDED') = (bank_reference IS NOT NULL)"
        " AND (bank_reference IS NULL OR trim(bank_reference) <> '')"
    ),
    "apply_money": "action <> 'APPLY' OR khqr_notice_id IS NULL",
    "reason": "trim(reason) <> ''",
    "proposed_by": "trim(proposed_by) <> ''",
    "decided": (
        "(state = 'PROPOSED' AND decided_by IS NULL AND decided_at IS NULL"
        " AND decision_reason IS NULL)"
        " OR (state <> 'PROPOSED' AND decided_by IS NOT NULL AND trim(decided_by) <> ''"
        " AND decided_at IS NOT NULL AND decision_reason IS NOT NULL"
        " AND trim(decision_reason) <> '')"
    ),
    "two_people": "state <> 'APPROVED' OR decided_by <> proposed_by",
}
