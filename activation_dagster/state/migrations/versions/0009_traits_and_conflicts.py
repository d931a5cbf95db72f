"""What traits whose policy asks for it were said to be, and the events that wait because two people would be one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables; what was said before counts once a batch, and conflicts of before stand in the ledger."""
    op.create_table(
        "trait_sayings",
        sa.Column("profile_id", sa.String(length=40), nullable=False),
        sa.Column("trait", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("value_key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("first_event", sa.String(length=80), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("last_event", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("profile_id", "trait", "seq", "source", "value_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "identity_conflicts",
        sa.Column("event_id", sa.String(length=80), nullable=False),
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("arrival_hour", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.String(length=80), nullable=False),
        sa.Column("contract_version", sa.String(length=40), nullable=False),
        sa.Column("told_by", sa.String(length=80), nullable=False),
        sa.Column("violations", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=120), nullable=False),
        sa.Column("rules_version", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("ix_identity_conflicts_batch_id", "identity_conflicts", ["batch_id"])
