"""Identity: one person by the same rules however the stream is cut, and never two people in one profile."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from activation_dagster.domain.identity import (
    Identifier,
    IdentifierKind,
    IdentityGraph,
    IdentityRules,
    KnownIdentifier,
    KnownProfile,
    Link,
    Merge,
    profile_id,
)
from activation_dagster.domain.reasons import LinkRefusal


def kind(name: str, limit: int, priority: int, **more: object) -> IdentifierKind:
    """A kind that is read as it stands and blocks what it is told to."""
    wishes = {"normalise": ("trim",), "blocked_values": frozenset[str](), "blocked_patterns": (), **more}
    return IdentifierKind(name=name, paths=(name,), limit=limit, priority=priority, **wishes)  # pyright: ignore[reportArgumentType]


RULES = IdentityRules(
    version="v1", owner="platform", kinds=(kind("user_id", 1, 1), kind("email", 2, 2), kind("anonymous_id", 3, 3))
)
LIMITS = {one.name: one.limit for one in RULES.kinds}
PRIORITY = {one.name: one.priority for one in RULES.kinds}

Event = tuple[Identifier, ...]


def ids(**values: str) -> Event:
    """An event's identifiers."""
    return tuple(Identifier(name, value) for name, value in values.items())


events = st.lists(
    st.dictionaries(
        st.sampled_from(["user_id", "email", "anonymous_id"]), st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1
    ).map(lambda values: ids(**values)),
    min_size=1,
    max_size=25,
)


@dataclass(slots=True, kw_only=True)
class Kept:
    """What state keeps between batches, as `state/identity.py` keeps it: what stands is never changed."""

    profiles: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    identifiers: dict[Identifier, str] = field(default_factory=dict[Identifier, str])
    redirects: dict[str, str] = field(default_factory=dict[str, str])
    links: list[Link] = field(default_factory=list[Link])
    merges: list[Merge] = field(default_factory=list[Merge])

    def canonical(self, profile: str) -> str:
        while profile in self.redirects:
            profile = self.redirects[profile]
        return profile

    def cluster(self, touched: set[str]) -> set[str]:
        """Whole clusters of some profiles."""
        heads = {self.canonical(profile) for profile in touched}
        return {profile for profile in self.profiles if self.canonical(profile) in heads}

    def graph(self, wanted: set[Identifier], position: int) -> IdentityGraph:
        """The part of the graph that a batch loads: the clusters of its identifiers and nothing else."""
        members = self.cluster({self.identifiers[one] for one in wanted if one in self.identifiers})
        return IdentityGraph(
            RULES,
            profiles=[KnownProfile(profile_id=one, created=self.profiles[one]) for one in members],
            identifiers=[
                KnownIdentifier(identifier=one, profile_id=profile)
                for one, profile in self.identifiers.items()
                if profile in members
            ],
            redirects={loser: winner for loser, winner in self.redirects.items() if loser in members},
            position=position,
        )

    def keep(self, graph: IdentityGraph, position: int) -> None:
        for profile, _, _, rank in graph.changes.profiles:
            self.profiles.setdefault(profile, (position, rank))
        for identifier, profile, _ in graph.changes.attached:
            self.identifiers.setdefault(identifier, profile)
        for merge in graph.changes.merges:
            self.redirects.setdefault(merge.loser, merge.winner)
        self.links += graph.changes.links
        self.merges += graph.changes.merges

    def people(self) -> dict[str, frozenset[Identifier]]:
        """Everybody by today's profile."""
        found: dict[str, set[Identifier]] = {}
        for identifier, profile in self.identifiers.items():
            found.setdefault(self.canonical(profile), set()).add(identifier)
        return {profile: frozenset(identifiers) for profile, identifiers in found.items()}


