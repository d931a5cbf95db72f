"""Contract counts: how many events kept each version of a contract and how many broke it, from closed rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from activation_dagster.domain.batches import Phase
from activation_dagster.lake.tables import QUARANTINED, VALIDATED
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCount:
    """Events judged by one version: how many kept it and how many wait, and when the newest one happened (UTC)."""

    contract: str
    version: str
    accepted: int
    waiting: int
    last_occurred_at: datetime | None


def counts_by_version(places: Places) -> tuple[VersionCount, ...]:
    """The counts of every version that judged an event; none where the lake has no events yet."""
    if not places.lake.exists(VALIDATED) and not places.lake.exists(QUARANTINED):
        return ()
    import duckdb

    query = f"""
        with judged as (
            select contract, contract_version, 1 as accepted, 0 as waiting, occurred_at
            from {closed_rows(places, VALIDATED, Phase.VALIDATED)} as v
            union all
            select contract, contract_version, 0, 1, null
            from {closed_rows(places, QUARANTINED, Phase.VALIDATED)} as q
        )
        select contract, contract_version, sum(accepted)::bigint, sum(waiting)::bigint, max(occurred_at)
        from judged
        where contract is not null and contract_version is not null
        group by contract, contract_version
        order by contract, contract_version
    """
    with duckdb.connect(":memory:") as connection:
        rows = connection.execute(query).fetchall()
    return tuple(
        VersionCount(contract=contract, version=version, accepted=accepted, waiting=waiting, last_occurred_at=last)
        for contract, version, accepted, waiting, last in rows
    )
