"""Sensors: what looks every few seconds whether there is work: batches, deliveries, freshness, and failed runs.

A tick asks a few indexed questions and starts at most one run; a tick over 60 s would be given up by Dagster and done
again.
"""

# No postponed annotations here: Dagster reads the types of parameters when it decorates.
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetKey,
    DagsterInstance,
    DefaultSensorStatus,
    ResourceParam,
    RunFailureSensorContext,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    run_failure_sensor,  # pyright: ignore[reportUnknownVariableType] (Dagster annotates metadata with PathLike)
    sensor,  # pyright: ignore[reportUnknownVariableType]
)

from activation_dagster.defs.checks import WATERMARK, watermark
from activation_dagster.defs.failures import failures_of
from activation_dagster.defs.jobs import activation_job, deliver_job
from activation_dagster.defs.lanes import run_under_way
from activation_dagster.defs.partitions import key_of
from activation_dagster.defs.readings import held_back, lease_is_free, newest_arrival, sends_are_due
from activation_dagster.defs.resources import Workbench
from activation_dagster.defs.scope import BATCH_TAG, DELIVERY, LANE_TAG, LIVE
from activation_dagster.domain.batches import Batch, Provenance

FULL_SCAN_EVERY = timedelta(minutes=10)
"""How often a tick looks into every hour of landing, not only the latest: late copies and restores land there."""

BACK_OFF_SECONDS = (0, 0, 5, 30, 120, 300)
"""How long a batch waits after its n-th failed run; the last one for all that follow."""

WATERMARK_SAID_EVERY = timedelta(minutes=15)


# -- batches ----------------------------------------------------------------------------------------------------------


@sensor(
    job=activation_job,
    minimum_interval_seconds=1,
    default_status=DefaultSensorStatus.RUNNING,
    description="Finishes batches that were begun, then makes the next batch of what has landed; one run at a time.",
)
def landing_sensor(context: SensorEvaluationContext, workbench: ResourceParam[Workbench]) -> SensorResult | SkipReason:
    """At most one run: of a batch that was begun, else of a new one, which this insert makes live."""
    now = workbench.places.clock()
    busy = run_under_way(context.instance, workbench, LIVE, now=now)
    if busy is not None:
        return SkipReason(f"The run {busy} is under way: the next batch takes all that lands meanwhile.")
    begun = _unfinished(context.instance, workbench, now=now)
    if isinstance(begun, SkipReason):
        return begun
    if begun is not None:
        return SensorResult([begun], cursor=context.cursor)
    return _plan(context, workbench, now=now)


def _plan(context: SensorEvaluationContext, workbench: Workbench, *, now: datetime) -> SensorResult:
    from activation_dagster.pipeline.plan import plan_batch, recent
    from activation_dagster.pipeline.reentry import finish_reentries

    # Every hour is looked into until nothing waits in any, so that a backlog of old hours is worked off at once.
    scanned = None if context.cursor is None else datetime.fromisoformat(context.cursor)
    is_full = scanned is None or now - scanned >= FULL_SCAN_EVERY
    if is_full:  # a segment whose sealing was interrupted is of an older hour by now
        finish_reentries(workbench.places)
    batch = plan_batch(workbench.places, provenance=Provenance.LIVE, now=now, since=None if is_full else recent(now))
    if batch is not None:
        return SensorResult([_request(batch, attempt=1)], cursor=context.cursor)
    return SensorResult(skip_reason="Nothing waits in landing.", cursor=now.isoformat() if is_full else context.cursor)


def _unfinished(instance: DagsterInstance, workbench: Workbench, *, now: datetime) -> RunRequest | SkipReason | None:
    """The run that carries on with a batch that was begun, the reason why none may start now, or None."""
    from activation_dagster.pipeline.plan import unfinished_batches

    waiting = unfinished_batches(workbench.places)
    with workbench.places.state.read() as connection:
        stopped = held_back(connection, [batch.batch_id for batch in waiting])
        free = {batch.batch_id for batch in waiting if lease_is_free(connection, batch.batch_id, now=now)}
    for batch in waiting:
        obstacle = "a check stopped it, and its incident is open" if batch.batch_id in stopped else None
        if obstacle is None and batch.batch_id not in free:
            obstacle = "somebody works on it"
        if obstacle is None:
            failures = _attempts(instance, batch)
            wait = _wait_seconds(failures, now=now)
            if wait <= 0:
                return _request(batch, attempt=len(failures) + 1)
            obstacle = f"its last run failed; it starts again in {wait:.0f} s"
        if batch.position is not None:  # what it will write stands before all others, so nobody may begin to resolve
            return SkipReason(f"The batch {batch.batch_id} must be finished first, and {obstacle}.")
    return None


