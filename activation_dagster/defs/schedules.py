"""Schedules: what runs by the clock whatever arrives: retention once a day, the comparison of lake and state hourly."""

from __future__ import annotations

from dagster import DefaultScheduleStatus, ScheduleDefinition

from activation_dagster.defs.jobs import lake_verify_job, retention_job

SCHEDULES = (
    ScheduleDefinition(
        name="retention",
        job=retention_job,
        cron_schedule="17 3 * * *",
        default_status=DefaultScheduleStatus.RUNNING,
        description="Deletes Dagster's history of old runs, message ids that no event can meet any more, and what was "
        "quarantined longer ago than contracts/failure_modes.yaml keeps it.",
    ),
    ScheduleDefinition(
        name="lake_verify",
        job=lake_verify_job,
        cron_schedule="37 * * * *",
        default_status=DefaultScheduleStatus.RUNNING,
        description="Compares the lake with state and rebuilds what it lost; adds up both sums of every batch.",
    ),
)
