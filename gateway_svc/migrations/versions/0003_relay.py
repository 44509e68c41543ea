"""The relay: which keys wait, and events asked for once more. Adds only: older code runs on it."""

import sqlalchemy as sa
from alembic import op

from chassis.columns import UtcDateTime
from gateway_svc.migrations.triggers import trigger_statements

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_WAITING = "published_at IS NULL AND (parked_at IS NOT NULL OR next_attempt_at IS NOT NULL)"
_OPEN = "delivered_at IS NULL AND refused_because IS NULL"

_FROZEN = {
    "outbox_requests": (
        "id",
        "kind",
        "requested_at",
        "requested_by",
        "reason",
        "selection",
        "events",
    ),
    "outbox_replays": ("request_id", "outbox_id"),
}
_KEPT = {"outbox_requests": "id"}


def upgrade() -> None:
    """Change the schema forwards."""
    op.create_index(
        "outbox_waiting",
        "outbox",
        ["event_key"],
        unique=False,
        sqlite_where=sa.text(_WAITING),
        postgresql_where=sa.text(_WAITING),
    )
    _create_requests()
    _create_replays()
    dialect = op.get_bind().dialect.name
    for statement in trigger_statements(
        dialect=dialect, edges={}, frozen=_FROZEN, kept=_KEPT, with_functions=False
    ):
        op.execute(statement)
    for statement in _refusals(dialect):
        op.execute(statement)
    if dialect == "postgresql":
        # Every row of a queue dies once. Vacuumed at a fifth of a table of millions, the index
        # of what is unpublished is mostly of what is not; here after each 20,000.
        op.execute(
            "ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, "
            "autovacuum_vacuum_threshold = 20000)"
        )


def downgrade() -> None:
    """Refuse: what people asked for would be lost."""
    raise NotImplementedError("requests are facts and are kept")


def _create_requests() -> None:
    """Create the journal of what people asked of the outbox."""
    op.create_table(
        "outbox_requests",
        sa.Column("id", _BIG, sa.Identity(always=False, start=1), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.CheckConstraint("kind IN ('REPLAY', 'RELEASE')", name=op.f("ck_outbox_requests_kind")),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_outbox_requests_reason")),
        sa.CheckConstraint("requested_by <> ''", name=op.f("ck_outbox_requests_requested_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_requests")),
    )


def _create_replays() -> None:
    """Create the table of events to be delivered once more."""
    op.create_table(
        "outbox_replays",
        sa.Column("request_id", _BIG, nullable=False),
        sa.Column("outbox_id", _BIG, nullable=False),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.Column("delivered_partition", sa.Integer(), nullable=True),
        sa.Column("delivered_offset", _BIG, nullable=True),
        sa.Column("refused_because", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["request_id"], ["outbox_requests.id"], name=op.f("fk_outbox_replays_request_id")
        ),
        sa.ForeignKeyConstraint(
            ["outbox_id"], ["outbox.id"], name=op.f("fk_outbox_replays_outbox_id")
        ),
        sa.PrimaryKeyConstraint("request_id", "outbox_id", name=op.f("pk_outbox_replays")),
    )
    op.create_index(
        "outbox_replays_open",
        "outbox_replays",
        ["request_id", "outbox_id"],
        unique=False,
        sqlite_where=sa.text(_OPEN),
        postgresql_where=sa.text(_OPEN),
    )
    op.create_index("outbox_replays_of_event", "outbox_replays", ["outbox_id"], unique=False)


def _refusals(dialect: str) -> list[str]:
    """Return the triggers that keep a replay whole: asked for, then done once."""
    rules = (
        ("kept", "DELETE", _of("OLD", _OPEN), "it is not delivered yet"),
        ("once", "UPDATE", f"NOT ({_of('OLD', _OPEN)})", "it is done"),
    )
    statements = []
    for name, moment, condition, why in rules:
        text = f"{moment} of outbox_replays is refused: {why}"
        head = f"CREATE TRIGGER outbox_replays_{name} BEFORE {moment} ON outbox_replays "
        if dialect == "sqlite":
            statements.append(
                f"{head} FOR EACH ROW WHEN {condition} BEGIN SELECT RAISE(ABORT, '{text}'); END"
            )
        else:
            statements.append(
                f"{head} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse_change('{why}')"
            )
    return statements


def _of(row: str, condition: str) -> str:
    return condition.replace("delivered_at", f"{row}.delivered_at").replace(
        "refused_because", f"{row}.refused_because"
    )
