"""Quarantine: what waits, why, whose it is; and samples of it that show nothing of a person unless asked."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from activation_dagster.domain.batches import Phase
from activation_dagster.domain.landing import SEGMENT_ID
from activation_dagster.domain.masking import shown_payload
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.repairs import Selection
from activation_dagster.errors import ContractsInvalid, WrongUse
from activation_dagster.lake.delta import hour_key
from activation_dagster.lake.rule_sql import literal
from activation_dagster.lake.tables import INGESTED, QUARANTINED
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.places import Places
from activation_dagster.state.conflicts import Candidate, WaitingConflict, all_conflicts, candidates_of
from activation_dagster.state.purges import purged_since
from activation_dagster.state.quarantine import closings

if TYPE_CHECKING:
    import duckdb

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
EVERYTHING = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineGroup:
    """Events that wait for the same reason.

    `event` is the contract that judged them, else the event's name or call as sent, else empty; `field` is where they
    break it (`properties.price`), empty where no field is to blame. An event that breaks two fields counts in both
    groups. First and last seen are when the segments were sealed (UTC). The trend is how many of them were seen in the
    last 24 hours, and in the 24 hours before. `removed_from` is when retention begins to remove them (UTC; None:
    never). `value` is what stands in the field, where that was asked for.
    """

    event: str
    reason: str
    field: str
    events: int
    last_day: int
    day_before: int
    owner: str
    first_seen_at: datetime
    last_seen_at: datetime
    removed_from: datetime | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedEvent:
    """One event that waits, or waited; `payload` is masked, or as received where it was asked to be revealed.

    `closed_by` is empty while it waits, else `repair <id>`, `replay` or `dismissal`; `became` is the event it entered
    again as. `candidates` are the identifiers of an event in conflict, with both profiles and the rule.
    """

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
    closed_by: str
    became: str
    payload: Any
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingEvent:
    """One event that waits, with its bytes as received."""

    event_id: str
    source: str
    batch_id: str
    reason: str
    event: str
    payload: bytes

    @property
    def seen_at(self) -> datetime:
        """When its segment was sealed (UTC)."""
        return _sealed(int(self.event_id[:13]))


_EVENT = "coalesce(contract, event_name, event_type, '')"
_SEEN = "substr(event_id, 1, 13)::bigint"
_FIELDS = "list_distinct(list_transform(violations, lambda v: split_part(v, ': ', 1)))"


def listed(places: Places, select: Selection = EVERYTHING, *, by_value: bool = False) -> tuple[QuarantineGroup, ...]:
    """What waits, grouped by event, reason and field; the largest group first.

    With `by_value` also by what stands in the field, where at least `COMMON_VALUE` events say the same: a value that
    many share names nobody. Rarer values count together.
    """
    now = (places.clock() - EPOCH) // timedelta(milliseconds=1)
    kept = kept_for(places)
    a_day = DAY // timedelta(milliseconds=1)
    with quarantine_read(places) as connection:
        rows = connection.execute(
            f"""
            with faults as (
                select
                    {_EVENT} as event, reason, owner, {_SEEN} as seen, event_id, payload,
                    unnest(case when len(violations) > 0 then {_FIELDS} else [''] end) as field
                from waiting
                where {_fits(select)}
            ),
            said as (
                select * exclude (payload), {_VALUE if by_value else "null::varchar"} as said
                from faults
                where {"true" if select.field is None else f"field = {literal(select.field)}"}
            ),
            valued as (
                select *, case when count(*) over (partition by event, reason, field, said) >= {COMMON_VALUE}
                    then said end as value
                from said
            )
            select
                event, reason, field, count(*) as events,
                count(*) filter (where seen > {now - a_day}),
                count(*) filter (where seen > {now - 2 * a_day} and seen <= {now - a_day}),
                max(owner), min(seen), max(seen), value
            from valued
            group by event, reason, field, value
            order by events desc, event, reason, field, value
            """
        ).fetchall()
    return tuple(
        QuarantineGroup(
            event=event,
            reason=reason,
            field=field,
            events=events,
            last_day=last_day,
            day_before=day_before,
            owner=owner or "",
            first_seen_at=_sealed(first),
            last_seen_at=_sealed(last),
            removed_from=_sealed(first) + kept[reason] if reason in kept else None,
            value=value,
        )
        for event, reason, field, events, last_day, day_before, owner, first, last, value in rows
    )


COMMON_VALUE = 20
"""So many events must say the same for their value to be shown."""

_VALUE = """case when field <> '' then
    json_extract(try_cast(try(decode(payload)) as json), '$."' || replace(field, '.', '"."') || '"')::varchar end"""


def shown(
    places: Places, select: Selection = EVERYTHING, *, limit: int = 10, reveal: bool = False, closed: bool = False
) -> tuple[QuarantinedEvent, ...]:
    """Samples of what waits, or with `closed` of what waited, the newest first."""
    with quarantine_read(places) as connection:
        rows = connection.execute(
            f"""
            select
                q.event_id, source, {_EVENT}, contract_version, reason, violations, owner, batch_id, arrival_hour,
                substr(q.event_id, 1, 13)::bigint, payload, coalesce(c.closed_by, ''), coalesce(c.became, '')
            from {"closed" if closed else "waiting"} as q
            left join closings as c on c.event_id = q.event_id
            where {_fits(select, "q.event_id")}
            order by q.event_id desc
            limit {limit}
            """
        ).fetchall()
    in_conflict = [row[0] for row in rows if row[4] == QuarantineReason.IDENTITY_CONFLICT]
    with places.state.read() as reading:
        candidates = candidates_of(reading, in_conflict, reveal=reveal)
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
            closed_by=row[11],
            became=row[12],
            payload=shown_payload(bytes(row[10] or b""), reveal=reveal),
            candidates=tuple(candidates.get(row[0], ())),
        )
        for row in rows
    )


def waiting(places: Places, select: Selection) -> Generator[list[WaitingEvent]]:
    """What waits and fits, some thousand events at a time, in the order of arrival."""
    yield from _events(places, "waiting", select)


def quarantined(places: Places, event_ids: tuple[str, ...]) -> dict[str, WaitingEvent]:
    """Events that wait or waited, by id; those that the lake does not have are missing."""
    found: dict[str, WaitingEvent] = {}
    for chunk in _events(places, "quarantined", Selection(event_ids=event_ids)):
        found |= {event.event_id: event for event in chunk}
    return found


EVENTS_AT_ONCE = 5_000


def _events(places: Places, relation: str, select: Selection) -> Generator[list[WaitingEvent]]:
    with quarantine_read(places) as connection:
        rows = connection.execute(
            f"select event_id, source, batch_id, reason, {_EVENT}, payload from {relation} "
            f"where {_fits(select)} order by event_id"
        )
        while chunk := rows.fetchmany(EVENTS_AT_ONCE):
            yield [
                WaitingEvent(
                    event_id=event_id,
                    source=source,
                    batch_id=batch_id,
                    reason=reason,
                    event=event,
                    payload=bytes(payload or b""),
                )
                for event_id, source, batch_id, reason, event, payload in chunk
            ]


@contextmanager
def quarantine_read(places: Places) -> Generator[duckdb.DuckDBPyConnection]:
    """`quarantined` (all of it), `closings`, and its two parts `waiting` and `closed`; nothing that was purged.

    Beside what broke its promise there are accepted events that identity left to nobody, with the reason
    identity_conflict: of them only the hours and batches that have some are read. `broken` is without them.
    """
    import duckdb
    import pyarrow as pa

    source = closed_rows(places, QUARANTINED, Phase.VALIDATED)
    with places.state.read() as reading:
        rows = closings(reading)
        conflicts = all_conflicts(reading)
        purged = purged_since(reading, places.clock() - LONGEST_READ)
    with duckdb.connect(":memory:") as connection:
        connection.register("closings", _closings_table(pa, rows))
        connection.register("purged", _purged_table(pa, purged))
        connection.execute(
            f"create temp view broken as select q.* from {source} as q anti join purged using (batch_id, reason)"
        )
        closed = {row[0] for row in rows}
        _make_conflicts(places, connection, "waiting_conflicts", [c for c in conflicts if c.event_id not in closed])
        _make_conflicts(places, connection, "closed_conflicts", [c for c in conflicts if c.event_id in closed])
        connection.execute(
            "create temp view quarantined as select * from broken "
            "union all by name select * from waiting_conflicts union all by name select * from closed_conflicts"
        )
        connection.execute(
            "create temp view waiting as select q.* from broken as q anti join closings as c using (event_id) "
            "union all by name select * from waiting_conflicts"
        )
        connection.execute(
            "create temp view closed as select q.* from broken as q semi join closings as c using (event_id) "
            "union all by name select * from closed_conflicts"
        )
        yield connection


IN_STATE = ("event_id", "contract", "contract_version", "violations", "owner")
"""What state knows of an event in conflict; the rest is read where it was ingested."""


def _conflicts_table(pa: Any, conflicts: Sequence[WaitingConflict]) -> Any:
    """Events in conflict as Arrow has them, by `IN_STATE`."""
    columns = {name: [getattr(one, name) for one in conflicts] for name in IN_STATE}
    kinds = {name: pa.list_(pa.string()) if name == "violations" else pa.string() for name in IN_STATE}
    return pa.table({name: pa.array(list(map(_plain, column)), kinds[name]) for name, column in columns.items()})


def _plain(value: str | tuple[str, ...]) -> str | list[str]:
    return value if isinstance(value, str) else list(value)


def _make_conflicts(
    places: Places, connection: duckdb.DuckDBPyConnection, name: str, conflicts: Sequence[WaitingConflict]
) -> None:
    """Make a view of accepted events in conflict that looks like the quarantine's table."""
    import pyarrow as pa

    known = _conflicts_table(pa, conflicts)
    connection.register(f"{name}_in_state", known)
    received = places.lake.source(
        INGESTED,
        hours=sorted({hour_key(c.arrival_hour) for c in conflicts}),
        batch_ids=sorted({c.batch_id for c in conflicts}),
    )
    derived = {
        "reason": f"{literal(QuarantineReason.IDENTITY_CONFLICT)} as reason",
        "payload": "encode(i.payload) as payload",
    }
    names = ", ".join(
        derived.get(column.name, f"{'c' if column.name in IN_STATE else 'i'}.{column.name}")
        for column in QUARANTINED.columns
    )
    connection.execute(
        f"create temp view {name} as select {names} from {received} as i "
        f"join {name}_in_state as c on c.event_id = i.event_id"
    )


