"""Delta tables: a batch replaces its own rows, what is closed is on disk, and damage is found."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activation_dagster.domain.batches import TableCopy
from activation_dagster.errors import CommitConflict, LakeDamaged
from activation_dagster.lake.tables import LakeTable

if TYPE_CHECKING:
    import duckdb

COMMIT_TRIES = 8
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
        on_written: Callable[[], None] = lambda: None,
    ) -> TableCopy:
        """Replace a batch's rows in one table by those of a query, and make them durable.

        `select` gives the table's columns in order. `may_exist` False spares the commit where there are no rows.
        `on_written` is called between the commit and its fsync. Raises CommitConflict after several tries.
        """
        rows, checksum = self._fingerprint(connection, table, f"({select})")
        if rows == 0 and not (may_exist and self.exists(table)):
            return UNUSED
        before = self._version(table)
        for attempt in range(COMMIT_TRIES):
            try:
                self._commit(connection, table, select, arrival_hour, batch_id)
                break
            except Exception as error:
                if type(error).__name__ != "CommitFailedError":
                    raise
                if attempt == COMMIT_TRIES - 1:
                    raise CommitConflict(
                        f"Two writers met on the lake table '{table.name}' {COMMIT_TRIES} times in a row. "
                        "Run the batch again; if it lasts, look for a compaction of an open hour."
                    ) from error
                time.sleep(0.05 * 2**attempt * (0.5 + random.random()))  # noqa: S311 - jitter, no secret
        on_written()
        version = self._make_durable(table, before)
        return TableCopy(version=version, rows=rows, checksum=checksum)

    def _commit(
        self, connection: duckdb.DuckDBPyConnection, table: LakeTable, select: str, arrival_hour: str, batch_id: str
    ) -> None:
        import pyarrow as pa
        from deltalake import CommitProperties, WriterProperties, write_deltalake

        reader = connection.execute(select).to_arrow_reader(100_000)
        schema = pa.schema([_in_utc(pa, field) for field in reader.schema])
        batches = (pa.RecordBatch.from_arrays([c.cast(f.type) for c, f in zip(b.columns, schema, strict=True)], schema=schema) for b in reader)
        exists = self.exists(table)
        write_deltalake(
            str(self.path(table)),
            pa.RecordBatchReader.from_batches(schema, batches),
            mode="overwrite",
            predicate=f"arrival_hour = '{arrival_hour}' and batch_id = '{batch_id}'" if exists else None,
            partition_by=None if exists else ["arrival_hour"],
            writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
            commit_properties=CommitProperties(custom_metadata={"batch_id": batch_id}),
        )

    def _version(self, table: LakeTable) -> int:
        if not self.exists(table):
            return -1
        from deltalake import DeltaTable

        return DeltaTable(str(self.path(table))).version()

    def _make_durable(self, table: LakeTable, before: int) -> int:
        """fsync every log entry after version `before`, the files they add, and the folders; the newest version.

        delta-rs does none of it: after a power cut the last log entry can be there and empty.
        """
        root = self.path(table)
        folders = {root, root / "_delta_log", self.root}
        version = before
        while (entry := root / "_delta_log" / f"{version + 1:020d}.json").exists():
            for line in entry.read_text(encoding="utf-8").splitlines():
                added = json.loads(line).get("add")
                if added:
                    path = root / _decoded(added["path"])
                    if path.exists():
                        _fsync(path)
                        folders.add(path.parent)
            _fsync(entry)
            version += 1
        for folder in folders:
            _fsync(folder)
        return version

    # -- reading --------------------------------------------------------------------------------------------------

    def source(self, table: LakeTable, *, hours: Sequence[str] | None = None, batch_ids: Iterable[str] | None = None) -> str:
        """A FROM clause over a table's current rows, of some arrival hours and batches only where given.

        An empty relation of the right columns where there is no file. Callers name closed batches only.
        """
        files = self._files(table, hours)
        if not files:
            return "(select " + ", ".join(f"null::{c.type} as {c.name}" for c in table.columns) + " where false)"
        columns = ", ".join(
            f"(c.{c.name} at time zone 'UTC') as {c.name}" if c.type == "TIMESTAMP" else f"c.{c.name}"
            for c in table.columns
        )
        listed = ", ".join(_literal(file) for file in files)
        read = f"read_parquet([{listed}], hive_partitioning = true, hive_types = {{'arrival_hour': 'VARCHAR'}})"
        where = ""
        if batch_ids is not None:
            chosen = ", ".join(_literal(batch) for batch in batch_ids) or "''"
            where = f" where c.batch_id in ({chosen})"
        return f"(select {columns} from {read} as c{where})"

    def _files(self, table: LakeTable, hours: Sequence[str] | None) -> list[str]:
        if not self.exists(table) or (hours is not None and not hours):
            return []
        from deltalake import DeltaTable

        filters: list[tuple[str, str, Any]] | None = (
            None if hours is None else [("arrival_hour", "in", list(hours))]
        )
        return sorted(uri.removeprefix("file://") for uri in DeltaTable(str(self.path(table))).file_uris(filters))

    # -- damage ---------------------------------------------------------------------------------------------------

    def fingerprint(
        self, connection: duckdb.DuckDBPyConnection, table: LakeTable, *, arrival_hour: str, batch_id: str
    ) -> tuple[int, str]:
        """Row count and checksum of a batch's rows as the lake has them now."""
        return self._fingerprint(
            connection, table, self.source(table, hours=[arrival_hour], batch_ids=[batch_id])
        )

    def mend_log(self, table: LakeTable) -> list[str]:
        """Move away log entries that a power cut left empty; their names. Opening such a table hides a commit."""
        moved: list[str] = []
        log = self.path(table) / "_delta_log"
        for entry in sorted(log.glob("*.json")) if log.is_dir() else ():
            if entry.stat().st_size == 0:
                entry.rename(entry.with_suffix(".empty"))
                moved.append(entry.name)
        if moved:
            _fsync(log)
        return moved

    def _fingerprint(self, connection: duckdb.DuckDBPyConnection, table: LakeTable, source: str) -> tuple[int, str]:
        found = connection.execute(
            f"select count(*), coalesce(bit_xor(md5_number_lower({table.key})), 0) from {source} as rows"
        ).fetchone()
        if found is None:
            raise LakeDamaged(f"The lake table '{table.name}' cannot be counted. Run `activation lake verify`.")
        return int(found[0]), str(found[1])


def _in_utc(pa: Any, field: Any) -> Any:
    """Our timestamps are UTC; Delta and Spark read them alike only when they say so."""
    return pa.field(field.name, pa.timestamp("us", "UTC")) if pa.types.is_timestamp(field.type) else field


def _decoded(path: str) -> str:
    from urllib.parse import unquote

    return unquote(path)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