def batchwise(stream: Sequence[Event], cuts: set[int], *, only_once: bool = True) -> tuple[Kept, list[str | None]]:
    """Resolve a stream cut before the given places, as pipeline/resolve does: distinct sets in order of first arrival."""
    kept = Kept()
    found: list[str | None] = []
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for position, (start, end) in enumerate(itertools.pairwise(bounds), start=1):
        batch = stream[start:end]
        graph = kept.graph({one for event in batch for one in event}, position)
        seen: dict[Event, str | None] = {}
        for rank, event in enumerate(batch):
            key = tuple(sorted(event))
            if key not in seen or not only_once:
                seen[key] = graph.see(f"e{start + rank}", list(event), rank=rank)
        at_end = {key: None if profile is None else graph.canonical(profile) for key, profile in seen.items()}
        found += [at_end[tuple(sorted(event))] for event in batch]
        kept.keep(graph, position)
    return kept, [None if one is None else kept.canonical(one) for one in found]


class Plain:
    """The same rules by the book: people are sets, and every event is looked at."""

    def __init__(self) -> None:
        self.people: list[tuple[str, set[Identifier]]] = []  # the oldest first

    def see(self, event: Event) -> str | None:
        offered = sorted(event, key=lambda one: PRIORITY[one.kind])
        while offered:
            met = [person for person in self.people if person[1] & set(offered)]
            together = set(offered).union(*(known for _, known in met))
            if all(count <= LIMITS[name] for name, count in Counter(one.kind for one in together).items()):
                name = met[0][0] if met else profile_id(offered[0])
                rest = [person for person in self.people if person not in met]
                place = self.people.index(met[0]) if met else len(self.people)
                rest.insert(place, (name, together))
                self.people = rest
                return name
            offered.pop()
        return None


@settings(max_examples=300)
@given(events, st.sets(st.integers(1, 24), max_size=6))
@example([ids(user_id="a", email="x"), ids(user_id="b", email="x")], {1})
def test_the_people_are_the_same_however_the_stream_is_cut(stream: list[Event], cuts: set[int]) -> None:
    whole, of_whole = batchwise(stream, set())
    cut, of_cut = batchwise(stream, cuts)
    assert cut.people() == whole.people()
    assert of_cut == of_whole
    assert {merge.loser for merge in cut.merges} == {merge.loser for merge in whole.merges}


@settings(max_examples=300)
@given(events, st.sets(st.integers(1, 24), max_size=6))
def test_the_people_are_those_of_the_rules_by_the_book(stream: list[Event], cuts: set[int]) -> None:
    plain = Plain()
    for event in stream:
        plain.see(event)
    kept, _ = batchwise(stream, cuts)
    assert kept.people() == {name: frozenset(known) for name, known in plain.people}


@settings(max_examples=200)
@given(events, st.sets(st.integers(1, 24), max_size=6))
def test_a_set_of_identifiers_that_comes_again_in_a_batch_says_nothing_new(stream: list[Event], cuts: set[int]) -> None:
    once, of_once = batchwise(stream, cuts)
    every, of_every = batchwise(stream, cuts, only_once=False)
    assert of_once == of_every
    assert once.people() == every.people()


@settings(max_examples=200)
@given(events, st.sets(st.integers(1, 24), max_size=6))
def test_limits_hold_and_nobody_has_two_user_ids(stream: list[Event], cuts: set[int]) -> None:
    kept, _ = batchwise(stream, cuts)
    for known in kept.people().values():
        for name, count in Counter(one.kind for one in known).items():
            assert count <= LIMITS[name]


@settings(max_examples=200)
@given(events, st.sets(st.integers(1, 24), max_size=6))
def test_a_profile_keeps_its_name_which_its_first_identifier_gave_it(stream: list[Event], cuts: set[int]) -> None:
    kept, of_events = batchwise(stream, cuts)
    for profile, known in kept.people().items():
        assert profile in {profile_id(one) for one in known}
    ages = {profile: kept.profiles[profile] for profile in kept.profiles}
    for merge in kept.merges:
        assert ages[merge.winner] < ages[merge.loser]
    assert {one for one in of_events if one is not None} == set(kept.people())


