"""What identity rules need of time and of company: when an identifier was attached, and what it was seen with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table; what stands gets the instant of its batch, the nearest that is known."""
    op.add_column("identifiers", sa.Column("seen_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("links", sa.Column("decided_at", sa.BigInteger(), nullable=False, server_default="0"))
    for table, column in (("identifiers", "seen_at"), ("links", "decided_at")):
        op.execute(
            f"UPDATE {table} SET {column} = "
            f"coalesce((SELECT max(as_of) FROM batches WHERE batches.position = {table}.seq), 0)"
        )
    op.create_index(
        "links_by_other_profile",
        "links",
        ["other_profile_id"],
        sqlite_where=sa.text("other_profile_id <> ''"),
        postgresql_where=sa.text("other_profile_id <> ''"),
    )
    op.create_table(
        "companions",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("other_key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "other_key"),
        sqlite_with_rowid=False,
    )
