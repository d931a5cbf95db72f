"""Accepted links in the order of profiles, in the place of two indexes that a large load filled at random."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of what the ledger and the identifiers hold, and leave of the indexes what it does not tell."""
    op.create_table(
        "profile_identifiers",
        sa.Column("profile_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("event_id", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("profile_id", "key", "event_id"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO profile_identifiers (profile_id, key, event_id) "
        "SELECT profile_id, key, event_id FROM links WHERE decision = 'accepted' "
        "UNION SELECT profile_id, key, event_id FROM identifiers ORDER BY 1, 2, 3"
    )
    op.drop_index("ix_identifiers_profile_id", table_name="identifiers")
    op.drop_index("ix_links_profile_id", table_name="links")
    op.create_index(
        "links_not_accepted",
        "links",
        ["profile_id"],
        sqlite_where=sa.text("decision <> 'accepted'"),
        postgresql_where=sa.text("decision <> 'accepted'"),
    )
