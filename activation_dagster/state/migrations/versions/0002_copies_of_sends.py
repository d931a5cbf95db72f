"""What of the ledger has changed since it was copied to the lake, and what the lake holds of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables; sends that stand already are copied by the next delivery."""
    op.create_table(
        "send_changes",
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("mark", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "mark"),
    )
    op.create_table(
        "send_copies",
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("table_version", sa.BigInteger(), nullable=True),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("batch_id"),
    )
    op.execute("INSERT INTO send_changes (batch_id, mark) SELECT DISTINCT batch_id, 'migration' FROM sends")
