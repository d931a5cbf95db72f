"""Opening state, bringing it up to date, and what the two kinds of transactions promise."""

from __future__ import annotations

import subprocess
import sys
import threading
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError

from activation_dagster.errors import StateUnusable
from activation_dagster.state import engine
from activation_dagster.state.engine import HEAD, State, open_state
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.sequence import next_seq
from activation_dagster.state.tables import metadata, sequence


def test_the_migrated_schema_is_what_the_tables_say(state: State) -> None:
    with state.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": False})
        assert compare_metadata(context, metadata) == []


def test_the_head_written_in_the_engine_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(Path(engine.__file__).parent / "migrations"))
    assert scripts.get_heads() == [HEAD]


def test_opening_again_finds_everything_and_does_not_import_alembic(state_url: str) -> None:
    program = (
        "import sys; from activation_dagster.state.engine import open_state; open_state(sys.argv[1]).close(); "
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, state_url], check=False).returncode == 0


def test_a_schema_that_is_absent_is_not_made_without_leave(empty_url: str) -> None:
    with pytest.raises(StateUnusable, match="this program needs"):
        open_state(empty_url, migrate=False)
    open_state(empty_url).close()
    open_state(empty_url, migrate=False).close()


def test_a_schema_newer_than_the_program_is_refused(state_url: str) -> None:
    newer = open_state(state_url)
    with newer.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    newer.close()
    with pytest.raises(StateUnusable, match="'9999', which this program does not know"):
        open_state(state_url)


def test_a_migration_that_dies_leaves_nothing_behind(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    with monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise OSError("the disk is full")

        patch.setattr(op, "execute", die)  # the last step of the migration, after every table was made
        with pytest.raises(StateUnusable, match="the disk is full"):
            open_state(empty_url)
    open_state(empty_url).close()


def test_many_that_open_an_empty_database_at_once_migrate_it_once(empty_url: str) -> None:
    failures: list[BaseException] = []

    def open_one() -> None:
        try:
            open_state(empty_url).close()
        except BaseException as error:  # noqa: BLE001 - a thread's failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    opened = open_state(empty_url)
    with opened.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM sequence")).scalar_one() == 1
    opened.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "in memory"),
        ("mysql://u:hidden@host/db", "cannot live in 'mysql'"),
        ("no url at all", "cannot be understood"),
        ("oracle+nonsense://u:hidden@h/d", "cannot be understood"),
        ("postgresql://u:hidden@127.0.0.1:1/db?options=hidden", "cannot be opened"),
        ("sqlite:////proc/nowhere/state.db", "cannot be opened"),
    ],
)
def test_an_address_that_cannot_be_opened_is_named_without_its_secrets(url: str, says: str) -> None:
    with pytest.raises(StateUnusable, match=says) as refused:
        open_state(url)
    assert "hidden" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    file.write_bytes(b"this is not a database, but it is long enough to be looked at" * 20)
    with pytest.raises(StateUnusable, match="not a database"):
        open_state(f"sqlite:///{file}")


def test_a_reading_transaction_cannot_write(state: State) -> None:
    with pytest.raises(DBAPIError), state.read() as connection:
        connection.execute(text("UPDATE sequence SET value = 7"))


def test_a_reading_transaction_sees_one_moment(state: State) -> None:
    with state.read() as reading:
        before = reading.execute(text("SELECT value FROM sequence")).scalar_one()
        with state.write() as writing:
            next_seq(writing)
        assert reading.execute(text("SELECT value FROM sequence")).scalar_one() == before


def test_a_writing_transaction_that_raises_leaves_nothing(state: State) -> None:
    def number_and_fail() -> None:
        with state.write() as connection:
            next_seq(connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        number_and_fail()
    with state.write() as connection:
        assert next_seq(connection) == 1


def test_the_sequence_gives_every_number_once(state: State) -> None:
    taken: list[int] = []

    def take() -> None:
        for _ in range(20):
            with state.write() as connection:
                taken.append(next_seq(connection))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, 81))


def test_an_error_message_holds_no_value_of_a_row(state: State) -> None:
    address = "@".join(("ann", "example.com"))  # in no line of this file, which a traceback quotes
    with pytest.raises(DBAPIError) as raised, state.write() as connection:
        connection.execute(insert(sequence).values(name=address, value=None))
    assert address not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_writer_on_sqlite_is_alone_from_its_beginning(state: State, dialect: str) -> None:
    entered = threading.Event()

    def write() -> None:
        with state.write():
            entered.set()

    with state.write():
        waiting = threading.Thread(target=write)
        waiting.start()
        assert not entered.wait(0.1)
    waiting.join()
    assert entered.is_set()


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_sqlite_survives_power_loss_by_its_settings(state: State, dialect: str) -> None:
    with state.write() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_waiting_for_the_write_lock_ends(state: State, dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = 0.0

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds

    monkeypatch.setattr(engine, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=lambda: slept, sleep=sleep))
    with state.write(), pytest.raises(StateUnusable, match=r"locked for 0\.5 s"), state.write():
        pass
    assert 0.5 < slept < 0.5 + 2 * engine.LONGEST_NAP_SECONDS


def test_a_forked_child_uses_connections_of_its_own(state: State) -> None:
    with state.write() as connection:
        next_seq(connection)
    of_the_parent = {state._readers.pool, state._writers.pool}
    state._pid = -1  # what a forked child finds
    with state.write() as connection:
        assert next_seq(connection) == 2
    assert of_the_parent.isdisjoint({state._readers.pool, state._writers.pool})
    for pool in of_the_parent:
        pool.dispose()


@given(st.integers(min_value=-(10**15), max_value=10**16))
def test_instants_come_back_exactly(microseconds: int) -> None:
    assert micros(instant(microseconds)) == microseconds


def test_an_instant_in_another_zone_is_the_same_instant() -> None:
    from datetime import timezone

    there = datetime(2025, 9, 18, 12, 12, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    assert micros(there) == micros(datetime(2025, 9, 18, 10, 12, 0, 1, tzinfo=UTC))


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        micros(datetime(2025, 9, 18))  # noqa: DTZ001 - the very mistake
