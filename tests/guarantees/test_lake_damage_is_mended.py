"""Promise 1, the lake's part: state is the truth, the lake a copy; what a copy loses is found and written again.

After each kind of damage the tables are row for row what they were, the ledger is as it was, and one incident tells
of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable
from sqlalchemy import delete, select

from activation_dagster.domain.batches import Phase, TableCopy
from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.lake.tables import TABLES, LakeTable
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.verify import verify
from activation_dagster.pipeline.watch import totals
from activation_dagster.state.batches import close_phase, closed_phase
from activation_dagster.state.incidents import list_incidents
from activation_dagster.state.leases import acquire
from activation_dagster.state.tables import batch_phases, batches
from tests.pipeline.small_shop import (
    NOW,
    Clock,
    buyer,
    lake_rows,
    land,
    ledger,
    send_out,
    work,
)
from tests.pipeline.worked import WorkedOnce

WRITTEN = list(TABLES.values())

Damage = Callable[[Places, LakeTable], None]


def log_entries(places: Places, table: LakeTable) -> list[Path]:
    """A table's log entries, the oldest first."""
    return sorted((places.lake.path(table) / "_delta_log").glob("*.json"))


def files(places: Places, table: LakeTable) -> list[Path]:
    """A table's data files."""
    return sorted(places.lake.path(table).glob("arrival_hour=*/*.parquet"))


def last_entry_is_empty(places: Places, table: LakeTable) -> None:
    log_entries(places, table)[-1].write_bytes(b"")


def earlier_entry_is_empty(places: Places, table: LakeTable) -> None:
    log_entries(places, table)[1].write_bytes(b"")


def first_entry_is_empty(places: Places, table: LakeTable) -> None:
    log_entries(places, table)[0].write_bytes(b"")


def last_entry_is_cut_short(places: Places, table: LakeTable) -> None:
    entry = log_entries(places, table)[-1]
    entry.write_bytes(entry.read_bytes()[:40])


def log_is_gone(places: Places, table: LakeTable) -> None:
    shutil.rmtree(places.lake.path(table) / "_delta_log")


def checkpoint_is_empty(places: Places, table: LakeTable) -> None:
    DeltaTable(str(places.lake.path(table))).create_checkpoint()
    for checkpoint in (places.lake.path(table) / "_delta_log").glob("*.checkpoint.parquet"):
        checkpoint.write_bytes(b"")
    last_entry_is_empty(places, table)


def file_is_gone(places: Places, table: LakeTable) -> None:
    files(places, table)[0].unlink()


def file_is_empty(places: Places, table: LakeTable) -> None:
    files(places, table)[0].write_bytes(b"")


def file_is_cut_short(places: Places, table: LakeTable) -> None:
    file = files(places, table)[0]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def table_is_gone(places: Places, table: LakeTable) -> None:
    shutil.rmtree(places.lake.path(table))


DAMAGES: list[Damage] = [
    last_entry_is_empty,
    earlier_entry_is_empty,
    first_entry_is_empty,
    last_entry_is_cut_short,
    log_is_gone,
    checkpoint_is_empty,
    file_is_gone,
    file_is_empty,
    file_is_cut_short,
    table_is_gone,
]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> WorkedOnce:
    """Worked when the first test asks."""
    return WorkedOnce(folder=tmp_path_factory.mktemp("worked"))


