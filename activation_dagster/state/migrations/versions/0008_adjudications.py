"""History adjudicated again: what held before, since when what holds instead is known, and what must stay apart."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0009"
branch_labels = None
depends_on = None

BIG, TEXT, KEY = sa.BigInteger, sa.Text, sa.LargeBinary


def upgrade() -> None:
    """Add the column and the tables; nothing was adjudicated again before."""
    for table in FORMER:
        op.add_column(table, sa.Column("known_seq", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "adjudications",
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("act", sa.String(length=20), nullable=False),
        sa.Column("contract_set", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "separations",
        sa.Column("first_key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("second_key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("first_key", "second_key"),
    )
    op.create_index("ix_separations_second_key", "separations", ["second_key"])
    for table, (keys, columns, looked_up) in FORMER.items():
        name = f"former_{table}"
        op.create_table(
            name,
            *(sa.Column(column, kind, nullable=column == "review_at") for column, kind in columns.items()),
            sa.Column("known_seq", sa.BigInteger(), nullable=False),
            sa.Column("ended_seq", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint(*keys, "ended_seq"),
        )
        for column in looked_up:
            op.create_index(f"{name}_by_{column}", name, [column])


def _text(length: int) -> sa.String:
    return sa.String(length=length)


FORMER: dict[str, tuple[tuple[str, ...], dict[str, sa.types.TypeEngine[Any]], tuple[str, ...]]] = {
    "profiles": (
        ("profile_id",),
        {
            "profile_id": _text(40),
            "created_seq": BIG(),
            "created_rank": BIG(),
            "first_key": KEY(16),
            "created_by": _text(80),
        },
        (),
    ),
    "identifiers": (
        ("key",),
        {
            "key": KEY(16),
            "kind": _text(40),
            "value": TEXT(),
            "profile_id": _text(40),
            "seq": BIG(),
            "event_id": _text(80),
            "seen_at": BIG(),
        },
        ("profile_id",),
    ),
    "companions": (("key", "other_key"), {"key": KEY(16), "other_key": KEY(16), "seq": BIG()}, ()),
    "profile_redirects": (
        ("from_profile",),
        {"from_profile": _text(40), "to_profile": _text(40), "seq": BIG(), "event_id": _text(80)},
        ("to_profile",),
    ),
    "links": (
        ("event_id", "key"),
        {
            "event_id": _text(80),
            "key": KEY(16),
            "kind": _text(40),
            "profile_id": _text(40),
            "decision": _text(20),
            "reason": _text(40),
            "other_profile_id": _text(40),
            "rules_version": _text(40),
            "seq": BIG(),
            "decided_at": BIG(),
        },
        ("profile_id", "other_profile_id"),
    ),
    "traits": (
        ("profile_id", "trait", "seq"),
        {
            "profile_id": _text(40),
            "trait": _text(80),
            "seq": BIG(),
            "value": TEXT(),
            "set_at": BIG(),
            "event_id": _text(80),
        },
        (),
    ),
    "trait_sayings": (
        ("profile_id", "trait", "seq", "source", "value_key"),
        {
            "profile_id": _text(40),
            "trait": _text(80),
            "seq": BIG(),
            "source": _text(80),
            "value_key": KEY(16),
            "value": TEXT(),
            "times": BIG(),
            "first_at": BIG(),
            "first_event": _text(80),
            "last_at": BIG(),
            "last_event": _text(80),
        },
        (),
    ),
    "activity": (
        ("profile_id", "measure", "day", "seq"),
        {
            "profile_id": _text(40),
            "measure": _text(200),
            "day": sa.Integer(),
            "seq": BIG(),
            "event_count": BIG(),
            "total_millionths": BIG(),
        },
        (),
    ),
    "consent_records": (
        ("record_id",),
        {
            "record_id": _text(64),
            "profile_id": _text(40),
            "purpose": _text(60),
            "channel": _text(40),
            "status": _text(10),
            "decided_at": BIG(),
            "seq": BIG(),
            "source": _text(120),
            "proof": TEXT(),
        },
        ("profile_id",),
    ),
    "membership_changes": (
        ("audience_id", "profile_id", "seq"),
        {
            "audience_id": _text(80),
            "profile_id": _text(40),
            "seq": BIG(),
            "change": _text(10),
            "entry_no": sa.Integer(),
            "entry_key": KEY(16),
            "changed_at": BIG(),
            "review_at": BIG(),
            "batch_id": _text(40),
            "evidence": TEXT(),
        },
        ("profile_id",),
    ),
}
"""By live table: its key, its columns (and `known_seq`), and the columns of the former table that are looked up."""
