"""The engine: one in-memory DuckDB connection on which the relations of one batch are computed from sql/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

FEW_ROWS = 50
"""Up to so many rows go in as parameters of one statement."""


class Engine:
    """Computes named relations; each is a temporary table of the connection, and is gone with it.

    `sql_root` is the folder sql/; the file `<folder>/<relation>.sql` holds one SELECT, which is the relation.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, sql_root: Path, *, is_owner: bool = False) -> None:
        self.connection = connection
        self._is_owner = is_owner
        self.sql_root = sql_root
        self._known: set[str] = set()
        self._lent: list[str] = []
        connection.execute("set timezone = 'UTC'; set preserve_insertion_order = false")

    @classmethod
    def in_memory(cls, sql_root: Path, *, beside: duckdb.DuckDBPyConnection | None = None) -> Engine:
        """An engine on a connection of its own; `beside` another one it uses that database's memory and threads.

        Relations are temporary, and therefore seen on their own connection only.
        """
        import duckdb

        connection = duckdb.connect(":memory:") if beside is None else beside.cursor()
        # DuckDB takes a spawned process, such as a step of a run, for somebody at a prompt, and draws into its log.
        connection.execute("set enable_progress_bar = false")
        return cls(connection, sql_root, is_owner=True)

    def close(self) -> None:
        """Give back what was lent; the connection too, where it is the engine's own."""
        for relation in self._lent:
            self.connection.unregister(relation)
        self._lent.clear()
        if self._is_owner:
            self.connection.close()

    def has(self, relation: str) -> bool:
        return relation in self._known

    def compute(self, path: str, **parameters: object) -> None:
        """Make the relation of `sql/<path>.sql` from the relations it reads."""
        relation = path.rsplit("/", 1)[-1]
        self.make(relation, (self.sql_root / f"{path}.sql").read_text(encoding="utf-8"), **parameters)

    def make(self, relation: str, select: str, **parameters: object) -> None:
        """Make a relation from one SELECT."""
        text = select.strip().rstrip(";")
        used = {name: value for name, value in parameters.items() if f"${name}" in text}
        self.connection.execute(f"create or replace temp table {relation} as {text}", used or None)
        self._known.add(relation)

    def view(self, path: str) -> None:
        """Make the relation of `sql/<path>.sql` without keeping its rows: for one that only filters another."""
        relation = path.rsplit("/", 1)[-1]
        text = (self.sql_root / f"{path}.sql").read_text(encoding="utf-8").strip().rstrip(";")
        self.connection.execute(f"create or replace temp view {relation} as {text}")
        self._known.add(relation)

    def put(self, relation: str, columns: Mapping[str, str], rows: Iterable[Sequence[object]]) -> None:
        """Make a relation from rows of plain values; `columns` maps names to DuckDB types."""
        kept = list(rows)
        if len(kept) <= FEW_ROWS:
            self._put_few(relation, columns, kept)
            return
        import pyarrow as pa

        names = list(columns)
        arrays = [_array(pa, kind, [row[place] for row in kept]) for place, kind in enumerate(columns.values())]
        self.put_arrow(relation, pa.table(dict(zip(names, arrays, strict=True))), columns)

    def _put_few(self, relation: str, columns: Mapping[str, str], rows: Sequence[Sequence[object]]) -> None:
        """`put` in one statement with the values as its parameters, which is three times as fast for few of them."""
        casts = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in columns.items())
        marks = ", ".join(["?"] * len(columns))
        given = ", ".join([f"({marks})"] * len(rows)) or f"({', '.join(['null'] * len(columns))})"
        where = "" if rows else " where false"
        self.connection.execute(
            f"create or replace temp table {relation} as select {casts} "
            f"from (values {given}) as given ({', '.join(columns)}){where}",
            [value for row in rows for value in row] or None,
        )
        self._known.add(relation)

    def put_arrow(self, relation: str, table: Any, columns: Mapping[str, str]) -> None:
        """Make a relation from an Arrow table, cast to the DuckDB types given."""
        self.connection.register("arriving", table)
        try:
            casts = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in columns.items())
            self.connection.execute(f"create or replace temp table {relation} as select {casts} from arriving")
        finally:
            self.connection.unregister("arriving")
        self._known.add(relation)

    def lend(self, relation: str, table: Any) -> None:
        """Let SQL read an Arrow table in place, without a copy, until the engine is closed."""
        self.connection.register(relation, table)
        self._lent.append(relation)
        self._known.add(relation)

    def rows(self, query: str, **parameters: object) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self.connection.execute(query, parameters or None).fetchall()

    def texts(self, query: str) -> list[str]:
        """The only column of a query, of texts; several times faster than `rows` where there are many."""
        return self.connection.execute(query).to_arrow_table().column(0).to_pylist()

    def one(self, query: str, **parameters: object) -> tuple[Any, ...]:
        """The only row of a query."""
        found = self.rows(query, **parameters)
        assert len(found) == 1
        return found[0]

    def forget(self, *relations: str) -> None:
        """Drop relations to free their memory."""
        for relation in relations:
            self.connection.execute(f"drop table if exists {relation}")
            self._known.discard(relation)


def _array(pa: Any, kind: str, values: list[object]) -> Any:
    types = {
        "VARCHAR": pa.string(),
        "BLOB": pa.binary(),
        "BIGINT": pa.int64(),
        "INTEGER": pa.int32(),
        "DOUBLE": pa.float64(),
        "BOOLEAN": pa.bool_(),
    }
    return pa.array(values, type=types[kind])
