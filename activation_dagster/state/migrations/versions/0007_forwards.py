"""How far events were sent on to other collectors, and what those refuse for good."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the three tables; nothing was sent on before."""
    op.create_table(
        "forward_targets",
        sa.Column("target_id", sa.String(length=40), nullable=False),
        sa.Column("source", sa.String(length=63), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("since_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("target_id"),
    )
    op.create_table(
        "forward_segments",
        sa.Column("target_id", sa.String(length=40), nullable=False),
        sa.Column("segment_id", sa.String(length=60), nullable=False),
        sa.Column("lines_done", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("withheld", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("target_id", "segment_id"),
    )
    op.create_table(
        "forward_refusals",
        sa.Column("target_id", sa.String(length=40), nullable=False),
        sa.Column("event_id", sa.String(length=80), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("refused_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("target_id", "event_id"),
    )
