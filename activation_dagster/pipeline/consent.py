"""Consent: what people chose is recorded; who belongs to an audience follows from its rule and from their consent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from activation_dagster.domain.batches import Phase, PhaseReport
from activation_dagster.lake.tables import MEMBERSHIPS
from activation_dagster.pipeline.additions import compute_additions, write_additions
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.known import load_known
from activation_dagster.pipeline.promises import put_batch, put_promises
from activation_dagster.pipeline.resolve import compute_resolved
from activation_dagster.state import memberships
from activation_dagster.state.instants import micros


def compute_consented(run: BatchRun, *, record: bool) -> None:
    """Make `audience_memberships` (changes) and `memberships_now`; with `record`, write first what the batch adds."""
    if run.engine.has("audience_memberships"):
        return
    compute_resolved(run)
    put_batch(run)
    if record:
        compute_additions(run)
        write_additions(run)
    load_known(run, with_new=record)
    run.engine.forget("new_traits", "new_activity", "new_choices")
    put_promises(run)
    for relation in (
        "current_traits",
        "profile_regions",
        "current_choices",
        "consent_verdicts",
        "audience_matches",
        "memberships_before",
        "memberships_now",
        "audience_memberships",
    ):
        run.engine.compute(f"consent/{relation}")
    run.engine.forget("known_traits", "known_activity", "known_choices")


def consent(run: BatchRun) -> PhaseReport:
    """Carry out the phase `consented`: counts entries, exits and renewals by audience."""
    run.hold(Phase.CONSENTED)
    compute_consented(run, record=True)
    return run.carry_out(
        Phase.CONSENTED,
        effects=lambda: _write_changes(run),
        copies={
            MEMBERSHIPS: (
                f"select '{run.hour}' as arrival_hour, '{run.batch.batch_id}' as batch_id, change_id, audience_id, "
                "profile_id, change, entry_no, validated_at, consent_checked, evidence from audience_memberships"
            )
        },
        counts=lambda: _counts(run),
    )


def _write_changes(run: BatchRun) -> None:
    rows: Iterable[Sequence[Any]] = run.engine.rows(
        "select audience_id, profile_id, change, entry_no, entry_key, review_at, evidence from audience_memberships "
        "order by audience_id, profile_id"
    )
    memberships.add_changes(
        run.state,
        (
            (
                audience,
                profile,
                run.position,
                change,
                entry_no,
                entry_key,
                micros(run.batch.as_of),
                review_at,
                run.batch.batch_id,
                evidence,
            )
            for audience, profile, change, entry_no, entry_key, review_at, evidence in rows
        ),
    )


def _counts(run: BatchRun) -> dict[str, int]:
    counts = {"touched": run.engine.one("select count(*) from touched_profiles")[0]}
    for audience, change, count in run.engine.rows(
        "select audience_id, change, count(*) from audience_memberships group by all"
    ):
        counts[f"{change}:{audience}"] = count
    counts["members_without_consent"] = len(run.engine.rows(_check(run, "audience_memberships__without_consent")))
    return counts


def _check(run: BatchRun, name: str) -> str:
    return (run.places.sql_root / "checks" / f"{name}.sql").read_text(encoding="utf-8")
