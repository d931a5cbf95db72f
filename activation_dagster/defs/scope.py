"""Scope: which batches a run works on, read from the words Dagster gives it: a tag, or the hours chosen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dagster import AssetExecutionContext

from activation_dagster.defs.partitions import hour_of
from activation_dagster.errors import WrongUse

BATCH_TAG = "activation/batch"
"""Names the one batch a run carries on with. It says nothing of provenance: that is a column of the batch's row."""

LANE_TAG = "activation/lane"
LIVE, DELIVERY = "live", "delivery"
"""Values of `LANE_TAG`: a run of the landing sensor, a run of the delivery sensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One batch by its id, or the closed batches of some arrival hours (UTC)."""

    batch_id: str | None = None
    hours: tuple[datetime, ...] = ()


def scope_of(context: AssetExecutionContext) -> Scope:
    """What this run was asked to work on. Raises WrongUse where it was asked for neither a batch nor an hour."""
    batch_id = context.run.tags.get(BATCH_TAG)
    if context.has_partition_key or context.has_partition_key_range:
        return Scope(batch_id=batch_id, hours=tuple(hour_of(key) for key in context.partition_keys))
    if batch_id is None:
        raise WrongUse(
            f"The run {context.run.run_id} was started for no hour and for no batch, in Dagster. "
            f"Choose hours as partitions, or leave the work to the landing sensor."
        )
    return Scope(batch_id=batch_id)
