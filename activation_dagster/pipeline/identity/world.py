"""Who is who when a whole history is adjudicated from its first event on: the rows that state would hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from activation_dagster.domain.identifiers import Identifier, IdentityRules
from activation_dagster.domain.identity import IdentityGraph
from activation_dagster.domain.identity_batches import unsettled
from activation_dagster.domain.links import KnownIdentifier, Merge
from activation_dagster.domain.separations import Pair, pair_of
from activation_dagster.pipeline.identity.history import Arrival, History

IdentifierRow = tuple[str, str, str, int, str, int]
"""(kind, value, profile, seq, event, instant)"""

ProfileRow = tuple[int, int, bytes, str]
"""(created_seq, created_rank, first_key, created_by)"""

RedirectRow = tuple[str, int, str]
"""(to_profile, seq, event)"""

LinkRow = tuple[str, str, str, str, str, str, int]
"""(kind, profile, decision, reason, other profile, rules version, seq)"""


class Whose(NamedTuple):
    """Whose a set of identifiers is at the end of its batch, whose when it was seen, and if a conflict took it away."""

    profile: str | None
    seen_as: str | None
    is_conflict: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """The event by which identifiers came to be one person's, and the parts they were in before it.

    The first part is the one to be kept apart from all others: of a pair that was looked out for, that of the first,
    else that of the strongest identifier. One that nobody had is a part of its own.
    """

    event_id: str
    parts: tuple[tuple[Identifier, ...], ...]

    def pairs(self) -> dict[Pair, str]:
        """The pairs between the first part and all others, each with this event."""
        first, *others = self.parts
        return {pair_of(one, other): self.event_id for part in others for one in first for other in part}


@dataclass(slots=True, kw_only=True)
class World:
    """What identity would hold in state; keys as in the tables, and what stands wins as there."""

    identifiers: dict[bytes, IdentifierRow] = field(default_factory=dict[bytes, IdentifierRow])
    profiles: dict[str, ProfileRow] = field(default_factory=dict[str, ProfileRow])
    redirects: dict[str, RedirectRow] = field(default_factory=dict[str, RedirectRow])
    companions: dict[tuple[bytes, bytes], int] = field(default_factory=dict[tuple[bytes, bytes], int])
    links: dict[tuple[str, bytes], LinkRow] = field(default_factory=dict[tuple[str, bytes], LinkRow])
    merges: dict[int, list[Merge]] = field(default_factory=dict[int, list[Merge]])
    whose: dict[tuple[int, int], Whose] = field(default_factory=dict[tuple[int, int], Whose])
    again: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    joining: Joining | None = None

    def canonical(self, profile: str) -> str:
        """The profile that stands for this one at the end."""
        while profile in self.redirects:
            profile = self.redirects[profile][0]
        return profile

    def take(self, other: World, members: Collection[str]) -> None:
        """Take over what another world has of some profiles, which are whole people."""
        self.identifiers |= {key: row for key, row in other.identifiers.items() if row[2] in members}
        self.profiles |= {one: row for one, row in other.profiles.items() if one in members}
        self.redirects |= {one: row for one, row in other.redirects.items() if one in members}
        for position, merges in other.merges.items():
            theirs = [merge for merge in merges if merge.winner in members]
            self.merges.setdefault(position, []).extend(theirs)
        self.whose |= {place: one for place, one in other.whose.items() if one.profile and one.profile in members}
        if members:
            self.again |= other.again


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What to look out for: what the event `event_id` joined, or else which event joined the two of `pair`."""

    pair: tuple[Identifier, ...] = ()
    event_id: str | None = None


def adjudicate(history: History, watch: Watch | None = None) -> World:
    """Apply the rules to a history from an empty state, batch by batch, as `pipeline/resolve` did or would do."""
    world = World()
    graph: IdentityGraph | None = None
    rules: IdentityRules | None = None
    companions: dict[Identifier, set[bytes]] = {}
    for batch in history.batches:
        position = batch.position or 0
        firsts = history.firsts.get(position, [])
        if not firsts:
            continue
        if graph is None or history.rules[position] != rules:
            rules = history.rules[position]
            graph = _graph(rules, world, companions)
        graph.begin_batch(position)
        _batch(history, world, graph, history.rules[position], companions, position, firsts, watch)
    return world


