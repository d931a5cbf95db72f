"""Memberships: every entry into and exit from an audience, append-only, with what it was decided on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from activation_dagster.state.bulk import insert_in_chunks, select_in
from activation_dagster.state.engine import State
from activation_dagster.state.former import then
from activation_dagster.state.instants import micros
from activation_dagster.state.tables import membership_changes, profile_redirects

ChangeRow = tuple[str, str, int, str, int, bytes, int, int | None, str, str]
"""(audience_id, profile_id, seq, change, entry_no, entry_key, changed_at, review_at, batch_id, evidence)"""

COLUMNS = (
    "audience_id",
    "profile_id",
    "seq",
    "change",
    "entry_no",
    "entry_key",
    "changed_at",
    "review_at",
    "batch_id",
    "evidence",
)


def add_changes(state: State, rows: Iterable[ChangeRow]) -> int:
    """Add a batch's changes; what stands wins."""
    return insert_in_chunks(state, membership_changes, COLUMNS, rows)


def last_changes(
    connection: Connection, members: Sequence[str], *, before_seq: int
) -> list[tuple[str, str, int, str, int, bytes]]:
    """(profile_id, audience_id, seq, change, entry_no, entry_key) of all changes of some profiles before a sequence."""
    m = then(connection, membership_changes, before_seq).c
    query = select(m.profile_id, m.audience_id, m.seq, m.change, m.entry_no, m.entry_key).where(m.seq < before_seq)
    return [
        (row[0], row[1], row[2], row[3], row[4], bytes(row[5]))
        for row in select_in(connection, query, m.profile_id, members)
    ]


def due_for_review(connection: Connection, *, after: datetime | None, until: datetime, before_seq: int) -> list[str]:
    """Profiles with a membership that time alone may have ended in (after, until]; each is due in one batch only."""
    m = then(connection, membership_changes, before_seq).c
    query = select(m.profile_id).distinct().where(m.review_at <= micros(until), m.seq < before_seq)
    if after is not None:
        query = query.where(m.review_at > micros(after))
    return sorted(row[0] for row in connection.execute(query))


def members_now(connection: Connection) -> dict[str, int]:
    """How many profiles are in each audience now (losers of merges not counted)."""
    newest = (
        select(
            membership_changes.c.audience_id,
            membership_changes.c.profile_id,
            func.max(membership_changes.c.seq).label("seq"),
        )
        .group_by(membership_changes.c.audience_id, membership_changes.c.profile_id)
        .subquery()
    )
    rows = connection.execute(
        select(membership_changes.c.audience_id, func.count())
        .join(
            newest,
            (newest.c.audience_id == membership_changes.c.audience_id)
            & (newest.c.profile_id == membership_changes.c.profile_id)
            & (newest.c.seq == membership_changes.c.seq),
        )
        .where(
            membership_changes.c.change != "exited",
            membership_changes.c.profile_id.not_in(select(profile_redirects.c.from_profile)),
        )
        .group_by(membership_changes.c.audience_id)
    )
    return {row[0]: row[1] for row in rows}
