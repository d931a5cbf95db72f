"""Delta tables: a batch replaces its own rows and no others, what is closed is on disk, and others can read it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from activation_dagster.domain.batches import TableCopy
from activation_dagster.lake.delta import UNUSED, Lake, checksum_of, delta_schema, hour_key
from activation_dagster.lake.tables import TABLES, Column, LakeTable

HOURS = ["2026-03-01-10", "2026-03-01-11"]
BATCHES = ["b1", "b2", "b10"]
TABLE = LakeTable(
    name="things",
    grain="one thing",
    key="thing_id",
    columns=(
        Column("arrival_hour", "VARCHAR", ""),
        Column("batch_id", "VARCHAR", ""),
        Column("thing_id", "VARCHAR", ""),
        Column("happened_at", "TIMESTAMP", ""),
        Column("tags", "VARCHAR[]", ""),
        Column("payload", "BLOB", ""),
        Column("number", "INTEGER", ""),
        Column("is_odd", "BOOLEAN", ""),
    ),
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as found:
        found.execute("set timezone = 'UTC'")
        yield found


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "demo")


def things(hour: str, batch: str, names: Sequence[str]) -> str:
    """A SELECT of a batch's rows, one thing each."""
    rows = ", ".join(
        f"('{hour}', '{batch}', '{name}', timestamp '2026-03-01 10:15:30.123456', ['a', null], '\\x00\\xFF'::blob, "
        f"{number}::integer, {number % 2 == 1})"
        for number, name in enumerate(names)
    )
    columns = ", ".join(column.name for column in TABLE.columns)
    if not names:
        return (
            "select " + ", ".join(f"null::{column.type} as {column.name}" for column in TABLE.columns) + " where false"
        )
    return f"select * from (values {rows}) as t({columns})"


def put(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    hour: str,
    batch: str,
    names: Sequence[str],
    *,
    may_exist: bool = True,
) -> TableCopy:
    """Replace a batch's things."""
    return lake.replace(
        connection, TABLE, select=things(hour, batch, names), arrival_hour=hour, batch_id=batch, may_exist=may_exist
    )


def held(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    *,
    hours: Sequence[str] | None = None,
    batches: Sequence[str] | None = None,
) -> set[tuple[str, str, str]]:
    """The things that the lake gives to readers."""
    source = lake.source(TABLE, hours=hours, batch_ids=batches)
    rows = connection.execute(f"select arrival_hour, batch_id, thing_id from {source} as held").fetchall()
    assert len(rows) == len(set(rows))
    return {(row[0], row[1], row[2]) for row in rows}


replaces = st.lists(
    st.tuples(
        st.sampled_from(HOURS),
        st.sampled_from(BATCHES),
        st.lists(st.sampled_from("abcdef"), max_size=4, unique=True),
    ),
    max_size=8,
)


@settings(max_examples=25)
@given(replaces)
def test_a_replace_changes_the_rows_of_its_hour_and_batch_alone(
    connection: duckdb.DuckDBPyConnection, writes: list[tuple[str, str, list[str]]]
) -> None:
    with TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "demo")
        wanted: dict[tuple[str, str], list[str]] = {}
        for hour, batch, names in writes:
            copy = put(lake, connection, hour, batch, names)
            wanted[hour, batch] = names
            everything = {(*key, name) for key, found in wanted.items() for name in found}
            assert held(lake, connection) == everything
            assert copy.rows == len(names)
            assert lake.fingerprint(connection, TABLE, arrival_hour=hour, batch_id=batch) == (copy.rows, copy.checksum)
        for hours in ([], HOURS[:1], HOURS, None):
            for batches in ([], ["b1"], ["b1", "b10"], None):
                assert held(lake, connection, hours=hours, batches=batches) == {
                    (*key, name)
                    for key, found in wanted.items()
                    for name in found
                    if (hours is None or key[0] in hours) and (batches is None or key[1] in batches)
                }


