"""Components: which of a batch's identifiers touch no rule of identity, and what becomes of all of those at once.

Sets of identifiers that share one, directly, through others or through a person in state, are a component. Where even
all of a component on one profile would keep every limit, nothing in it can be refused, whatever comes first: its sets
are settled here, with arrays. All others are left to `identity.IdentityGraph`, which is also what this module means: a
property test holds the two equal.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from activation_dagster.domain.identifiers import USER_ID, IdentityRules, Strength, Winner

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """A batch's distinct sets of identifiers and what state has of them; everything is numbered from 0.

    Sets have their numbers in the order they first came, identifiers and clusters (the people in state, as they are
    before the batch) in any order. `set_of` and `code_of` have an entry for each identifier of
    each set, sorted by set and then by priority. `kind_of`: of each identifier the place of its kind in the rules.
    `is_whole`: of each set whether none of its values names nobody. `holder_of`: of each identifier the cluster that
    has it, or -1. `held`: a row a cluster, a column a kind, how many identifiers it has in state. `ages`: of clusters
    that may become one, what tells which is older: the smaller.
    """

    set_of: Numbers
    code_of: Numbers
    kind_of: Numbers
    is_whole: Flags
    holder_of: Numbers
    held: Numbers
    ages: Callable[[Numbers], Sequence[tuple[int, int, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What becomes of the sets that touch no rule.

    A profile is a number: of its cluster in state, or the number of clusters plus that of the set that made it.
    `profile_of`: of each set the profile it was given when it was seen; `stands_for`: of each
    profile the one that it is at the end. `makers`: sets that make a profile. `attached`: entries of the offers
    whose identifier gets its profile here; `linked`: those that the ledger tells as accepted. `merges`: (set, winner,
    loser), in the order they came.
    """

    is_settled: Flags
    profile_of: Numbers
    stands_for: Numbers
    makers: Numbers
    attached: Numbers
    linked: Numbers
    merges: tuple[tuple[int, int, int], ...]


def settle(rules: IdentityRules, offers: Offers) -> Settled:
    """Settle every set whose component touches no rule; `is_settled` says which those are."""
    sets, clusters = len(offers.is_whole), len(offers.held)
    first = np.full(len(offers.kind_of), -1, dtype=np.int64)
    first[offers.code_of[::-1]] = offers.set_of[::-1]  # of several entries the last one written stays: the first set
    is_new = (offers.holder_of[offers.code_of] < 0) & (first[offers.code_of] == offers.set_of)
    old = np.flatnonzero(~is_new)
    roots = _roots(offers, first, old)
    made_from = np.where(offers.holder_of >= 0, offers.holder_of, roots[clusters + first])
    joins = old[made_from[offers.code_of[old]] != roots[clusters + offers.set_of[old]]]
    joining = np.unique(offers.set_of[joins])

    component_of, is_exact = _components(rules, offers, joining)
    is_settled = (component_of >= 0) & ~is_exact[component_of]
    merges = _merges(offers, made_from, old, joining[is_settled[joining]])
    lost_at = np.full(clusters + sets, sets, dtype=np.int64)
    lost_to = np.arange(clusters + sets, dtype=np.int64)
    for number, winner, loser in merges:
        lost_at[loser], lost_to[loser] = number, winner
    numbers = np.arange(sets, dtype=np.int64)
    profile_of = roots[clusters:].copy()
    while len(moved := np.flatnonzero(lost_at[profile_of] <= numbers)):
        profile_of[moved] = lost_to[profile_of[moved]]
    profile_of[~is_settled] = -1

    is_merging = np.zeros(sets, dtype=np.bool_)
    is_merging[[number for number, _, _ in merges]] = True
    in_settled = is_settled[offers.set_of]
    makes = roots[clusters:] == clusters + numbers
    return Settled(
        is_settled=is_settled,
        profile_of=profile_of,
        stands_for=_followed(lost_to),
        makers=np.flatnonzero(makes & is_settled),
        attached=np.flatnonzero(is_new & in_settled),
        linked=np.flatnonzero((is_new | is_merging[offers.set_of]) & in_settled),
        merges=tuple(merges),
    )


def _followed(pointers: Numbers) -> Numbers:
    """Where each pointer ends; roots point at themselves."""
    while not np.array_equal(further := pointers[pointers], pointers):
        pointers = further
    return pointers


def _roots(offers: Offers, first: Numbers, old: Numbers) -> Numbers:
    """Of each profile number: the profile from which its set's came, had nothing been merged.

    A set with an identifier that was there before has its profile from the set that brought that one first, or from
    the cluster that has it; a set without makes its own.
    """
    clusters, sets = len(offers.held), len(offers.is_whole)
    anchor = np.full(sets, -1, dtype=np.int64)
    anchor[offers.set_of[old][::-1]] = offers.code_of[old][::-1]
    parents = np.arange(clusters + sets, dtype=np.int64)
    anchored = np.flatnonzero(anchor >= 0)
    by = anchor[anchored]
    parents[clusters + anchored] = np.where(offers.holder_of[by] >= 0, offers.holder_of[by], clusters + first[by])
    return _followed(parents)


