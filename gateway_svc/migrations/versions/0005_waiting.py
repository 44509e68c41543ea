"""An index of what waits for the bank's word. Adds only: older code runs on it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_WAITING = "state IN ('RECEIVED', 'VERIFYING') AND next_attempt_at IS NOT NULL"


def upgrade() -> None:
    """Change the schema forwards."""
    op.create_index(
        "ix_khqr_notices_waiting",
        "khqr_notices",
        ["id"],
        unique=False,
        sqlite_where=sa.text(_WAITING),
        postgresql_where=sa.text(_WAITING),
    )