def _attempts(instance: DagsterInstance, batch: Batch) -> Sequence[datetime]:
    """When the runs of a batch were last heard of, the newest first."""
    found = instance.get_run_records(RunsFilter(tags={BATCH_TAG: batch.batch_id}))
    return [record.update_timestamp.replace(tzinfo=UTC) for record in found]


def _wait_seconds(attempts: Sequence[datetime], *, now: datetime) -> float:
    back_off = BACK_OFF_SECONDS[min(len(attempts), len(BACK_OFF_SECONDS) - 1)]
    return back_off - (now - max(attempts)).total_seconds() if back_off else 0.0


def _request(batch: Batch, *, attempt: int) -> RunRequest:
    return RunRequest(
        run_key=f"{batch.batch_id}:{attempt}",
        partition_key=key_of(batch.arrival_hour),
        tags={
            BATCH_TAG: batch.batch_id,
            LANE_TAG: LIVE,
            "dagster/priority": "10",
            "dagster/max_retries": "0",  # this sensor starts it again, and knows whether anybody works on it
        },
    )


# -- deliveries -------------------------------------------------------------------------------------------------------


@sensor(
    job=deliver_job,
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
    description="Starts a delivery when sends are due and no batch's run will deliver them.",
)
def delivery_sensor(context: SensorEvaluationContext, workbench: ResourceParam[Workbench]) -> RunRequest | SkipReason:
    """Retries, released holds, what a batch's own run left, and claims whose holder died."""
    now = workbench.places.clock()
    busy = run_under_way(context.instance, workbench, LIVE, DELIVERY, now=now)
    if busy is not None:
        return SkipReason(f"The run {busy} is under way.")
    with workbench.places.state.read() as connection:
        if not sends_are_due(connection, now=now):
            return SkipReason("Nothing is due.")
    return RunRequest(tags={LANE_TAG: DELIVERY, "dagster/max_retries": "0"})


# -- freshness --------------------------------------------------------------------------------------------------------


@sensor(
    minimum_interval_seconds=60,
    default_status=DefaultSensorStatus.RUNNING,
    description="Evaluates the watermark check while no batch runs: without data there is no run that could.",
)
def watermark_sensor(context: SensorEvaluationContext, workbench: ResourceParam[Workbench]) -> SensorResult:
    """Says how old the newest arrival is when that begins or ceases to be too old, and once in a while."""
    now = workbench.places.clock()
    with workbench.places.state.read() as connection:
        newest = newest_arrival(connection)
    if newest is None:
        return SensorResult(skip_reason="Nothing has arrived yet.")
    verdict = watermark(age=now - newest)
    said, _, said_at = (context.cursor or "").partition(" ")
    word = "fresh" if verdict.passed else "stale"
    if said == word and now - datetime.fromisoformat(said_at) < WATERMARK_SAID_EVERY:
        return SensorResult(skip_reason=f"Still {word}.", cursor=context.cursor)
    return SensorResult(
        skip_reason=f"Data is {word}.",
        cursor=f"{word} {now.isoformat()}",
        asset_events=[
            AssetCheckEvaluation(
                asset_key=AssetKey(WATERMARK.asset),
                check_name=WATERMARK.name,
                passed=verdict.passed,
                severity=AssetCheckSeverity.WARN,
                metadata=verdict.numbers,
            )
        ],
    )


# -- failures ---------------------------------------------------------------------------------------------------------


@run_failure_sensor(
    name="run_failure_sensor",
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
    description="Opens an incident for a run that failed, with the owner that the failure modes name.",
)
def failed_run_sensor(context: RunFailureSensorContext, workbench: ResourceParam[Workbench]) -> None:
    """One incident for each failed check of a batch; for other failures one a cause, unless time mends it."""
    from activation_dagster.pipeline.watch import owner_of
    from activation_dagster.state.incidents import open_incident

    places = workbench.places
    for failure in failures_of(context.instance, context.dagster_run):
        with places.state.write() as connection:
            open_incident(
                connection,
                failure.kind,
                about=failure.about,
                owner=owner_of(places, failure.kind),
                sentence=failure.sentence,
                now=places.clock(),
                batch_id=failure.batch_id,
            )


SENSORS = (landing_sensor, delivery_sensor, watermark_sensor, failed_run_sensor)