@pytest.fixture
def places(once: WorkedOnce, dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Generator[Places]:
    """Three batches in two hours, worked and delivered."""
    with once.copy(dialect, tmp_path, request) as copied:
        yield copied


def test_a_lake_that_is_whole_is_found_sound(places: Places) -> None:
    report = verify(places, rebuild=False, now=NOW)
    assert report.is_sound
    assert (report.copies, report.damaged, report.orphan_rows, report.incidents) == (3 * len(WRITTEN), (), 0, ())


@pytest.mark.parametrize("table", WRITTEN, ids=lambda table: table.name)
def test_a_last_log_entry_cut_to_zero_bytes_is_found_and_rebuilt(places: Places, table: LakeTable) -> None:
    before, sent = lake_rows(places), ledger(places)
    last = log_entries(places, table)[-1].name
    last_entry_is_empty(places, table)
    assert len(lake_rows(places)[table.name]) < len(before[table.name])  # it opens without error and hides a batch
    found = verify(places, rebuild=False, now=NOW)
    assert not found.is_sound
    assert {damage.table for damage in found.damaged} == {table.name}
    assert found.mended_logs == (f"{table.name}/{last}",)
    assert verify(places, rebuild=True, now=NOW).is_sound
    assert lake_rows(places) == before
    assert ledger(places) == sent
    assert totals(places).conserved


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_kind_of_damage_is_found_told_once_and_mended(places: Places, damage: Damage) -> None:
    table = TABLES["validated_events"]
    before, sent = lake_rows(places), ledger(places)
    damage(places, table)
    assert not verify(places, rebuild=False, now=NOW).is_sound
    found = verify(places, rebuild=False, now=NOW)
    assert not found.is_sound
    with places.state.read() as connection:
        (incident,) = list_incidents(connection, is_open=True)
    assert found.incidents == (incident.incident_id,)
    assert (incident.kind, incident.owner) == (IncidentKind.LAKE_DAMAGED, "platform")
    assert "lake verify --rebuild" in incident.sentence
    rebuilt = verify(places, rebuild=True, now=NOW)
    assert rebuilt.is_sound
    assert [found.obstacle for found in rebuilt.damaged if found.obstacle] == []
    with places.state.read() as connection:
        assert list_incidents(connection, is_open=True) == ()
    assert verify(places, rebuild=False, now=NOW).damaged == ()
    assert lake_rows(places) == before
    assert ledger(places) == sent


def test_a_lake_that_is_gone_is_rebuilt_from_landing_and_state(places: Places, tmp_path: Path) -> None:
    before, sent = lake_rows(places), ledger(places)
    shutil.rmtree(places.lake.root)
    assert verify(places, rebuild=True, now=NOW).is_sound
    assert lake_rows(places) == before
    assert ledger(places) == sent
    assert send_out(places, tmp_path).claimed == 0


def test_a_rebuilt_lake_takes_further_batches(places: Places) -> None:
    last_entry_is_empty(places, TABLES["send_decisions"])
    verify(places, rebuild=True, now=NOW)
    land(places, *buyer("u9"))
    work(places)
    assert verify(places, rebuild=False, now=NOW).is_sound


def test_what_cannot_be_rebuilt_says_why_and_stays_an_incident(places: Places) -> None:
    table = TABLES["ingested_events"]
    table_is_gone(places, table)
    with places.state.read() as connection:
        first = connection.execute(select(batches.c.batch_id).order_by(batches.c.batch_no)).scalars().first()
    segments = places.landing.segments()
    places.landing.path_of(segments[0]).unlink()
    report = verify(places, rebuild=True, now=NOW)
    assert [damage.is_rebuilt for damage in report.damaged] == [False, True, True]
    assert (report.damaged[0].batch_id, report.damaged[0].expected_rows) == (first, 8)
    assert "A sealed segment is gone" in report.damaged[0].obstacle
    assert len(report.incidents) == 1
    with places.state.read() as connection:
        assert [found.incident_id for found in list_incidents(connection, is_open=True)] == list(report.incidents)


def test_rows_that_come_out_differently_are_no_repair(places: Places) -> None:
    table_is_gone(places, TABLES["ingested_events"])
    file = places.landing.path_of(places.landing.segments()[0])
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))  # somebody took a line out
    report = verify(places, rebuild=True, now=NOW)
    assert not report.is_sound
    assert [damage.obstacle for damage in report.damaged if not damage.is_rebuilt] == [
        "Computed again, it gives other rows."
    ]
    assert len(report.incidents) == 1


def test_a_batch_that_somebody_works_on_is_left_to_them(places: Places) -> None:
    table_is_gone(places, TABLES["validated_events"])
    with places.state.read() as connection:
        batch_id = connection.execute(select(batches.c.batch_id).order_by(batches.c.batch_no)).scalars().first()
    with places.state.write() as connection:
        acquire(connection, f"batch:{batch_id}", "somebody else", now=NOW, seconds=60)
    report = verify(places, rebuild=True, now=NOW)
    assert [damage.is_rebuilt for damage in report.damaged] == [False, True, True]
    later = Clock(NOW.replace(hour=12))
    assert verify(replace(places, clock=later), rebuild=True, now=later()).is_sound


def test_rows_of_a_phase_that_is_not_closed_are_no_damage_and_nobody_reads_them(places: Places) -> None:
    with places.state.write() as connection:
        batch_id = connection.execute(select(batches.c.batch_id).order_by(batches.c.batch_no.desc())).scalars().first()
        connection.execute(
            delete(batch_phases).where(
                batch_phases.c.batch_id == batch_id,
                batch_phases.c.phase.in_([Phase.DECIDED.value, Phase.INTENDED.value]),
            )
        )
        connection.execute(batches.update().where(batches.c.batch_id == batch_id).values(closed_at=None))
    report = verify(places, rebuild=False, now=NOW)
    assert report.is_sound
    decisions = [row for row in lake_rows(places)["send_decisions"] if batch_id in row]
    assert report.orphan_rows == len(decisions) > 0
    import duckdb

    with duckdb.connect(":memory:") as connection:
        source = closed_rows(places, TABLES["send_decisions"], Phase.DECIDED)
        read = connection.execute(f"select distinct batch_id from {source} as r").fetchall()
    assert len(read) == 2
    assert (batch_id,) not in read


def test_a_batch_that_state_expects_nothing_of_may_hold_nothing(places: Places) -> None:
    with places.state.read() as connection:
        batch_id = connection.execute(select(batches.c.batch_id).order_by(batches.c.batch_no)).scalars().first()
        assert batch_id is not None
        closed = closed_phase(connection, batch_id, Phase.DECIDED)
    assert closed is not None
    counts, copies = closed
    nothing = {name: TableCopy(version=-1, rows=0, checksum="0") for name in copies}
    with places.state.write() as connection:
        close_phase(connection, batch_id, Phase.DECIDED, counts=counts, tables=nothing, now=NOW)
    (damage,) = verify(places, rebuild=False, now=NOW).damaged
    assert (damage.table, damage.expected_rows, damage.found_rows) == ("send_decisions", 0, counts["decisions"])
