"""Resolve: each accepted event finds its profile, by the identity contract, link by link in arrival order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

from activation_dagster.domain.batches import Phase, PhaseReport
from activation_dagster.domain.consent import ConsentRecord, ConsentStatus, current_choice
from activation_dagster.domain.identity import Identifier, IdentityChanges, IdentityGraph, Merge
from activation_dagster.domain.reasons import DecisionRefusal
from activation_dagster.lake.tables import RESOLVED
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.validate import compute_validated
from activation_dagster.state import identity as graph_state
from activation_dagster.state.bulk import insert_new
from activation_dagster.state.consent import insert_choices, record_id, records_of
from activation_dagster.state.instants import micros
from activation_dagster.state.subjects import cluster_of, lock_subjects
from activation_dagster.state.tables import profile_redirects

MERGES_AT_ONCE = 200
"""Merges in one transaction, so that SQLite's write lock is not held long."""


def compute_resolved(run: BatchRun) -> IdentityChanges:
    """Make `resolved_events` (each accepted event with its profile, or a reason); what state does not have yet."""
    if run.engine.has("resolved_events"):
        return IdentityChanges()
    compute_validated(run)
    engine = run.engine
    kinds = run.contracts.identity.kinds
    names = ", ".join(f"id_{kind.name}" for kind in kinds)
    engine.make(
        "identifier_sets",
        f"select row_number() over (order by min(ordinal)) as set_no, min(ordinal) as ordinal, {names} "
        f"from validated_events group by {names}",
    )
    sets = engine.rows(
        f"select s.set_no, v.event_id, {', '.join(f's.id_{kind.name}' for kind in kinds)} from identifier_sets as s "
        "join validated_events as v on v.ordinal = s.ordinal order by s.set_no"
    )
    changes, found = _see(run, sets)
    engine.put("profiles_of_sets", {"set_no": "BIGINT", "profile_id": "VARCHAR"}, found)
    same = " and ".join(f"i.id_{kind.name} is not distinct from s.id_{kind.name}" for kind in kinds)
    engine.make(
        "resolved_events",
        "select i.ordinal, i.event_id, i.occurred_at, p.profile_id, "
        f"case when p.profile_id is null then '{DecisionRefusal.NO_PROFILE.value}' end as unresolved_reason "
        f"from validated_events as i join identifier_sets as s on {same} "
        "join profiles_of_sets as p on p.set_no = s.set_no",
    )
    engine.forget("identifier_sets", "profiles_of_sets")
    return changes


def _see(run: BatchRun, sets: Sequence[tuple[object, ...]]) -> tuple[IdentityChanges, list[tuple[int, str | None]]]:
    """Apply the rules to the distinct sets of identifiers, in order of first arrival; their profiles at the end."""
    rules = run.contracts.identity
    offered: list[tuple[int, str, list[Identifier], list[Identifier]]] = []
    for set_no, event_id, *values in sets:
        usable: list[Identifier] = []
        blocked: list[Identifier] = []
        for kind, raw in zip(rules.kinds, values, strict=True):
            if raw is None:
                continue
            value = kind.read(str(raw))
            if value is None:
                blocked.append(Identifier(kind.name, "blocked"))  # the value itself names nobody and is not kept
            else:
                usable.append(Identifier(kind.name, value))
        offered.append((int(str(set_no)), str(event_id), usable, blocked))
    wanted = {identifier for _, _, usable, _ in offered for identifier in usable}
    with run.places.state.read() as connection:
        part = graph_state.load_part(connection, wanted, up_to_seq=run.position)
    graph = IdentityGraph(
        rules,
        profiles=part.profiles,
        identifiers=part.identifiers,
        redirects=part.redirects,
        position=run.position,
    )
    seen = [
        (set_no, graph.see(event_id, usable, blocked, rank=set_no)) for set_no, event_id, usable, blocked in offered
    ]
    return graph.changes, [(set_no, None if profile is None else graph.canonical(profile)) for set_no, profile in seen]


