"""Resolve: each accepted event finds its profile, by the identity contract, link by link in arrival order."""

from __future__ import annotations

from collections.abc import Sequence

from activation_dagster.domain.batches import Phase, PhaseReport
from activation_dagster.domain.identity import Identifier, IdentityChanges, IdentityGraph
from activation_dagster.domain.reasons import DecisionRefusal
from activation_dagster.lake.tables import RESOLVED
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.merges import write_merges
from activation_dagster.pipeline.validate import compute_validated
from activation_dagster.state import identity as graph_state


def compute_resolved(run: BatchRun) -> IdentityChanges:
    """Make `resolved_events` (each accepted event with its profile, or a reason); what state does not have yet.

    `seen_as` is whose it was when its identifiers were first seen: another profile, where the batch merged that later.
    """
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
    engine.put("profiles_of_sets", {"set_no": "BIGINT", "profile_id": "VARCHAR", "seen_as": "VARCHAR"}, found)
    same = " and ".join(f"i.id_{kind.name} is not distinct from s.id_{kind.name}" for kind in kinds)
    engine.make(
        "resolved_events",
        "select i.ordinal, i.event_id, i.occurred_at, p.profile_id, p.seen_as, "
        f"case when p.profile_id is null then '{DecisionRefusal.NO_PROFILE.value}' end as unresolved_reason "
        f"from validated_events as i join identifier_sets as s on {same} "
        "join profiles_of_sets as p on p.set_no = s.set_no",
    )
    engine.forget("identifier_sets", "profiles_of_sets")
    return changes


def _see(
    run: BatchRun, sets: Sequence[tuple[object, ...]]
) -> tuple[IdentityChanges, list[tuple[int, str | None, str | None]]]:
    """Apply the rules to the distinct sets of identifiers, in order of first arrival.

    Of each set: its number, its profile at the end, and its profile when it was seen.
    """
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
    return graph.changes, [
        (set_no, None if profile is None else graph.canonical(profile), profile) for set_no, profile in seen
    ]


def resolve(run: BatchRun) -> PhaseReport:
    """Carry out the phase `resolved`: counts resolved, unresolved, new profiles, links and merges."""
    run.hold(Phase.RESOLVED)
    changes = compute_resolved(run)

    def effects() -> None:
        graph_state.add_changes(run.state, changes, position=run.position, rules_version=run.contracts.identity.version)
        run.places.at("resolved.links")
        write_merges(run, changes.merges)

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