def _graph(rules: IdentityRules, world: World, companions: dict[Identifier, set[bytes]]) -> IdentityGraph:
    return IdentityGraph(
        rules,
        ages=lambda asked: {one: world.profiles[one][:2] for one in asked},
        identifiers=[
            KnownIdentifier(identifier=Identifier(row[0], row[1]), profile_id=row[2], seen_at=row[5])
            for row in world.identifiers.values()
        ],
        redirects={loser: row[0] for loser, row in world.redirects.items()},
        companions=companions,
    )


def _batch(
    history: History,
    world: World,
    graph: IdentityGraph,
    rules: IdentityRules,
    companions: dict[Identifier, set[bytes]],
    position: int,
    firsts: Sequence[Arrival],
    watch: Watch | None,
) -> None:
    changing = unsettled(rules, [arrival.usable for arrival in firsts], companions)
    again = {
        arrival.ordinal: arrival
        for arrival, may_change in zip(firsts, changing, strict=True)
        if arrival.is_repeated and may_change
    }
    arrivals = list(firsts)
    if again:
        arrivals += [
            Arrival(ordinal, event_id, at, True, again[set_no].usable, again[set_no].refused)
            for set_no, ordinal, event_id, at in history.later(position, again)
        ]
        arrivals.sort(key=lambda arrival: arrival.ordinal)
    seen: list[tuple[Arrival, str | None]] = []
    for arrival in arrivals:
        before: dict[Identifier, str | None] = {}
        if watch is not None and world.joining is None:
            before = {one: graph.owner(one) for one in (*arrival.usable, *watch.pair)}
        profile = graph.see(arrival.event_id, arrival.usable, arrival.refused, rank=arrival.ordinal, at=arrival.at)
        if before and watch is not None:
            world.joining = _joining(graph, arrival, before, profile, watch)
        seen.append((arrival, profile))
    for arrival, profile in seen:
        world.whose[position, arrival.ordinal] = Whose(
            None if profile is None else graph.canonical(profile),
            profile,
            arrival.event_id in graph.changes.quarantined,
        )
    world.again |= {(position, set_no) for set_no in again}
    _keep(world, graph, rules, companions, position)


def _joining(
    graph: IdentityGraph,
    arrival: Arrival,
    before: dict[Identifier, str | None],
    profile: str | None,
    watch: Watch,
) -> Joining | None:
    """What this event joined, where that is what is looked out for."""
    if profile is None:
        return None
    joined = [one for one in arrival.usable if graph.owner(one) == profile]
    parts: dict[str, list[Identifier]] = {}
    for one in joined:
        parts.setdefault(before[one] or f"new {one.kind}", []).append(one)
    if len(parts) < 2:
        return None
    first = next(iter(parts))
    if watch.pair:
        first = before[watch.pair[0]] or f"new {watch.pair[0].kind}"
    if first not in parts:
        return None
    in_order = [parts[first], *(part for name, part in parts.items() if name != first)]
    found = Joining(event_id=arrival.event_id, parts=tuple(map(tuple, in_order)))
    if watch.event_id is not None:
        return found if watch.event_id == arrival.event_id else None
    one, other = map(graph.owner, watch.pair)
    return found if one is not None and one == other else None


def _keep(
    world: World,
    graph: IdentityGraph,
    rules: IdentityRules,
    companions: dict[Identifier, set[bytes]],
    position: int,
) -> None:
    changes = graph.changes
    for profile, first, event_id, rank in changes.profiles:
        world.profiles.setdefault(profile, (position, rank, first.key, event_id))
    for identifier, profile, event_id, at in changes.attached:
        row = (identifier.kind, identifier.value, profile, position, event_id, at)
        world.identifiers.setdefault(identifier.key, row)
    for merge in changes.merges:
        world.redirects.setdefault(merge.loser, (merge.winner, position, merge.event_id))
        world.merges.setdefault(position, []).append(merge)
    for identifier, other in changes.companions:
        world.companions.setdefault((identifier.key, other), position)
        companions.setdefault(identifier, set()).add(other)
    for link in changes.links:
        row = (
            link.identifier.kind,
            link.profile_id,
            link.decision.value,
            "" if link.refusal is None else link.refusal.value,
            link.other_profile_id,
            rules.version,
            position,
        )
        world.links.setdefault((link.event_id, link.identifier.key), row)
    for kept in (changes.profiles, changes.attached, changes.merges, changes.companions, changes.links):
        kept.clear()
    changes.quarantined.clear()
