"""As it was known: what the tables that follow from who is who held at a state sequence, adjudicated again or not.

A table holds what holds now. What an adjudication ended stands in its former table, with the sequence that ended it;
what an adjudication brought says in `known_seq` since when. So whoever asks of now looks at one table, and only a batch
from before an adjudication, computed again, looks at both.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Table,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    union_all,
)

from activation_dagster.state.bulk import insert_new
from activation_dagster.state.tables import FORMER, adjudications

KEYS_AT_ONCE = 500
"""Rows that one statement ends: SQLite limits the depth of an expression and the parameters of a statement."""


def adjudicated_since(connection: Connection, seq: int) -> bool:
    """Whether history was adjudicated again after a state sequence."""
    query = select(func.count()).select_from(adjudications).where(adjudications.c.seq > seq)
    return connection.execute(query).scalar_one() > 0


def then(connection: Connection, table: Table, up_to_seq: int | None) -> FromClause:
    """What to select from for the rows of a table as they were known at a state sequence; None is now.

    Rows that were known by then may still have a later `seq` of their own: the caller asks for that as ever.
    """
    if up_to_seq is None or not adjudicated_since(connection, up_to_seq):
        return table
    former = FORMER[table.name]
    held = select(*table.c).where(table.c.known_seq <= up_to_seq)
    ended = select(*(former.c[column.name] for column in table.c)).where(
        former.c.known_seq <= up_to_seq, former.c.ended_seq > up_to_seq
    )
    return union_all(held, ended).subquery(f"{table.name}_then")


def end_rows(connection: Connection, table: Table, keys: Sequence[tuple[Any, ...]], *, seq: int) -> None:
    """Move the rows with these primary keys to the former table; what is not there is left out."""
    keep_former(connection, table, keys, seq=seq)
    for chosen in _chosen(table, keys):
        connection.execute(delete(table).where(chosen))


def keep_former(connection: Connection, table: Table, keys: Sequence[tuple[Any, ...]], *, seq: int) -> None:
    """Copy the rows with these primary keys to the former table, as they are before they are changed or moved."""
    former = FORMER[table.name]
    names = [column.name for column in table.columns]
    for chosen in _chosen(table, keys):
        moved = select(*table.c, literal(seq)).where(chosen)
        connection.execute(insert(former).from_select([*names, "ended_seq"], moved))


def _chosen(table: Table, keys: Sequence[tuple[Any, ...]]) -> Generator[ColumnElement[bool]]:
    key = list(table.primary_key.columns)
    for start in range(0, len(keys), KEYS_AT_ONCE):
        part = keys[start : start + KEYS_AT_ONCE]
        yield key[0].in_([one for (one,) in part]) if len(key) == 1 else tuple_(*key).in_(part)


def add_rows(connection: Connection, table: Table, rows: Iterable[tuple[Any, ...]], *, seq: int) -> int:
    """Add rows (values in the order of the table's columns but for `known_seq`), known since `seq`; how many."""
    names = tuple(column.name for column in table.columns if column.name != "known_seq")
    return insert_new(connection, table, (*names, "known_seq"), [(*row, seq) for row in rows])
