"""Damage to a Delta table: what it still holds, file by file where it must be, and how it becomes writable again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from activation_dagster.lake.contract_sql import literal
from activation_dagster.lake.delta import Lake, checksum_sql, local_path
from activation_dagster.lake.tables import LakeTable

if TYPE_CHECKING:
    import duckdb

SET_ASIDE = ".damaged"
EMPTY = ".empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a table holds now: (row count, checksum) by (arrival hour, batch); what of it nobody can read.

    `unreadable` are paths of data files that are gone or broken; `has_log` is False where the log itself cannot be
    opened, and then the table holds nothing.
    """

    rows: Mapping[tuple[str, str], tuple[int, str]]
    unreadable: tuple[Path, ...] = ()
    has_log: bool = True


def held(lake: Lake, connection: duckdb.DuckDBPyConnection, table: LakeTable) -> Held:
    """Row counts and checksums of all batches in one table, in one query; nothing is cached, so it is what is there."""
    import duckdb
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    if not lake.path(table).is_dir():
        return Held(rows={})
    if not lake.exists(table):
        return Held(rows={}, has_log=not any(lake.path(table).iterdir()))
    try:
        files = [Path(local_path(uri)) for uri in DeltaTable(str(lake.path(table))).file_uris()]
    except DeltaError:
        return Held(rows={}, has_log=False)
    try:
        return Held(rows=_rows(connection, table, files))
    except duckdb.Error:  # one broken file spoils the query, so look at each
        found: dict[tuple[str, str], tuple[int, str]] = {}
        unreadable: list[Path] = []
        for file in files:
            try:
                part = _rows(connection, table, [file])
            except duckdb.Error:
                unreadable.append(file)
                continue
            for key, (rows, checksum) in part.items():
                before = found.get(key, (0, "0"))
                found[key] = (before[0] + rows, str(int(before[1]) ^ int(checksum)))
        return Held(rows=found, unreadable=tuple(sorted(unreadable)))


def _rows(
    connection: duckdb.DuckDBPyConnection, table: LakeTable, files: list[Path]
) -> dict[tuple[str, str], tuple[int, str]]:
    """The same fingerprint as `Lake.fingerprint`, of every batch at once."""
    if not files:
        return {}
    listed = ", ".join(literal(str(file)) for file in files)
    counted = connection.execute(
        f"select arrival_hour, batch_id, count(*), {checksum_sql(table)} "
        f"from read_parquet([{listed}], hive_partitioning = true, hive_types = {{'arrival_hour': 'VARCHAR'}}) "
        "group by all"
    ).fetchall()
    return {(hour, batch): (int(rows), str(checksum)) for hour, batch, rows, checksum in counted}


def make_writable(lake: Lake, table: LakeTable, found: Held) -> None:
    """Take what cannot be read out of the table, so that batches can be written again; nothing is deleted.

    Broken files are renamed and leave the log; a table whose log cannot be opened is set aside as a whole.
    """
    from deltalake import DeltaTable

    root = lake.path(table)
    if not found.has_log:
        number = sum(1 for _ in lake.root.glob(f"{table.name}{SET_ASIDE}*"))
        root.rename(root.with_name(f"{table.name}{SET_ASIDE}-{number}"))
        return
    if found.unreadable:
        for file in found.unreadable:
            if file.exists():
                file.rename(file.with_name(file.name + SET_ASIDE))
        DeltaTable(str(root)).repair()


def mend_checkpoints(lake: Lake, table: LakeTable) -> list[str]:
    """Move away checkpoints that a power cut left empty; their names. The log entries say the same, so nothing is lost.

    delta-rs writes one every hundred entries without fsync, and a table that points to an empty one cannot be opened.
    """
    log = lake.path(table) / "_delta_log"
    moved = [path for path in sorted(log.glob("*.checkpoint*.parquet")) if path.stat().st_size == 0]
    pointer = log / "_last_checkpoint"
    if moved and pointer.exists():
        moved.append(pointer)
    for path in moved:
        path.rename(path.with_name(path.name + EMPTY))
    return [path.name for path in moved]