def _components(rules: IdentityRules, offers: Offers, joining: Numbers) -> tuple[Numbers, Flags]:
    """Of each set its component (-1: it has no identifier), and of each component whether it may touch a rule."""
    sparse: Any = importlib.import_module("scipy.sparse")  # 0.3 s that only large batches should pay
    csgraph: Any = importlib.import_module("scipy.sparse.csgraph")
    codes, clusters, kinds = len(offers.kind_of), len(offers.held), len(rules.kinds)
    beside = np.flatnonzero(offers.set_of[1:] == offers.set_of[:-1])
    held = np.flatnonzero(offers.holder_of >= 0)
    one = np.concatenate([offers.code_of[beside], held])
    other = np.concatenate([offers.code_of[beside + 1], codes + offers.holder_of[held]])
    edges = sparse.coo_matrix((np.ones(len(one), dtype=np.int8), (one, other)), shape=(codes + clusters,) * 2)
    found: tuple[int, npt.NDArray[np.int32]] = csgraph.connected_components(edges, directed=False)
    count, label = found[0], found[1].astype(np.int64)
    component_of = np.full(len(offers.is_whole), -1, dtype=np.int64)
    component_of[offers.set_of] = label[offers.code_of]

    fresh = np.flatnonzero(offers.holder_of < 0)
    sizes = np.bincount(label[fresh] * kinds + offers.kind_of[fresh], minlength=count * kinds).reshape(count, kinds)
    for kind in range(kinds):
        sizes[:, kind] += np.bincount(label[codes:], weights=offers.held[:, kind], minlength=count).astype(np.int64)
    limits = np.array([1 if kind.name == USER_ID else kind.limit for kind in rules.kinds])
    is_exact: Flags = (sizes > limits).any(axis=1) | (sizes.sum(axis=1) > rules.maximum_cluster)

    def having(*places: int) -> Flags:
        """Components that were offered an identifier of some kinds."""
        flags = np.zeros(count, dtype=np.bool_)
        flags[label[:codes][np.isin(offers.kind_of, places)]] = True
        return flags

    is_exact |= having(*(n for n, kind in enumerate(rules.kinds) if kind.strength is Strength.WEAK))
    is_exact |= having(*(n for n, kind in enumerate(rules.kinds) if kind.shared or kind.time_to_live))
    partial = component_of[~offers.is_whole]
    is_exact[partial[partial >= 0]] = True
    is_joined = np.zeros(count, dtype=np.bool_)
    is_joined[component_of[joining]] = True
    if rules.winner is not Winner.OLDEST:
        is_exact |= is_joined
    # what comes again may be decided otherwise here, and then has its profile of that moment, not of the first time
    is_exact |= is_joined & having(*(n for n, kind in enumerate(rules.kinds) if kind.has_time or kind.is_unique))
    return component_of, is_exact


def _merges(offers: Offers, made_from: Numbers, old: Numbers, joining: Numbers) -> list[tuple[int, int, int]]:
    """(set, winner, loser) of each merge, in order; `joining` are the sets that may show several profiles to be one.

    One step a joining set: what these sets do is a matter of their order, and they are few beside all others.
    """
    is_joining = np.zeros(len(offers.is_whole), dtype=np.bool_)
    is_joining[joining] = True
    asked = old[is_joining[offers.set_of[old]]]
    found_by: dict[int, list[int]] = {}
    for number, profile in zip(offers.set_of[asked].tolist(), made_from[offers.code_of[asked]].tolist(), strict=True):
        found_by.setdefault(number, []).append(profile)
    clusters = np.unique(made_from[offers.code_of[asked]])
    clusters = clusters[clusters < len(offers.held)]
    age_of = dict(zip(clusters.tolist(), offers.ages(clusters), strict=True))
    lost_to: dict[int, int] = {}

    def age(profile: int) -> tuple[bool, tuple[int, int, str] | int]:
        """Who was before the batch is older than who was made in it, and those are as old as their sets."""
        return (False, age_of[profile]) if profile in age_of else (True, profile)

    def today(profile: int) -> int:
        while profile in lost_to:
            profile = lost_to[profile]
        return profile

    merges: list[tuple[int, int, int]] = []
    for number, profiles in found_by.items():
        found = dict.fromkeys(map(today, profiles))
        winner = min(found, key=age) if len(found) > 1 else next(iter(found))
        for loser in found:
            if loser != winner:
                lost_to[loser] = winner
                merges.append((number, winner, loser))
    return merges


def overgrown(rules: IdentityRules, offers: Offers, settled: Settled) -> list[tuple[int, str]]:
    """Profiles that were given more than the contract allows, each with what it breaks; none if all is well.

    Counted anew from what was attached, as `identity_batches.overgrown` does for all others.
    """
    codes = offers.code_of[settled.attached]
    owners = settled.stands_for[settled.profile_of[offers.set_of[settled.attached]]]
    twice = np.zeros(len(offers.kind_of), dtype=np.bool_)
    twice[codes[np.bincount(codes, minlength=len(twice))[codes] > 1]] = True
    twice |= offers.holder_of >= 0
    again = np.flatnonzero(twice[codes])
    kinds_again: list[int] = offers.kind_of[codes[again]].tolist()
    broken = {
        (owner, f"{rules.kinds[kind].name} on two profiles")
        for owner, kind in zip(owners[again].tolist(), kinds_again, strict=True)
    }
    size, kinds = len(settled.stands_for), len(rules.kinds)
    total = np.zeros(size, dtype=np.int64)
    grown = np.zeros(size, dtype=np.bool_)
    grown[owners] = True
    clusters = settled.stands_for[: len(offers.held)]
    for kind in range(kinds):
        given = np.bincount(owners[offers.kind_of[codes] == kind], minlength=size)
        held = given + np.bincount(clusters, weights=offers.held[:, kind], minlength=size).astype(np.int64)
        total += held
        limit = 1 if rules.kinds[kind].name == USER_ID else rules.kinds[kind].limit
        over = np.flatnonzero((given > 0) & (held > limit))
        broken |= {(number, f"limit of {rules.kinds[kind].name}") for number in over.tolist()}
    large = np.flatnonzero(grown & (total > rules.maximum_cluster))
    return sorted(broken | {(number, "maximum_cluster") for number in large.tolist()})
