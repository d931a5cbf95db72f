"""Delta tables: a batch replaces its own rows, what is closed is on disk, and damage is found."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from activation_dagster.domain.batches import TableCopy
from activation_dagster.errors import CommitConflict
from activation_dagster.lake.tables import LakeTable

if TYPE_CHECKING:
    import duckdb

COMMIT_TRIES = 8
MOST_PRUNED_BATCHES = 100
"""Above so many, reading too many files is cheaper than looking at each one's statistics."""
UNUSED = TableCopy(version=-1, rows=0, checksum="0")
"""The copy of a phase that had no rows for a table, and therefore wrote none."""


def hour_key(arrival_hour: object) -> str:
    """The partition key of an arrival hour: `YYYY-MM-DD-HH`."""
    return f"{arrival_hour:%Y-%m-%d-%H}"


class Lake:
    """The Delta tables of one environment under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, table: LakeTable) -> Path:
        return self.root / table.name

    def exists(self, table: LakeTable) -> bool:
        return (self.path(table) / "_delta_log").is_dir()

    # -- writing --------------------------------------------------------------------------------------------------

    def replace(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: LakeTable,
        *,
        select: str,
        arrival_hour: str,
        batch_id: str,
        may_exist: bool,
        before_commit: Callable[[], None] = lambda: None,
        on_written: Callable[[], None] = lambda: None,
    ) -> TableCopy:
        """Replace a batch's rows in one table by those of a query, in one commit, and make them durable.

        `select` gives the table's columns. DuckDB writes one file, which is on disk before the commit names it; the
        commit takes the batch's earlier file out. `may_exist` False spares looking for one, and the commit where there
        are no rows. `before_commit` raises where the batch is no longer the caller's: whatever is committed after it
        was asked makes our commit fail, and it is asked again. `on_written` is called between the commit and its
        fsync. Raises CommitConflict after several tries.
        """
        if may_exist and self.exists(table):
            self.mend_log(table)
        name = f"arrival_hour={arrival_hour}/{batch_id}-{self._next_number(table, arrival_hour, batch_id)}.parquet"
        path = self.path(table) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = ", ".join(
            # an instant is made from its microseconds: a cast would ask the calendar of the session's zone for each row
            f"make_timestamptz(epoch_us({c.name})) as {c.name}" if c.type == "TIMESTAMP" else c.name
            for c in table.columns
            if c.name != "arrival_hour"
        )
        written = connection.execute(
            f"copy (select {columns} from ({select})) to {_literal(str(path))} "
            "(format parquet, compression zstd, compression_level 1)"
        ).fetchone()
        rows = int(written[0]) if written else 0
        if rows == 0:
            path.unlink()
            if not (may_exist and self.exists(table)):
                return UNUSED
        else:
            _fsync(path)
            _fsync(path.parent)
        version = self._commit(
            table,
            name if rows else None,
            rows,
            arrival_hour,
            batch_id,
            may_exist=may_exist,
            before_commit=before_commit,
        )
        on_written()
        self._make_log_durable(table, version)
        checksum = checksum_of(connection, table, f"read_parquet({_literal(str(path))})") if rows else UNUSED.checksum
        return TableCopy(version=version, rows=rows, checksum=checksum)

    def _next_number(self, table: LakeTable, arrival_hour: str, batch_id: str) -> int:
        """A number that no file of this batch has, so that a file is never written over."""
        folder = self.path(table) / f"arrival_hour={arrival_hour}"
        used = [int(path.stem.rsplit("-", 1)[1]) for path in folder.glob(f"{batch_id}-*.parquet")]
        return max(used, default=0) + 1

    def _commit(
        self,
        table: LakeTable,
        name: str | None,
        rows: int,
        arrival_hour: str,
        batch_id: str,
        *,
        may_exist: bool,
        before_commit: Callable[[], None],
    ) -> int:
        """One commit that adds the batch's new file and takes out its earlier ones; the version."""
        from deltalake import CommitProperties, DeltaTable
        from deltalake.exceptions import CommitFailedError
        from deltalake.transaction import AddAction, RemoveAction

        schema = delta_schema(table)
        added: list[AddAction | RemoveAction] = []
        if name is not None:
            stat = (self.path(table) / name).stat()
            bounds = {"batch_id": batch_id}
            stats = json.dumps(
                {"numRecords": rows, "minValues": bounds, "maxValues": bounds, "nullCount": {"batch_id": 0}}
            )
            added.append(
                AddAction(
                    path=name,
                    size=stat.st_size,
                    partition_values={"arrival_hour": arrival_hour},
                    modification_time=stat.st_mtime_ns // 1_000_000,
                    data_change=True,
                    stats=stats,
                )
            )
        for attempt in range(COMMIT_TRIES):
            if not self.exists(table):
                DeltaTable.create(str(self.path(table)), schema, mode="ignore", partition_by=["arrival_hour"])
            opened = DeltaTable(str(self.path(table)))
            opened_at = opened.version()
            removed = self._files_of_batch(opened, arrival_hour, batch_id) if may_exist else []
            before_commit()
            try:
                opened.create_write_transaction(
                    [*added, *removed],
                    "append",
                    schema,
                    ["arrival_hour"],
                    # no retry inside: it would commit beside a file of this batch that somebody wrote meanwhile
                    commit_properties=CommitProperties(custom_metadata={"batch_id": batch_id}, max_commit_retries=0),
                )
                return self._version_of(table, opened_at, batch_id)
            except CommitFailedError as error:
                if attempt == COMMIT_TRIES - 1:
                    raise CommitConflict(
                        f"Two writers met on the lake table '{table.name}' {COMMIT_TRIES} times in a row. "
                        "Run the batch again; if it lasts, look for a compaction of an open hour."
                    ) from error
                time.sleep(0.05 * 2**attempt * (0.5 + random.random()))
        raise AssertionError("unreachable")

    def _files_of_batch(self, opened: Any, arrival_hour: str, batch_id: str) -> list[Any]:
        """What takes out every current file of a batch; each file holds one batch, as its name and statistics say."""
        from deltalake.transaction import RemoveAction

        return [
            RemoveAction(
                path="/".join(uri.split("/")[-2:]),
                data_change=True,
                deletion_timestamp=time.time_ns() // 1_000_000,
                partition_values={"arrival_hour": arrival_hour},
            )
            for uri in opened.file_uris(file_pruning_predicate=[("arrival_hour", "=", arrival_hour)])
            if uri.rsplit("/", 1)[1].startswith(f"{batch_id}-")
        ]

    def _version_of(self, table: LakeTable, after: int, batch_id: str) -> int:
        """The version that our commit became: the first log entry after the version it read that names the batch."""
        version = after + 1
        while (entry := self.path(table) / "_delta_log" / f"{version:020d}.json").exists():
            if f'"{batch_id}"' in entry.read_text(encoding="utf-8"):
                return version
            version += 1
        return version - 1

    def _make_log_durable(self, table: LakeTable, version: int) -> None:
        """fsync the log entry of our commit and the folders that name it.

        delta-rs does not: after a power cut the last log entry can be there and empty.
        """
        log = self.path(table) / "_delta_log"
        for number in {0, version}:
            entry = log / f"{number:020d}.json"
            if entry.exists():
                _fsync(entry)
        for folder in (log, self.path(table), self.root, self.root.parent):
            _fsync(folder)

    # -- reading --------------------------------------------------------------------------------------------------

    def source(
        self, table: LakeTable, *, hours: Sequence[str] | None = None, batch_ids: Iterable[str] | None = None
    ) -> str:
        """A FROM clause over a table's current rows, of some arrival hours and batches only where given.

        An empty relation of the right columns where there is no file. Callers name closed batches only.
        """
        chosen = None if batch_ids is None else list(batch_ids)
        files = self._files(table, hours, chosen)
        if not files:
            return "(select " + ", ".join(f"null::{c.type} as {c.name}" for c in table.columns) + " where false)"
        columns = ", ".join(
            f"(c.{c.name} at time zone 'UTC') as {c.name}" if c.type == "TIMESTAMP" else f"c.{c.name}"
            for c in table.columns
        )
        listed = ", ".join(_literal(file) for file in files)
        read = f"read_parquet([{listed}], hive_partitioning = true, hive_types = {{'arrival_hour': 'VARCHAR'}})"
        where = ""
        if chosen is not None:
            listed = ", ".join(_literal(batch) for batch in chosen) or "''"
            where = f" where c.batch_id in ({listed})"
        return f"(select {columns} from {read} as c{where})"

    def _files(self, table: LakeTable, hours: Sequence[str] | None, batch_ids: Sequence[str] | None) -> list[str]:
        """The current files that can hold rows of these hours and batches, by partition and by statistics."""
        if not self.exists(table) or (hours is not None and not hours):
            return []
        from deltalake import DeltaTable

        filters: list[tuple[str, str, Any]] = []
        if hours is not None:
            filters.append(("arrival_hour", "in", list(hours)))
        if batch_ids and len(batch_ids) <= MOST_PRUNED_BATCHES:
            filters.append(("batch_id", "in", list(batch_ids)))
        uris = DeltaTable(str(self.path(table))).file_uris(file_pruning_predicate=filters or None)
        return sorted(local_path(uri) for uri in uris)

    def vacuum(self, table: LakeTable, *, older_than_hours: int) -> int:
        """Delete the data files that were taken out of a table so long ago that nobody reads them; how many."""
        if not self.exists(table):
            return 0
        from deltalake import DeltaTable

        opened = DeltaTable(str(self.path(table)))
        return len(opened.vacuum(older_than_hours, dry_run=False, enforce_retention_duration=False))

    # -- damage ---------------------------------------------------------------------------------------------------

    def fingerprint(
        self, connection: duckdb.DuckDBPyConnection, table: LakeTable, *, arrival_hour: str, batch_id: str
    ) -> tuple[int, str]:
        """Row count and checksum of a batch's rows as the lake has them now."""
        source = self.source(table, hours=[arrival_hour], batch_ids=[batch_id])
        found = connection.execute(f"select count(*) from {source} as held").fetchone()
        return int(found[0]) if found else 0, checksum_of(connection, table, source)

    def mend_log(self, table: LakeTable) -> list[str]:
        """Move away log entries that a power cut left empty; their names. Opening such a table hides a commit.

        An empty entry that others follow stays: taking it out would leave a gap, and no reader opens such a log. Its
        rows are missing either way, and the comparison with state finds that.
        """
        moved: list[str] = []
        log = self.path(table) / "_delta_log"
        for entry in sorted(log.glob("*.json"), reverse=True) if log.is_dir() else ():
            if entry.stat().st_size > 0:
                break
            entry.rename(entry.with_suffix(".empty"))
            moved.append(entry.name)
        if moved:
            _fsync(log)
        return moved


