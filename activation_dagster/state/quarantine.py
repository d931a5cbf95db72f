"""What became of waiting events: every repair, replay and dismissal, what each closed, and where it entered again.

A closing is one row an event, so that nothing is closed twice. A segment that events enter again with is written down
here before it is sealed: whoever plans a batch reads its provenance here, and whoever comes after a crash seals it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.landing import Segment, seen_at
from activation_dagster.errors import RetryLater
from activation_dagster.state.bulk import insert_new, select_in
from activation_dagster.state.control import record_act
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.tables import quarantine_acts, quarantine_closings, reentry_segments

DISMISSAL = "dismissal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One repair, replay, dismissal or purge: who, when (UTC), what and why; `events` is how many it closed or removed.

    `content` is the repair's file, or as JSON the selection, or the days that a purge kept each reason. `narrowed_to`
    is JSON: what of a repair's selection was asked for, or empty. `purged` counts those of `events` that retention has
    removed since. `unsealed` counts segments that were written down and not sealed yet, because whoever did it died.
    """

    act_id: str
    kind: str
    name: str
    fingerprint: str
    done_at: datetime
    done_by: str
    reason: str
    content: str
    narrowed_to: str = ""
    events: int = 0
    purged: int = 0
    unsealed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reentry:
    """A segment that events enter again with; `events` maps each original event to the one it became."""

    segment_id: str
    source: str
    act_id: str
    provenance: Provenance
    events: Mapping[str, str]


def close(
    connection: Connection, act: Act, events: Mapping[str, str], *, segment: Reentry | None = None, now: datetime
) -> None:
    """Close waiting events by an act; `events` maps each to what it became, or to nothing.

    The act is written with the first of its events, and once. Raises RetryLater where somebody else has closed one of
    them meanwhile; then nothing is written.
    """
    closed = insert_new(
        connection,
        quarantine_closings,
        ("event_id", "act_id", "became"),
        [(event_id, act.act_id, became) for event_id, became in events.items()],
    )
    if closed < len(events):
        raise RetryLater(
            f"{len(events) - closed:,} of these events were closed by somebody else meanwhile, in the quarantine. "
            "Look again with `activation quarantine list`, and then try again."
        )
    if segment is not None:
        insert_new(
            connection,
            reentry_segments,
            ("segment_id", "source", "act_id", "provenance"),
            [(segment.segment_id, segment.source, segment.act_id, segment.provenance.value)],
        )
    detail = {"act_id": act.act_id, "name": act.name, "events": len(events), "why": act.reason}
    if act.narrowed_to:
        detail["narrowed_to"] = act.narrowed_to
    if segment is not None:
        detail |= {"segment": f"{segment.source}/{segment.segment_id}", "provenance": segment.provenance.value}
    seq = record_act(connection, now=now, actor=act.done_by, act=f"quarantine.{act.kind}", detail=detail)
    keep_act(connection, act, seq)


def keep_act(connection: Connection, act: Act, seq: int) -> None:
    """Write an act, once: its first transaction does, and those that follow change nothing."""
    columns = ("act_id", "kind", "name", "fingerprint", "seq", "done_at", "done_by", "reason", "content", "narrowed_to")
    values = (act.act_id, act.kind, act.name, act.fingerprint, seq, micros(act.done_at))
    insert_new(connection, quarantine_acts, columns, [(*values, act.done_by, act.reason, act.content, act.narrowed_to)])


def confirm_sealed(connection: Connection, segment: Reentry, *, now: datetime) -> None:
    """Say that a segment stands in landing."""
    connection.execute(
        update(reentry_segments)
        .where(
            reentry_segments.c.segment_id == segment.segment_id,
            reentry_segments.c.source == segment.source,
            reentry_segments.c.landed_at.is_(None),
        )
        .values(landed_at=micros(now))
    )


