"""What is known of a profile: its traits, and what it did of each measure a day; rows of a batch, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from activation_dagster.state.bulk import insert_in_chunks, select_in
from activation_dagster.state.engine import State
from activation_dagster.state.former import then
from activation_dagster.state.tables import activity, trait_sayings, traits

TraitRow = tuple[str, str, int, str, int, str]
"""(profile_id, trait, seq, JSON value, set_at in µs, event_id)"""

SayingRow = tuple[str, str, int, str, bytes, str, int, int, str, int, str]
"""(profile_id, trait, seq, source, value's key, JSON value, times, first_at in µs, its event, last_at, its event)"""

ActivityRow = tuple[str, str, int, int, int, int]
"""(profile_id, measure, day since 1970-01-01, seq, event count, total in millionths)"""


def add_traits(state: State, rows: Iterable[TraitRow]) -> int:
    """Add a batch's newest value of each profile's traits; what stands wins."""
    return insert_in_chunks(state, traits, ("profile_id", "trait", "seq", "value", "set_at", "event_id"), rows)


def add_sayings(state: State, rows: Iterable[SayingRow]) -> int:
    """Add what a batch's events said of traits whose policy asks for it; what stands wins."""
    columns = [column.name for column in trait_sayings.columns if column.name != "known_seq"]
    return insert_in_chunks(state, trait_sayings, columns, rows)


def add_activity(state: State, rows: Iterable[ActivityRow]) -> int:
    """Add what a batch's events add to measures; what stands wins."""
    return insert_in_chunks(
        state, activity, ("profile_id", "measure", "day", "seq", "event_count", "total_millionths"), rows
    )


def traits_of(connection: Connection, members: Sequence[str], *, up_to_seq: int) -> list[TraitRow]:
    """All trait rows of some profiles that stand at or before a state sequence."""
    t = then(connection, traits, up_to_seq).c
    query = select(t.profile_id, t.trait, t.seq, t.value, t.set_at, t.event_id).where(t.seq <= up_to_seq)
    return [
        (row[0], row[1], row[2], row[3], row[4], row[5]) for row in select_in(connection, query, t.profile_id, members)
    ]


def sayings_of(connection: Connection, members: Sequence[str], *, up_to_seq: int) -> list[SayingRow]:
    """All that was said of some profiles, as far as policies asked for it, at or before a state sequence."""
    s = then(connection, trait_sayings, up_to_seq).c
    columns = [s[column.name] for column in trait_sayings.columns if column.name != "known_seq"]
    found = select_in(connection, select(*columns).where(s.seq <= up_to_seq), s.profile_id, members)
    return [
        (row[0], row[1], row[2], row[3], bytes(row[4]), row[5], row[6], row[7], row[8], row[9], row[10])
        for row in found
    ]


def activity_of(connection: Connection, members: Sequence[str], *, up_to_seq: int) -> list[ActivityRow]:
    """All activity rows of some profiles that stand at or before a state sequence."""
    a = then(connection, activity, up_to_seq).c
    query = select(a.profile_id, a.measure, a.day, a.seq, a.event_count, a.total_millionths).where(a.seq <= up_to_seq)
    return [
        (row[0], row[1], row[2], row[3], row[4], row[5]) for row in select_in(connection, query, a.profile_id, members)
    ]
