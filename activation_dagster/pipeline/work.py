"""Working a batch through its phases, from landing to the ledger, as the sensor's run, the bench and the tests do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from activation_dagster.domain.batches import Batch, Phase, PhaseReport, Provenance
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.consent import consent
from activation_dagster.pipeline.decide import decide, release
from activation_dagster.pipeline.garbage import seldom_collected
from activation_dagster.pipeline.identity.apply import finish_adjudication
from activation_dagster.pipeline.ingest import ingest
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import plan_batch, unfinished_batches
from activation_dagster.pipeline.resolve import resolve
from activation_dagster.pipeline.validate import validate

if TYPE_CHECKING:
    import duckdb


def _resolve(run: BatchRun) -> PhaseReport:
    """Resolve, once an adjudication of history that somebody began and did not come to finish is finished."""
    finish_adjudication(run.places)
    return resolve(run)


VERBS: Mapping[Phase, Callable[[BatchRun], PhaseReport]] = {
    Phase.INGESTED: ingest,
    Phase.VALIDATED: validate,
    Phase.RESOLVED: _resolve,
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


FRONT = (Phase.INGESTED, Phase.VALIDATED)
"""Phases that do not look at what other batches did to people, so that the next batch may begin them meanwhile."""


def drain(
    places: Places,
    *,
    now: Callable[[], datetime],
    provenance: Provenance = Provenance.LIVE,
    on_phase: Callable[[PhaseReport, float], None] | None = None,
) -> list[Batch]:
    """Finish what was begun, then plan and work batches until nothing waits; the batches in the order worked.

    While one batch is resolved, consented and decided, the next one is ingested and validated beside it; both go
    through their phases in the order they were planned. `on_phase`, where given, hears of each phase and its seconds.
    """
    import duckdb

    def carry_out(run: BatchRun, phases: Iterable[Phase]) -> BatchRun:
        for phase in phases:
            began = time.perf_counter()
            report = VERBS[phase](run)
            if on_phase is not None:
                on_phase(report, time.perf_counter() - began)
        return run

    def front(batch: Batch) -> BatchRun:
        run = BatchRun(places, batch, beside=database)
        try:
            return carry_out(run, FRONT)
        except BaseException:
            run.close()
            raise

    worked: list[Batch] = []
    # One database for all batches: what one has given back of its memory the next one need not fetch from the system.
    with (
        seldom_collected(),
        duckdb.connect(":memory:") as database,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="front") as front_thread,
    ):
        ahead: Future[BatchRun] | None = None
        try:
            while True:
                if ahead is None:
                    batch = _next(places, provenance, now, but_for=())
                    if batch is None:
                        return worked
                    ahead = front_thread.submit(front, batch)
                run = ahead.result()
                ahead = None
                batch = _next(places, provenance, now, but_for=(run.batch.batch_id,))
                if batch is not None:
                    ahead = front_thread.submit(front, batch)
                with run:
                    carry_out(run, (phase for phase in VERBS if phase not in FRONT))
                    worked.append(run.batch)
        finally:
            if ahead is not None:
                with suppress(Exception):
                    ahead.result().close()


def _next(
    places: Places, provenance: Provenance, now: Callable[[], datetime], *, but_for: Sequence[str]
) -> Batch | None:
    """The batch to begin next: one that was begun before, else a new one; none of those in hand."""
    waiting = [batch for batch in unfinished_batches(places) if batch.batch_id not in but_for]
    return waiting[0] if waiting else plan_batch(places, provenance=provenance, now=now())
