"""Lanes: which runs of the sensors are under way, and which only look so because their process died."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dagster import DagsterInstance, DagsterRunStatus, RunRecord, RunsFilter

from activation_dagster.defs.readings import claims_are_open, lease_is_free
from activation_dagster.defs.resources import Workbench
from activation_dagster.defs.scope import BATCH_TAG, LANE_TAG
from activation_dagster.state.batches import unfinished

WAITING = frozenset({DagsterRunStatus.NOT_STARTED, DagsterRunStatus.QUEUED})
UNDER_WAY = [
    *WAITING,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

SEEN_AT_ONCE = 10


def run_under_way(instance: DagsterInstance, workbench: Workbench, *lanes: str, now: datetime) -> str | None:
    """The id of a run of some lanes that is queued or at work, or None.

    A run that holds no lease long after it began died with its process. It is reported as failed, so that its batch
    starts again; should it live after all, its fence keeps it from writing.
    """
    found = instance.get_run_records(RunsFilter(statuses=UNDER_WAY, tags={LANE_TAG: list(lanes)}), limit=SEEN_AT_ONCE)
    for record in found:
        if not _is_dead(record, workbench, now=now):
            return record.dagster_run.run_id
        instance.report_run_failed(
            record.dagster_run,
            "The process of this run holds no lease any more, so it must have died. Its batch is started again.",
        )
    return None


def _is_dead(record: RunRecord, workbench: Workbench, *, now: datetime) -> bool:
    grace = timedelta(seconds=2 * workbench.places.lease_seconds)
    if record.dagster_run.status in WAITING or now - record.update_timestamp.replace(tzinfo=UTC) < grace:
        return False
    batch_id = record.dagster_run.tags.get(BATCH_TAG)
    with workbench.places.state.read() as connection:
        if batch_id is not None and batch_id in unfinished(connection):
            return lease_is_free(connection, batch_id, now=now)
        return not claims_are_open(connection, now=now)  # its batch is done: what is left to do is to deliver