LONGEST_READ = timedelta(hours=1)
"""Files that were listed so long ago are read no more."""


def kept_for(places: Places) -> dict[str, timedelta]:
    """How long what waits is kept after its arrival, by reason, as today's contracts say; without an end: missing.

    An event in conflict was accepted, and is kept as all accepted events are.
    """
    try:
        modes = contracts_today(places).failure_modes.values()
    except ContractsInvalid:
        return {}
    return {
        mode.code: timedelta(days=mode.keep_days)
        for mode in modes
        if mode.group == "quarantine" and mode.keep_days is not None and mode.code != QuarantineReason.IDENTITY_CONFLICT
    }


def _purged_table(pa: Any, rows: Sequence[tuple[str, str]]) -> Any:
    """What retention removed, as Arrow has it: batch_id, reason."""
    columns = {"batch_id": [row[0] for row in rows], "reason": [row[1] for row in rows]}
    return pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})


def _closings_table(pa: Any, rows: Sequence[tuple[str, str, str, str, str]]) -> Any:
    """Closed events as Arrow has them: event_id, closed_by, became."""
    columns = {
        "event_id": [row[0] for row in rows],
        "closed_by": [f"{row[2]} {row[3]}".strip() for row in rows],
        "became": [row[4] for row in rows],
    }
    return pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})


