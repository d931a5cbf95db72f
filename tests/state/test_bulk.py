"""Loading many rows so that what stands wins, and probing them by key."""

from __future__ import annotations

import itertools
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, String, Table, func, insert, select
from sqlalchemy.exc import DBAPIError

from activation_dagster.state import bulk
from activation_dagster.state.bulk import insert_in_chunks, insert_new, insert_table_in_chunks, select_in, update_by_key
from activation_dagster.state.engine import State
from activation_dagster.state.sequence import next_seq
from activation_dagster.state.tables import halts, identifiers, sends
from tests.state.examples import add_profiles, add_send, send_of

loaded = Table(
    "loaded",
    MetaData(),
    Column("profile_id", String(40), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("total", Float(53), nullable=False),
)
COLUMNS = tuple(loaded.columns.keys())
IDENTIFIERS = tuple(name for name, _ in identifiers.c.items() if name != "known_seq")

SIZES = pytest.mark.parametrize("count", [1, 200, 3_000])  # 3,000 takes the COPY path on PostgreSQL


@pytest.fixture(autouse=True)
def table(state: State) -> None:
    """A table of this test's own, so that the schema of state may change without it."""
    with state.write() as connection:
        loaded.create(connection)


def days(count: int, *, seq: int = 1, total: float = 1.5) -> list[tuple[Any, ...]]:
    return [(f"p{n}", n % 30, seq, total) for n in range(count)]


@SIZES
def test_what_stands_wins_and_only_new_rows_are_counted(state: State, count: int) -> None:
    with state.write() as connection:
        assert insert_new(connection, loaded, COLUMNS, days(count)) == count
        assert insert_new(connection, loaded, COLUMNS, days(count, total=9.0)) == 0
        assert insert_new(connection, loaded, COLUMNS, days(count + 5, total=9.0)) == 5
    with state.read() as connection:
        first = connection.execute(select(loaded.c.total).where(loaded.c.profile_id == "p0")).scalar_one()
    assert first == 1.5


@SIZES
def test_of_two_rows_with_one_key_the_first_wins(state: State, count: int) -> None:
    rows = [row for pair in zip(days(count), days(count, total=9.0), strict=True) for row in pair]
    with state.write() as connection:
        assert insert_new(connection, loaded, COLUMNS, rows) == count
        totals = set(connection.execute(select(loaded.c.total)).scalars())
    assert totals == {1.5}


@SIZES
def test_a_row_with_a_missing_value_is_an_error_and_not_dropped(state: State, count: int) -> None:
    address = "@".join(("ann", "example.com"))  # in no line of this file, which a traceback quotes
    rows = [*days(count), (address, 1, 1, None)]
    with pytest.raises(DBAPIError) as raised, state.write() as connection:
        insert_new(connection, loaded, COLUMNS, rows)
    assert address not in "".join(traceback.format_exception(raised.value))
    with state.read() as connection:
        assert connection.execute(select(func.count()).select_from(loaded)).scalar_one() == 0


@SIZES
def test_an_arrow_table_comes_back_as_it_went_in_and_what_stands_wins(state: State, count: int) -> None:
    odd = ["", "a\tb", 'quoted "x"', "line\nbreak\r", "back\\slash", "ü 🙂", "\\N", "%s ? :x", ",", "null"]
    rows = pa.table(
        {
            "key": pa.array([n.to_bytes(16, "big") for n in range(count)], type=pa.binary()),
            "kind": ["email"] * count,
            "value": [f"{odd[n % len(odd)]}{n // len(odd) or ''}" for n in range(count)],
            "profile_id": [f"p{n}" for n in range(count)],
            "event_id": [odd[n % len(odd)] for n in range(count)],
            "seen_at": pa.array(range(count), type=pa.int64()),
        }
    )
    assert insert_table_in_chunks(state, identifiers, rows, {"seq": 7}, max_rows=1_000) == count
    assert insert_table_in_chunks(state, identifiers, rows, {"seq": 8}) == 0
    with state.read() as connection:
        found = sorted(tuple(row) for row in connection.execute(select(*(identifiers.c[name] for name in IDENTIFIERS))))
    assert [row[4] for row in found] == [7] * count
    assert [(*row[:4], *row[5:]) for row in found] == [tuple(row.values()) for row in rows.to_pylist()]


@SIZES
def test_bytes_texts_and_nothing_come_back_as_they_went_in(state: State, count: int) -> None:
    odd = "a\tb\nc\\d\"e'f ü 🙂 \\N %s ? :x"
    rows = [(n.to_bytes(16, "big"), "email", odd, "p", n, "e", -n) for n in range(count)]
    with state.write() as connection:
        insert_new(connection, identifiers, IDENTIFIERS, rows)
        back = connection.execute(
            select(*(identifiers.c[name] for name in IDENTIFIERS)).order_by(identifiers.c.seq)
        ).all()
    assert [tuple(row) for row in back] == rows


def test_nothing_to_insert_is_nothing(state: State) -> None:
    with state.write() as connection:
        assert insert_new(connection, loaded, COLUMNS, []) == 0
    assert insert_in_chunks(state, loaded, COLUMNS, []) == 0


def test_a_column_that_does_not_exist_is_named(state: State) -> None:
    with pytest.raises(ValueError, match="colour"), state.write() as connection:
        insert_new(connection, loaded, ("profile_id", "colour"), [("p", "red")])


def test_two_loads_of_the_same_keys_at_once_load_each_once(state: State) -> None:
    counts: list[int] = []

    def load(rows: list[tuple[Any, ...]]) -> None:
        counts.append(insert_in_chunks(state, loaded, COLUMNS, rows, max_rows=1_000))

    rows = days(6_000)
    threads = [threading.Thread(target=load, args=(part,)) for part in (rows, rows[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 6_000


def test_a_load_in_chunks_is_made_again_without_effect(state: State) -> None:
    rows = days(5_000)
    assert insert_in_chunks(state, loaded, COLUMNS, iter(rows), max_rows=700) == 5_000
    assert insert_in_chunks(state, loaded, COLUMNS, iter(rows)) == 0


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_another_writer_gets_in_between_the_chunks_of_a_load(state: State, dialect: str) -> None:
    loaded_by_then: list[int] = []
    ended = threading.Event()

    def write_again_and_again() -> None:
        while not ended.is_set():
            with state.write() as connection:
                next_seq(connection)
                loaded_by_then.append(connection.execute(select(func.count()).select_from(loaded)).scalar_one())

    def rows_until_the_other_got_in() -> Iterator[tuple[Any, ...]]:
        # with SQLite's own busy handler a load without pauses lets nobody in at all, however long it is
        for row in itertools.islice(itertools.cycle(days(2_000)), 400_000):
            if len(loaded_by_then) - loaded_by_then.count(0) > 5:
                return
            yield row
        pytest.fail("nobody got in")

    writer = threading.Thread(target=write_again_and_again)
    writer.start()
    try:
        insert_in_chunks(state, loaded, COLUMNS, rows_until_the_other_got_in(), max_rows=2_000)
    finally:
        ended.set()
        writer.join()


@pytest.mark.parametrize(
    ("rows", "took", "expected"),
    [(4_000, 1, 4_000), (4_000, 0.1, 8_000), (4_000, 4, 1_000), (4_000, 4_000, 100), (20_000, 0.1, 25_000)],
)
def test_the_next_chunk_takes_as_long_as_aimed_at(rows: int, took: float, expected: int) -> None:
    assert bulk._next_size(rows, took * bulk.AIM_SECONDS, 25_000) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_probing_by_key_finds_each_row_once(state: State, chunk: int) -> None:
    with state.write() as connection:
        insert_new(
            connection, identifiers, IDENTIFIERS, [(bytes([n]) * 16, "k", "v", f"p{n}", n, "e", n) for n in range(50)]
        )
        query = select(identifiers.c.key, identifiers.c.seq)
        wanted = [bytes([n]) * 16 for n in (3, 4, 3, 5, 200, 49)]
        found = list(select_in(connection, query, identifiers.c.key, wanted, chunk=chunk))
        assert sorted(found) == [(bytes([n]) * 16, n) for n in (3, 4, 5, 49)]
        assert all(type(row) is tuple for row in found)
        assert list(select_in(connection, query, identifiers.c.key, [], chunk=chunk)) == []
        narrowed = query.where(identifiers.c.seq > 4)
        assert len(list(select_in(connection, narrowed, identifiers.c.key, wanted, chunk=chunk))) == 2


@pytest.mark.parametrize("chunk", [0, 10_001])
def test_a_chunk_that_a_statement_cannot_hold_is_refused(state: State, chunk: int) -> None:
    with state.read() as connection, pytest.raises(ValueError, match=r"1 to 10,000"):
        list(select_in(connection, select(halts), halts.c.halt_id, ["h1"], chunk=chunk))


def test_rows_are_changed_by_key_and_others_left_alone(state: State) -> None:
    with state.write() as connection:
        add_profiles(connection, ["p1"])
    changed, left = add_send(state, "changed", "p1"), add_send(state, "left", "p1")
    with state.write() as connection:
        columns = ("status", "claimed_at", "in_doubt", "http_status")
        rows = [(changed, "claimed", 12, True, None), ("no such key", "claimed", 12, True, 200)]
        assert update_by_key(connection, sends, "send_key", columns, rows) == 1
        assert update_by_key(connection, sends, "send_key", columns, []) == 0
    assert send_of(state, "changed").status == "claimed"
    assert send_of(state, "changed").in_doubt
    assert send_of(state, "left").send_key == left
    assert send_of(state, "left").status == "pending"


def test_inserting_keeps_what_the_transaction_wrote_before(state: State) -> None:
    with state.write() as connection:
        connection.execute(insert(halts).values(halt_id="h", scope="*", seq=1, halted_at=1, halted_by="x", why="y"))
        insert_new(connection, loaded, COLUMNS, days(3_000))
        insert_new(connection, loaded, COLUMNS, days(3_000, seq=2))
        assert connection.execute(select(func.count()).select_from(halts)).scalar_one() == 1


def test_probing_keeps_the_conditions_of_the_question(state: State) -> None:
    with state.write() as connection:
        insert_new(
            connection, identifiers, IDENTIFIERS, [(bytes([n]) * 16, "k", f"v{n}", "p", n, "e", n) for n in range(9)]
        )
        query = select(identifiers.c.seq).where(identifiers.c.value.in_(["v1", "v2", "v3"]), identifiers.c.seq > 1)
        found = select_in(connection, query, identifiers.c.key, [bytes([n]) * 16 for n in (0, 1, 2, 8)])
        assert list(found) == [(2,)]
        found = select_in(connection, select(identifiers.c.seq), identifiers.c.value, ['"v5"', "v5", "ü"])
        assert list(found) == [(5,)]
