"""Readings: what the clockwork looks up in state to know when to run and what to compare a batch with.

Each costs the same however long the history is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, select

from activation_dagster.domain.batches import Batch, Phase
from activation_dagster.domain.landing import SEGMENT_ID
from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.state import halts
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.tables import batch_phases, batch_segments, batches, incidents, leases, sends

RECENT_BATCHES = 20


def lease_is_free(connection: Connection, batch_id: str, *, now: datetime) -> bool:
    """Whether nobody works on a batch now."""
    found = connection.execute(select(leases.c.expires_at).where(leases.c.name == f"batch:{batch_id}")).scalar()
    return found is None or found <= micros(now)


def recent_counts(connection: Connection, batch: Batch) -> tuple[Mapping[str, int], ...]:
    """What the batches planned just before this one counted when they were validated and resolved, the newest first."""
    counted = (Phase.VALIDATED.value, Phase.RESOLVED.value)
    rows = connection.execute(
        select(batches.c.batch_no, batch_phases.c.counts)
        .join_from(batches, batch_phases, batches.c.batch_id == batch_phases.c.batch_id)
        .where(
            batches.c.batch_no < batch.batch_no,
            batches.c.batch_no >= batch.batch_no - RECENT_BATCHES,
            batch_phases.c.phase.in_(counted),
            batch_phases.c.closed_at.is_not(None),
        )
        .order_by(batches.c.batch_no.desc())
    )
    found: dict[int, dict[str, int]] = {}
    for batch_no, counts in rows:
        found.setdefault(batch_no, {}).update(json.loads(counts))
    return tuple(found.values())


def newest_arrival(connection: Connection) -> datetime | None:
    """When the newest segment that a batch has ingested was sealed (UTC); None before the first."""
    newest = connection.execute(
        select(batch_segments.c.segment_id)
        .join_from(
            batch_segments,
            batch_phases,
            and_(
                batch_phases.c.batch_id == batch_segments.c.batch_id,
                batch_phases.c.phase == Phase.INGESTED.value,
                batch_phases.c.closed_at.is_not(None),
            ),
        )
        .order_by(batch_segments.c.segment_id.desc())  # an id begins with the time of sealing; the key is an index
        .limit(1)
    ).scalar()
    found = None if newest is None else SEGMENT_ID.fullmatch(newest)
    return None if found is None else instant(int(found["sealed_ms"]) * 1_000)


def sends_are_due(connection: Connection, *, now: datetime) -> bool:
    """Whether a delivery would find work: a send that is due and not halted, or a claim whose holder died."""
    at = micros(now)
    if connection.execute(
        select(sends.c.send_key).where(sends.c.status == "claimed", sends.c.lease_until <= at).limit(1)
    ).first():
        return True
    scopes = {halt.scope for halt in halts.active(connection)}
    if "*" in scopes:
        return False
    wanted: list[ColumnElement[bool]] = [sends.c.status == "pending", sends.c.due_at <= at]
    for kind, column in (
        ("destination:", sends.c.destination),
        ("workflow:", sends.c.workflow_id),
        ("channel:", sends.c.channel),
    ):
        halted = sorted(scope.removeprefix(kind) for scope in scopes if scope.startswith(kind))
        if halted:
            wanted.append(column.not_in(halted))
    return connection.execute(select(sends.c.send_key).where(*wanted).limit(1)).first() is not None


def newest_batches(connection: Connection) -> list[str]:
    """The batches planned last."""
    rows = connection.execute(select(batches.c.batch_id).order_by(batches.c.batch_no.desc()).limit(RECENT_BATCHES))
    return [row[0] for row in rows]


def claims_are_open(connection: Connection, *, now: datetime) -> bool:
    """Whether somebody is delivering: a claim whose lease runs."""
    query = select(sends.c.send_key).where(sends.c.status == "claimed", sends.c.lease_until > micros(now)).limit(1)
    return connection.execute(query).first() is not None


def held_back(connection: Connection, batch_ids: Sequence[str]) -> set[str]:
    """Those batches that a check has stopped: an incident about them is open, and a person has not resolved it yet."""
    query = select(incidents.c.batch_id).where(
        incidents.c.batch_id.in_(batch_ids),
        incidents.c.kind == IncidentKind.CHECK_FAILED.value,
        incidents.c.resolved_at.is_(None),
    )
    return set(connection.execute(query).scalars())
