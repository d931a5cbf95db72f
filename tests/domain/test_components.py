"""Components: what is settled at once is exactly what would have been decided one by one."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from activation_dagster.domain.components import Offers, Settled, overgrown, settle
from activation_dagster.domain.identifiers import (
    MICROS_A_DAY,
    Identifier,
    IdentityRules,
    Shared,
    Strength,
    Window,
    Winner,
    profile_id,
)
from activation_dagster.domain.identity import IdentityGraph
from activation_dagster.domain.identity_batches import unsettled
from activation_dagster.domain.links import IdentityChanges, Link, Merge
from activation_dagster.domain.reasons import LinkRefusal
from tests.domain.identity_batches import Event, Kept, ids
from tests.domain.test_identity_rules import DEVICE, EMAIL, USER, any_rules, kind, rules

Arrival = tuple[Event, int, bool]
"""Identifiers, when it happened, and whether the event also brought a value that names nobody."""

REFUSED = [(Identifier("phone", "blocked"), LinkRefusal.BLOCKED_VALUE)]
PHONE = kind("phone", 4)


def offers_of(rules: IdentityRules, sets: Sequence[tuple[Event, bool]], kept: Kept) -> tuple[Offers, list[str]]:
    """Distinct sets, in the order they came, beside what state has of them; the clusters' profiles by number."""
    places = {kind.name: place for place, kind in enumerate(rules.kinds)}
    numbers = {one: number for number, one in enumerate(dict.fromkeys(one for event, _ in sets for one in event))}
    holders = {one: kept.canonical(kept.identifiers[one][0]) for one in numbers if one in kept.identifiers}
    people = sorted(set(holders.values()))  # in no order that says anything
    held = Counter((kept.canonical(profile), one.kind) for one, (profile, _) in kept.identifiers.items())
    entries = [(number, numbers[one]) for number, (event, _) in enumerate(sets) for one in event]
    return Offers(
        set_of=np.array([entry[0] for entry in entries], dtype=np.int64),
        code_of=np.array([entry[1] for entry in entries], dtype=np.int64),
        kind_of=np.array([places[one.kind] for one in numbers], dtype=np.int64),
        is_whole=np.array([not is_refused for _, is_refused in sets], dtype=np.bool_),
        holder_of=np.array([people.index(holders[one]) if one in holders else -1 for one in numbers], dtype=np.int64),
        held=np.array(
            [[held[profile, kind.name] for kind in rules.kinds] for profile in people], dtype=np.int64
        ).reshape(len(people), len(rules.kinds)),
        ages=lambda asked: [(*kept.profiles[people[one]], people[one]) for one in asked.tolist()],
    ), people


def told(
    sets: Sequence[tuple[Event, bool]], firsts: Sequence[tuple[int, int]], people: Sequence[str], settled: Settled
) -> tuple[IdentityChanges, list[str | None], list[str | None]]:
    """What was settled, in the words of `IdentityGraph`; of each set its profile when it was seen and at the end."""
    entries = [(number, one) for number, (event, _) in enumerate(sets) for one in event]

    def name(profile: int) -> str:
        return people[profile] if profile < len(people) else profile_id(sets[profile - len(people)][0][0])

    changes = IdentityChanges()
    for number in settled.makers.tolist():
        rank, _ = firsts[number]
        first = sets[number][0][0]
        changes.profiles.append((profile_id(first), first, f"e{rank}", rank))
    for number, one in (entries[entry] for entry in settled.attached.tolist()):
        rank, at = firsts[number]
        changes.attached.append((one, name(int(settled.profile_of[number])), f"e{rank}", at))
    for number, one in (entries[entry] for entry in settled.linked.tolist()):
        profile = name(int(settled.profile_of[number]))
        changes.links.append(Link(event_id=f"e{firsts[number][0]}", identifier=one, profile_id=profile, refusal=None))
    for number, winner, loser in settled.merges:
        changes.merges.append(Merge(event_id=f"e{firsts[number][0]}", winner=name(winner), loser=name(loser)))
    seen = [None if profile < 0 else name(profile) for profile in settled.profile_of.tolist()]
    last = [None if profile < 0 else name(int(settled.stands_for[profile])) for profile in settled.profile_of.tolist()]
    return changes, seen, last


Found = tuple[IdentityChanges, dict[int, tuple[str | None, str | None]]]


