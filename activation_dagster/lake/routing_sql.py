"""Routing: which version judges an event, as SQL that joins every event of a batch to its judge in one pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from activation_dagster.domain.audiences import Measure
from activation_dagster.domain.contracts import Call, EventContract, EventVersion
from activation_dagster.lake.rule_sql import literal

BASE = (
    "e.ordinal, e.event_id, e.source, e.landed_at, e.event_type, e.event_name, e.message_id, e.occurred_at, "
    "e.received_at"
)
"""What every verdict carries on from `ingested_events`, so that nothing has to be joined to it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A version to judge events by, and what is read of them: property names, amounts, and SQL over `e` by kind."""

    contract: EventContract
    version: EventVersion
    used: Sequence[str] = ()
    sums: Sequence[Measure] = ()
    identifiers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def names(self) -> set[str]:
        """The properties that are looked at."""
        summed = {one for measure in self.sums for one in (measure.sum_of, measure.times) if one}
        return {rule.name for rule in self.version.properties} | set(self.used) | summed


Numbered = Mapping[int, Asked]
"""The versions that judge, each by the number that `routing` gives to its events."""


def numbered(asked: Sequence[Asked]) -> dict[int, Asked]:
    """The versions by number."""
    return dict(enumerate(asked))


def _routes(asked: Numbered) -> str:
    """SQL for a relation of all routes: call, name, the version named or null, the source where it matters, judge.

    `EventContract.version` is the readable meaning. An event that names no version goes by its source where any
    contract pins that source, so that each has one route.
    """
    pinning = sorted(_pinning(asked))
    routes: dict[tuple[str, str, str | None, str | None], int] = {}
    for judge, one in asked.items():
        contract, version = one.contract, one.version
        event = (contract.call.value, contract.name if contract.call is Call.TRACK else "")
        for named in (version.version, version.version.removeprefix("v")):
            if contract.version(named) == version:
                routes[*event, named, None] = judge
        for source in (None, *pinning):
            if contract.version(None, source) == version:
                routes[*event, None, source] = judge
    rows = ", ".join(
        f"({', '.join('null' if text is None else literal(text) for text in route)}, {judge})"
        for route, judge in routes.items()
    )
    return (
        "(select call::varchar as call, name::varchar as name, named::varchar as named, source::varchar as source, "
        f"judge::integer as judge from (values {rows or '(null, null, null, null, null)'}) "
        "as given (call, name, named, source, judge))"
    )


def _pinning(asked: Numbered) -> set[str]:
    return {source for one in asked.values() for source in one.contract.pinned}


def routed(asked: Numbered, columns: str, judges: Collection[int] | None = None) -> str:
    """A relation (in brackets) of the events that some of the versions judge: some columns of `e`, and `judge`.

    All versions where `judges` is None; no judge: the events that none of the versions judges.
    """
    pinning = ", ".join(map(literal, sorted(_pinning(asked))))
    source = f"case when e.event_version is null and e.source in ({pinning}) then e.source end" if pinning else ""
    ways = [
        "r.call = e.event_type",
        "r.name = case when e.event_type = 'track' then e.event_name else '' end",
        "r.named is not distinct from e.event_version",
        *([f"r.source is not distinct from {source}"] if source else []),
    ]
    join = f"from ingested_events as e left join {_routes(asked)} as r on {' and '.join(ways)}"
    if judges is None:
        return f"(select {columns}, r.judge {join} where e.fault is null and r.judge is not null)"
    if not judges:
        return f"(select {columns} {join} where e.fault is not null or r.judge is null)"
    mine = f"select {columns}, r.judge {join} where e.fault is null and r.judge in ({', '.join(map(str, judges))})"
    # Events of many contracts come mixed, and a filter leaves few of each in a vector: gathered, they fill it.
    return f"(with mine as materialized ({mine}) select * from mine)"
