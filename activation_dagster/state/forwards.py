"""How far events were sent on: which segments, how many of their lines, and what the receiver refuses for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from activation_dagster.state.bulk import insert_new, select_in
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.tables import forward_refusals, forward_segments, forward_targets, forward_withheld


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one batch added to a segment: lines looked at until now, and what became of those of this batch.

    `withheld` counts events by reason; `refused` maps an event to its reason and the receiver's status.
    """

    lines_done: int
    sent: int
    withheld: Mapping[str, int]
    refused: Mapping[str, tuple[str, int]]
    is_last: bool


def begin_target(connection: Connection, *, target_id: str, source: str, address: str, since: datetime) -> datetime:
    """Write a target down, or find it; the instant from which on segments are sent on to it."""
    insert_new(
        connection,
        forward_targets,
        ("target_id", "source", "address", "since_at"),
        [(target_id, source, address, micros(since))],
    )
    return _since(connection, target_id) or since


def since_of(connection: Connection, target_id: str) -> datetime | None:
    """The instant from which on segments are sent on to a target, or None where nobody has begun."""
    return _since(connection, target_id)


def _since(connection: Connection, target_id: str) -> datetime | None:
    found = connection.execute(select(forward_targets.c.since_at).where(forward_targets.c.target_id == target_id))
    value = found.scalar_one_or_none()
    return None if value is None else instant(value)


def progress_of(connection: Connection, target_id: str, segment_ids: Sequence[str]) -> dict[str, tuple[int, bool]]:
    """Of those segments that were begun: how many lines were looked at, and whether it is done."""
    query = select(forward_segments.c.segment_id, forward_segments.c.lines_done, forward_segments.c.ended_at).where(
        forward_segments.c.target_id == target_id
    )
    rows = select_in(connection, query, forward_segments.c.segment_id, segment_ids)
    return {segment_id: (lines_done, ended_at is not None) for segment_id, lines_done, ended_at in rows}


def advance(connection: Connection, target_id: str, segment_id: str, step: Step, *, now: datetime) -> None:
    """Write down what became of a batch, together with how far the segment is."""
    begun = (target_id, segment_id, 0, 0, 0, 0)
    columns = ("target_id", "segment_id", "lines_done", "sent", "withheld", "refused")
    insert_new(connection, forward_segments, columns, [begun])
    inserted = insert_new(
        connection,
        forward_refusals,
        ("target_id", "event_id", "reason", "status", "refused_at"),
        [(target_id, event_id, reason, status, micros(now)) for event_id, (reason, status) in step.refused.items()],
    )
    columns = ("target_id", "reason", "events")
    insert_new(connection, forward_withheld, columns, [(target_id, reason, 0) for reason in step.withheld])
    for reason, events in sorted(step.withheld.items()):
        connection.execute(
            update(forward_withheld)
            .where(forward_withheld.c.target_id == target_id, forward_withheld.c.reason == reason)
            .values(events=forward_withheld.c.events + events)
        )
    connection.execute(
        update(forward_segments)
        .where(forward_segments.c.target_id == target_id, forward_segments.c.segment_id == segment_id)
        .values(
            lines_done=step.lines_done,
            sent=forward_segments.c.sent + step.sent,
            withheld=forward_segments.c.withheld + sum(step.withheld.values()),
            refused=forward_segments.c.refused + inserted,
            ended_at=micros(now) if step.is_last else None,
        )
    )


def counts_of(connection: Connection, target_id: str) -> tuple[int, int, int]:
    """Events sent, withheld and refused for good, of all segments of a target."""
    found = connection.execute(
        select(
            func.coalesce(func.sum(forward_segments.c.sent), 0),
            func.coalesce(func.sum(forward_segments.c.withheld), 0),
            func.coalesce(func.sum(forward_segments.c.refused), 0),
        ).where(forward_segments.c.target_id == target_id)
    ).one()
    return int(found[0]), int(found[1]), int(found[2])


def withheld_of(connection: Connection, target_id: str) -> dict[str, int]:
    """Events that were not sent on, by reason, the most frequent first."""
    rows = connection.execute(
        select(forward_withheld.c.reason, forward_withheld.c.events)
        .where(forward_withheld.c.target_id == target_id)
        .order_by(forward_withheld.c.events.desc(), forward_withheld.c.reason)
    )
    return {row[0]: row[1] for row in rows}


def refusals_of(connection: Connection, target_id: str, *, limit: int) -> list[tuple[str, str, int]]:
    """Events that were refused for good: (event id, reason, status of the reply or 0), the newest first."""
    rows = connection.execute(
        select(forward_refusals.c.event_id, forward_refusals.c.reason, forward_refusals.c.status)
        .where(forward_refusals.c.target_id == target_id)
        .order_by(forward_refusals.c.refused_at.desc(), forward_refusals.c.event_id)
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in rows]