def decided(kept: Kept, batch: Sequence[Arrival], start: int, position: int, settled_too: bool) -> tuple[Found, int]:
    """What a batch changes, and of each of its events whose it was when it was seen and is at the end.

    With `settled_too` what touches no rule is settled at once; the number of sets that were.
    """
    found_rules = kept.rules
    order = {kind.name: place for place, kind in enumerate(found_rules.kinds)}
    events = [(tuple(sorted(event, key=lambda one: order[one.kind])), is_refused) for event, _, is_refused in batch]
    sets = list(dict.fromkeys(events))
    firsts = {one: (start + events.index(one), batch[events.index(one)][1]) for one in sets}
    changes = IdentityChanges()
    answers: dict[tuple[Event, bool], tuple[str | None, str | None]] = {}
    share = 0
    if settled_too:
        offers, people = offers_of(found_rules, sets, kept)
        settled = settle(found_rules, offers)
        assert overgrown(found_rules, offers, settled) == []
        changes, seen, last = told(sets, [firsts[one] for one in sets], people, settled)
        answers = {one: (seen[number], last[number]) for number, one in enumerate(sets) if settled.is_settled[number]}
        share = len(answers)
    left = [one for one in sets if one not in answers]
    graph = kept.graph({one for event, _ in left for one in event}, position)
    again = dict(zip(left, unsettled(found_rules, [event for event, _ in left], kept.companions), strict=True))
    decided_now: dict[tuple[Event, bool], str | None] = {}
    of_events: dict[int, tuple[str | None, str | None]] = {}
    exact: dict[int, str | None] = {}
    for rank, (one, (_, at, _)) in enumerate(zip(events, batch, strict=True), start=start):
        if one in answers:
            of_events[rank] = answers[one]
            continue
        if one not in decided_now or again[one]:
            refused = REFUSED if one[1] else []
            decided_now[one] = graph.see(f"e{rank}", list(one[0]), refused, rank=rank, at=at)
        exact[rank] = decided_now[one]
    for rank, profile in exact.items():
        of_events[rank] = (profile, None if profile is None else graph.canonical(profile))
    changes.profiles += graph.changes.profiles
    changes.attached += graph.changes.attached
    changes.links += graph.changes.links
    changes.merges += graph.changes.merges
    changes.companions += graph.changes.companions
    changes.quarantined |= graph.changes.quarantined
    return (changes, of_events), share


def in_order(changes: IdentityChanges) -> dict[str, object]:
    """Changes that can be compared: each event's in the order they were decided, events by their number."""

    def number(event_id: str) -> int:
        return int(event_id[1:])

    return {
        "profiles": sorted(changes.profiles, key=lambda row: row[3]),
        "attached": sorted(changes.attached, key=lambda row: number(row[2])),
        "links": sorted(changes.links, key=lambda link: number(link.event_id)),
        "merges": sorted(changes.merges, key=lambda merge: number(merge.event_id)),
        "companions": sorted(changes.companions),
        "quarantined": changes.quarantined,
    }


arrivals = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(["user_id", "email", "device", "phone"]), st.sampled_from("abcdef"), min_size=1, max_size=3
        ).map(lambda values: ids(**values)),
        st.integers(0, 8).map(lambda half_days: half_days * MICROS_A_DAY // 2),
        st.sampled_from([False] * 19 + [True]),
    ),
    min_size=1,
    max_size=24,
)
ODDITIES: list[dict[str, Any]] = [
    {},
    {"strength": Strength.WEAK},
    {"is_unique": True},
    {"window": Window.WEEK},
    {"time_to_live": timedelta(days=2)},
    {"shared": Shared(more_than=2, of="user_id")},
]


@st.composite
def roomy(draw: st.DrawFn) -> IdentityRules:
    """Rules that few events touch; at most one kind has something of its own."""
    limit, odd = draw(st.integers(2, 6)), draw(st.sampled_from(["email", "device", "phone"]))
    oddity = draw(st.sampled_from(ODDITIES))
    return rules(
        USER,
        *(replace(one, limit=limit, **(oddity if one.name == odd else {})) for one in (EMAIL, DEVICE, PHONE)),
        maximum_cluster=draw(st.integers(4, 20)),
        winner=draw(st.sampled_from([Winner.OLDEST, Winner.OLDEST, Winner.OLDEST, Winner.LARGEST])),
    )


