"""The one door for Dagster: all that it may show, start and watch of the installation that the environment names."""

from __future__ import annotations

from dagster import Definitions, in_process_executor

from activation_dagster.defs.assets import assets
from activation_dagster.defs.jobs import activation_job, deliver_job, lake_verify_job, retention_job
from activation_dagster.defs.resources import Clock, resources
from activation_dagster.defs.schedules import SCHEDULES
from activation_dagster.defs.sensors import SENSORS
from activation_dagster.settings import Settings, load_settings
from activation_dagster.wiring import utc_now


def build_defs(settings: Settings, *, clock: Clock = utc_now) -> Definitions:
    """The definitions of one installation; nothing is opened before a run or a tick asks for it."""
    return Definitions(
        assets=assets(state_kind="postgres" if settings.resolved_state_url.startswith("postgresql") else "sqlite"),
        jobs=[activation_job, deliver_job, retention_job, lake_verify_job],
        sensors=SENSORS,
        schedules=SCHEDULES,
        resources=resources(settings, clock=clock),
        executor=in_process_executor,  # for what is chosen in the web interface, and for backfills, too
    )


defs = build_defs(load_settings())
