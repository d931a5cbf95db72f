"""Quarantine: what waits, why, whose it is; and samples of it that show nothing of a person unless asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from activation_dagster.domain.batches import Phase
from activation_dagster.domain.masking import shown_payload
from activation_dagster.lake.contract_sql import literal
from activation_dagster.lake.tables import QUARANTINED
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.places import Places

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineGroup:
    """Events that wait for the same reason.

    `event` is the contract that judged them, else the event's name or call as sent, else empty; `field` is where they
    break it (`properties.price`), empty where no field is to blame. An event that breaks two fields counts in both
    groups. First and last seen are when the segments were sealed (UTC).
    """

    event: str
    reason: str
    field: str
    events: int
    owner: str
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedEvent:
    """One event that waits; `payload` is masked, or as received where it was asked to be revealed."""

    event_id: str
    source: str
    event: str
    contract_version: str | None
    reason: str
    violations: tuple[str, ...]
    owner: str
    batch_id: str
    arrival_hour: str
    seen_at: datetime
    payload: Any


_EVENT = "coalesce(contract, event_name, event_type, '')"
_SEEN = "substr(event_id, 1, 13)::bigint"


def listed(places: Places) -> tuple[QuarantineGroup, ...]:
    """What waits, grouped by event, reason and field; the largest group first."""
    query = f"""
        with faults as (
            select
                {_EVENT} as event, reason, owner, {_SEEN} as seen, event_id,
                unnest(case when len(violations) > 0
                    then list_distinct(list_transform(violations, lambda v: split_part(v, ': ', 1)))
                    else [''] end) as field
            from {closed_rows(places, QUARANTINED, Phase.VALIDATED)} as q
        )
        select event, reason, field, count(*) as events, max(owner), min(seen), max(seen)
        from faults
        group by event, reason, field
        order by events desc, event, reason, field
    """
    return tuple(
        QuarantineGroup(
            event=event,
            reason=reason,
            field=field,
            events=events,
            owner=owner or "",
            first_seen_at=_sealed(first),
            last_seen_at=_sealed(last),
        )
        for event, reason, field, events, owner, first, last in _rows(query)
    )


def shown(
    places: Places, *, reason: str | None = None, event: str | None = None, limit: int = 10, reveal: bool = False
) -> tuple[QuarantinedEvent, ...]:
    """Samples of what waits, the newest first; `event` is a contract, or a name as `listed` gives it."""
    asked = (("reason", reason), (_EVENT, event))
    conditions = [f"{column} = {literal(value)}" for column, value in asked if value is not None]
    query = f"""
        select
            event_id, source, {_EVENT}, contract_version, reason, violations, owner, batch_id, arrival_hour,
            {_SEEN}, payload
        from {closed_rows(places, QUARANTINED, Phase.VALIDATED)} as q
        where {" and ".join(conditions) or "true"}
        order by event_id desc
        limit {limit}
    """
    return tuple(
        QuarantinedEvent(
            event_id=row[0],
            source=row[1],
            event=row[2],
            contract_version=row[3],
            reason=row[4],
            violations=tuple(row[5] or ()),
            owner=row[6] or "",
            batch_id=row[7],
            arrival_hour=row[8],
            seen_at=_sealed(row[9]),
            payload=shown_payload(bytes(row[10] or b""), reveal=reveal),
        )
        for row in _rows(query)
    )


def _rows(query: str) -> list[tuple[Any, ...]]:
    import duckdb

    with duckdb.connect(":memory:") as connection:
        return connection.execute(query).fetchall()


def _sealed(milliseconds: int) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)