def compare(found: IdentityRules, stream: Sequence[Arrival], cuts: set[int]) -> Counter[str]:
    """Decide a stream both ways, batch by batch; how much of it was settled at once."""
    kept, counted = Kept(rules=found), Counter[str]()
    bounds = sorted({0, len(stream), *(cut for cut in cuts if 0 < cut < len(stream))})
    for position, (begin, end) in enumerate(itertools.pairwise(bounds), start=1):
        batch = stream[begin:end]
        (whole, of_whole), _ = decided(kept, batch, begin, position, settled_too=False)
        (both, of_both), share = decided(kept, batch, begin, position, settled_too=True)
        assert in_order(both) == in_order(whole)
        assert of_both == of_whole
        counted["settled"] += share
        counted["settled beside state"] += share if kept.identifiers else 0
        graph = IdentityGraph(found)
        graph.changes = whole
        kept.keep(graph, position)
    return counted


def test_what_is_settled_at_once_is_what_would_have_been_decided_one_by_one() -> None:
    counted: Counter[str] = Counter()

    @settings(max_examples=600)
    @given(roomy() | roomy() | any_rules(), arrivals, st.sets(st.integers(1, 23), max_size=4))
    def holds(found: IdentityRules, stream: list[Arrival], cuts: set[int]) -> None:
        counted.update(compare(found, stream, cuts))

    holds()
    assert counted["settled"] > 400  # else this says nothing
    assert counted["settled beside state"] > 100


def test_merges_of_made_and_of_known_profiles_are_settled_in_their_order_and_the_oldest_wins() -> None:
    wide = rules(USER, EMAIL, DEVICE, PHONE)
    stream: list[Arrival] = [
        (ids(email="a"), 0, False),
        (ids(device="b"), 0, False),
        (ids(phone="c"), 0, False),
        (ids(user_id="u"), 0, False),
        (ids(device="b", phone="c"), 0, False),
        (ids(device="b"), 0, False),
        (ids(email="a", phone="c", user_id="u"), 0, False),
        (ids(user_id="u", email="z"), 0, False),
    ]
    for cuts in (set[int](), {2}, {4}, {3, 6}):
        batches = itertools.pairwise(sorted({0, len(stream), *cuts}))
        assert compare(wide, stream, cuts)["settled"] == sum(len(set(stream[a:b])) for a, b in batches)


def test_what_comes_again_after_a_merge_is_the_winners_where_time_matters() -> None:
    weekly = rules(USER, replace(EMAIL, window=Window.WEEK), DEVICE)
    stream = [ids(device="d"), ids(email="x"), ids(email="x", device="d"), ids(email="x"), ids(user_id="u")]
    assert compare(weekly, [(event, 0, False) for event in stream], set())["settled"] == 1


def test_only_the_component_that_touches_a_limit_is_left() -> None:
    stream = [ids(user_id="a", device="d"), ids(user_id="b", device="d"), ids(user_id="c", device="e"), ids(email="x")]
    offers, _ = offers_of(rules(), [(event, False) for event in stream], Kept(rules=rules()))
    assert settle(rules(), offers).is_settled.tolist() == [False, False, True, True]


def test_counting_anew_tells_what_was_settled_against_the_contract() -> None:
    stream = [ids(user_id="a", device="d"), ids(user_id="a", device="e")]
    offers, _ = offers_of(rules(), [(event, False) for event in stream], Kept(rules=rules()))
    settled = settle(rules(), offers)
    assert overgrown(rules(), offers, settled) == []
    strict = rules(USER, replace(DEVICE, limit=1), maximum_cluster=2)
    placed = replace(offers, kind_of=np.array([0, 1, 1], dtype=np.int64))
    assert [broken for _, broken in overgrown(strict, placed, settled)] == ["limit of device", "maximum_cluster"]
    known = replace(offers, holder_of=np.array([-1, 0, -1], dtype=np.int64), held=np.array([[0, 0, 1]], dtype=np.int64))
    moved = replace(
        settled,
        profile_of=settled.profile_of + 1,
        stands_for=np.arange(3, dtype=np.int64),
    )
    assert [broken for _, broken in overgrown(rules(), known, moved)] == ["device on two profiles"]