def unsealed(connection: Connection) -> list[tuple[Reentry, Act]]:
    """Segments that were written down and not confirmed, each with its act; in the order of their names."""
    rows = connection.execute(
        select(
            reentry_segments.c.segment_id,
            reentry_segments.c.source,
            reentry_segments.c.act_id,
            reentry_segments.c.provenance,
        )
        .where(reentry_segments.c.landed_at.is_(None))
        .order_by(reentry_segments.c.segment_id)
    ).all()
    acts = {act.act_id: act for act in list_acts(connection, limit=None)} if rows else {}
    found: list[tuple[Reentry, Act]] = []
    for segment_id, source, act_id, provenance in rows:
        closings = connection.execute(
            select(quarantine_closings.c.event_id, quarantine_closings.c.became)
            .where(quarantine_closings.c.act_id == act_id, quarantine_closings.c.became.startswith(f"{segment_id}:"))
            .order_by(quarantine_closings.c.became)
        )
        events = {row[0]: row[1] for row in closings}
        segment = Reentry(
            segment_id=segment_id, source=source, act_id=act_id, provenance=Provenance(provenance), events=events
        )
        found.append((segment, acts[act_id]))
    return found


def provenances(connection: Connection, segments: Sequence[Segment]) -> dict[tuple[str, str], Provenance]:
    """The provenance of those segments, by (source, id), that events enter again with."""
    query = select(reentry_segments.c.source, reentry_segments.c.segment_id, reentry_segments.c.provenance)
    wanted = [segment.segment_id for segment in segments]
    return {
        (source, segment_id): Provenance(provenance)
        for source, segment_id, provenance in select_in(connection, query, reentry_segments.c.segment_id, wanted)
    }


def first_original(connection: Connection, segments: Sequence[Segment]) -> datetime | None:
    """When the first event came that entered again with some segments, or with others of the same acts (UTC)."""
    query = select(reentry_segments.c.source, reentry_segments.c.segment_id, reentry_segments.c.act_id)
    wanted = {(segment.source, segment.segment_id) for segment in segments}
    ids = [segment_id for _, segment_id in wanted]
    acts = {
        act_id
        for source, segment_id, act_id in select_in(connection, query, reentry_segments.c.segment_id, ids)
        if (source, segment_id) in wanted
    }
    first = connection.execute(
        select(func.min(quarantine_closings.c.event_id)).where(quarantine_closings.c.act_id.in_(acts))
    ).scalar_one()
    return None if first is None else seen_at(first)


def closings(connection: Connection, event_ids: Iterable[str] | None = None) -> list[tuple[str, str, str, str, str]]:
    """Closed events, all or those asked for: (event_id, act_id, kind, name, became)."""
    query = select(
        quarantine_closings.c.event_id,
        quarantine_closings.c.act_id,
        quarantine_acts.c.kind,
        quarantine_acts.c.name,
        quarantine_closings.c.became,
    ).join_from(quarantine_closings, quarantine_acts, quarantine_acts.c.act_id == quarantine_closings.c.act_id)
    if event_ids is None:
        return [(row[0], row[1], row[2], row[3], row[4]) for row in connection.execute(query)]
    found = select_in(connection, query, quarantine_closings.c.event_id, event_ids)
    return [(row[0], row[1], row[2], row[3], row[4]) for row in found]


def list_acts(connection: Connection, *, limit: int | None) -> list[Act]:
    """Acts, the newest first, with how many events each closed."""
    counted = (
        select(quarantine_closings.c.act_id, func.count().label("events"))
        .group_by(quarantine_closings.c.act_id)
        .subquery()
    )
    missing = (
        select(reentry_segments.c.act_id, func.count().label("unsealed"))
        .where(reentry_segments.c.landed_at.is_(None))
        .group_by(reentry_segments.c.act_id)
        .subquery()
    )
    query = (
        select(
            quarantine_acts,
            func.coalesce(counted.c.events, 0).label("events"),
            func.coalesce(missing.c.unsealed, 0).label("unsealed"),
        )
        .outerjoin(counted, counted.c.act_id == quarantine_acts.c.act_id)
        .outerjoin(missing, missing.c.act_id == quarantine_acts.c.act_id)
        .order_by(quarantine_acts.c.seq.desc())
    )
    if limit is not None:
        query = query.limit(limit)
    return [
        Act(
            act_id=row.act_id,
            kind=row.kind,
            name=row.name,
            fingerprint=row.fingerprint,
            done_at=instant(row.done_at),
            done_by=row.done_by,
            reason=row.reason,
            content=row.content,
            narrowed_to=row.narrowed_to,
            events=row.events + row.purged_events,
            purged=row.purged_events,
            unsealed=row.unsealed,
        )
        for row in connection.execute(query)
    ]
