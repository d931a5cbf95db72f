"""Resolve: each accepted event finds its profile, by the identity contract, link by link in arrival order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from activation_dagster.domain.batches import Phase, PhaseReport
from activation_dagster.domain.identifiers import Identifier
from activation_dagster.domain.identity import IdentityGraph
from activation_dagster.domain.identity_batches import overgrown, unsettled
from activation_dagster.domain.links import IdentityChanges, Merge
from activation_dagster.domain.reasons import DecisionRefusal, LinkRefusal
from activation_dagster.domain.separations import keep_apart
from activation_dagster.lake.tables import RESOLVED
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.conflicts import note_jump, write_conflicts
from activation_dagster.pipeline.link_accounts import account_links, link_counts
from activation_dagster.pipeline.merges import write_merges
from activation_dagster.pipeline.settling import settle_sets
from activation_dagster.pipeline.validate import compute_validated
from activation_dagster.state import identity as graph_state
from activation_dagster.state.adjudications import separations_among
from activation_dagster.state.instants import micros

if TYPE_CHECKING:
    from activation_dagster.lake.settled_sets import SettledSets

SETTLED_FROM_SETS = 10_000
"""From so many distinct sets of identifiers on it is faster to settle at once what touches no rule than to decide each;
below, importing scipy alone takes longer than deciding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a batch adds to state: what was decided one by one, and what of a large batch was settled at once."""

    changes: IdentityChanges
    settled: SettledSets | None = None

    @property
    def merges(self) -> list[Merge]:
        return [*self.changes.merges, *(() if self.settled is None else self.settled.merges)]


class _Arrival(NamedTuple):
    """A set of identifiers the first time it came in a batch, or each time where that may be decided otherwise."""

    ordinal: int
    event_id: str
    happened_at: int
    usable: list[Identifier]
    refused: list[tuple[Identifier, LinkRefusal]]


def compute_resolved(run: BatchRun) -> Resolution:
    """Make `resolved_events` (each accepted event with its profile, or a reason); what the batch adds to state.

    Of a large batch what touches no rule is settled at once, and only the rest is decided one after the other.
    `seen_as` is whose an event was when its identifiers were first seen: another profile, where that was merged later.
    """
    if run.engine.has("resolved_events"):
        return Resolution(changes=IdentityChanges())
    compute_validated(run)
    engine = run.engine
    rules = run.contracts.identity
    names = ", ".join(f"id_{kind.name}" for kind in rules.kinds)
    engine.make(
        "identifier_sets",
        f"select min(ordinal) as set_no, count(*) > 1 as is_repeated, {names} from validated_events group by {names}",
    )
    sets: int = engine.one("select count(*) from identifier_sets")[0]
    settled = settle_sets(run) if sets >= SETTLED_FROM_SETS else None
    left = "identifier_sets"
    if settled is not None:
        engine.lend("left_sets", settled.left)
        left = "(select * from identifier_sets semi join left_sets using (set_no))"
    firsts = _arrivals(
        run,
        f"select s.set_no, v.event_id, epoch_us(v.occurred_at), s.is_repeated, "
        f"{', '.join(f's.id_{kind.name}' for kind in rules.kinds)} "
        f"from {left} as s join validated_events as v on v.ordinal = s.set_no order by s.set_no",
    )
    firsts = _kept_apart(run, firsts)
    changes, found, again = _see(run, firsts, broken=() if settled is None else settled.broken)
    engine.put(
        "profiles_of_sets",
        {"set_no": "BIGINT", "profile_id": "VARCHAR", "seen_as": "VARCHAR", "is_conflict": "BOOLEAN"},
        found,
    )
    engine.put("told_events", {"event_id": "VARCHAR"}, sorted({(link.event_id,) for link in changes.links}))
    if settled is not None:
        engine.lend("profiles_of_settled_sets", settled.found)
        engine.make("profiles_of_sets", "select * from profiles_of_sets union all from profiles_of_settled_sets")
    set_of_event, relation = "s.set_no", "identifier_sets as s"
    same = " and ".join(f"i.id_{kind.name} is not distinct from s.id_{kind.name}" for kind in rules.kinds)
    if again:  # these have an answer for each event, by its ordinal
        engine.put("sets_again", {"set_no": "BIGINT"}, [(set_no,) for set_no in sorted(again)])
        set_of_event = "case when g.set_no is null then s.set_no else i.ordinal end"
        relation = "(identifier_sets as s left join sets_again as g on g.set_no = s.set_no)"
    engine.make(
        "resolved_events",
        "select i.ordinal, i.event_id, i.occurred_at, p.profile_id, p.seen_as, "
        f"case when p.profile_id is not null then null when p.is_conflict then "
        f"'{DecisionRefusal.IDENTITY_CONFLICT.value}' else '{DecisionRefusal.NO_PROFILE.value}' "
        f"end as unresolved_reason from validated_events as i join {relation} on {same} "
        f"join profiles_of_sets as p on p.set_no = {set_of_event}",
    )
    engine.forget("identifier_sets", "profiles_of_sets", "sets_again")
    return Resolution(changes=changes, settled=settled)


def _arrivals(run: BatchRun, query: str) -> list[tuple[_Arrival, bool]]:
    """Rows of (ordinal, event, instant, is repeated, a raw value a kind) as arrivals, each with whether it repeats."""
    rules = run.contracts.identity
    found: list[tuple[_Arrival, bool]] = []
    for ordinal, event_id, happened_at, is_repeated, *values in run.engine.rows(query):
        usable, refused = rules.read(values)
        found.append((_Arrival(ordinal, event_id, happened_at, usable, refused), is_repeated))
    return found


def _kept_apart(run: BatchRun, firsts: Sequence[tuple[_Arrival, bool]]) -> list[tuple[_Arrival, bool]]:
    """The same without what a person said is not one person's: of two such identifiers the weaker is left out."""
    keys = {identifier.key for arrival, _ in firsts for identifier in arrival.usable}
    with run.places.state.read() as connection:
        separations = separations_among(connection, keys, up_to_seq=run.position - 1)
    if not separations:
        return list(firsts)
    found: list[tuple[_Arrival, bool]] = []
    for arrival, is_repeated in firsts:
        usable, apart = keep_apart(arrival.usable, separations)
        found.append((arrival._replace(usable=usable, refused=[*arrival.refused, *apart]), is_repeated))
    return found