def local_path(uri: str) -> str:
    """The path of a data file as the file system has it; delta-rs gives a URI's: a space in it is `%20`."""
    return unquote(uri.removeprefix("file://"))


def checksum_sql(table: LakeTable) -> str:
    """SQL for a checksum of the keys of some rows that depends neither on their order nor on the engine's version."""
    return f"coalesce(bit_xor(md5_number({table.key})), 0)"


def checksum_of(connection: duckdb.DuckDBPyConnection, table: LakeTable, source: str) -> str:
    """The checksum of all rows of a relation."""
    found = connection.execute(f"select {checksum_sql(table)} from {source} as kept").fetchone()
    return str(found[0]) if found else "0"


def delta_schema(table: LakeTable) -> Any:
    """A table's columns as a Delta schema; times are instants in UTC."""
    from deltalake import Field, Schema
    from deltalake.schema import ArrayType, PrimitiveType

    types: dict[str, Any] = {
        "VARCHAR": PrimitiveType("string"),
        "VARCHAR[]": ArrayType(PrimitiveType("string"), contains_null=True),
        "BLOB": PrimitiveType("binary"),
        "TIMESTAMP": PrimitiveType("timestamp"),
        "INTEGER": PrimitiveType("integer"),
        "BOOLEAN": PrimitiveType("boolean"),
    }
    return Schema([Field(column.name, types[column.type], nullable=True) for column in table.columns])


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
