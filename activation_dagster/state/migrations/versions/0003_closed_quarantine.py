"""What became of waiting events: who repaired, replayed or dismissed them, and where they entered again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the three tables; whatever waits stays open."""
    op.create_table(
        "quarantine_acts",
        sa.Column("act_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=False),
        sa.Column("done_by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("act_id"),
    )
    op.create_table(
        "quarantine_closings",
        sa.Column("event_id", sa.String(length=80), nullable=False),
        sa.Column("act_id", sa.String(length=40), nullable=False),
        sa.Column("became", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("ix_quarantine_closings_act_id", "quarantine_closings", ["act_id"])
    op.create_table(
        "reentry_segments",
        sa.Column("segment_id", sa.String(length=60), nullable=False),
        sa.Column("source", sa.String(length=60), nullable=False),
        sa.Column("act_id", sa.String(length=40), nullable=False),
        sa.Column("provenance", sa.String(length=20), nullable=False),
        sa.Column("landed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("segment_id", "source"),
    )
