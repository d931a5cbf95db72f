"""A stream of events resolved in batches, with what state keeps between them, as pipeline/resolve does it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from activation_dagster.domain.identifiers import Identifier, IdentityRules
from activation_dagster.domain.identity import IdentityGraph
from activation_dagster.domain.identity_batches import unsettled
from activation_dagster.domain.links import KnownIdentifier, Link, Merge

Event = tuple[Identifier, ...]


def ids(**values: str) -> Event:
    """An event's identifiers."""
    return tuple(Identifier(name, value) for name, value in values.items())


@dataclass(slots=True, kw_only=True)
class Kept:
    """What state keeps between batches, as `state/identity.py` keeps it: what stands is never changed."""

    rules: IdentityRules
    profiles: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    identifiers: dict[Identifier, tuple[str, int]] = field(default_factory=dict[Identifier, tuple[str, int]])
    redirects: dict[str, str] = field(default_factory=dict[str, str])
    companions: dict[Identifier, list[bytes]] = field(default_factory=dict[Identifier, list[bytes]])
    links: list[Link] = field(default_factory=list[Link])
    merges: list[Merge] = field(default_factory=list[Merge])
    quarantined: set[str] = field(default_factory=set[str])

    def canonical(self, profile: str) -> str:
        while profile in self.redirects:
            profile = self.redirects[profile]
        return profile

    def graph(self, wanted: set[Identifier], position: int) -> IdentityGraph:
        """The part of the graph that a batch loads: the clusters of its identifiers and nothing else."""
        heads = {self.canonical(self.identifiers[one][0]) for one in wanted if one in self.identifiers}
        members = {profile for profile in self.profiles if self.canonical(profile) in heads}
        return IdentityGraph(
            self.rules,
            ages=lambda asked: {one: self.profiles[one] for one in members.intersection(asked)},
            identifiers=[
                KnownIdentifier(identifier=one, profile_id=profile, seen_at=at)
                for one, (profile, at) in self.identifiers.items()
                if profile in members
            ],
            redirects={loser: winner for loser, winner in self.redirects.items() if loser in members},
            companions={one: found for one, found in self.companions.items() if one in wanted},
            position=position,
        )

    def keep(self, graph: IdentityGraph, position: int) -> None:
        for profile, _, _, rank in graph.changes.profiles:
            self.profiles.setdefault(profile, (position, rank))
        for identifier, profile, _, at in graph.changes.attached:
            self.identifiers.setdefault(identifier, (profile, at))
        for merge in graph.changes.merges:
            self.redirects.setdefault(merge.loser, merge.winner)
        for identifier, other in graph.changes.companions:
            self.companions.setdefault(identifier, []).append(other)
        self.links += graph.changes.links
        self.merges += graph.changes.merges
        self.quarantined |= graph.changes.quarantined

    def people(self) -> dict[str, frozenset[Identifier]]:
        """Everybody by today's profile."""
        found: dict[str, set[Identifier]] = {}
        for identifier, (profile, _) in self.identifiers.items():
            found.setdefault(self.canonical(profile), set()).add(identifier)
        return {profile: frozenset(identifiers) for profile, identifiers in found.items()}

    def attached_at(self, profile: str, kind: str) -> list[int]:
        """When a person's identifiers of a kind were attached, sorted."""
        return sorted(
            at
            for identifier, (owner, at) in self.identifiers.items()
            if identifier.kind == kind and self.canonical(owner) == profile
        )


def batchwise(
    rules: IdentityRules,
    stream: Sequence[Event],
    cuts: set[int],
    *,
    times: Sequence[int] = (),
    only_once: bool = True,
) -> tuple[Kept, list[str | None]]:
    """Resolve a stream cut before the given places: distinct sets in order of first arrival, and only those events of
    a set that comes again which may be decided otherwise. Not `only_once`: every event."""
    kept = Kept(rules=rules)
    found: list[str | None] = []
    bounds = sorted({0, len(stream), *(cut for cut in cuts if 0 < cut < len(stream))})
    for position, (start, end) in enumerate(itertools.pairwise(bounds), start=1):
        batch = [tuple(sorted(event)) for event in stream[start:end]]
        distinct = list(dict.fromkeys(batch))
        again = dict(zip(distinct, unsettled(rules, distinct, kept.companions), strict=True))
        graph = kept.graph({one for event in batch for one in event}, position)
        seen: dict[Event, str | None] = {}
        of_batch: list[str | None] = []
        for rank, event in enumerate(batch, start=start):
            if event not in seen or again[event] or not only_once:
                at = times[rank] if times else 0
                seen[event] = graph.see(f"e{rank}", list(event), rank=rank, at=at)
            of_batch.append(seen[event])
        found += [None if profile is None else graph.canonical(profile) for profile in of_batch]
        kept.keep(graph, position)
    return kept, [None if one is None else kept.canonical(one) for one in found]
