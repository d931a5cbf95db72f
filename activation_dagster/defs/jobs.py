"""Jobs: what may be started, each as one process; assets of one run hand relations to one another in memory."""

# No postponed annotations here: Dagster reads the types of parameters when it decorates.
from datetime import datetime, timedelta
from pathlib import Path

from dagster import (
    AssetSelection,
    DagsterInstance,
    DagsterRunStatus,
    OpExecutionContext,
    ResourceParam,
    RunsFilter,
    define_asset_job,  # pyright: ignore[reportUnknownVariableType] (Dagster annotates metadata with PathLike)
    in_process_executor,
    job,  # pyright: ignore[reportUnknownVariableType]
    op,
)

from activation_dagster.defs.resources import Workbench

KEPT_FOR = timedelta(days=14)
"""How long Dagster's history of a finished run is kept. What was done stands in state, for good."""

RETENTION = "schedule retention"
"""Who removes what by the clock, as the control log has it."""

FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]

DELETED_AT_ONCE = 500

activation_job = define_asset_job(
    "activation_job",
    selection=AssetSelection.all(),
    description="One batch from landing to the ledger, then delivery. The landing sensor starts it.",
    executor_def=in_process_executor,
)

deliver_job = define_asset_job(
    "deliver_job",
    selection=AssetSelection.assets("sends"),
    description="Sends what is due: retries, released holds, what a batch's run left. The delivery sensor starts it.",
    executor_def=in_process_executor,
)


@op
def forget_old_runs(context: OpExecutionContext, workbench: ResourceParam[Workbench]) -> None:
    """Deletes old finished runs with their events and logs, and message ids that no event can meet any more."""
    now = workbench.places.clock()
    deleted = delete_runs(context.instance, before=now - KEPT_FOR)
    dropped = forget_message_ids(workbench, now=now)
    context.add_output_metadata({"runs_deleted": deleted, "message_id_buckets_dropped": len(dropped)})


def delete_runs(instance: DagsterInstance, *, before: datetime) -> int:
    """Delete finished runs made before an instant (UTC), with all Dagster keeps of them; how many.

    Partitions that only they had materialised look missing afterwards. Materialising those again changes nothing.
    """
    deleted = 0
    while found := instance.get_run_ids(RunsFilter(statuses=FINISHED, created_before=before), limit=DELETED_AT_ONCE):
        for run_id in found:
            instance.delete_run(run_id)
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            _remove_event_file(instance, run_id)
        deleted += len(found)
    return deleted


def _remove_event_file(instance: DagsterInstance, run_id: str) -> None:
    """On SQLite each run's events are a file, which deleting the run leaves behind, empty but of full size."""
    from dagster._core.storage.event_log import SqliteEventLogStorage

    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        for ending in ("", "-wal", "-shm"):
            Path(f"{storage.path_for_shard(run_id)}{ending}").unlink(missing_ok=True)


def forget_message_ids(workbench: Workbench, *, now: datetime) -> list[str]:
    """Drop the message ids that neither a coming event nor one that still waits can meet; their tables."""
    from activation_dagster.pipeline.plan import unfinished_batches, waiting_segments
    from activation_dagster.state.message_ids import MessageIds

    places = workbench.places
    waiting = [segment.arrival_hour for segment in waiting_segments(places, since=None)]
    begun = [batch.arrival_hour for batch in unfinished_batches(places)]
    return MessageIds(places.state, window=places.dedupe_window).forget(newest_hour=min([*waiting, *begun, now]))


@op
def purge_quarantine(context: OpExecutionContext, workbench: ResourceParam[Workbench]) -> None:
    """Removes quarantined events that were kept as long as the contracts say for their reason."""
    from activation_dagster.pipeline.purge import purge

    report = purge(workbench.places, by=RETENTION)
    context.add_output_metadata(
        {
            "events_removed": report.removed,
            "events_entering_again": report.entering,
            "batches_passed_over": len(report.passed_over),
            "files_deleted": report.files_deleted,
        }
    )


@job(executor_def=in_process_executor)
def retention_job() -> None:
    """Keeps Dagster's history, the dedupe window and the quarantine from growing without bound."""
    forget_old_runs()
    purge_quarantine()


@op
def compare_lake_with_state(context: OpExecutionContext, workbench: ResourceParam[Workbench]) -> None:
    """Finds what the lake has lost, writes it again, and opens an incident for what cannot be."""
    from activation_dagster.pipeline.verify import verify

    report = verify(workbench.places, rebuild=True, now=workbench.places.clock())
    context.add_output_metadata(
        {
            "copies_compared": report.copies,
            "damaged": len(report.damaged),
            "rebuilt": sum(damage.is_rebuilt for damage in report.damaged),
            "mended_logs": ", ".join(report.mended_logs) or "none",
            "is_sound": report.is_sound,
        }
    )


@op
def add_up_every_batch(context: OpExecutionContext, workbench: ResourceParam[Workbench]) -> None:
    """Adds up both sums of every batch, and opens an incident for each that does not hold."""
    from activation_dagster.pipeline.watch import watch

    report = watch(workbench.places, workbench.places.clock())
    context.add_output_metadata({"conserved": report.totals.conserved, "broken_batches": len(report.broken)})


@job(executor_def=in_process_executor)
def lake_verify_job() -> None:
    """Compares the lake and both sums with what state says."""
    compare_lake_with_state()
    add_up_every_batch()
