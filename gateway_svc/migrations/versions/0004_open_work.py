"""Indexes of what waits for a bank or a person. Adds only: older code runs on it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_HELD = "state = 'HELD'"
_INDEXES = (
    ("ix_notices_held", "notices", _HELD),
    ("ix_khqr_notices_held", "khqr_notices", _HELD),
    (
        "ix_khqr_notices_waiting",
        "khqr_notices",
        "state IN ('RECEIVED', 'VERIFYING') AND next_attempt_at IS NOT NULL",
    ),
    ("ix_payments_unapplied", "payments", "state = 'UNAPPLIED'"),
)


def upgrade() -> None:
    """Change the schema forwards."""
    for name, table, rows in _INDEXES:
        op.create_index(
            name,
            table,
            ["id"],
            unique=False,
            sqlite_where=sa.text(rows),
            postgresql_where=sa.text(rows),
        )
