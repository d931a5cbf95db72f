"""Assets: the tables of the lake and the ledger as Dagster sees them, each a few lines over a phase of the pipeline.

Landing and Iterable stand at both ends as assets that others write; the sensor and `sends` report what reached them.
"""

# No postponed annotations here: Dagster reads the types of parameters when it decorates.
from collections.abc import Sequence
from datetime import timedelta

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    FreshnessPolicy,
    ResourceParam,
    multi_asset,
)

from activation_dagster.defs.adapter import Result, delivered, landed, materialised, reached, schema_of
from activation_dagster.defs.checks import specs
from activation_dagster.defs.partitions import HOURLY, key_of
from activation_dagster.defs.resources import Workbench
from activation_dagster.defs.scope import BATCH_TAG, scope_of
from activation_dagster.domain.batches import Phase
from activation_dagster.lake.tables import (
    DECISIONS,
    DUPLICATES,
    INGESTED,
    MEMBERSHIPS,
    QUARANTINED,
    RESOLVED,
    SENDS,
    VALIDATED,
    LakeTable,
)

IS_ALIVE = FreshnessPolicy.time_window(fail_window=timedelta(hours=1), warn_window=timedelta(minutes=15))
"""Runs happen. Whether *data* is fresh is the check `watermark`: a run over nothing new satisfies this policy too."""

ROUNDS_AFTER_A_BATCH = 5
"""Claims for each endpoint in a batch's own run: what is more goes out in the next one, so that no batch waits long."""

ROUNDS = 1_000


def _of_lake(
    name: str, table: LakeTable, *, group: str, owner: str, description: str, deps: Sequence[str]
) -> AssetSpec:
    return AssetSpec(
        name,
        deps=deps,
        description=f"{description}\n\nA row is {table.grain}.",
        group_name=group,
        owners=[f"team:{owner}"],
        kinds={"duckdb", "deltalake"},
        metadata={"dagster/column_schema": schema_of(table), "dagster/table_name": table.name},
        partitions_def=HOURLY,
        freshness_policy=IS_ALIVE,
    )


segment_events = AssetSpec(
    "segment_events",
    description="Sealed landing segments: events as they came, by the hour of their arrival. Written by the sources.",
    group_name="ingestion",
    owners=["team:platform"],
    kinds={"segment", "json"},
    partitions_def=HOURLY,
)

iterable = AssetSpec(
    "iterable",
    deps=["sends"],
    description="What reached Iterable: events tracked, journeys triggered, profiles updated.",
    group_name="feedback",
    owners=["team:crm"],
    kinds={"iterable"},
)


@multi_asset(
    specs=[
        _of_lake(
            "ingested_events",
            INGESTED,
            group="ingestion",
            owner="platform",
            description="Every line that landed, with its envelope read and its times corrected for clock skew.",
            deps=["segment_events"],
        )
    ],
    check_specs=specs("ingested_events"),
    backfill_policy=BackfillPolicy.single_run(),
)
def ingested_events(context: AssetExecutionContext, workbench: ResourceParam[Workbench]) -> Result:
    """Landing lines become events with an envelope."""
    scope = scope_of(context)
    worked = workbench.carry_out(scope, Phase.INGESTED)
    if scope.batch_id is not None:
        key = key_of(worked[0].batch.arrival_hour)
        context.log_event(landed(worked[0].batch, partition=key))
    return materialised("ingested_events", INGESTED, worked, uri=workbench.uri_of(INGESTED))


@multi_asset(
    specs=[
        _of_lake(
            "validated_events",
            VALIDATED,
            group="governance",
            owner="platform",
            description="Events that keep their contract and are no repeat; what later stages read.",
            deps=["ingested_events"],
        ),
        _of_lake(
            "quarantined_events",
            QUARANTINED,
            group="governance",
            owner="platform",
            description="Events that break their promise and wait for repair, each with its reason and its owner.",
            deps=["ingested_events"],
        ),
        _of_lake(
            "duplicate_events",
            DUPLICATES,
            group="governance",
            owner="platform",
            description="Events whose messageId was taken before, in the same batch or inside the dedupe window.",
            deps=["ingested_events"],
        ),
    ],
    check_specs=specs("validated_events"),
    backfill_policy=BackfillPolicy.single_run(),
    can_subset=True,
)
def judged_events(context: AssetExecutionContext, workbench: ResourceParam[Workbench]):  # Dagster reads the return type
    """Every event is judged by its contract and goes to exactly one of three tables, whichever of them are selected."""
    worked = workbench.carry_out(scope_of(context), Phase.VALIDATED)
    for table in (VALIDATED, QUARANTINED, DUPLICATES):
        if AssetKey(table.name) in context.selected_asset_keys:
            yield materialised(table.name, table, worked, uri=workbench.uri_of(table))


