"""An index less for each event: that of all keys answers what waits of one. Older code runs on it.

A confirmation writes two events; each had six entries in indexes, not counting block ranges.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the schema forwards."""
    op.drop_index("outbox_unpublished_key", table_name="outbox")


def downgrade() -> None:
    """Refuse: the schema only goes forwards."""
    raise NotImplementedError("make the index by hand if it is missed")