def test_a_replace_that_is_done_again_gives_the_same_copy_but_for_its_version(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    first = put(lake, connection, HOURS[0], "b1", ["a", "b"], may_exist=False)
    again = put(lake, connection, HOURS[0], "b1", ["b", "a"])
    assert (again.rows, again.checksum) == (first.rows, first.checksum)
    assert again.version == first.version + 1
    assert put(lake, connection, HOURS[0], "b1", ["a", "c"]).checksum != first.checksum


def test_a_batch_whose_name_begins_like_anothers_keeps_its_rows(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    put(lake, connection, HOURS[0], "b1", ["a"])
    put(lake, connection, HOURS[0], "b10", ["b"])
    put(lake, connection, HOURS[0], "b1", [])
    assert held(lake, connection) == {(HOURS[0], "b10", "b")}


def test_no_rows_leave_no_table_and_no_commit_where_none_can_be_there(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    assert put(lake, connection, HOURS[0], "b1", [], may_exist=False) == UNUSED
    assert not lake.exists(TABLE)
    assert held(lake, connection) == set()
    assert lake.fingerprint(connection, TABLE, arrival_hour=HOURS[0], batch_id="b1") == (0, UNUSED.checksum)


def test_an_empty_source_has_the_tables_columns_and_types(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    def types() -> list[tuple[str, str]]:
        described = connection.execute(f"describe select * from {lake.source(TABLE)} as s").fetchall()
        return [(row[0], row[1]) for row in described]

    before = types()
    put(lake, connection, HOURS[0], "b1", ["a"])
    assert before == types() == [(column.name, column.type) for column in TABLE.columns]


# -- two writers ------------------------------------------------------------------------------------------------------


def test_two_writers_of_one_table_lose_nothing(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    begin = threading.Barrier(2)
    failed: list[BaseException] = []

    def write(hour: str, batch: str) -> None:
        try:
            with duckdb.connect(":memory:") as own:
                own.execute("set timezone = 'UTC'")
                begin.wait(30)
                for number in range(6):
                    put(lake, own, hour, batch, [f"{batch}-{number}", f"{batch}-{number}-too"])
        except BaseException as error:  # noqa: BLE001 - a thread's failure must reach the test
            failed.append(error)

    writers = [
        threading.Thread(target=write, args=(HOURS[0], "b1")),
        threading.Thread(target=write, args=(HOURS[0], "b2")),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert failed == []
    assert held(lake, connection) == {
        (HOURS[0], batch, f"{batch}-5{suffix}") for batch in ("b1", "b2") for suffix in ("", "-too")
    }
    # Six commits of each after the creation, which both may have made when they met there.
    assert DeltaTable(str(lake.path(TABLE))).version() in (12, 13)


def test_a_writer_that_lost_its_batch_commits_nothing(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    put(lake, connection, HOURS[0], "b1", ["a"])

    class Lost(Exception):
        pass

    def refuse() -> None:
        raise Lost

    with pytest.raises(Lost):
        lake.replace(
            connection,
            TABLE,
            select=things(HOURS[0], "b1", ["z"]),
            arrival_hour=HOURS[0],
            batch_id="b1",
            may_exist=True,
            before_commit=refuse,
        )
    assert held(lake, connection) == {(HOURS[0], "b1", "a")}
    put(lake, connection, HOURS[0], "b1", ["b"])
    assert held(lake, connection) == {(HOURS[0], "b1", "b")}


# -- the disk ---------------------------------------------------------------------------------------------------------


class Disk:
    """What was brought to disk, in order, between the steps of one replace."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        fsync = os.fsync

        def listen(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            self.said.append("folder" if path.is_dir() else path.name)
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", listen)

    def replace(self, lake: Lake, connection: duckdb.DuckDBPyConnection) -> TableCopy:
        return lake.replace(
            connection,
            TABLE,
            select=things(HOURS[0], "b1", ["a"]),
            arrival_hour=HOURS[0],
            batch_id="b1",
            may_exist=False,
            before_commit=lambda: self.said.append("before commit"),
            on_written=lambda: self.said.append("committed"),
        )


def test_rows_are_on_disk_before_the_log_names_them_and_the_log_before_the_copy_is_given(
    lake: Lake, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    disk.replace(lake, connection)
    before, after = disk.said[: disk.said.index("before commit")], disk.said[disk.said.index("committed") + 1 :]
    assert before == ["b1-1.parquet", "folder"]
    assert f"{0:020d}.json" in after  # the creation's entry
    assert after.count("folder") == 4  # the log, the table, the environment, and what holds it
    assert disk.said.index("before commit") + 1 == disk.said.index("committed")


def test_the_log_entry_that_is_brought_to_disk_is_our_own_commits(
    lake: Lake, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    copy = disk.replace(lake, connection)
    newest = DeltaTable(str(lake.path(TABLE))).version()
    assert copy.version == newest
    assert f"{newest:020d}.json" in disk.said


def emptied(lake: Lake) -> Path:
    """The last log entry as a power cut leaves it."""
    last = max((lake.path(TABLE) / "_delta_log").glob("*.json"))
    last.write_bytes(b"")
    return last


def test_an_emptied_last_log_entry_is_moved_away_and_the_table_goes_on_from_the_one_before(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    put(lake, connection, HOURS[0], "b1", ["a"])
    put(lake, connection, HOURS[0], "b2", ["b"])
    last = emptied(lake)
    assert lake.mend_log(TABLE) == [last.name]
    assert not last.exists()
    assert last.with_suffix(".empty").exists()
    assert held(lake, connection) == {(HOURS[0], "b1", "a")}
    assert lake.fingerprint(connection, TABLE, arrival_hour=HOURS[0], batch_id="b2") == (0, UNUSED.checksum)
    assert lake.mend_log(TABLE) == []
    put(lake, connection, HOURS[0], "b2", ["b"])
    assert held(lake, connection) == {(HOURS[0], "b1", "a"), (HOURS[0], "b2", "b")}


def test_a_replace_mends_the_log_by_itself_when_its_batch_may_have_rows(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    put(lake, connection, HOURS[0], "b1", ["a"])
    put(lake, connection, HOURS[0], "b2", ["b"])
    emptied(lake)
    put(lake, connection, HOURS[0], "b2", ["c"])
    assert held(lake, connection) == {(HOURS[0], "b1", "a"), (HOURS[0], "b2", "c")}


def test_an_empty_entry_that_others_follow_stays(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    put(lake, connection, HOURS[0], "b1", ["a"])
    put(lake, connection, HOURS[0], "b2", ["b"])
    first = min((lake.path(TABLE) / "_delta_log").glob("*1.json"))
    first.write_bytes(b"")
    assert lake.mend_log(TABLE) == []
    assert first.exists()


def test_mending_a_table_that_is_not_there_does_nothing(lake: Lake) -> None:
    assert lake.mend_log(TABLE) == []


# -- others -----------------------------------------------------------------------------------------------------------


def test_deltalakes_own_reader_reads_what_we_wrote(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    put(lake, connection, HOURS[0], "b1", ["a"])
    put(lake, connection, HOURS[1], "b2", ["b", "c"])
    opened = DeltaTable(str(lake.path(TABLE)))
    rows: list[dict[str, Any]] = opened.to_pyarrow_table().to_pylist()
    assert {(row["arrival_hour"], row["batch_id"], row["thing_id"]) for row in rows} == held(lake, connection)
    assert rows[0]["happened_at"] == datetime(2026, 3, 1, 10, 15, 30, 123_456, tzinfo=UTC)
    assert rows[0]["tags"] == ["a", None]
    assert rows[0]["payload"] == b"\x00\xff"
    assert opened.metadata().partition_columns == ["arrival_hour"]
    assert [field.name for field in opened.schema().fields] == [column.name for column in TABLE.columns]


def test_a_reader_that_trusts_the_statistics_skips_no_row(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    put(lake, connection, HOURS[0], "b1", ["a"])
    put(lake, connection, HOURS[0], "b2", ["b", "c"])
    opened = DeltaTable(str(lake.path(TABLE)))
    read = opened.to_pyarrow_table(filters=[("batch_id", "=", "b2")])
    assert sorted(read.column("thing_id").to_pylist()) == ["b", "c"]
    added = [
        json.loads(action["add"]["stats"])
        for entry in sorted((lake.path(TABLE) / "_delta_log").glob("*.json"))
        for action in map(json.loads, entry.read_text(encoding="utf-8").splitlines())
        if "add" in action
    ]
    assert [one["numRecords"] for one in added] == [1, 2]


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_table_begins_with_its_partition_and_batch_and_has_a_key_and_a_schema(table: LakeTable) -> None:
    names = [column.name for column in table.columns]
    assert names[:2] == ["arrival_hour", "batch_id"]
    assert len(names) == len(set(names)) <= 32  # column statistics stop there
    assert table.key in names
    assert all(column.description for column in table.columns)
    assert [field.name for field in delta_schema(table).fields] == names


@settings(max_examples=50)
@given(st.lists(st.text("abc\x00é'", max_size=4), max_size=6), st.randoms())
def test_a_checksum_knows_the_keys_and_not_their_order(
    connection: duckdb.DuckDBPyConnection, keys: list[str], chance: Any
) -> None:
    def checksum(listed: list[str]) -> str:
        connection.execute("create or replace temp table keyed (thing_id varchar)")
        if listed:
            connection.executemany("insert into keyed values (?)", [(key,) for key in listed])
        return checksum_of(connection, TABLE, "keyed")

    shuffled = list(keys)
    chance.shuffle(shuffled)
    assert checksum(shuffled) == checksum(keys)
    assert checksum([*keys, "one more"]) != checksum(keys)


def test_an_hour_is_named_in_utc_and_sorts_as_text() -> None:
    assert hour_key(datetime(2026, 3, 1, 9, tzinfo=UTC)) == "2026-03-01-09"
    assert hour_key(datetime(2026, 3, 1, 9, tzinfo=UTC)) < hour_key(datetime(2026, 3, 1, 10, tzinfo=UTC))
