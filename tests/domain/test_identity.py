"""Identity: one person by the same rules however the stream is cut, and never two people in one profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from activation_dagster.domain.identifiers import Identifier, IdentifierKind, IdentityRules, profile_id
from activation_dagster.domain.identity import IdentityGraph
from activation_dagster.domain.reasons import LinkRefusal
from tests.domain.identity_batches import Event, Kept, ids
from tests.domain.identity_batches import batchwise as in_batches


def kind(name: str, limit: int, priority: int, **more: object) -> IdentifierKind:
    """A kind that is read as it stands and blocks what it is told to."""
    wishes = {"normalise": ("trim",), "blocked_values": frozenset[str](), "blocked_patterns": (), **more}
    return IdentifierKind(name=name, paths=(name,), limit=limit, priority=priority, **wishes)  # pyright: ignore[reportArgumentType]


RULES = IdentityRules(
    version="v1", owner="platform", kinds=(kind("user_id", 1, 1), kind("email", 2, 2), kind("anonymous_id", 3, 3))
)
LIMITS = {one.name: one.limit for one in RULES.kinds}
PRIORITY = {one.name: one.priority for one in RULES.kinds}

events = st.lists(
    st.dictionaries(
        st.sampled_from(["user_id", "email", "anonymous_id"]), st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1
    ).map(lambda values: ids(**values)),
    min_size=1,
    max_size=25,
)


def batchwise(stream: Sequence[Event], cuts: set[int], *, only_once: bool = True) -> tuple[Kept, list[str | None]]:
    """The stream under these rules."""
    return in_batches(RULES, stream, cuts, only_once=only_once)


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
    assert graph.see("e1", [], [(Identifier("user_id", "blocked"), LinkRefusal.BLOCKED_VALUE)]) is None
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
