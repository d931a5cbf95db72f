"""What Dagster is shown: assets from landing to Iterable, each with an owner, a schema and a place in the story."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import AssetKey, AssetSpec, BackfillPolicy, DefaultScheduleStatus, DefaultSensorStatus, Definitions
from dagster import HourlyPartitionsDefinition as Hourly

from activation_dagster.definitions import build_defs
from activation_dagster.lake.tables import TABLES
from activation_dagster.registry.loading import load_contracts
from activation_dagster.settings import Settings
from tests.defs.installation import Installation

STORY = [
    "segment_events",
    "ingested_events",
    "validated_events",
    "resolved_identities",
    "consented_audiences",
    "send_decisions",
    "sends",
    "iterable",
]
BESIDE = ["quarantined_events", "duplicate_events"]
OUTSIDE = {"segment_events", "iterable"}

TABLE_OF = {"resolved_identities": "resolved_events", "consented_audiences": "audience_memberships"}

# The budget is one second over `import dagster`; what is heavy costs most of it alone. Beside those that
# test_architecture.py names: what a run pays for when it gets there, and a tick never.
NOT_AT_IMPORT = ("alembic", "psycopg", "duckdb_extensions", "dagster_postgres", "activation_dagster.pipeline.work")


@pytest.fixture(scope="module")
def defs(worked: Installation) -> Definitions:
    return worked.defs


@pytest.fixture(scope="module")
def assets(defs: Definitions) -> dict[str, AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_the_definitions_are_loadable(defs: Definitions) -> None:
    Definitions.validate_loadable(defs)


def test_the_assets_lead_from_landing_to_iterable(assets: dict[str, AssetSpec]) -> None:
    assert set(assets) == {*STORY, *BESIDE}
    for before, after in itertools.pairwise(STORY):
        assert AssetKey(before) in {dep.asset_key for dep in assets[after].deps}
    for name in BESIDE:
        assert {dep.asset_key for dep in assets[name].deps} == {AssetKey("ingested_events")}


def test_every_asset_says_what_it_is_and_who_answers_for_it(assets: dict[str, AssetSpec]) -> None:
    teams = {owner.contact for owner in load_contracts(Path("contracts"), environment="demo").owners.values()}
    for spec in assets.values():
        assert spec.description
        assert spec.kinds
        assert spec.group_name in {"ingestion", "governance", "execution", "feedback"}
        assert spec.owners
        assert set(spec.owners) <= teams
    assert {spec.group_name for spec in assets.values()} == {"ingestion", "governance", "execution", "feedback"}


def test_the_columns_shown_are_those_of_the_lake(assets: dict[str, AssetSpec]) -> None:
    for name in set(assets) - OUTSIDE:
        columns = assets[name].metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == [c.name for c in TABLES[TABLE_OF.get(name, name)].columns]
        assert all(column.description for column in columns)


def test_all_but_the_ledger_are_cut_by_arrival_hour_and_backfilled_in_one_run(
    defs: Definitions, assets: dict[str, AssetSpec]
) -> None:
    graph = defs.resolve_asset_graph()
    for name in set(assets) - OUTSIDE - {"sends"}:
        partitions = assets[name].partitions_def
        assert isinstance(partitions, Hourly)
        assert partitions.end_offset == 1  # the running hour has a partition
        assert graph.get(AssetKey(name)).backfill_policy == BackfillPolicy.single_run()
    assert assets["sends"].partitions_def is None


def test_every_hot_asset_must_be_materialised_now_and_then(assets: dict[str, AssetSpec]) -> None:
    assert all(spec.freshness_policy for name, spec in assets.items() if name not in OUTSIDE)


def test_what_blocks_and_what_warns(defs: Definitions) -> None:
    graph = defs.resolve_asset_graph()
    checks = {f"{key.asset_key.to_user_string()}.{key.name}": key for key in graph.asset_check_keys}
    blocking = {name for name, key in checks.items() if graph.get_check_spec(key).blocking}
    assert blocking == {
        "validated_events.batch_accounting",
        "validated_events.contract_coverage",
        "validated_events.quarantine_rate",
        "resolved_identities.identity",
        "resolved_identities.identity_limits",
        "resolved_identities.link_accounting",
        "consented_audiences.every_member_consented",
        "send_decisions.release",
        "sends.ledger_accounting",
    }
    assert set(checks) - blocking == {
        "ingested_events.volume",
        "ingested_events.late_events",
        "ingested_events.watermark",
        "validated_events.quarantine_drift",
        "resolved_identities.identity_conflicts",
    }


def test_every_job_runs_in_one_process(defs: Definitions) -> None:
    repository = defs.get_repository_def()
    assert {job.name: job.executor_def.name for job in repository.get_all_jobs()} == {
        "activation_job": "in_process",
        "deliver_job": "in_process",
        "retention_job": "in_process",
        "lake_verify_job": "in_process",
        "__ASSET_JOB": "in_process",
    }


def test_sensors_and_schedules_run_without_anybody_switching_them_on(defs: Definitions) -> None:
    repository = defs.get_repository_def()
    sensors = {sensor.name: sensor for sensor in repository.sensor_defs}
    assert set(sensors) == {"landing_sensor", "delivery_sensor", "watermark_sensor", "run_failure_sensor"}
    assert all(sensor.default_status is DefaultSensorStatus.RUNNING for sensor in sensors.values())
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    assert set(schedules) == {"retention", "lake_verify"}
    assert all(schedule.default_status is DefaultScheduleStatus.RUNNING for schedule in schedules.values())


def test_the_ledger_is_shown_where_it_lives() -> None:
    defs = build_defs(Settings(state_url="postgresql+psycopg://somebody:hidden@127.0.0.1/state"))
    (spec,) = [spec for spec in defs.resolve_all_asset_specs() if spec.key == AssetKey("sends")]
    assert spec.kinds == {"postgres", "iterable"}


def test_importing_the_definitions_imports_nothing_that_a_tick_does_not_need(tmp_path: Path) -> None:
    program = f"import sys, activation_dagster.definitions; print(*sorted(set({NOT_AT_IMPORT!r}) & set(sys.modules)))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACTIVATION_")}
    imported = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"ACTIVATION_HOME": str(tmp_path), "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert imported.stdout.split() == []
