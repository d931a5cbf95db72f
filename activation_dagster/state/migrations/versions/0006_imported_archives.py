"""What was imported from archives: which files, and which segments their lines landed in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the two tables; nothing was imported before."""
    op.create_table(
        "archive_objects",
        sa.Column("object_id", sa.String(length=40), nullable=False),
        sa.Column("source", sa.String(length=60), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("damage", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("object_id"),
    )
    op.create_table(
        "archive_segments",
        sa.Column("object_id", sa.String(length=40), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("segment_id", sa.String(length=60), nullable=False),
        sa.Column("source", sa.String(length=60), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("provenance", sa.String(length=20), nullable=False),
        sa.Column("landed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("object_id", "part"),
    )
    op.create_index("ix_archive_segments_segment_id", "archive_segments", ["segment_id"])
