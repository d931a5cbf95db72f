"""The adapter: the one place where reports of the pipeline become what Dagster records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetMaterialization,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    TableSchema,
)

from activation_dagster.defs.checks import OF_BATCHES, OF_DELIVERIES, Check, Number, Verdict
from activation_dagster.defs.findings import Worked
from activation_dagster.domain.batches import Batch
from activation_dagster.lake.tables import LakeTable

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from activation_dagster.pipeline.send import DeliveryReport
    from activation_dagster.pipeline.watch import BatchSums

    Result: TypeAlias = MaterializeResult[Any]
else:
    Result = MaterializeResult  # Dagster reads this from the assets' signatures, and refuses it with an argument

T = TypeVar("T")


def schema_of(table: LakeTable) -> TableSchema:
    """A lake table's columns as Dagster shows them."""
    return TableSchema(
        columns=[TableColumn(name=c.name, type=c.type.lower(), description=c.description) for c in table.columns]
    )


def materialised(asset: str, table: LakeTable, worked: Sequence[Worked], *, uri: str) -> Result:
    """What an asset wrote to its lake table for the batches of a run, and what its checks say; none is a result too."""
    rows = sum(
        report.tables[table.name].rows
        for work in worked
        for report in work.reports.values()
        if table.name in report.tables
    )
    return Result(
        asset_key=asset,
        metadata={
            "dagster/row_count": rows,
            "dagster/uri": uri,
            **_of_batches(worked),
            **_times(worked),
            **_counts(worked),
        },
        check_results=[
            _result(check, [(work.batch.batch_id, check.judge(work)) for work in worked])
            for check in OF_BATCHES
            if check.asset == asset
        ],
    )


def delivered(report: DeliveryReport, sums: Sequence[BatchSums], *, uri: str, lake_uri: str) -> Result:
    """What a delivery did, what of it is in the lake now, and whether the ledger adds up."""
    return Result(
        asset_key="sends",
        metadata={
            "dagster/row_count": report.claimed + report.refused,
            "dagster/uri": uri,
            "claimed": report.claimed,
            "sent": report.sent,
            "refused_by_gate": report.refused,
            "rejected": report.rejected,
            "waiting": report.waiting,
            "unknown": report.unknown,
            "lake_uri": lake_uri,
            "copied_batches": report.copied.batches,
            "copied_rows": report.copied.rows,
            **({"not_copied": report.copied.obstacle} if report.copied.obstacle else {}),
        },
        check_results=[_result(check, [("", check.judge(sums))]) for check in OF_DELIVERIES],
    )


def reached(report: DeliveryReport) -> AssetMaterialization:
    """What arrived at Iterable, for the asset that stands for it; its address may hold a secret and is not shown."""
    return AssetMaterialization(asset_key="iterable", metadata={"dagster/row_count": report.sent, "sent": report.sent})


def landed(batch: Batch, *, partition: str) -> AssetMaterialization:
    """What a batch took from landing, for the asset that stands for it."""
    return AssetMaterialization(
        asset_key="segment_events",
        partition=partition,
        metadata={
            "batch_id": batch.batch_id,
            "segments": len(batch.segments),
            "bytes": sum(segment.size_bytes for segment in batch.segments),
            "sources": ", ".join(sorted({segment.source for segment in batch.segments})),
            "sealed_until": MetadataValue.timestamp(max(segment.sealed_at for segment in batch.segments)),
        },
    )


def _of_batches(worked: Sequence[Worked]) -> Mapping[str, MetadataValue]:
    versions: Counter[str] = Counter()
    for work in worked:
        versions.update(work.versions)
    found: dict[str, MetadataValue] = {
        "batches": MetadataValue.int(len(worked)),
        "batch_id": MetadataValue.text(worked[-1].batch.batch_id if worked else "none"),
    }
    if worked:
        last = worked[-1].batch
        found |= {
            "provenance": MetadataValue.text(last.provenance.value),
            "contract_set": MetadataValue.text(last.contract_set),
            "as_of": MetadataValue.timestamp(last.as_of),
        }
    if versions:
        found["contract_versions"] = MetadataValue.json(dict(sorted(versions.items())))
    return found


def _times(worked: Sequence[Worked]) -> Mapping[str, MetadataValue]:
    occurred = [work.occurred_until for work in worked if work.occurred_until is not None]
    received = [work.received_until for work in worked if work.received_until is not None]
    found: dict[str, MetadataValue] = {}
    if occurred:
        found["watermark"] = MetadataValue.timestamp(max(occurred))
    if received:
        found["received_until"] = MetadataValue.timestamp(max(received))
    return found


def _counts(worked: Sequence[Worked]) -> Mapping[str, MetadataValue]:
    counts: Counter[str] = Counter()
    for work in worked:
        for report in work.reports.values():
            counts.update(report.counts)
    return {name: MetadataValue.int(count) for name, count in sorted(counts.items())}


def _result(check: Check[T], verdicts: Sequence[tuple[str, Verdict]]) -> AssetCheckResult:
    """One result over all batches: it passes where every one does, and shows the numbers of the first that does not."""
    failed = [(batch_id, verdict) for batch_id, verdict in verdicts if not verdict.passed]
    shown = (failed or list(verdicts))[:1]
    numbers: dict[str, Number] = {}
    for batch_id, verdict in shown:
        numbers |= {**({"batch_id": batch_id} if batch_id else {}), **verdict.numbers}
    if len(verdicts) != 1:
        numbers["batches"] = len(verdicts)
        numbers["batches_failed"] = len(failed)
    return AssetCheckResult(
        asset_key=check.asset,
        check_name=check.name,
        passed=not failed,
        severity=AssetCheckSeverity.ERROR if check.is_blocking else AssetCheckSeverity.WARN,
        metadata=numbers,
    )
