"""What the schedules start: old history goes, what is still needed stays, and the lake is made whole."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from shutil import rmtree

from dagster import AssetKey

from activation_dagster.defs.jobs import delete_runs
from activation_dagster.lake.tables import VALIDATED
from activation_dagster.pipeline.watch import totals
from activation_dagster.sources.simulator import simulate
from activation_dagster.state.tables import message_id_buckets
from activation_dagster.wiring import utc_now
from tests.defs.installation import Clock, Installation, installed, settings_under
from tests.destinations.far_end import FarEnd


def work(installation: Installation, clock: Clock, *, suffix: str = "a") -> None:
    installation.land(simulate(seed=4, people=5, events=100, now=utc_now()).lines, at=clock.now, suffix=suffix)
    assert all(result.success for result in installation.work())


def files_of(installation: Installation, run_id: str) -> list[Path]:
    return list((installation.settings.home / "dagster").rglob(f"*{run_id}*"))


def test_old_runs_go_with_their_events_and_files(tmp_path: Path, shared_far_end: FarEnd, clock: Clock) -> None:
    settings = settings_under(tmp_path, address=shared_far_end.address)
    with installed(settings, clock=clock, has_history_on_disk=True) as installation:
        work(installation, clock)
        (run,) = installation.instance.get_runs()
        assert files_of(installation, run.run_id)
        assert delete_runs(installation.instance, before=utc_now() + timedelta(seconds=1)) == 1
        assert installation.instance.get_runs() == []
        assert not files_of(installation, run.run_id)
        assert installation.instance.fetch_materializations(AssetKey("ingested_events"), limit=1).records == []
        with installation.places() as places:
            assert totals(places).conserved


def test_runs_of_the_last_days_stay(installation: Installation, clock: Clock) -> None:
    work(installation, clock)
    assert installation.run_job("retention_job").success
    assert len(installation.instance.get_runs()) == 2


def test_message_ids_are_forgotten_only_when_no_event_can_meet_them(installation: Installation, clock: Clock) -> None:
    work(installation, clock)

    def buckets() -> int:
        with installation.places() as places, places.state.read() as connection:
            return len(connection.execute(message_id_buckets.select()).all())

    assert buckets() == 1
    landed_at = clock.now
    clock.advance(days=3)
    installation.land([b"{}"], at=landed_at, suffix="late")  # it has landed and was not judged yet
    assert installation.run_job("retention_job").success
    assert buckets() == 1
    assert all(result.success for result in installation.work())
    assert installation.run_job("retention_job").success
    assert buckets() == 0


def test_what_the_lake_lost_is_written_again(installation: Installation, clock: Clock) -> None:
    work(installation, clock)
    with installation.places() as places:
        rmtree(places.lake.path(VALIDATED))
        result = installation.run_job("lake_verify_job")
        assert result.success
        assert places.lake.exists(VALIDATED)
        assert totals(places).conserved
    again = installation.run_job("lake_verify_job")
    assert again.success
    (found,) = [
        event
        for event in again.all_events
        if event.is_successful_output and event.step_key and "lake" in event.step_key
    ]
    assert found.step_output_data.metadata["damaged"].value == 0
