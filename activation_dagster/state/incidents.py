"""Incidents: what went wrong, who owns it, and how it ended."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.state.bulk import insert_new
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.tables import incidents

COLUMNS = ("incident_id", "kind", "opened_at", "batch_id", "owner", "sentence")

NOBODY = "on_call"
"""Who gets an incident while the contracts, which say whose it is, cannot be read."""

ITSELF = "activation"
"""Who closes an incident whose cause is seen to be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One thing that went wrong; `batch_id` is empty where no batch is concerned, times are UTC."""

    incident_id: str
    kind: IncidentKind
    opened_at: datetime
    batch_id: str
    owner: str
    sentence: str
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    resolution: str | None = None


def open_incident(
    connection: Connection,
    kind: IncidentKind,
    *,
    about: str,
    owner: str,
    sentence: str,
    now: datetime,
    batch_id: str = "",
) -> str:
    """Open an incident of `kind` about one thing (a batch, a table, a destination) and return its id.

    While one about the same thing is open nothing is added; after it was resolved the next occurrence is a new one.
    """
    occurrence = 0
    while True:
        identity = f"{kind}\x1f{about}\x1f{occurrence}"
        incident_id = hashlib.sha256(identity.encode()).hexdigest()[:24]
        if insert_new(
            connection, incidents, COLUMNS, [(incident_id, kind.value, micros(now), batch_id, owner, sentence)]
        ):
            return incident_id
        resolved_at = select(incidents.c.resolved_at).where(incidents.c.incident_id == incident_id)
        if connection.execute(resolved_at).scalar_one() is None:
            return incident_id
        occurrence += 1


def list_incidents(
    connection: Connection, *, is_open: bool | None = None, kind: IncidentKind | None = None, limit: int = 1_000
) -> tuple[Incident, ...]:
    """Incidents, the newest first; with `is_open` only those that are (or are no longer) open, and of one kind."""
    query = select(incidents).order_by(incidents.c.opened_at.desc(), incidents.c.incident_id).limit(limit)
    if kind is not None:
        query = query.where(incidents.c.kind == kind.value)
    if is_open is not None:
        query = query.where(incidents.c.resolved_at.is_(None) if is_open else incidents.c.resolved_at.is_not(None))
    return tuple(
        Incident(
            incident_id=row.incident_id,
            kind=IncidentKind(row.kind),
            opened_at=instant(row.opened_at),
            batch_id=row.batch_id,
            owner=row.owner,
            sentence=row.sentence,
            resolved_at=None if row.resolved_at is None else instant(row.resolved_at),
            resolved_by=row.resolved_by,
            resolution=row.resolution,
        )
        for row in connection.execute(query)
    )


def resolve(connection: Connection, incident_id: str, *, by: str, resolution: str, now: datetime) -> bool:
    """Close an open incident; False when there is none with this id or it was closed before."""
    changed = connection.execute(
        update(incidents)
        .where(incidents.c.incident_id == incident_id, incidents.c.resolved_at.is_(None))
        .values(resolved_at=micros(now), resolved_by=by, resolution=resolution)
    )
    return changed.rowcount == 1
