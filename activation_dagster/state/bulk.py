"""Many rows at once: loading them so that what stands wins, and probing them by key, at each database's own speed."""

from __future__ import annotations

import importlib
import io
import json
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence, Sized
from contextlib import contextmanager
from itertools import islice, repeat
from typing import Any, TypeVar

from sqlalchemy import ARRAY, ColumnElement, Connection, Select, String, Table, any_, bindparam, literal_column
from sqlalchemy.exc import DBAPIError

from activation_dagster.state.engine import State, without_values

_Row = TypeVar("_Row")
_Chunk = TypeVar("_Chunk", bound=Sized)

COPY_FROM_ROWS = 300
"""From how many rows on a COPY into a temporary table is faster on PostgreSQL than single inserts in a pipeline."""

AIM_SECONDS = 0.07
"""What one chunk should take: SQLite's write lock is held that long, and a person's *no* waits that long. What a chunk
takes varies by a factor of two and more, and none should take 200 ms."""

FIRST_CHUNK_ROWS = 4_000

PAUSE_SECONDS = 0.01
"""Between chunks SQLite's write lock is free this long, over twice what a waiting writer naps between tries."""


def insert_new(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert `rows` (values in the order of `columns`); where a key stands already, what stands wins.

    Of rows with the same key the first wins. Returns how many were inserted.
    """
    if not rows:
        return 0
    unknown = set(columns) - set(table.columns.keys())
    if unknown:
        raise ValueError(f"'{table.name}' has no column {sorted(unknown)}")
    if connection.dialect.name == "sqlite":
        return _insert_sqlite(connection, table, columns, rows)
    return _insert_postgres(connection, table, columns, rows)


def insert_in_chunks(
    state: State, table: Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]], *, max_rows: int = 25_000
) -> int:
    """`insert_new` in as many transactions as it takes for none to hold SQLite's write lock much over `AIM_SECONDS`.

    The size of a chunk follows the time that the last one took. Each chunk is all or nothing, and since what stands
    wins, a load that was interrupted is simply made again. Returns how many rows were inserted.
    """
    return _in_chunks(
        state, _taken(rows), lambda connection, chunk: insert_new(connection, table, columns, chunk), max_rows
    )


def insert_table_in_chunks(
    state: State, table: Table, rows: Any, same: Mapping[str, str | int], *, max_rows: int = 100_000
) -> int:
    """`insert_in_chunks` of an Arrow table, whose columns are named as in `table`; `same` are values of all rows.

    On PostgreSQL no row becomes an object of Python: the columns go as CSV into a COPY.
    """
    at = 0

    def take(size: int) -> Any:
        nonlocal at
        at += size
        return rows.slice(at - size, size)

    def insert(connection: Connection, chunk: Any) -> int:
        if connection.dialect.name == "postgresql":
            return _copy_table(connection, table, chunk, same)
        values = [column.to_pylist() for column in chunk.columns]
        given = zip(*values, *(repeat(value, chunk.num_rows) for value in same.values()), strict=True)
        return _insert_sqlite(connection, table, [*chunk.column_names, *same], given)

    return _in_chunks(state, take, insert, max_rows)


def _taken(rows: Iterable[_Row]) -> Callable[[int], list[_Row]]:
    waiting = iter(rows)
    return lambda size: list(islice(waiting, size))


def insert_keys_in_chunks(
    state: State, table: Table, keys: Iterable[str], owner: int, *, max_rows: int = 100_000
) -> int:
    """Insert text keys that share one number, into a table of (key, number); what stands wins. As `insert_in_chunks`.

    On SQLite the keys of a chunk go in as one JSON text, which spares a step of the interpreter for each of them.
    """

    def insert(connection: Connection, chunk: list[str]) -> int:
        if connection.dialect.name != "sqlite":
            return insert_new(connection, table, table.columns.keys(), [(key, owner) for key in chunk])
        driver: Any = connection.connection.driver_connection
        return driver.execute(
            f'INSERT INTO "{table.name}" SELECT value, ? FROM json_each(?) WHERE true ON CONFLICT DO NOTHING',
            (owner, json.dumps(chunk)),
        ).rowcount

    return _in_chunks(state, _taken(keys), insert, max_rows)


def _in_chunks(
    state: State, take: Callable[[int], _Chunk], insert: Callable[[Connection, _Chunk], int], max_rows: int
) -> int:
    size = min(FIRST_CHUNK_ROWS, max_rows) if state.dialect == "sqlite" else max_rows
    inserted, pace = 0, float("inf")
    chunk = take(size)
    while len(chunk):
        with state.write() as connection:
            began = time.perf_counter()  # measured inside: waiting for the lock is not holding it
            inserted += insert(connection, chunk)
        took = time.perf_counter() - began
        if state.dialect == "sqlite":
            # Of two chunks the faster tells: the other may have brought the log into the file too, without the lock.
            before, pace = pace, took / len(chunk)
            size = _next_size(len(chunk), len(chunk) * min(before, pace), max_rows)
        chunk = take(size)
        if len(chunk) and state.dialect == "sqlite":
            time.sleep(PAUSE_SECONDS)
    return inserted


def _next_size(rows: int, took: float, max_rows: int) -> int:
    """The size of the next chunk: towards the aim, at most doubled, because the first chunks run on a warm cache."""
    fitting = int(rows * AIM_SECONDS / max(took, 0.001))
    return max(100, min(fitting, 2 * rows, max_rows))


def update_by_key(
    connection: Connection, table: Table, key: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> int:
    """Set `columns` of the rows of `table` that `key` names; each tuple is (key, one value a column).

    Returns how many rows were changed. No row is locked in any particular order: lock them first where others may
    hold some of them.
    """
    if not rows:
        return 0
    if connection.dialect.name == "sqlite":
        settings = ", ".join(f'"{name}" = ?' for name in columns)
        changed = connection.exec_driver_sql(
            f'UPDATE "{table.name}" SET {settings} WHERE "{key}" = ?', [(*row[1:], row[0]) for row in rows]
        )
        return changed.rowcount
    names = (key, *columns)
    arrays = ", ".join(f"%s::{table.c[name].type.compile(connection.dialect)}[]" for name in names)
    settings = ", ".join(f'"{name}" = new."{name}"' for name in columns)
    changed = connection.exec_driver_sql(
        f'UPDATE "{table.name}" SET {settings} FROM unnest({arrays}) AS new ({_names(names)}) '
        f'WHERE "{table.name}"."{key}" = new."{key}"',
        tuple(list(values) for values in zip(*rows, strict=True)),
    )
    return changed.rowcount


def select_in(
    connection: Connection,
    select: Select[*tuple[Any, ...]],
    column: ColumnElement[Any],
    values: Iterable[Any],
    *,
    chunk: int = 5_000,
) -> Generator[tuple[Any, ...]]:
    """Rows of `select` whose `column` is one of `values`, as plain tuples in no particular order, probed by index.

    `values` are probed `chunk` at a time (at most 10,000: SQLite limits the parameters of a statement); duplicates
    among them are probed once.
    """
    if not 1 <= chunk <= 10_000:
        raise ValueError("chunk must be from 1 to 10,000")
    waiting = iter(dict.fromkeys(values))
    probes = _probe_postgres if connection.dialect.name == "postgresql" else _probe_sqlite
    while probe := list(islice(waiting, chunk)):
        yield from probes(connection, select, column, probe)


def _probe_postgres(
    connection: Connection, select: Select[*tuple[Any, ...]], column: ColumnElement[Any], probe: list[Any]
) -> Generator[tuple[Any, ...]]:
    """Run by the driver, which gives tuples; the array in binary, because as text each value would be quoted."""
    query = select.where(column == any_(bindparam("probe", probe, type_=ARRAY(column.type))))
    compiled = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    text = str(compiled).replace("%(probe)s", "%(probe)b")
    driver: Any = connection.connection.driver_connection
    with _sqlalchemy_errors("a lookup"), driver.cursor() as cursor:
        cursor.execute(text, compiled.params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    yield from rows


def _probe_sqlite(
    connection: Connection, select: Select[*tuple[Any, ...]], column: ColumnElement[Any], probe: list[Any]
) -> Iterable[tuple[Any, ...]]:
    """Compiled once and run by the driver: SQLAlchemy's expanding IN names each of the parameters, which costs more
    than the probe. Text goes in as one JSON parameter, keys of bytes as one parameter each."""
    if isinstance(column.type, String):
        marks, given = "SELECT value FROM json_each(?)", [json.dumps(probe)]
    else:
        marks, given = ", ".join("?" * len(probe)), probe
    compiled = select.where(column == literal_column(":probes:")).compile(
        dialect=connection.dialect,
        compile_kwargs={"render_postcompile": True},  # an IN of the caller's own
    )
    names: list[str] = getattr(compiled, "positiontup", None) or []
    text = str(compiled).replace("= :probes:", f"IN ({marks})")
    driver: Any = connection.connection.driver_connection
    return driver.execute(text, [*(compiled.params[name] for name in names), *given]).fetchall()


def _insert_sqlite(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> int:
    marks = ", ".join("?" for _ in columns)
    cursor = connection.exec_driver_sql(
        # not OR IGNORE, which would also drop a row with a missing value without a word
        f'INSERT INTO "{table.name}" ({_names(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING',
        list(rows),
    )
    return cursor.rowcount


def _copy_table(connection: Connection, table: Table, rows: Any, same: Mapping[str, str | int]) -> int:
    """An Arrow table by one COPY into a temporary table, and from there where what stands wins."""
    pa: Any = importlib.import_module("pyarrow")  # which has no types
    csv: Any = importlib.import_module("pyarrow.csv")
    columns = [
        pa.array([f"\\x{value.hex()}" for value in column.to_pylist()]) if pa.types.is_binary(column.type) else column
        for column in rows.columns
    ]
    text = io.BytesIO()
    # texts are quoted, so that an empty one stays a text
    csv.write_csv(pa.table(columns, names=rows.column_names), text, csv.WriteOptions(include_header=False))
    names, load = _names(rows.column_names), f"load_{table.name}"
    key = [column.name for column in table.primary_key.columns]
    driver: Any = connection.connection.driver_connection
    with _sqlalchemy_errors(), driver.cursor() as cursor:
        cursor.execute(f'CREATE TEMPORARY TABLE "{load}" AS SELECT {names} FROM "{table.name}" WITH NO DATA')
        with cursor.copy(f'COPY "{load}" ({names}) FROM STDIN (FORMAT csv)') as copy:
            copy.write(text.getbuffer())
        cursor.execute(
            f'INSERT INTO "{table.name}" ({_names([*rows.column_names, *same])}) '
            f'SELECT {", ".join([names, *["%s"] * len(same)])} FROM "{load}" ORDER BY {_names(key)} '
            "ON CONFLICT DO NOTHING",
            list(same.values()),
        )
        inserted = int(cursor.rowcount)
        cursor.execute(f'DROP TABLE "{load}"')
        return inserted


def _insert_postgres(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> int:
    names = _names(columns)
    key = [column.name for column in table.primary_key.columns]
    driver: Any = connection.connection.driver_connection
    with _sqlalchemy_errors(), driver.cursor() as cursor:
        if len(rows) < COPY_FROM_ROWS:
            marks = ", ".join("%s" for _ in columns)
            places = [columns.index(name) for name in key]
            # in the order of the key: two loads that meet on the same keys wait for one another, never in a circle
            in_order = sorted(rows, key=lambda row: tuple(row[place] for place in places))
            cursor.executemany(
                f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING', in_order
            )
            return int(cursor.rowcount)
        load = f"load_{table.name}"
        cursor.execute(f'CREATE TEMPORARY TABLE "{load}" AS SELECT {names} FROM "{table.name}" WITH NO DATA')
        with cursor.copy(f'COPY "{load}" ({names}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(
            f'INSERT INTO "{table.name}" ({names}) SELECT {names} FROM "{load}" '
            f"ORDER BY {_names(key)}, ctid ON CONFLICT DO NOTHING"
        )
        inserted = int(cursor.rowcount)
        cursor.execute(f'DROP TABLE "{load}"')
        return inserted


@contextmanager
def _sqlalchemy_errors(what: str = "a bulk load") -> Generator[None]:
    """What the driver raises, as the one kind of error that callers know, and without the values of the row."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        without_values(error)
        raise DBAPIError(what, None, error, hide_parameters=True) from error


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