@multi_asset(
    specs=[
        _of_lake(
            "resolved_identities",
            RESOLVED,
            group="governance",
            owner="platform",
            description="The profile of every accepted event, by the identity contract, link by link in arrival order.",
            deps=["validated_events"],
        )
    ],
    check_specs=specs("resolved_identities"),
    backfill_policy=BackfillPolicy.single_run(),
)
def resolved_identities(context: AssetExecutionContext, workbench: ResourceParam[Workbench]) -> Result:
    """Each accepted event finds its profile."""
    worked = workbench.carry_out(scope_of(context), Phase.RESOLVED)
    return materialised("resolved_identities", RESOLVED, worked, uri=workbench.uri_of(RESOLVED))


@multi_asset(
    specs=[
        _of_lake(
            "consented_audiences",
            MEMBERSHIPS,
            group="governance",
            owner="privacy",
            description="Who entered, left or stays in an audience: by its rule and by consent, with the evidence.",
            deps=["resolved_identities"],
        )
    ],
    check_specs=specs("consented_audiences"),
    backfill_policy=BackfillPolicy.single_run(),
)
def consented_audiences(context: AssetExecutionContext, workbench: ResourceParam[Workbench]) -> Result:
    """Choices are recorded, and audiences are made of those who fit and agreed."""
    worked = workbench.carry_out(scope_of(context), Phase.CONSENTED)
    return materialised("consented_audiences", MEMBERSHIPS, worked, uri=workbench.uri_of(MEMBERSHIPS))


@multi_asset(
    specs=[
        _of_lake(
            "send_decisions",
            DECISIONS,
            group="execution",
            owner="crm",
            description=(
                "Every candidate of every workflow, sent or refused, with its reason. New sends enter the ledger: "
                "released for a live batch that was never closed before, else held for a named person."
            ),
            deps=["consented_audiences"],
        )
    ],
    check_specs=specs("send_decisions"),
    backfill_policy=BackfillPolicy.single_run(),
)
def send_decisions(context: AssetExecutionContext, workbench: ResourceParam[Workbench]) -> Result:
    """Candidates are decided, and what is to be sent enters the ledger."""
    worked = workbench.carry_out(scope_of(context), Phase.DECIDED, Phase.INTENDED)
    return materialised("send_decisions", DECISIONS, worked, uri=workbench.uri_of(DECISIONS))


@multi_asset(
    specs=[
        AssetSpec(
            "sends",
            deps=["send_decisions"],
            description=(
                "The ledger: every send once, claimed under its key with consent read again, and what the destination "
                "answered. Materialising it delivers what is due; it never makes anything due.\n\n"
                f"Its copy in the lake follows. A row of it is {SENDS.grain}."
            ),
            group_name="execution",
            owners=["team:platform"],
            metadata={"dagster/column_schema": schema_of(SENDS), "dagster/table_name": SENDS.name},
            freshness_policy=IS_ALIVE,
        )
    ],
    check_specs=specs("sends"),
)
def sends(context: AssetExecutionContext, workbench: ResourceParam[Workbench]) -> Result:
    """Claimed messages go out, and what the destinations answered is written down."""
    batch_id = context.run.tags.get(BATCH_TAG)
    report = workbench.deliver(rounds=ROUNDS if batch_id is None else ROUNDS_AFTER_A_BATCH)
    context.log_event(reached(report))
    return delivered(
        report, workbench.sums(batch_id), uri=workbench.places.state.where, lake_uri=workbench.uri_of(SENDS)
    )


def _with_kinds(spec: AssetSpec, *kinds: str) -> AssetSpec:
    return spec.replace_attributes(kinds=set(kinds))  # pyright: ignore[reportUnknownMemberType] (Dagster's own Unknown)


def assets(*, state_kind: str) -> list[AssetsDefinition | AssetSpec]:
    """Every asset, from landing to Iterable; `state_kind` (sqlite or postgres) is where the ledger lives."""
    ledger = sends.map_asset_specs(lambda spec: _with_kinds(spec, state_kind, "iterable"))
    return [
        segment_events,
        ingested_events,
        judged_events,
        resolved_identities,
        consented_audiences,
        send_decisions,
        ledger,
        iterable,
    ]
