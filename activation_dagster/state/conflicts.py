"""Accepted events that the identity contract left to nobody: they wait beside what is quarantined, closed like it.

What a batch wrote here is never changed; that one is repaired, replayed or dismissed says its closing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from activation_dagster.domain.batches import Phase
from activation_dagster.domain.conflicts import RECENT_BATCHES, LinkCount
from activation_dagster.domain.landing import Segment
from activation_dagster.domain.links import LinkDecision
from activation_dagster.state.bulk import insert_in_chunks, select_in
from activation_dagster.state.engine import State
from activation_dagster.state.instants import instant
from activation_dagster.state.tables import (
    batch_phases,
    batches,
    identifiers,
    identity_conflicts,
    links,
    quarantine_closings,
    reentry_segments,
)

ConflictRow = tuple[str, str, int, int, str, str, str, str, str, str]
"""(event_id, batch_id, arrival hour in µs, seq, contract, its version, event whose links tell, violations as JSON,
owner, rules version)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingConflict:
    """One event in conflict: `violations` name the kinds in dispute and the rule, as `email: limit_reached`."""

    event_id: str
    batch_id: str
    arrival_hour: datetime
    contract: str
    contract_version: str
    violations: tuple[str, ...]
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One identifier of an event in conflict: whose it is, and the rule that kept it from its event.

    `identifier` is hashed, or the value where it was revealed and is known. `profile_id` is the profile of the event's
    strongest identifier then, `other_profile_id` the one that had this one, where that was another.
    """

    kind: str
    identifier: str
    rule: str
    profile_id: str
    other_profile_id: str


def add_conflicts(state: State, rows: Iterable[ConflictRow]) -> int:
    """Add what a batch left to nobody; what stands wins."""
    return insert_in_chunks(state, identity_conflicts, [column.name for column in identity_conflicts.columns], rows)


def all_conflicts(connection: Connection) -> list[WaitingConflict]:
    """Every event that was in conflict when its batch was resolved, whatever became of it."""
    return [
        WaitingConflict(
            event_id=row.event_id,
            batch_id=row.batch_id,
            arrival_hour=instant(row.arrival_hour),
            contract=row.contract,
            contract_version=row.contract_version,
            violations=tuple(json.loads(row.violations)),
            owner=row.owner,
        )
        for row in connection.execute(select(identity_conflicts))
    ]


def conflicts_by_closing(connection: Connection) -> tuple[list[str], list[str]]:
    """The events that were left to nobody: those that wait, and those that entered again or were dismissed."""
    query = select(identity_conflicts.c.event_id, quarantine_closings.c.event_id).outerjoin(
        quarantine_closings, quarantine_closings.c.event_id == identity_conflicts.c.event_id
    )
    rows = connection.execute(query).all()
    return [row[0] for row in rows if row[1] is None], [row[0] for row in rows if row[1] is not None]


def candidates_of(connection: Connection, event_ids: Sequence[str], *, reveal: bool) -> dict[str, list[Candidate]]:
    """Of some events in conflict: every identifier that could have named somebody, sorted by kind."""
    said = select(identity_conflicts.c.event_id, identity_conflicts.c.told_by)
    told_by = {row[0]: str(row[1]) for row in select_in(connection, said, identity_conflicts.c.event_id, event_ids)}
    query = select(
        links.c.event_id, links.c.kind, links.c.key, links.c.reason, links.c.profile_id, links.c.other_profile_id
    ).where(links.c.decision.in_([LinkDecision.CONFLICT.value, LinkDecision.REFUSED.value]))
    rows = sorted(select_in(connection, query, links.c.event_id, told_by.values()))
    values: dict[bytes, str] = {}
    if reveal:
        known = select(identifiers.c.key, identifiers.c.value)
        asked = {bytes(row[2]) for row in rows}
        values = {bytes(key): value for key, value in select_in(connection, known, identifiers.c.key, asked)}
    found: dict[str, list[Candidate]] = {}
    for event_id, kind, key, reason, profile, other in rows:
        shown = values.get(bytes(key), bytes(key).hex()[:16])
        found.setdefault(event_id, []).append(
            Candidate(kind=kind, identifier=shown, rule=reason, profile_id=profile, other_profile_id=other)
        )
    return {event_id: found.get(told, []) for event_id, told in told_by.items()}


def among_conflicts(connection: Connection, event_ids: Iterable[str]) -> set[str]:
    """Those of some events that were left to nobody."""
    query = select(identity_conflicts.c.event_id)
    return {row[0] for row in select_in(connection, query, identity_conflicts.c.event_id, event_ids)}


def entered_again(connection: Connection, segments: Sequence[Segment]) -> list[str]:
    """The events of some segments that enter again because they were left to nobody before."""
    wanted = {segment.segment_id for segment in segments}
    acts = {
        row[0]
        for row in select_in(
            connection, select(reentry_segments.c.act_id), reentry_segments.c.segment_id, sorted(wanted)
        )
    }
    query = select(quarantine_closings.c.became).join(
        identity_conflicts, identity_conflicts.c.event_id == quarantine_closings.c.event_id
    )
    found = select_in(connection, query, quarantine_closings.c.act_id, sorted(acts))
    return sorted(row[0] for row in found if row[0].rpartition(":")[0] in wanted)


def link_counts_before(connection: Connection, position: int) -> list[LinkCount]:
    """What the batches resolved just before a position counted of their links."""
    query = (
        select(batch_phases.c.counts)
        .join(batches, batches.c.batch_id == batch_phases.c.batch_id)
        .where(
            batches.c.position < position,
            batch_phases.c.phase == Phase.RESOLVED.value,
            batch_phases.c.closed_at.is_not(None),
        )
        .order_by(batches.c.position.desc())
        .limit(RECENT_BATCHES)
    )
    counted = [json.loads(row[0]) for row in connection.execute(query)]
    return [
        LinkCount(offered=counts.get("links_offered", 0), conflicts=counts.get("links_conflict", 0))
        for counts in counted
    ]
