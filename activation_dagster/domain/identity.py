"""Identity: which identifiers belong to one person, decided link by link in arrival order.

The rules follow Segment's Unify: an event's identifiers find profiles; none makes one, one takes them, several merge.
Where a limit would be exceeded, the identifier of lowest priority on the event is left out and the rest is tried again,
so two people who are known by different user ids never become one profile through a device they share. Limits count
for ever, so what was refused once stays refused, and the result does not depend on how events are cut into batches.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from activation_dagster.domain.reasons import LinkRefusal


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierKind:
    """One kind of identifier: where it is read from, how it is normalised, what it must not be, how many a profile has.

    `paths` are dotted from the envelope; the first that holds text counts. `normalise` are steps out of trim, lower.
    """

    name: str
    paths: tuple[str, ...]
    normalise: tuple[str, ...]
    blocked_values: frozenset[str]
    blocked_patterns: tuple[str, ...]
    limit: int
    priority: int

    def read(self, raw: str) -> str | None:
        """The normalised value, or None where the value is blocked."""
        value = raw
        for step in self.normalise:
            value = value.strip() if step == "trim" else value.lower()
        if value == "" or value in self.blocked_values:
            return None
        if any(re.search(pattern, value) for pattern in self.blocked_patterns):
            return None
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRules:
    """`contracts/identity.yaml`; `kinds` by priority, the strongest first."""

    version: str
    owner: str
    kinds: tuple[IdentifierKind, ...]

    def kind(self, name: str) -> IdentifierKind:
        return next(kind for kind in self.kinds if kind.name == name)


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """A kind and a normalised value."""

    kind: str
    value: str

    @property
    def key(self) -> bytes:
        """16 bytes that stand for the identifier wherever it is looked up."""
        return hashlib.md5(f"{self.kind}\x1f{self.value}".encode(), usedforsecurity=False).digest()


def profile_id(first: Identifier) -> str:
    """`p` and 24 hex digits derived from the identifier a profile was created with."""
    return "p" + hashlib.sha256(f"{first.kind}\x1f{first.value}".encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIdentifier:
    """An identifier in state and the profile it was first seen with (redirects not followed)."""

    identifier: Identifier
    profile_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProfile:
    """A profile in state: when it was created, as (state sequence, rank inside the batch); the smaller is the older."""

    profile_id: str
    created: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One identifier offered to one profile by one event, and what became of it."""

    event_id: str
    identifier: Identifier
    profile_id: str
    refusal: LinkRefusal | None
    other_profile_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Two profiles that an event showed to be one; the older one stays."""

    event_id: str
    winner: str
    loser: str


@dataclass(slots=True, kw_only=True)
class IdentityChanges:
    """What resolving a batch adds to state, in the order it was decided."""

    profiles: list[tuple[str, Identifier, str, int]] = field(default_factory=list[tuple[str, Identifier, str, int]])
    attached: list[tuple[Identifier, str, str]] = field(default_factory=list[tuple[Identifier, str, str]])
    links: list[Link] = field(default_factory=list[Link])
    merges: list[Merge] = field(default_factory=list[Merge])


class IdentityGraph:
    """The part of the identity graph that a batch touches, and the rules applied to it one event after the other."""

    def __init__(
        self,
        rules: IdentityRules,
        *,
        profiles: Iterable[KnownProfile] = (),
        identifiers: Iterable[KnownIdentifier] = (),
        redirects: Mapping[str, str] | None = None,
        position: int = 0,
    ) -> None:
        """`identifiers` holds all identifiers of each profile whose cluster is touched; `position` is the batch's."""
        self._rules = rules
        self._limits = {kind.name: kind.limit for kind in rules.kinds}
        self._rank = {kind.name: kind.priority for kind in rules.kinds}
        self._position = position
        self._redirects = dict(redirects or {})
        self._created = {profile.profile_id: profile.created for profile in profiles}
        self._owner: dict[Identifier, str] = {}
        self._counts: dict[str, dict[str, int]] = {}
        for known in identifiers:
            self._owner[known.identifier] = known.profile_id
            self._add(self.canonical(known.profile_id), known.identifier.kind, 1)
        self.changes = IdentityChanges()

    def canonical(self, profile: str) -> str:
        """The profile that stands for this one now."""
        while profile in self._redirects:
            profile = self._redirects[profile]
        return profile

    def _add(self, profile: str, kind: str, count: int) -> None:
        held = self._counts.setdefault(profile, {})
        held[kind] = held.get(kind, 0) + count

    def owner(self, identifier: Identifier) -> str | None:
        """The profile that has an identifier now, or None."""
        found = self._owner.get(identifier)
        return None if found is None else self.canonical(found)

    def see(
        self, event_id: str, identifiers: Sequence[Identifier], blocked: Sequence[Identifier] = (), *, rank: int = 0
    ) -> str | None:
        """Resolve one event's identifiers (at most one a kind) to a profile; None where it has none that may be used.

        `rank` is the event's place in the batch, by which profiles made in one batch have an age.
        """
        if not blocked and identifiers:
            owners = {self.owner(identifier) for identifier in identifiers}
            if len(owners) == 1 and (only := next(iter(owners))) is not None:
                return only  # what is known and agrees says nothing new: most events, once history has grown
        offered = sorted(identifiers, key=lambda identifier: self._rank[identifier.kind])
        left_out: list[Identifier] = []
        while offered and not self._fits(offered):
            left_out.append(offered.pop())
        profile = self._join(event_id, offered, rank) if offered else None
        for identifier in left_out:
            if profile is not None and self.owner(identifier) == profile:
                continue  # left out for another's sake, and the profile has it anyway
            self.changes.links.append(
                Link(
                    event_id=event_id,
                    identifier=identifier,
                    profile_id=profile or "",
                    refusal=LinkRefusal.LIMIT_REACHED,
                    other_profile_id=self.owner(identifier) or "",
                )
            )
        for identifier in blocked:
            self.changes.links.append(
                Link(
                    event_id=event_id,
                    identifier=identifier,
                    profile_id=profile or "",
                    refusal=LinkRefusal.BLOCKED_VALUE,
                )
            )
        return profile

    def _profiles_of(self, offered: Sequence[Identifier]) -> list[str]:
        found: list[str] = []
        for identifier in offered:
            owner = self.owner(identifier)
            if owner is not None and owner not in found:
                found.append(owner)
        return found

    def _fits(self, offered: Sequence[Identifier]) -> bool:
        total: dict[str, int] = {}
        for identifier in offered:
            if identifier not in self._owner:
                total[identifier.kind] = total.get(identifier.kind, 0) + 1
        for profile in self._profiles_of(offered):
            for kind, count in self._counts.get(profile, {}).items():
                total[kind] = total.get(kind, 0) + count
        return all(count <= self._limits[kind] for kind, count in total.items())

    def _join(self, event_id: str, offered: Sequence[Identifier], rank: int) -> str:
        found = self._profiles_of(offered)
        if not found:
            created = profile_id(offered[0])
            self._created[created] = (self._position, rank)
            self.changes.profiles.append((created, offered[0], event_id, rank))
            found = [created]
        winner = min(found, key=lambda profile: (self._created[profile], profile))
        for loser in found:
            if loser != winner:
                self._redirects[loser] = winner
                for kind, count in self._counts.pop(loser, {}).items():
                    self._add(winner, kind, count)
                self.changes.merges.append(Merge(event_id=event_id, winner=winner, loser=loser))
        for identifier in offered:
            is_new = identifier not in self._owner
            if is_new:
                self._owner[identifier] = winner
                self._add(winner, identifier.kind, 1)
                self.changes.attached.append((identifier, winner, event_id))
            if is_new or len(found) > 1:
                self.changes.links.append(
                    Link(event_id=event_id, identifier=identifier, profile_id=winner, refusal=None)
                )
        return winner
