"""Failures: what went wrong in a failed run, told from its events, as incidents are told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dagster import AssetCheckSeverity, DagsterEventType, DagsterInstance, DagsterRun
from dagster_shared.error import SerializableErrorInfo

from activation_dagster import errors
from activation_dagster.defs.scope import BATCH_TAG
from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.errors import ActivationError, LakeDamaged, RetryLater


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One thing that went wrong; `about` is what makes it the same thing when it happens again."""

    kind: IncidentKind
    about: str
    batch_id: str
    sentence: str


def failures_of(instance: DagsterInstance, run: DagsterRun) -> list[Failure]:
    """The failed blocking checks of a run or, where none failed, what stopped it; nothing for what time mends."""
    batch_id = run.tags.get(BATCH_TAG, "")
    checks = [
        Failure(
            kind=IncidentKind.CHECK_FAILED,
            about=f"{batch_id or run.run_id}:{asset}.{check}",
            batch_id=batch_id,
            sentence=(
                f"The check '{check}' of '{asset}' failed, in {_where(run)}. "
                "Read its numbers in Dagster; resolve this incident to have the batch tried again."
            ),
        )
        for asset, check in _failed_checks(instance, run)
    ]
    return checks or list(_crash(instance, run, batch_id))


def _failed_checks(instance: DagsterInstance, run: DagsterRun) -> Iterator[tuple[str, str]]:
    records = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION).records
    for record in records:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed and evaluation.severity is AssetCheckSeverity.ERROR:
            yield evaluation.asset_key.to_user_string(), evaluation.check_name


def _crash(instance: DagsterInstance, run: DagsterRun, batch_id: str) -> Iterator[Failure]:
    step, error = _first_error(instance, run)
    kind = getattr(errors, error.cls_name or "", None) if error is not None else None
    ours = kind if isinstance(kind, type) and issubclass(kind, ActivationError) else None
    if ours is not None and issubclass(ours, RetryLater):
        return
    cause = "its process died" if error is None else f"it raised {error.cls_name}"
    if error is not None and ours is not None:
        # Only our own sentences: others quote values, and so personal data.
        cause += f" ({error.message.removeprefix(f'{ours.__module__}.{ours.__qualname__}: ').strip()})"
    yield Failure(
        # It names no batch, because a batch that is named here waits for a person; this one is tried again by itself.
        kind=IncidentKind.LAKE_DAMAGED if ours is LakeDamaged else IncidentKind.RUN_FAILED,
        about=f"{run.job_name}:{step}:{'' if error is None else error.cls_name}",
        batch_id="",
        sentence=(
            f"A run failed: {cause}, in {_where(run)}{f', step {step!r}' if step else ''}. "
            f"{'Its batch is tried again by itself; look' if batch_id else 'Look'} at the run in Dagster."
        ),
    )


def _first_error(instance: DagsterInstance, run: DagsterRun) -> tuple[str, SerializableErrorInfo | None]:
    """The step that failed first, and what our code or a library raised in it."""
    records = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.STEP_FAILURE, limit=1).records
    for record in records:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        error = event.step_failure_data.error  # Dagster's own, raised from what was raised inside
        return event.step_key or "", error if error is None or error.cause is None else error.cause
    return "", None


def _where(run: DagsterRun) -> str:
    batch_id = run.tags.get(BATCH_TAG)
    return f"run {run.run_id[:8]}" + ("" if batch_id is None else f" of batch {batch_id}")
