"""An installation under one folder, run through Dagster in this process: real landing, state, lake and far end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from dagster import (
    AssetKey,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    RunRequest,
    build_sensor_context,
)
from dagster._core.definitions.sensor_definition import SensorExecutionData
from pydantic import SecretStr

from activation_dagster.definitions import build_defs
from activation_dagster.destinations.standin.app import StandinSettings
from activation_dagster.destinations.standin.server import running_standin
from activation_dagster.domain.landing import Segment
from activation_dagster.pipeline.places import Places
from activation_dagster.settings import Settings
from activation_dagster.sources.landing import Landing
from activation_dagster.wiring import open_places, utc_now
from tests.destinations.far_end import API_KEY, FarEnd

IN_THIS_PROCESS = {
    "telemetry": {"enabled": False},
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    "run_launcher": {"module": "tests.defs.launcher", "class": "LauncherInThisProcess"},
    # Capturing output starts helper processes for each run, which never end where SIGINT is ignored (under nohup).
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
}
"""How an instance is set up so that a launched run has ended when its launch returns."""

WORKFLOW_ID = 4711
"""The journey that contracts/workflows/vip_journey.yaml names."""


@dataclass(slots=True, kw_only=True)
class Clock:
    """A clock that tests move; it stands still otherwise."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    @staticmethod
    def real() -> datetime:
        """What other clocks say."""
        return utc_now()

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass(slots=True, kw_only=True)
class Installation:
    """One installation with its Dagster instance; `cursors` are what Dagster would keep for each sensor."""

    settings: Settings
    instance: DagsterInstance
    defs: Definitions
    clock: Callable[[], datetime]
    cursors: dict[str, str | None] = field(default_factory=dict[str, str | None])

    # -- what others do -----------------------------------------------------------------------------------------------

    def land(self, lines: Iterable[bytes], *, at: datetime, suffix: str = "a", source: str = "shop") -> Segment:
        """Seal events as one segment."""
        return Landing(self.settings.landing_root).seal(source, lines, sealed_at=at, suffix=suffix)

    # -- what Dagster does --------------------------------------------------------------------------------------------

    def tick(self, name: str) -> SensorExecutionData:
        """Evaluate a sensor once, as the daemon would, keeping its cursor."""
        repository = self.defs.get_repository_def()
        definition = repository.get_sensor_def(name)
        resources = {key: repository.get_top_level_resources()[key] for key in ("workbench", "duckdb")}
        with build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(name),
            repository_def=repository,
            sensor_name=name,
            resources=resources,
        ) as context:
            data = definition.evaluate_tick(context)
        self.cursors[name] = data.cursor
        return data

    def run(self, request: RunRequest, *, job: str = "activation_job") -> ExecuteInProcessResult:
        """Carry out what a sensor asked for, in this process."""
        return (
            self.defs.get_repository_def()
            .get_job(job)
            .execute_in_process(
                instance=self.instance,
                partition_key=request.partition_key,
                tags=dict(request.tags),
                raise_on_error=False,
            )
        )

    def work(self) -> list[ExecuteInProcessResult]:
        """Tick and run until landing is empty and nothing is due."""
        done: list[ExecuteInProcessResult] = []
        sensors = {"landing_sensor": "activation_job", "delivery_sensor": "deliver_job"}
        while found := [
            (request, job) for name, job in sensors.items() for request in self.tick(name).run_requests or []
        ]:
            done += [self.run(request, job=job) for request, job in found]
        return done

    def run_job(self, name: str) -> ExecuteInProcessResult:
        """Carry out a job that a schedule starts."""
        job = self.defs.get_repository_def().get_job(name)
        return job.execute_in_process(instance=self.instance, raise_on_error=False)

    def materialise(
        self, *assets: str, tags: Mapping[str, str] | None = None, partition_key: str | None = None
    ) -> ExecuteInProcessResult:
        """Materialise assets (all of them where none is named), as the web interface and backfills do."""
        job = self.defs.get_repository_def().get_implicit_global_asset_job_def()
        selection = [AssetKey(name) for name in assets] or None
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=selection,
            partition_key=partition_key,
            tags=dict(tags or {}),
            raise_on_error=False,
        )

    # -- what is there ------------------------------------------------------------------------------------------------

    @contextmanager
    def places(self) -> Generator[Places]:
        with open_places(self.settings, clock=self.clock) as places:
            yield places

    def metadata(self, asset: str) -> dict[str, Any]:
        """The metadata of an asset's latest materialisation, as plain values."""
        event = self.instance.get_latest_materialization_event(AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def settings_under(folder: Path, *, address: str, **more: Any) -> Settings:
    """The settings of an installation under one folder that sends to a stand-in."""
    return Settings(home=folder / "home", iterable_base_url=address, iterable_api_key=SecretStr(API_KEY), **more)


@contextmanager
def installed(
    settings: Settings, *, clock: Callable[[], datetime], has_history_on_disk: bool = False
) -> Generator[Installation]:
    """An installation with a Dagster instance of its own, gone afterwards.

    Its history is in memory, which halves the time of a run; where a test is about files or other processes, on disk.
    """
    with ExitStack() as stack:
        if has_history_on_disk:
            history = settings.home / "dagster"
            history.mkdir(parents=True)
            instance = DagsterInstance.local_temp(str(history), overrides=IN_THIS_PROCESS)
        else:
            instance = DagsterInstance.ephemeral()
        stack.enter_context(instance)
        yield Installation(settings=settings, instance=instance, defs=build_defs(settings, clock=clock), clock=clock)


@contextmanager
def far_end_under(folder: Path) -> Generator[FarEnd]:
    """A stand-in for Iterable that knows our journey."""
    standin = StandinSettings(
        store=folder / "standin.sqlite", api_key=API_KEY, workflow_ids=(WORKFLOW_ID,), rate_scale=1_000.0
    )
    with running_standin(standin) as address, httpx.Client(base_url=address, headers={"Api-Key": API_KEY}) as client:
        yield FarEnd(address=address, client=client)


def this_hour() -> datetime:
    """The running hour (UTC)."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
