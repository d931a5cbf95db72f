"""What retention removed of the quarantine, and what of a repair's selection was asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and count what acts no longer list; nothing was purged until now."""
    op.add_column("quarantine_acts", sa.Column("narrowed_to", sa.Text(), nullable=False, server_default=""))
    op.add_column("quarantine_acts", sa.Column("purged_events", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "quarantine_purges",
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("act_id", sa.String(length=40), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("batch_id", "reason"),
    )
    op.create_index("ix_quarantine_purges_done_at", "quarantine_purges", ["done_at"])
