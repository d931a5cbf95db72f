"""Identity of a whole batch: which sets of identifiers are looked at again, and whether a profile has too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from activation_dagster.domain.identifiers import SPAN, USER_ID, Identifier, IdentityRules, Strength, Window
from activation_dagster.domain.links import KnownIdentifier


def unsettled(
    rules: IdentityRules,
    sets: Iterable[Sequence[Identifier]],
    companions: Mapping[Identifier, Iterable[bytes]],
) -> list[bool]:
    """Of a batch's distinct sets of identifiers: whether what comes again may be decided otherwise than at first.

    Of all others only the first event need be looked at, because what a profile has only grows. Looked at again is what
    depends on time (windows, time to live), what another event's merge may lift (`is_unique`), weak identifiers
    alone, and sets with a value that turns out to be shared in this very batch. `companions` as state has them.
    """
    offered = list(sets)
    kinds = {kind.name: kind for kind in rules.kinds}
    changing = {kind.name for kind in rules.kinds if kind.has_time or kind.is_unique}
    weak = {kind.name for kind in rules.kinds if kind.strength is Strength.WEAK}
    sharing = {kind.name: kind.shared for kind in rules.kinds if kind.shared is not None}
    if not (changing or weak or sharing):
        return [False] * len(offered)
    before: dict[Identifier, int] = {}
    seen: dict[Identifier, set[bytes]] = {}
    for identifiers in offered if sharing else ():
        for identifier in identifiers:
            rule = sharing.get(identifier.kind)
            if rule is None:
                continue
            if identifier not in seen:
                seen[identifier] = set(companions.get(identifier, ()))
                before[identifier] = len(seen[identifier])
            seen[identifier] |= {other.key for other in identifiers if other.kind == rule.of}
    turned = {
        identifier
        for identifier, found in seen.items()
        if (rule := kinds[identifier.kind].shared) is not None and before[identifier] <= rule.more_than < len(found)
    }
    return [
        any(identifier.kind in changing or identifier in turned for identifier in identifiers)
        or (len(identifiers) > 1 and all(identifier.kind in weak for identifier in identifiers))
        for identifiers in offered
    ]


def overgrown(
    rules: IdentityRules,
    known: Iterable[KnownIdentifier],
    attached: Iterable[tuple[Identifier, str, str, int]],
    canonical: Callable[[str], str],
) -> list[tuple[str, str]]:
    """Profiles that were given more in a batch than the contract allows, each with what it breaks; none if all is well.

    Counted anew from what stands and what was attached, not from what the graph counted meanwhile. Only kinds that a
    profile was given some of are looked at: what an earlier contract allowed stays.
    """
    before, given = list(known), list(attached)
    grown = {(canonical(profile), identifier.kind) for identifier, profile, _, _ in given}
    profiles = {profile for profile, _ in grown}
    windowed = {kind.name: SPAN[kind.window] for kind in rules.kinds if kind.window is not Window.EVER}
    held: Counter[tuple[str, str]] = Counter()
    sizes: Counter[str] = Counter()
    times: dict[tuple[str, str], list[int]] = {}
    seen: set[Identifier] = set()
    found: set[tuple[str, str]] = set()
    everything = [(one.identifier, one.profile_id, one.seen_at) for one in before]
    everything += [(identifier, profile, at) for identifier, profile, _, at in given]
    for identifier, owner, at in everything:
        profile = canonical(owner)
        if profile not in profiles:
            continue
        if identifier in seen:
            found.add((profile, f"{identifier.kind} on two profiles"))
        seen.add(identifier)
        held[profile, identifier.kind] += 1
        sizes[profile] += 1
        if identifier.kind in windowed:
            times.setdefault((profile, identifier.kind), []).append(at)
    limits = {kind.name: 1 if kind.name == USER_ID else kind.limit for kind in rules.kinds}
    for profile, kind in grown:
        most = limits[kind]
        if held[profile, kind] > most:
            span, at = windowed.get(kind), sorted(times.get((profile, kind), ()))
            if span is None or any(last - first < span for first, last in zip(at, at[most:], strict=False)):
                found.add((profile, f"limit of {kind}"))
        if sizes[profile] > rules.maximum_cluster:
            found.add((profile, "maximum_cluster"))
    return sorted(found)
