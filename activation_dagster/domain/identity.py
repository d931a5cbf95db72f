"""Identity: which identifiers belong to one person, decided link by link in arrival order.

The rules follow Segment's Unify: an event's identifiers find profiles; none makes one, one takes them, several merge.
Where a rule stands against that, the identifier of lowest priority on the event is left out and the rest is tried
again, so two people who are known by different user ids never become one profile through a device they share. What was
decided stays: a value that turns out to be shared names nobody from then on, and what it connected before is connected.
What a profile has only grows, so the result does not depend on how events are cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from activation_dagster.domain.identifiers import (
    SPAN,
    USER_ID,
    Identifier,
    IdentifierKind,
    IdentityRules,
    OnConflict,
    Strength,
    Window,
    Winner,
    profile_id,
)
from activation_dagster.domain.links import (
    NAMES_NOBODY,
    NOT_KEPT,
    IdentityChanges,
    KnownIdentifier,
    Link,
    Merge,
)
from activation_dagster.domain.reasons import LinkRefusal

Ages = Callable[[Collection[str]], Mapping[str, tuple[int, int]]]
"""When profiles were made, as (state sequence, rank inside the batch); the smaller is the older."""


def _of_nobody(_: Collection[str]) -> Mapping[str, tuple[int, int]]:
    return {}


class IdentityGraph:
    """The part of the identity graph that a batch touches, and the rules applied to it one event after the other."""

    def __init__(
        self,
        rules: IdentityRules,
        *,
        ages: Ages = _of_nobody,
        identifiers: Iterable[KnownIdentifier] = (),
        redirects: Mapping[str, str] | None = None,
        companions: Mapping[Identifier, Iterable[bytes]] | None = None,
        position: int = 0,
    ) -> None:
        """`identifiers` holds all identifiers of each profile whose cluster is touched; `position` is the batch's.

        `ages` is asked of known profiles that an event shows to be one, and of no others.
        """
        self._rules = rules
        self._kinds = {kind.name: kind for kind in rules.kinds}
        # The safety rule stands here too, so that rules built by hand cannot leave it out.
        self._limits = {kind.name: 1 if kind.name == USER_ID else kind.limit for kind in rules.kinds}
        self._spans = {
            kind.name: SPAN[kind.window]
            for kind in rules.kinds
            if kind.window is not Window.EVER and kind.name != USER_ID
        }
        self._rank = {kind.name: kind.priority for kind in rules.kinds}
        self._weak = frozenset(kind.name for kind in rules.kinds if kind.strength is Strength.WEAK)
        self._unique = frozenset(kind.name for kind in rules.kinds if kind.is_unique)
        self._values_end = any(kind.shared or kind.time_to_live for kind in rules.kinds)
        self._position = position
        self._redirects = dict(redirects or {})
        self._ages = ages
        self._created: dict[str, tuple[int, int]] = {}
        self._owner: dict[Identifier, str] = {}
        self._seen_at: dict[Identifier, int] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._times: dict[tuple[str, str], list[int]] = {}
        self._companions = {identifier: set(found) for identifier, found in (companions or {}).items()}
        for known in identifiers:
            self._hold(known.identifier, known.profile_id, self.canonical(known.profile_id), known.seen_at)
        self.changes = IdentityChanges()

    def begin_batch(self, position: int) -> None:
        """From here on, what is made stands at this position: for one graph over the batches of a history."""
        self._position = position

    def canonical(self, profile: str) -> str:
        """The profile that stands for this one now."""
        while profile in self._redirects:
            profile = self._redirects[profile]
        return profile

    def owner(self, identifier: Identifier) -> str | None:
        """The profile that has an identifier now, or None."""
        found = self._owner.get(identifier)
        return None if found is None else self.canonical(found)

    def see(
        self,
        event_id: str,
        identifiers: Sequence[Identifier],
        refused: Sequence[tuple[Identifier, LinkRefusal]] = (),
        *,
        rank: int = 0,
        at: int = 0,
    ) -> str | None:
        """Resolve one event's identifiers (at most one a kind) to a profile; None where it has none that may be used.

        `refused` are those whose value names nobody. `rank` is the event's place in the batch, by which profiles made
        in one batch have an age; `at` is when it happened, in microseconds.
        """
        if not refused and identifiers and not self._values_end:
            owners = {self.owner(identifier) for identifier in identifiers}
            if len(owners) == 1 and (only := next(iter(owners))) is not None:
                return only  # what is known and agrees says nothing new: most events, once history has grown
        offered = sorted(identifiers, key=lambda identifier: self._rank[identifier.kind])
        left_out = list(refused)
        if self._values_end:
            offered = self._without_ended(offered, left_out, at)
        strong = [one for one in offered if one.kind not in self._weak] if self._weak else offered
        naming = strong or self._anchor(offered)
        if self._rules.on_conflict is OnConflict.QUARANTINE and (stopped := self._obstacle(naming, at)) is not None:
            return self._quarantine(event_id, naming[0], [(one, stopped) for one in offered], left_out)
        while naming and (stopped := self._obstacle(naming, at)) is not None:
            apart = self._rules.on_conflict is OnConflict.KEEP_APART
            left_out += [(identifier, stopped) for identifier in reversed(naming[1:] if apart else naming[-1:])]
            naming = naming[: 1 if apart else -1]
        profile = self._join(event_id, naming, rank, at) if naming else None
        if profile is not None and self._weak:
            weak = [identifier for identifier in offered if identifier.kind in self._weak and identifier not in naming]
            self._attach_weak(event_id, profile, weak, left_out, at)
        if left_out:
            self._note(event_id, profile, left_out)
        return profile

    # -- what may be used -----------------------------------------------------------------------------------------

    def _without_ended(
        self, offered: Sequence[Identifier], left_out: list[tuple[Identifier, LinkRefusal]], at: int
    ) -> list[Identifier]:
        """The identifiers whose value still names somebody; counts this event among those that show it shared."""
        usable: list[Identifier] = []
        for identifier in offered:
            kind = self._kinds[identifier.kind]
            if kind.shared is not None and self._is_shared(identifier, kind, offered):
                left_out.append((identifier, LinkRefusal.SHARED_VALUE))
            elif kind.time_to_live is not None and self._is_outlived(identifier, kind, at):
                left_out.append((identifier, LinkRefusal.OUTLIVED_VALUE))
            else:
                usable.append(identifier)
        return usable

    def _is_shared(self, identifier: Identifier, kind: IdentifierKind, offered: Sequence[Identifier]) -> bool:
        assert kind.shared is not None
        found = self._companions.setdefault(identifier, set())
        if len(found) > kind.shared.more_than:
            return True
        for other in offered:
            if other.kind == kind.shared.of and other.key not in found:
                found.add(other.key)
                self.changes.companions.append((identifier, other.key))
        return len(found) > kind.shared.more_than

    def _is_outlived(self, identifier: Identifier, kind: IdentifierKind, at: int) -> bool:
        assert kind.time_to_live is not None
        lifetime = int(kind.time_to_live.total_seconds() * 1_000_000)
        return identifier in self._owner and at > self._seen_at[identifier] + lifetime

    def _anchor(self, weak: Sequence[Identifier]) -> list[Identifier]:
        """Of weak identifiers alone, the one that decides: the first that somebody has, else the first."""
        known = [identifier for identifier in weak if identifier in self._owner]
        return list(known[:1] or weak[:1])

    def _profiles_of(self, offered: Sequence[Identifier]) -> list[str]:
        found: list[str] = []
        for identifier in offered:
            owner = self.owner(identifier)
            if owner is not None and owner not in found:
                found.append(owner)
        return found

    def _obstacle(self, offered: Sequence[Identifier], at: int) -> LinkRefusal | None:
        """The rule that stands against these identifiers being on one profile; None where they may be.

        A profile that is over a limit already, under an earlier contract, stays as it is: only growth is refused.
        """
        found = self._profiles_of(offered)
        if not found:  # at most one of each kind, and every limit is one or more
            return LinkRefusal.CLUSTER_FULL if len(offered) > self._rules.maximum_cluster else None
        fresh = [identifier for identifier in offered if identifier not in self._owner]
        if self._unique and len(found) > 1 and any(one.kind in self._unique and one in self._owner for one in offered):
            return LinkRefusal.UNIQUE_ELSEWHERE
        if not fresh and len(found) < 2:
            return None
        return self._limit_of(found, fresh, at)

    def _limit_of(self, found: Sequence[str], fresh: Sequence[Identifier], at: int) -> LinkRefusal | None:
        total: dict[str, int] = {}
        largest: dict[str, int] = {}
        for identifier in fresh:
            total[identifier.kind] = total.get(identifier.kind, 0) + 1
        for profile in found:
            for kind, count in self._counts.get(profile, {}).items():
                total[kind] = total.get(kind, 0) + count
                largest[kind] = max(largest.get(kind, 0), count)
        for kind, count in total.items():
            # a kind that an earlier contract had, and that this one does not know, has no limit
            if count > self._limits.get(kind, count) and count > largest.get(kind, 0):
                now = [at for identifier in fresh if identifier.kind == kind]
                if kind not in self._spans or self._overflows(kind, found, now):
                    return LinkRefusal.LIMIT_REACHED
        size = max((sum(self._counts.get(profile, {}).values()) for profile in found), default=0)
        if size < sum(total.values()) > self._rules.maximum_cluster:
            return LinkRefusal.CLUSTER_FULL
        return None

    def _overflows(self, kind: str, found: Sequence[str], now: Sequence[int]) -> bool:
        """Whether some span of the kind's window would hold more than its limit, wherever the span begins."""
        times = sorted([*now, *(time for profile in found for time in self._times.get((profile, kind), ()))])
        later = times[self._limits[kind] :]
        return any(last - first < self._spans[kind] for first, last in zip(times, later, strict=False))

    # -- what becomes of it ---------------------------------------------------------------------------------------

    def _hold(self, identifier: Identifier, owner: str, profile: str, at: int) -> None:
        self._owner[identifier] = owner
        self._seen_at[identifier] = at
        held = self._counts.setdefault(profile, {})
        held[identifier.kind] = held.get(identifier.kind, 0) + 1
        if identifier.kind in self._spans:
            self._times.setdefault((profile, identifier.kind), []).append(at)

    def _winner(self, found: Sequence[str]) -> str:
        unknown = [profile for profile in found if profile not in self._created]
        self._created.update(self._ages(unknown))

        def age(profile: str) -> tuple[tuple[int, int], str]:
            return self._created[profile], profile

        match self._rules.winner:
            case Winner.OLDEST:
                return min(found, key=age)
            case Winner.LARGEST:
                return min(found, key=lambda one: (-sum(self._counts.get(one, {}).values()), age(one)))
            case Winner.STRONGEST:
                last = max(self._rank.values(), default=0) + 1

                def strongest(profile: str) -> int:
                    ranks = (self._rank.get(kind, last) for kind in self._counts.get(profile, {}))
                    return min(ranks, default=last)

                return min(found, key=lambda one: (strongest(one), age(one)))

    def _join(self, event_id: str, offered: Sequence[Identifier], rank: int, at: int) -> str:
        found = self._profiles_of(offered)
        if not found:
            created = profile_id(offered[0])
            self._created[created] = (self._position, rank)
            self.changes.profiles.append((created, offered[0], event_id, rank))
            found = [created]
        winner = found[0]
        if len(found) > 1:
            winner = self._winner(found)
            for loser in found:
                if loser != winner:
                    self._merge(event_id, winner, loser)
        for identifier in offered:
            is_new = identifier not in self._owner
            if is_new:
                self._attach(event_id, identifier, winner, at)
            elif len(found) > 1:
                self._accept(event_id, identifier, winner)
        return winner

    def _merge(self, event_id: str, winner: str, loser: str) -> None:
        self._redirects[loser] = winner
        held = self._counts.setdefault(winner, {})
        for kind, count in self._counts.pop(loser, {}).items():
            held[kind] = held.get(kind, 0) + count
            if kind in self._spans:
                self._times.setdefault((winner, kind), []).extend(self._times.pop((loser, kind), ()))
        self.changes.merges.append(Merge(event_id=event_id, winner=winner, loser=loser))

    def _attach(self, event_id: str, identifier: Identifier, profile: str, at: int) -> None:
        self._hold(identifier, profile, profile, at)
        self.changes.attached.append((identifier, profile, event_id, at))
        self._accept(event_id, identifier, profile)

    def _accept(self, event_id: str, identifier: Identifier, profile: str) -> None:
        self.changes.links.append(Link(event_id=event_id, identifier=identifier, profile_id=profile, refusal=None))

    def _attach_weak(
        self,
        event_id: str,
        profile: str,
        weak: Sequence[Identifier],
        left_out: list[tuple[Identifier, LinkRefusal]],
        at: int,
    ) -> None:
        """Attach weak identifiers that nobody has; one that another has stays there."""
        for identifier in weak:
            owner = self.owner(identifier)
            if owner is None:
                stopped = self._limit_of([profile], [identifier], at)
                if stopped is None:
                    self._attach(event_id, identifier, profile, at)
                else:
                    left_out.append((identifier, stopped))
            elif owner != profile:
                left_out.append((identifier, LinkRefusal.WEAK_ELSEWHERE))

    def _quarantine(
        self,
        event_id: str,
        strongest: Identifier,
        stopped: Sequence[tuple[Identifier, LinkRefusal]],
        left_out: Sequence[tuple[Identifier, LinkRefusal]],
    ) -> None:
        """Nothing of the event is used; the ledger names the candidates: its strongest's profile, and each other."""
        self._note(event_id, self.owner(strongest), [*left_out, *stopped], keep_all=True)
        self.changes.quarantined.add(event_id)

    def _note(
        self,
        event_id: str,
        profile: str | None,
        left_out: Sequence[tuple[Identifier, LinkRefusal]],
        *,
        keep_all: bool = False,
    ) -> None:
        for identifier, refusal in left_out:
            owner = None if refusal in NOT_KEPT else self.owner(identifier)
            if profile is not None and owner == profile and not keep_all and refusal not in NAMES_NOBODY:
                continue  # left out for another's sake, and the profile has it anyway
            self.changes.links.append(
                Link(
                    event_id=event_id,
                    identifier=identifier,
                    profile_id=profile or "",
                    refusal=refusal,
                    other_profile_id=(owner or "") if owner != profile else "",
                )
            )