def _see(
    run: BatchRun, firsts: Sequence[tuple[_Arrival, bool]], *, broken: Sequence[tuple[str, str]]
) -> tuple[IdentityChanges, list[tuple[int, str | None, str | None, bool]], set[int]]:
    """Apply the rules to the distinct sets of identifiers, in order of first arrival.

    Gives, for each set (or event of a set looked at again): its number, its profile at the end, its profile when it was
    seen and whether it is nobody's because of a conflict; and which sets were looked at again. The graph is loaded
    as it stood before the batch, so that a batch that runs again decides the same.
    """
    rules = run.contracts.identity
    before = run.position - 1
    wanted = {identifier for arrival, _ in firsts for identifier in arrival.usable}
    sharing = {kind.name for kind in rules.kinds if kind.shared is not None}
    with run.places.state.read() as connection:
        part = graph_state.load_part(connection, wanted, up_to_seq=before)
        companions = (
            graph_state.companions_of(connection, (one for one in wanted if one.kind in sharing), up_to_seq=before)
            if sharing
            else {}
        )
    graph = IdentityGraph(
        rules,
        ages=graph_state.ages_of(run.places.state, part.members, up_to_seq=before),
        identifiers=part.identifiers,
        redirects=part.redirects,
        companions=companions,
        position=run.position,
    )
    changing = unsettled(rules, [arrival.usable for arrival, _ in firsts], companions)
    again = {
        arrival.ordinal: arrival
        for (arrival, is_repeated), may_change in zip(firsts, changing, strict=True)
        if is_repeated and may_change
    }
    arrivals = [arrival for arrival, _ in firsts]
    if again:
        arrivals = sorted([*arrivals, *_later(run, again)], key=lambda arrival: arrival.ordinal)
    seen = [
        (
            arrival,
            graph.see(arrival.event_id, arrival.usable, arrival.refused, rank=arrival.ordinal, at=arrival.happened_at),
        )
        for arrival in arrivals
    ]
    quarantined = graph.changes.quarantined
    found = [
        (
            arrival.ordinal,
            None if profile is None else graph.canonical(profile),
            profile,
            arrival.event_id in quarantined,
        )
        for arrival, profile in seen
    ]
    run.engine.put(
        "overgrown_profiles",
        {"profile_id": "VARCHAR", "broken": "VARCHAR"},
        [*overgrown(rules, part.identifiers, graph.changes.attached, graph.canonical), *broken],
    )
    return graph.changes, found, set(again)


def _later(run: BatchRun, again: Mapping[int, _Arrival]) -> list[_Arrival]:
    """Every later event of some sets, with the identifiers that were read of the first."""
    engine = run.engine
    names = [kind.name for kind in run.contracts.identity.kinds]
    engine.put("sets_again", {"set_no": "BIGINT"}, [(set_no,) for set_no in sorted(again)])
    same = " and ".join(f"v.id_{name} is not distinct from s.id_{name}" for name in names)
    rows = engine.rows(
        "select v.ordinal, v.event_id, epoch_us(v.occurred_at), s.set_no "
        f"from (identifier_sets as s semi join sets_again using (set_no)) join validated_events as v on {same} "
        "where v.ordinal > s.set_no order by v.ordinal"
    )
    engine.forget("sets_again")
    return [
        _Arrival(ordinal, event_id, at, again[set_no].usable, again[set_no].refused)
        for ordinal, event_id, at, set_no in rows
    ]


def resolve(run: BatchRun) -> PhaseReport:
    """Carry out the phase `resolved`: counts resolved, unresolved, and links by what became of them."""
    run.hold(Phase.RESOLVED)
    resolution = compute_resolved(run)
    version, decided_at = run.contracts.identity.version, micros(run.batch.as_of)

    def effects() -> None:
        graph_state.add_changes(
            run.state, resolution.changes, position=run.position, rules_version=version, decided_at=decided_at
        )
        write_conflicts(run, resolution.changes)
        settled = resolution.settled
        if settled is not None:
            graph_state.add_settled(
                run.state,
                links_accepted=settled.links,
                profiles_made=settled.profiles,
                identifiers_attached=settled.identifiers,
                position=run.position,
                rules_version=version,
                decided_at=decided_at,
            )
        run.places.at("resolved.links")
        write_merges(run, resolution.merges)

    closed_before = run.was_closed(Phase.RESOLVED)
    return run.carry_out(
        Phase.RESOLVED,
        effects=effects,
        copies={
            RESOLVED: (
                f"select '{run.hour}' as arrival_hour, '{run.batch.batch_id}' as batch_id, event_id, profile_id, "
                "unresolved_reason, occurred_at from resolved_events"
            )
        },
        counts=lambda: _counts(run, closed_before=closed_before),
    )


def _counts(run: BatchRun, *, closed_before: bool) -> dict[str, int]:
    resolved, unresolved = run.engine.one("select count(profile_id), count(*) - count(profile_id) from resolved_events")
    account_links(run)
    links = link_counts(run)
    jump = note_jump(run, links, closed_before=closed_before)
    return {"resolved": resolved, "unresolved": unresolved, **links, **jump}