def _write_merges(run: BatchRun, merges: Sequence[Merge]) -> None:
    """Write redirects under the locks of both profiles, joining what both said of consent: a *no* of either stays."""
    waiting = iter(merges)
    while chunk := list(islice(waiting, MERGES_AT_ONCE)):
        with run.state.write() as connection:
            lock_subjects(connection, {profile for merge in chunk for profile in (merge.winner, merge.loser)})
            for merge in chunk:
                clusters = cluster_of(connection, [merge.winner, merge.loser])
                if clusters[merge.winner][0] == clusters[merge.loser][0]:
                    continue
                said = {
                    side: [
                        record for records in records_of(connection, clusters[side][1]).values() for record in records
                    ]
                    for side in (merge.winner, merge.loser)
                }
                denials = restrictive(said[merge.winner], said[merge.loser])
                insert_choices(
                    connection,
                    [
                        renewed(denial, event_id=merge.event_id, winner=merge.winner, position=run.position)
                        for denial in denials
                    ],
                )
                insert_new(
                    connection,
                    profile_redirects,
                    ("from_profile", "to_profile", "seq", "event_id"),
                    [(merge.loser, merge.winner, run.position, merge.event_id)],
                )


def restrictive(one: Sequence[ConsentRecord], other: Sequence[ConsentRecord]) -> list[ConsentRecord]:
    """The denials that a merge must renew: of one side, where the other side had said yes later.

    Each comes back with the later time, so that it counts until the person chooses again.
    """
    found: list[ConsentRecord] = []
    for purpose, channel in sorted({(record.purpose, record.channel) for record in [*one, *other]}):
        choices = [current_choice(side, purpose=purpose, channel=channel) for side in (one, other)]
        if choices[0] is None or choices[1] is None or choices[0].status is choices[1].status:
            continue
        denial, grant = sorted((choices[0], choices[1]), key=lambda record: record.status is not ConsentStatus.DENIED)
        if grant.decided_at > denial.decided_at:
            found.append(
                ConsentRecord(
                    record_id=denial.record_id,
                    profile_id=denial.profile_id,
                    purpose=purpose,
                    channel=channel,
                    status=ConsentStatus.DENIED,
                    decided_at=grant.decided_at,
                    seq=denial.seq,
                    source=denial.source,
                )
            )
    return found


def renewed(denial: ConsentRecord, *, event_id: str, winner: str, position: int) -> tuple[Any, ...]:
    """A denial that the merge of `event_id` renews, as a row for `insert_choices`."""
    identity = record_id(
        source=f"merge:{event_id}",
        profile_id=winner,
        purpose=denial.purpose,
        channel=denial.channel,
        status=ConsentStatus.DENIED,
        decided_at=denial.decided_at,
    )
    return (
        identity,
        winner,
        denial.purpose,
        denial.channel,
        ConsentStatus.DENIED.value,
        micros(denial.decided_at),
        position,
        f"merge:{event_id}",
        json.dumps({"denied_in": denial.record_id}),
    )


def resolve(run: BatchRun) -> PhaseReport:
    """Carry out the phase `resolved`: counts resolved, unresolved, new profiles, links and merges."""
    run.hold(Phase.RESOLVED)
    changes = compute_resolved(run)

    def effects() -> None:
        graph_state.add_changes(run.state, changes, position=run.position, rules_version=run.contracts.identity.version)
        run.places.at("resolved.links")
        _write_merges(run, changes.merges)

    return run.carry_out(
        Phase.RESOLVED,
        effects=effects,
        copies={
            RESOLVED: (
                f"select '{run.hour}' as arrival_hour, '{run.batch.batch_id}' as batch_id, event_id, profile_id, "
                "unresolved_reason, occurred_at from resolved_events"
            )
        },
        counts=lambda: _counts(run),
    )


def _counts(run: BatchRun) -> dict[str, int]:
    resolved, unresolved = run.engine.one("select count(profile_id), count(*) - count(profile_id) from resolved_events")
    return {"resolved": resolved, "unresolved": unresolved}