def _fits(select: Selection, event_id: str = "event_id") -> str:
    """The selection as a condition."""
    seen = f"substr({event_id}, 1, 13)::bigint"
    conditions = ["true"]
    if select.event is not None:
        conditions.append(f"{_EVENT} = {literal(select.event)}")
    if select.reason is not None:
        conditions.append(f"reason = {literal(select.reason)}")
    if select.field is not None:
        blamed = f"list_contains({_FIELDS}, {literal(select.field)})"
        conditions.append(blamed if select.field else "coalesce(len(violations), 0) = 0")
    if select.seen_from is not None:
        conditions.append(f"{seen} >= {-((EPOCH - select.seen_from) // timedelta(milliseconds=1))}")
    if select.seen_before is not None:
        conditions.append(f"{seen} < {-((EPOCH - select.seen_before) // timedelta(milliseconds=1))}")
    if select.batches:
        conditions.append(f"batch_id in ({', '.join(map(literal, select.batches))})")
    if select.event_ids:
        _refuse_no_ids(select.event_ids)
        conditions.append(f"{event_id} in ({', '.join(map(literal, select.event_ids))})")
    return " and ".join(conditions)


def _refuse_no_ids(event_ids: tuple[str, ...]) -> None:
    for event_id in event_ids:
        segment_id, _, line = event_id.rpartition(":")
        if SEGMENT_ID.fullmatch(segment_id) is None or not line.isdigit():
            raise WrongUse(
                f"'{event_id[:60]}' is no event, as an id. Give it as `activation quarantine show` does: "
                "1758190320000-web:0000001."
            )


def _sealed(milliseconds: int) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)
