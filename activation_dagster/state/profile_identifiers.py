"""What profiles were given: identifiers and links looked up in the order of profiles, without an index by profile.

Keys and profile ids are hashes, so an index by profile takes each row of a load to a page of its own. Instead each
accepted link has a short row in a table of the order of profiles, which a batch fills sorted, and from there the ledger
and the identifiers are found by their own keys. That row is written first and stays: it says where to look.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, literal_column, select

from activation_dagster.domain.links import LinkDecision
from activation_dagster.state.bulk import insert_new, select_in
from activation_dagster.state.former import adjudicated_since
from activation_dagster.state.tables import FORMER, identifiers, links, profile_identifiers

COLUMNS = ("profile_id", "key", "event_id")

Chosen = Callable[[Any], Sequence[ColumnElement[Any]]]
"""Columns of a table, chosen from its `c`."""


def keep_order(connection: Connection, rows: Iterable[tuple[str, bytes, str]]) -> None:
    """Add (profile_id, key, event_id) of links or identifiers that are about to be added."""
    insert_new(connection, profile_identifiers, COLUMNS, sorted(rows))


def keys_given(connection: Connection, profile_ids: Iterable[str]) -> set[bytes]:
    """The keys of all identifiers that ever stood on some profiles, or do."""
    given = profile_identifiers.c
    return {bytes(row[0]) for row in select_in(connection, select(given.key), given.profile_id, profile_ids)}


def held_by(
    connection: Connection, profile_ids: Iterable[str], chosen: Chosen, *, up_to_seq: int | None = None
) -> Generator[tuple[Any, ...]]:
    """Columns of the identifiers that stand on some profiles, each row once, as was known at a state sequence or now.

    The columns must tell one identifier from another.
    """
    given, c = profile_identifiers.c, identifiers.c
    asked = list(profile_ids)
    found = select(*chosen(c)).join_from(
        profile_identifiers, identifiers, and_(c.key == given.key, c.profile_id == given.profile_id)
    )
    if up_to_seq is not None:
        found = found.where(c.seq <= up_to_seq, c.known_seq <= up_to_seq)
    # a profile may have been given an identifier by several events
    yield from dict.fromkeys(select_in(connection, found, given.profile_id, asked))
    if up_to_seq is not None and adjudicated_since(connection, up_to_seq):
        c = FORMER[identifiers.name].c
        ended = select(*chosen(c)).where(c.seq <= up_to_seq, c.known_seq <= up_to_seq, c.ended_seq > up_to_seq)
        yield from select_in(connection, ended, c.profile_id, asked)


def links_of(
    connection: Connection, profile_ids: Iterable[str], chosen: Chosen, table: Table = links
) -> Generator[tuple[Any, ...]]:
    """Columns of the ledger's links that were offered to some profiles; of those that ended, with its former table."""
    c, asked = table.c, list(profile_ids)
    if table is not links:
        yield from select_in(connection, select(*chosen(c)), c.profile_id, asked)
        return
    given = profile_identifiers.c
    accepted: ColumnElement[str] = literal_column(f"'{LinkDecision.ACCEPTED.value}'")
    told = select(*chosen(c)).join_from(
        profile_identifiers, links, and_(c.event_id == given.event_id, c.key == given.key)
    )
    is_theirs = and_(c.profile_id == given.profile_id, c.decision == accepted)
    yield from select_in(connection, told.where(is_theirs), given.profile_id, asked)
    others = select(*chosen(c)).where(c.decision != accepted)  # written out: the index holds these alone
    yield from select_in(connection, others, c.profile_id, asked)


def links_against(
    connection: Connection, profile_ids: Iterable[str], chosen: Chosen, table: Table = links
) -> Generator[tuple[Any, ...]]:
    """Columns of the links that were offered to others, and of which some profiles had the identifier already."""
    against = select(*chosen(table.c)).where(table.c.other_profile_id != literal_column("''"))
    yield from select_in(connection, against, table.c.other_profile_id, profile_ids)
