"""Contract counts: how many events kept each version of a contract and how many broke it, in all and day by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from activation_dagster.domain.batches import Phase
from activation_dagster.lake.tables import QUARANTINED, VALIDATED
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.places import Places

TREND_DAYS = 14
"""So many days of arrival are counted one by one, the newest that any event arrived on last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCount:
    """Events of one contract that arrived on one day (UTC) and were judged: how many kept it and how many wait."""

    contract: str
    day: date
    accepted: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCount:
    """Events judged by one version: how many kept it and how many wait, and when the newest one happened (UTC).

    `version` is empty for events that wait because none judged them (they name one that is not there, say).
    """

    contract: str
    version: str
    accepted: int
    waiting: int
    last_occurred_at: datetime | None


def counts_by_version(places: Places) -> tuple[VersionCount, ...]:
    """The counts of every version that judged an event; none where the lake has no events yet."""
    rows = _of_judged(
        places,
        """
        select
            contract,
            coalesce(contract_version, '') as version,
            sum(accepted)::bigint,
            sum(waiting)::bigint,
            max(occurred_at)
        from judged
        where contract is not null
        group by contract, version
        order by contract, version
        """,
    )
    return tuple(
        VersionCount(contract=contract, version=version, accepted=accepted, waiting=waiting, last_occurred_at=last)
        for contract, version, accepted, waiting, last in rows
    )


def counts_by_day(places: Places) -> tuple[DayCount, ...]:
    """The counts of each contract on each of the newest days of arrival that it was judged on, the oldest first."""
    rows = _of_judged(
        places,
        f"""
        select contract, arrived_on, sum(accepted)::bigint, sum(waiting)::bigint
        from judged
        where contract is not null
            and arrived_on > (select max(arrived_on) from judged) - interval {TREND_DAYS} day
        group by contract, arrived_on
        order by contract, arrived_on
        """,
    )
    return tuple(
        DayCount(contract=contract, day=day, accepted=accepted, waiting=waiting)
        for contract, day, accepted, waiting in rows
    )


def _of_judged(places: Places, select: str) -> list[tuple[Any, ...]]:
    """Rows of a query over `judged`: one row for each event that a contract judged, or that waits."""
    if not places.lake.exists(VALIDATED) and not places.lake.exists(QUARANTINED):
        return []
    import duckdb

    query = f"""
        with judged as (
            select contract, contract_version, 1 as accepted, 0 as waiting, occurred_at,
                left(arrival_hour, 10)::date as arrived_on
            from {closed_rows(places, VALIDATED, Phase.VALIDATED)} as v
            union all
            select contract, contract_version, 0, 1, null, left(arrival_hour, 10)::date
            from {closed_rows(places, QUARANTINED, Phase.VALIDATED)} as q
        )
        {select}
    """
    with duckdb.connect(":memory:") as connection:
        return connection.execute(query).fetchall()
