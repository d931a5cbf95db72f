"""Why events were not sent on to other collectors, counted by reason."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; what was withheld before has no reason, and stays counted as a whole with its segments."""
    op.create_table(
        "forward_withheld",
        sa.Column("target_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("target_id", "reason"),
    )