@settings(max_examples=200)
@given(events)
@example(
    [ids(user_id="a", anonymous_id="d"), ids(email="x", user_id="b"), ids(user_id="a", email="x", anonymous_id="d")]
)
def test_an_identifier_that_was_left_out_is_named_with_its_reason(stream: list[Event]) -> None:
    kept, _ = batchwise(stream, set(), only_once=False)
    refused = [link for link in kept.links if link.refusal is not None]
    assert {link.refusal for link in refused} <= {LinkRefusal.LIMIT_REACHED}
    for link in refused:
        assert link.profile_id != link.other_profile_id or not link.profile_id


def test_segments_published_example_leaves_the_email_out_and_makes_a_profile_of_its_own() -> None:
    """Segment's Unify: user A with email X is known; then user B comes with email X."""
    kept, found = batchwise([ids(user_id="A", email="X"), ids(user_id="B", email="X")], {1})
    assert found == [profile_id(Identifier("user_id", "A")), profile_id(Identifier("user_id", "B"))]
    assert kept.people() == {found[0]: frozenset(ids(user_id="A", email="X")), found[1]: frozenset(ids(user_id="B"))}
    assert [(link.identifier, link.refusal, link.profile_id, link.other_profile_id) for link in kept.links[2:]] == [
        (Identifier("user_id", "B"), None, found[1], ""),
        (Identifier("email", "X"), LinkRefusal.LIMIT_REACHED, found[1], found[0]),
    ]


def test_a_shared_device_does_not_make_two_people_one() -> None:
    stream = [ids(user_id="A", anonymous_id="d"), ids(user_id="B", anonymous_id="d"), ids(anonymous_id="d")]
    kept, found = batchwise(stream, {1, 2})
    assert found[0] == found[2] != found[1]
    assert len(kept.people()) == 2


def test_a_visitor_who_says_who_they_are_becomes_that_person() -> None:
    kept, found = batchwise([ids(anonymous_id="d"), ids(user_id="A"), ids(user_id="A", anonymous_id="d")], {1, 2})
    assert found == [profile_id(Identifier("anonymous_id", "d"))] * 3
    assert [(merge.winner, merge.loser) for merge in kept.merges] == [
        (found[0], profile_id(Identifier("user_id", "A")))
    ]


def test_an_event_with_blocked_identifiers_alone_has_nobody_and_says_why() -> None:
    graph = IdentityGraph(RULES)
    assert graph.see("e1", [], [Identifier("user_id", "blocked")]) is None
    assert [(link.refusal, link.profile_id) for link in graph.changes.links] == [(LinkRefusal.BLOCKED_VALUE, "")]
    assert graph.changes.profiles == []


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("u1", "u1"),
        (" u1\t", "u1"),
        ("", None),
        ("  ", None),
        ("null", None),
        (" null ", None),
        ("NULL", "NULL"),
        ("0", None),
        ("00-00", None),
        ("0a", "0a"),
        ("test@x", None),
        ("a test@x", "a test@x"),
    ],
)
def test_a_blocked_value_names_nobody(raw: str, value: str | None) -> None:
    found = kind("user_id", 1, 1, blocked_values=frozenset({"null"}), blocked_patterns=("^[0-]*$", "^test@"))
    assert found.read(raw) == value


def test_an_email_is_the_same_in_capitals_and_with_spaces_around_it() -> None:
    assert kind("email", 1, 1, normalise=("trim", "lower")).read("  Ann@Example.COM ") == "ann@example.com"


def test_a_kind_and_a_value_make_a_key_that_no_other_pair_makes() -> None:
    pairs = [Identifier("a", "bc"), Identifier("ab", "c"), Identifier("a", "b"), Identifier("a", "b\x1f")]
    assert len({pair.key for pair in pairs}) == len({profile_id(pair) for pair in pairs}) == len(pairs)
    assert all(len(pair.key) == 16 for pair in pairs)
