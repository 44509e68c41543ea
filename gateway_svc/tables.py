"""The schema: keys and checks that make a second application impossible, on both engines.

Amounts are whole hundredths in a 64-bit integer (SQLite's NUMERIC is a float). Times are
UTC instants. What a key or check cannot say (edges between states, append-only journal,
what never changes) stands in triggers: `migrations/triggers.py`.
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from chassis.columns import COUNTED_ID, UtcDateTime
from chassis.outbox import outbox_table
from chassis.replays import replay_tables

FIRST_BILL_ID = 150001  # one number for a bill everywhere; the specification's examples start here

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def id_column(*, start: int = 1) -> Column[int]:
    """Return the column of a number that the engine counts up."""
    return Column("id", COUNTED_ID, Identity(start=start), nullable=False)


def _amount() -> tuple[Column[int], Column[str]]:
    return (
        Column("amount_hundredths", COUNTED_ID, nullable=False),
        Column("currency", Text, nullable=False),
    )


def _amount_checks() -> tuple[CheckConstraint, ...]:
    return (
        CheckConstraint(
            "amount_hundredths > 0 AND amount_hundredths <= 1000000000000000000", name="amount"
        ),
        CheckConstraint("currency IN ('USD', 'KHR')", name="currency"),
        CheckConstraint("currency <> 'KHR' OR amount_hundredths % 100 = 0", name="khr_whole"),
        # SQLite would keep 1.5 or 'x' in an integer column.
        CheckConstraint("typeof(amount_hundredths) = 'integer'", name="amount_integer").ddl_if(
            dialect="sqlite"
        ),
    )


def state_columns() -> tuple[Column[Any], ...]:
    """Return state, when it was entered and why; a trigger copies them to the journal."""
    return (
        Column("state", Text, nullable=False),
        Column("state_at", UtcDateTime, nullable=False),
        Column("state_cause", Text, nullable=False),
    )


def recorded_in_order(name: str, moment: Column[Any]) -> None:
    """Index when rows of an append-only table were written, for lists and counts by time.

    On PostgreSQL a block range index: rows lie in the order of their times, near enough, so it
    knows a day's blocks at hardly any cost to a write. SQLite has none and takes its only kind.
    """
    Index(name, moment, postgresql_using="brin", postgresql_with={"pages_per_range": 32})


obligations = Table(
    "obligations",
    metadata,
    id_column(),
    Column("policy_number", Text, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("currency", Text, nullable=False),
    Column("event_sequence", Integer, nullable=False, server_default=text("0")),
    Column("created_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("policy_number", "due_on", "currency"),
    UniqueConstraint("id", "currency"),
    CheckConstraint("currency IN ('USD', 'KHR')", name="currency"),
    CheckConstraint("policy_number <> ''", name="policy_number"),
    CheckConstraint("event_sequence >= 0", name="event_sequence"),
)

bills = Table(
    "bills",
    metadata,
    id_column(start=FIRST_BILL_ID),
    Column("bank_code", Text, nullable=False),
    Column("obligation_id", COUNTED_ID, nullable=False),
    *_amount(),
    Column("payer", Text, nullable=False),
    Column("looked_up_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    *state_columns(),
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["obligation_id", "currency"], ["obligations.id", "obligations.currency"]),
    UniqueConstraint("id", "amount_hundredths", "currency"),
    UniqueConstraint("id", "obligation_id"),
    UniqueConstraint("id", "bank_code"),
    *_amount_checks(),
    CheckConstraint(f"id >= {FIRST_BILL_ID}", name="first_id"),
    CheckConstraint("state IN ('OPEN', 'PAID', 'CLOSED')", name="state"),
    sqlite_autoincrement=True,
)
Index(
    "uq_bills_open",
    bills.c.bank_code,
    bills.c.obligation_id,
    unique=True,
    postgresql_where=text("state = 'OPEN'"),
    sqlite_where=text("state = 'OPEN'"),
)
Index("ix_bills_obligation_id", bills.c.obligation_id)
recorded_in_order("ix_bills_created_at", bills.c.created_at)

bill_numbers = Table(
    "bill_numbers",
    metadata,
    Column("bill_id", COUNTED_ID, nullable=False),
    Column("number", Text, nullable=False),
    PrimaryKeyConstraint("bill_id", "number"),
    ForeignKeyConstraint(["bill_id"], ["bills.id"]),
)
# A number that was asked for leads to its bills.
Index("ix_bill_numbers_number", bill_numbers.c.number)

notices = Table(
    "notices",
    metadata,
    id_column(),
    Column("bank_code", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("natural_key", Text, nullable=False),
    Column("contradicts", Boolean(create_constraint=True, name="contradicts"), nullable=False),
    Column("bill_id", COUNTED_ID, nullable=False),  # as claimed: there may be no such bill
    Column("policy_number", Text, nullable=False),
    *_amount(),
    Column("payer", Text, nullable=False),
    Column("paid_at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("body_digest", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("hold", Text),
    Column("flags", Text, nullable=False, server_default=text("''")),
    *state_columns(),
    PrimaryKeyConstraint("id"),
    UniqueConstraint(
        "bank_code",
        "channel",
        "natural_key",
        "bill_id",
        "policy_number",
        "amount_hundredths",
        "currency",
        name="uq_notices_content",
    ),
    *_amount_checks(),
    CheckConstraint("channel IN ('BILL', 'KHQR')", name="channel"),
    CheckConstraint("state IN ('RECEIVED', 'VERIFYING', 'DONE', 'HELD')", name="state"),
    CheckConstraint("(state = 'HELD') = (hold IS NOT NULL)", name="hold"),
)
Index(
    "uq_notices_first",
    notices.c.bank_code,
    notices.c.channel,
    notices.c.natural_key,
    unique=True,
    postgresql_where=text("NOT contradicts"),
    sqlite_where=text("NOT contradicts"),
)
# What needs a person, whatever the number of notices that are decided.
Index(
    "ix_notices_held",
    notices.c.id,
    postgresql_where=text("state = 'HELD'"),
    sqlite_where=text("state = 'HELD'"),
)
# What was claimed about one bill.
Index("ix_notices_bill_id", notices.c.bill_id)
recorded_in_order("ix_notices_received_at", notices.c.received_at)

payments = Table(
    "payments",
    metadata,
    id_column(),
    Column("bank_code", Text, nullable=False),
    Column("transaction_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("notice_id", COUNTED_ID),
    Column("bill_id", COUNTED_ID),
    Column("obligation_id", COUNTED_ID),
    *_amount(),
    Column("paid_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("assurance", Text, nullable=False),
    *state_columns(),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("bank_code", "transaction_id"),
    UniqueConstraint("id", "obligation_id"),
    UniqueConstraint("notice_id"),
    ForeignKeyConstraint(["notice_id"], ["notices.id"]),
    # Equal amount and currency between a bill and what pays it; the bill's own bank.
    ForeignKeyConstraint(
        ["bill_id", "amount_hundredths", "currency"],
        ["bills.id", "bills.amount_hundredths", "bills.currency"],
    ),
    ForeignKeyConstraint(["bill_id", "bank_code"], ["bills.id", "bills.bank_code"]),
    ForeignKeyConstraint(["bill_id", "obligation_id"], ["bills.id", "bills.obligation_id"]),
    # APPLIED exactly where an application exists: checked at commit, as the two rows
    # point at each other.
    ForeignKeyConstraint(
        ["obligation_id", "id"],
        ["applications.obligation_id", "applications.payment_id"],
        name="fk_payments_application",
        deferrable=True,
        initially="DEFERRED",
        use_alter=True,
    ),
    *_amount_checks(),
    CheckConstraint("transaction_id <> ''", name="transaction_id"),
    CheckConstraint("channel IN ('BILL', 'KHQR')", name="channel"),
    CheckConstraint("assurance IN ('BANK_NOTICE', 'BANK_VERIFIED')", name="assurance"),
    CheckConstraint("state IN ('APPLIED', 'UNAPPLIED')", name="state"),
    CheckConstraint("(state = 'APPLIED') = (obligation_id IS NOT NULL)", name="applied"),
    CheckConstraint("obligation_id IS NULL OR bill_id IS NOT NULL", name="applied_bill"),
)
Index("ix_payments_bill_id", payments.c.bill_id)
# Money that needs a person.
Index(
    "ix_payments_unapplied",
    payments.c.id,
    postgresql_where=text("state = 'UNAPPLIED'"),
    sqlite_where=text("state = 'UNAPPLIED'"),
)
recorded_in_order("ix_payments_recorded_at", payments.c.recorded_at)

applications = Table(
    "applications",
    metadata,
    Column("obligation_id", COUNTED_ID, nullable=False),
    Column("payment_id", COUNTED_ID, nullable=False),
    Column("applied_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("obligation_id"),
    UniqueConstraint("payment_id"),
    UniqueConstraint("obligation_id", "payment_id"),
    ForeignKeyConstraint(["obligation_id"], ["obligations.id"]),
    ForeignKeyConstraint(
        ["payment_id", "obligation_id"], ["payments.id", "payments.obligation_id"]
    ),
)

journal = Table(
    "journal",
    metadata,
    id_column(),
    Column("entity", Text, nullable=False),
    Column("entity_id", COUNTED_ID, nullable=False),
    Column("from_state", Text),
    Column("to_state", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("id"),
)
Index("ix_journal_entity_entity_id", journal.c.entity, journal.c.entity_id)

outbox = outbox_table(metadata)
# The events of one policy, which are those of its bills, and what one request caused. Both are
# read by people, and written twice for each confirmation: no third one without a need.
Index("ix_outbox_event_key", outbox.c.event_key)
Index("ix_outbox_request_id", outbox.c.request_id)
recorded_in_order("ix_outbox_created_at", outbox.c.created_at)
replays = replay_tables(metadata, outbox=outbox)
