"""Closed rows: what readers may see of the lake, which is rows of closed phases and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import select

from activation_dagster.domain.batches import Phase
from activation_dagster.lake.delta import hour_key
from activation_dagster.lake.tables import LakeTable
from activation_dagster.pipeline.places import Places
from activation_dagster.state.tables import batch_phases, batches


def closed_rows(
    places: Places,
    table: LakeTable,
    phase: Phase,
    *,
    hours: Sequence[datetime] | None = None,
    batch_id: str | None = None,
) -> str:
    """A FROM clause over the rows of `table` that `phase` wrote and closed; of some hours or one batch where given.

    Few phases are open, so those are left out by name. The files are listed first and state is asked afterwards: a
    batch that was planned in between has no row in them.
    """
    keys = None if hours is None else [hour_key(hour) for hour in hours]
    source = places.lake.source(table, hours=keys, batch_ids=None if batch_id is None else [batch_id])
    hidden = _open_batches(places, phase)
    if not hidden:
        return source
    listed = ", ".join(f"'{batch}'" for batch in sorted(hidden))
    return f"(select * from {source} as r where r.batch_id not in ({listed}))"


def _open_batches(places: Places, phase: Phase) -> Collection[str]:
    closed = (
        select(batch_phases.c.batch_id)
        .where(
            batch_phases.c.batch_id == batches.c.batch_id,
            batch_phases.c.phase == phase.value,
            batch_phases.c.closed_at.is_not(None),
        )
        .exists()
    )
    with places.state.read() as connection:
        return list(
            connection.execute(select(batches.c.batch_id).where(batches.c.closed_at.is_(None), ~closed)).scalars()
        )
