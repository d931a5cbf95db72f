"""Working a batch through its phases, from landing to the ledger, as the sensor's run, the bench and the tests do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from activation_dagster.domain.batches import Batch, Phase, PhaseReport, Provenance
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.consent import consent
from activation_dagster.pipeline.decide import decide, release
from activation_dagster.pipeline.ingest import ingest
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import plan_batch, unfinished_batches
from activation_dagster.pipeline.resolve import resolve
from activation_dagster.pipeline.validate import validate

if TYPE_CHECKING:
    import duckdb

VERBS: Mapping[Phase, Callable[[BatchRun], PhaseReport]] = {
    Phase.INGESTED: ingest,
    Phase.VALIDATED: validate,
    Phase.RESOLVED: resolve,
    Phase.CONSENTED: consent,
    Phase.DECIDED: decide,
    Phase.INTENDED: release,
}
"""What carries out each phase, in order."""


def work_batch(
    places: Places, batch: Batch, *, connection: duckdb.DuckDBPyConnection | None = None
) -> dict[Phase, PhaseReport]:
    """Carry out every phase of one batch; running a batch again changes nothing. Raises LeaseHeld and LeaseLost."""
    with BatchRun(places, batch, connection=connection) as run:
        return {phase: verb(run) for phase, verb in VERBS.items()}


def drain(places: Places, *, now: Callable[[], datetime], provenance: Provenance = Provenance.LIVE) -> list[Batch]:
    """Finish what was begun and plan and work batches until nothing waits; the batches in the order they were worked."""
    worked: list[Batch] = []
    while True:
        waiting = unfinished_batches(places)
        batch = waiting[0] if waiting else plan_batch(places, provenance=provenance, now=now())
        if batch is None:
            return worked
        work_batch(places, batch)
        worked.append(batch)
