"""Findings: what the relations of a batch say beside a phase's report, read while they are in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from activation_dagster.defs.readings import newest_arrival, recent_counts
from activation_dagster.domain.batches import Batch, Phase, PhaseReport

if TYPE_CHECKING:
    from activation_dagster.pipeline.batch_run import BatchRun

LATE_AFTER_HOURS = 1
"""An event that was received longer than this after it happened is late."""

ASKED: Mapping[Phase, tuple[str, ...]] = {
    Phase.VALIDATED: ("ingested_events__not_accounted_for",),
    Phase.RESOLVED: (
        "resolved_events__nobody_and_no_reason",
        "overgrown_profiles__over_the_contract",
        "offered_links__not_accounted_for",
    ),
    Phase.CONSENTED: ("audience_memberships__without_consent",),
}
"""The files under sql/checks/ that are asked after a phase; each gives the rows that offend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """One batch after one asset's phases: its reports, and what its relations said then.

    `offending` are counts of rows by file under sql/checks/; `versions` are accepted events by contract and version.
    `occurred_until` and `received_until` are the newest times of its readable events, `newest_arrival` is the newest
    sealing that any batch has ingested (UTC all). `recent` is what the batches planned just before it counted.
    """

    batch: Batch
    reports: Mapping[Phase, PhaseReport]
    offending: Mapping[str, int]
    versions: Mapping[str, int]
    late: int
    occurred_until: datetime | None
    received_until: datetime | None
    newest_arrival: datetime | None
    recent: tuple[Mapping[str, int], ...]
    looked_at: datetime

    def count(self, name: str) -> int:
        """A count of the latest of its phases that counted it; 0 where none did."""
        return next((r.counts[name] for r in reversed(list(self.reports.values())) if name in r.counts), 0)


def look(run: BatchRun, reports: Iterable[PhaseReport]) -> Worked:
    """What there is to say of a batch whose relations are on `run`'s engine."""
    from activation_dagster.pipeline.decide import failed_checks

    done = {report.phase: report for report in reports}
    engine = run.engine
    occurred, received, late = engine.one(
        "select max(occurred_at), max(received_at), "
        f"count(*) filter (received_at - occurred_at > interval {LATE_AFTER_HOURS} hour) "
        "from ingested_events where fault is null"
    )
    versions: dict[str, int] = {}
    if engine.has("validated_events"):
        found = engine.rows(
            "select coalesce(contract, '?') || ' ' || coalesce(contract_version, '?'), count(*) "
            "from validated_events group by all order by all"
        )
        versions = {row[0]: row[1] for row in found}
    offending = {name: _offenders(run, name) for phase in done for name in ASKED.get(phase, ())}
    if Phase.INTENDED in done:
        offending |= {name: _offenders(run, name) for name in failed_checks(run)}
    with run.places.state.read() as connection:
        newest = newest_arrival(connection)
        recent = recent_counts(connection, run.batch)
    return Worked(
        batch=run.batch,
        reports=done,
        offending=offending,
        versions=versions,
        late=late,
        occurred_until=_utc(occurred),
        received_until=_utc(received),
        newest_arrival=newest,
        recent=recent,
        looked_at=run.places.clock(),
    )


def _offenders(run: BatchRun, name: str) -> int:
    query = (run.places.sql_root / "checks" / f"{name}.sql").read_text(encoding="utf-8").strip()
    return run.engine.one(f"select count(*) from ({query})")[0]


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
