"""Accepted links in the order of profiles, in the place of two indexes that a large load filled at random."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0008"
branch_labels = None
depends_on = None

SOURCES = (
    "links WHERE decision = 'accepted'",
    "identifiers WHERE true",
    "former_links WHERE decision = 'accepted'",
    "former_identifiers WHERE true",
)
"""What was ever given to profiles: a batch from before an adjudication finds what that ended here too."""


def upgrade() -> None:
    """Make the table of what the ledger and the identifiers hold or held, and leave of the indexes what it lacks."""
    is_postgres = op.get_context().dialect.name == "postgresql"
    # A run of an earlier release would go on without the table: it finds that its lease is lost, and writes nothing.
    op.execute("UPDATE leases SET fence = fence + 1, holder = '', expires_at = 0 WHERE name = 'environment'")
    if is_postgres:
        op.execute("LOCK TABLE links, identifiers IN SHARE ROW EXCLUSIVE MODE")
    op.create_table(
        "profile_identifiers",
        sa.Column("profile_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("event_id", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("profile_id", "key", "event_id"),
        sqlite_with_rowid=False,
    )
    _fill()
    op.drop_index("ix_identifiers_profile_id", table_name="identifiers")
    op.drop_index("ix_links_profile_id", table_name="links")
    op.create_index(
        "links_not_accepted",
        "links",
        ["profile_id"],
        sqlite_where=sa.text("decision <> 'accepted'"),
        postgresql_where=sa.text("decision <> 'accepted'"),
    )
    if is_postgres:
        op.execute("ANALYZE profile_identifiers")  # else lookups read all of it until autovacuum has come by


def _fill() -> None:
    """By ranges of profiles, found by the indexes that go: SQLite sorts in memory, and one range fits there."""
    connection = op.get_bind()
    if all(connection.execute(sa.text(f"SELECT 1 FROM {source} LIMIT 1")).first() is None for source in SOURCES):
        return
    bounds = [f"p{number:02x}" for number in range(1, 256)]
    for begin, end in zip(["", *bounds], [*bounds, ""], strict=True):
        inside = f" AND profile_id >= '{begin}'" + (f" AND profile_id < '{end}'" if end else "")
        found = " UNION ".join(f"SELECT profile_id, key, event_id FROM {source}{inside}" for source in SOURCES)
        op.execute(f"INSERT INTO profile_identifiers (profile_id, key, event_id) {found} ORDER BY 1, 2, 3")
