"""Planning: what has landed and belongs to no batch becomes a batch, whose row fixes all it will ever be run with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from activation_dagster.domain.batches import Batch, Provenance, batch_id, coalesce
from activation_dagster.domain.landing import Segment
from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.pipeline.contracts_in_force import InForce, contracts_in_force
from activation_dagster.pipeline.places import Places
from activation_dagster.state import archives, quarantine
from activation_dagster.state.batches import (
    insert_batch,
    keep_contract_set,
    load_batches,
    newest_provenance,
    unclaimed,
    unfinished,
)
from activation_dagster.state.incidents import ITSELF, NOBODY, list_incidents, open_incident, resolve

TOLD_FAULTS = 3
"""So many faults of refused contracts stand in one sentence."""


def waiting_segments(places: Places, *, since: datetime | None) -> list[Segment]:
    """Sealed segments that no batch has taken, in arrival order; only hour folders at or after `since` are opened."""
    landed = places.landing.segments(since=since)
    with places.state.read() as connection:
        return unclaimed(connection, landed)


def plan_batch(places: Places, *, provenance: Provenance, now: datetime, since: datetime | None = None) -> Batch | None:
    """The next batch of waiting segments, written to state; None where nothing waits or another planner was first.

    `now` becomes the instant all its rules use. Segments that repaired or replayed events enter again with, or that
    came from an archive, make batches of their own, whose provenance state knows since before they were sealed; all
    others get `provenance`. Where both wait, they take turns: a year of archives must not keep today's events waiting.
    """
    waiting = waiting_segments(places, since=since)
    if not waiting:
        return None
    with places.state.read() as connection:
        told = {**quarantine.provenances(connection, waiting), **archives.provenances(connection, waiting)}
        last = newest_provenance(connection)
    provenance_of = {segment: told.get((segment.source, segment.segment_id), provenance) for segment in waiting}
    provenance = _whose_turn(provenance_of, last)
    alike = [segment for segment in waiting if provenance_of[segment] is provenance]
    segments = coalesce(alike, places.batch_max_bytes)
    in_force = contracts_in_force(places)
    contracts = in_force.contracts
    batch = Batch(
        batch_id=batch_id(places.environment, segments),
        batch_no=0,
        environment=places.environment,
        arrival_hour=segments[0].arrival_hour,
        provenance=provenance,
        as_of=now,
        contract_set=contracts.fingerprint,
        segments=segments,
    )
    with places.state.write() as connection:
        keep_contract_set(connection, contracts.fingerprint, in_force.files, now=now)
        _tell(connection, in_force, now=now)
        return insert_batch(connection, batch, planned_at=now)


def _whose_turn(provenance_of: Mapping[Segment, Provenance], last: Provenance | None) -> Provenance:
    """The provenance of the next batch: that of the oldest segment, but live goes first and every other time."""
    oldest = provenance_of[min(provenance_of)]
    if Provenance.LIVE not in provenance_of.values():
        return oldest
    others = [segment for segment, its in provenance_of.items() if its is not Provenance.LIVE]
    return provenance_of[min(others)] if others and last is Provenance.LIVE else Provenance.LIVE


def _tell(connection: Connection, in_force: InForce, *, now: datetime) -> None:
    """One open incident for all that keeps today's contracts from being taken; none where they are."""
    sentence = _refusal(in_force)
    for incident in list_incidents(connection, is_open=True, kind=IncidentKind.CONTRACTS_REFUSED):
        if incident.sentence != sentence:
            taken = f"A batch took contract set {in_force.contracts.fingerprint}."
            why = "The files are refused for other reasons now." if sentence else taken
            resolve(connection, incident.incident_id, by=ITSELF, resolution=why, now=now)
    if sentence:
        mode = in_force.contracts.failure_modes.get(f"incident.{IncidentKind.CONTRACTS_REFUSED.value}")
        owner = NOBODY if mode is None else mode.owner
        kind = IncidentKind.CONTRACTS_REFUSED
        open_incident(connection, kind, about="contracts", owner=owner, sentence=sentence, now=now)


def _refusal(in_force: InForce) -> str:
    """Why today's contracts are refused; empty where they are not."""
    if not in_force.refused:
        return ""
    told = " ".join(f"{fault.file} {fault.sentence}" for fault in in_force.refused[:TOLD_FAULTS])
    more = len(in_force.refused) - TOLD_FAULTS
    return (
        f"Today's contracts are refused: {told}{f' And {more} more.' if more > 0 else ''} "
        f"Batches run under the last good set, {in_force.contracts.fingerprint}. "
        "Mend the files (`activation contracts check --against state`); the next batch takes them by itself."
    )


def unfinished_batches(places: Places) -> list[Batch]:
    """Planned batches that are not finished, those that others wait for first."""
    with places.state.read() as connection:
        waiting = unfinished(connection)
        found = {batch.batch_id: batch for batch in load_batches(connection, waiting)}
    return [found[batch_id] for batch_id in waiting]


def recent(now: datetime) -> datetime:
    """From which hour on a tick looks for segments: sealing puts them into the running hour, so two are enough."""
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
