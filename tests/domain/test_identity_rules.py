"""Every rule of an identity contract: what it stops, the same however the stream is cut, and never two user ids."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from activation_dagster.domain.identifiers import (
    MICROS_A_DAY,
    SPAN,
    Identifier,
    IdentifierKind,
    IdentityRules,
    OnConflict,
    Phone,
    Replace,
    Shared,
    Step,
    Strength,
    Window,
    Winner,
    profile_id,
)
from activation_dagster.domain.identity_batches import overgrown
from activation_dagster.domain.links import KnownIdentifier, LinkDecision
from activation_dagster.domain.reasons import LinkRefusal
from tests.domain.identity_batches import Event, Kept, batchwise, ids

DAY = MICROS_A_DAY


def kind(name: str, priority: int, *, limit: int = 5) -> IdentifierKind:
    """A kind that is read as it stands."""
    return IdentifierKind(
        name=name,
        paths=(name,),
        normalise=(),
        blocked_values=frozenset(),
        blocked_patterns=(),
        limit=limit,
        priority=priority,
    )


USER, EMAIL, DEVICE = kind("user_id", 1, limit=1), kind("email", 2), kind("device", 3)


def rules(*kinds: IdentifierKind, **more: object) -> IdentityRules:
    """Rules over some kinds."""
    return IdentityRules(version="v1", owner="platform", kinds=kinds or (USER, EMAIL, DEVICE), **more)  # pyright: ignore[reportArgumentType]


def said(kept: Kept) -> list[tuple[str, str, LinkDecision, LinkRefusal | None]]:
    """What the ledger says that was not accepted: event, kind, decision, reason."""
    return [
        (link.event_id, link.identifier.kind, link.decision, link.refusal)
        for link in kept.links
        if link.decision is not LinkDecision.ACCEPTED
    ]


def name(**first: str) -> str:
    """The profile that an identifier made."""
    return profile_id(ids(**first)[0])


# -- stories that every system of this kind tells ---------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [set[int](), {1, 2, 3}])
def test_two_people_who_log_in_on_one_shared_device_stay_two(cuts: set[int]) -> None:
    stream = [ids(user_id="ann", device="d"), ids(user_id="bea", device="d"), ids(user_id="bea"), ids(device="d")]
    kept, found = batchwise(rules(), stream, cuts)
    assert found == [name(user_id="ann"), name(user_id="bea"), name(user_id="bea"), name(user_id="ann")]
    assert said(kept) == [("e1", "device", LinkDecision.CONFLICT, LinkRefusal.LIMIT_REACHED)]
    (conflict,) = [link for link in kept.links if link.decision is LinkDecision.CONFLICT]
    assert (conflict.profile_id, conflict.other_profile_id) == (name(user_id="bea"), name(user_id="ann"))


@pytest.mark.parametrize("cuts", [set[int](), {1, 2}])
def test_a_changed_e_mail_stays_with_its_person_and_the_old_one_too(cuts: set[int]) -> None:
    stream = [ids(user_id="ann", email="old"), ids(user_id="ann", email="new"), ids(email="old"), ids(email="new")]
    kept, found = batchwise(rules(), stream, cuts)
    assert set(found) == {name(user_id="ann")}
    assert said(kept) == []


@pytest.mark.parametrize("cuts", [set[int](), {1, 2, 3}])
def test_an_anonymous_history_of_two_people_goes_to_the_first_who_says_who_they_are(cuts: set[int]) -> None:
    stream = [ids(device="d"), ids(user_id="ann", device="d"), ids(user_id="bea", device="d"), ids(device="d")]
    kept, found = batchwise(rules(), stream, cuts)
    assert found == [name(device="d"), name(device="d"), name(user_id="bea"), name(device="d")]
    assert kept.people()[name(device="d")] == frozenset(ids(user_id="ann", device="d"))


@pytest.mark.parametrize("cuts", [set[int](), {1, 2}])
def test_an_alias_joins_what_was_anonymous_and_never_two_user_ids(cuts: set[int]) -> None:
    """`alias` names a userId and a previousId; a contract may read the second as a device, as Mixpanel does."""
    stream = [ids(device="d"), ids(user_id="ann"), ids(user_id="ann", device="d"), ids(user_id="bea", device="ann")]
    kept, found = batchwise(rules(), stream, cuts)
    assert found == [name(device="d"), name(device="d"), name(device="d"), name(user_id="bea")]
    assert all(Counter(one.kind for one in known)["user_id"] <= 1 for known in kept.people().values())


@pytest.mark.parametrize("cuts", [set[int](), {1, 2}])
def test_a_late_event_joins_two_profiles_and_the_older_id_stays(cuts: set[int]) -> None:
    stream = [ids(device="d"), ids(user_id="ann"), ids(user_id="ann", device="d")]
    kept, found = batchwise(rules(), stream, cuts, times=[2 * DAY, 3 * DAY, DAY])
    assert set(found) == {name(device="d")}
    assert [(merge.event_id, merge.winner, merge.loser) for merge in kept.merges] == [
        ("e2", name(device="d"), name(user_id="ann"))
    ]


def test_two_user_ids_stay_two_though_rules_built_by_hand_allow_it() -> None:
    kept, found = batchwise(
        rules(replace(USER, limit=9, window=Window.DAY), EMAIL),
        [ids(user_id="a", email="x"), ids(user_id="b", email="x")],
        set(),
    )
    assert len(set(found)) == len(kept.people()) == 2


# -- one rule each ----------------------------------------------------------------------------------------------------

SHARED = rules(USER, replace(EMAIL, shared=Shared(more_than=2, of="device")), DEVICE)


@pytest.mark.parametrize("cuts", [set[int](), {1}, {2, 4}, {1, 2, 3, 4, 5}])
def test_a_value_that_turns_out_to_be_shared_names_nobody_from_then_on_and_what_it_connected_stays(
    cuts: set[int],
) -> None:
    stream = [
        ids(email="x", device="1"),
        ids(email="x", device="2"),
        ids(email="x"),
        ids(email="x", device="3"),
        ids(email="x"),
        ids(email="x", device="2"),
    ]
    kept, found = batchwise(SHARED, stream, cuts)
    first = name(email="x")
    assert found == [first, first, first, name(device="3"), None, first]
    assert kept.people() == {
        first: frozenset([*ids(email="x", device="1"), *ids(device="2")]),
        name(device="3"): frozenset(ids(device="3")),
    }
    assert {(event, reason) for event, _, _, reason in said(kept)} >= {
        ("e3", LinkRefusal.SHARED_VALUE),
        ("e4", LinkRefusal.SHARED_VALUE),
        ("e5", LinkRefusal.SHARED_VALUE),
    }


WINDOWED = rules(USER, EMAIL, replace(DEVICE, limit=1, window=Window.WEEK))


@pytest.mark.parametrize("cuts", [set[int](), {1, 2, 3}])
def test_a_limit_of_a_week_counts_no_more_than_a_week_by_the_times_of_events(cuts: set[int]) -> None:
    stream = [ids(user_id="a", device="1"), *[ids(user_id="a", device="2")] * 2, ids(user_id="a", device="3")]
    kept, _ = batchwise(WINDOWED, stream, cuts, times=[10 * DAY, 16 * DAY, 17 * DAY, 4 * DAY])
    assert kept.people() == {name(user_id="a"): frozenset([*stream[0], *stream[1]])}
    assert [(event, reason) for event, _, _, reason in said(kept)] == [
        ("e1", LinkRefusal.LIMIT_REACHED),
        ("e3", LinkRefusal.LIMIT_REACHED),  # late, and still inside a week of the first
    ]


@pytest.mark.parametrize("cuts", [set[int](), {1, 2}])
def test_a_value_that_has_outlived_its_time_names_nobody(cuts: set[int]) -> None:
    mortal = rules(USER, replace(DEVICE, time_to_live=timedelta(days=2)))
    stream = [ids(user_id="a", device="d"), ids(device="d"), ids(device="d")]
    kept, found = batchwise(mortal, stream, cuts, times=[0, 2 * DAY, 2 * DAY + 1])
    assert found == [name(user_id="a"), name(user_id="a"), None]
    assert said(kept) == [("e2", "device", LinkDecision.BLOCKED, LinkRefusal.OUTLIVED_VALUE)]


@pytest.mark.parametrize("cuts", [set[int](), {1, 2, 3}])
def test_a_weak_identifier_is_attached_and_never_makes_two_profiles_one(cuts: set[int]) -> None:
    weak = rules(USER, EMAIL, replace(DEVICE, strength=Strength.WEAK))
    stream = [ids(device="d"), ids(user_id="ann", device="d"), ids(user_id="ann", device="e"), ids(device="e")]
    kept, found = batchwise(weak, stream, cuts)
    assert found == [name(device="d"), name(user_id="ann"), name(user_id="ann"), name(user_id="ann")]
    assert said(kept) == [("e1", "device", LinkDecision.CONFLICT, LinkRefusal.WEAK_ELSEWHERE)]


@pytest.mark.parametrize("cuts", [set[int](), {1, 2, 3}])
def test_a_unique_value_stays_where_it_is_and_never_makes_two_profiles_one(cuts: set[int]) -> None:
    unique = rules(USER, replace(EMAIL, is_unique=True), DEVICE)
    stream = [ids(email="x", device="d"), ids(user_id="ann"), ids(user_id="ann", email="x"), ids(email="x")]
    kept, found = batchwise(unique, stream, cuts)
    assert found == [name(email="x"), name(user_id="ann"), name(user_id="ann"), name(email="x")]
    assert said(kept) == [("e2", "email", LinkDecision.CONFLICT, LinkRefusal.UNIQUE_ELSEWHERE)]


def test_no_profile_grows_over_the_maximum() -> None:
    small = rules(USER, replace(DEVICE, limit=99), maximum_cluster=3)
    kept, found = batchwise(small, [ids(user_id="a", device=str(number)) for number in range(9)], {4})
    assert [len(known) for known in kept.people().values()] == [3]
    assert set(found) == {name(user_id="a")}
    assert {(decision, reason) for _, _, decision, reason in said(kept)} == {
        (LinkDecision.REFUSED, LinkRefusal.CLUSTER_FULL)
    }


STORY = [ids(user_id="ann", email="x"), ids(user_id="bea"), ids(user_id="bea", email="x", device="d"), ids(device="d")]


@pytest.mark.parametrize(
    ("what", "of_conflict", "of_device", "refused"),
    [
        (OnConflict.DROP_WEAKEST, name(user_id="bea"), name(device="d"), {"device", "email"}),
        (OnConflict.KEEP_APART, name(user_id="bea"), name(device="d"), {"device", "email"}),
        (OnConflict.QUARANTINE, None, name(device="d"), {"user_id", "device", "email"}),
    ],
)
@pytest.mark.parametrize("cuts", [set[int](), {1, 2, 3}])
def test_a_conflict_is_dealt_with_as_the_contract_says(
    what: OnConflict, of_conflict: str | None, of_device: str, refused: set[str], cuts: set[int]
) -> None:
    kept, found = batchwise(rules(on_conflict=what), STORY, cuts)
    assert found == [name(user_id="ann"), name(user_id="bea"), of_conflict, of_device]
    assert {link.identifier.kind for link in kept.links if link.event_id == "e2" and link.refusal} == refused
    assert kept.quarantined == ({"e2"} if what is OnConflict.QUARANTINE else set())
    assert (name(user_id="bea"), name(user_id="ann")) in {(one.profile_id, one.other_profile_id) for one in kept.links}


def test_keeping_apart_leaves_out_all_but_the_strongest_where_dropping_leaves_out_what_it_must() -> None:
    stream = [ids(email="x", device="d"), ids(user_id="ann", device="d"), ids(user_id="bea", email="y", device="d")]
    _, dropped = batchwise(rules(), [*stream, ids(email="y")], set())
    _, apart = batchwise(rules(on_conflict=OnConflict.KEEP_APART), [*stream, ids(email="y")], set())
    assert dropped[2:] == [name(user_id="bea")] * 2
    assert apart[2:] == [name(user_id="bea"), name(email="y")]


@pytest.mark.parametrize(
    ("winner", "stays"),
    [
        (Winner.OLDEST, name(device="d")),
        (Winner.STRONGEST, name(user_id="ann")),
        (Winner.LARGEST, name(email="x")),
    ],
)
def test_the_profile_that_wins_a_merge_is_the_one_the_contract_says(winner: Winner, stays: str) -> None:
    stream = [
        ids(device="d"),
        ids(email="x", device="e"),
        ids(user_id="ann"),
        ids(user_id="ann", email="x", device="d"),
    ]
    _, found = batchwise(rules(winner=winner), stream, {2})
    assert set(found) == {stays}


# -- poison ------------------------------------------------------------------------------------------------------------


def test_a_poison_set_makes_no_profile_larger_than_declared() -> None:
    """One tablet of a shop, one number of a call centre, one robot, two hundred people."""
    poisoned = rules(
        USER,
        replace(EMAIL, limit=3),
        replace(DEVICE, shared=Shared(more_than=3, of="user_id")),
        replace(kind("phone", 4), shared=Shared(more_than=3, of="email")),
        maximum_cluster=8,
    )
    stream = [
        event
        for number in range(200)
        for event in (
            ids(user_id=f"u{number}", email=f"m{number}", device="tablet", phone="centre"),
            ids(email=f"m{number}", phone="centre"),
            ids(user_id="robot", email=f"r{number}"),
            ids(device=f"d{number}", email=f"r{number}", phone="centre"),
        )
    ]
    kept, _ = batchwise(poisoned, stream, {100, 300})
    sizes = Counter(len(known) for known in kept.people().values())
    assert max(sizes) <= 8
    assert len(kept.people()) >= 200
    for known in kept.people().values():
        count = Counter(one.kind for one in known)
        assert count["user_id"] <= 1
        assert count["email"] <= 3


# -- any rules, any stream, any cuts -----------------------------------------------------------------------------------


@st.composite
def any_rules(draw: st.DrawFn) -> IdentityRules:
    """Rules of four kinds, each with whatever a contract may say of it."""
    kinds = [
        replace(
            kind(said, priority),
            limit=draw(st.integers(1, 3)),
            window=draw(st.sampled_from([Window.EVER, Window.EVER, Window.DAY, Window.WEEK])),
            shared=draw(
                st.none()
                | st.builds(
                    Shared,
                    more_than=st.integers(1, 2),
                    of=st.sampled_from([one for one in ("email", "device", "phone") if one != said]),
                )
            ),
            is_unique=draw(st.booleans()),
            strength=draw(st.sampled_from([Strength.STRONG, Strength.STRONG, Strength.WEAK])),
            time_to_live=draw(st.none() | st.just(timedelta(days=2))),
        )
        for priority, said in enumerate(("email", "device", "phone"), start=2)
    ]
    return rules(
        USER,
        *kinds,
        winner=draw(st.sampled_from(Winner)),
        maximum_cluster=draw(st.integers(2, 6)),
        on_conflict=draw(st.sampled_from(OnConflict)),
    )


streams = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(["user_id", "email", "device", "phone"]), st.sampled_from(["a", "b", "c"]), min_size=1
        ).map(lambda values: ids(**values)),
        st.integers(0, 8).map(lambda half_days: half_days * DAY // 2),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=400)
@given(any_rules(), streams, st.sets(st.integers(1, 19), max_size=5))
def test_under_any_rules_the_people_are_the_same_however_the_stream_is_cut(
    found: IdentityRules, stream: list[tuple[Event, int]], cuts: set[int]
) -> None:
    events, times = [event for event, _ in stream], [at for _, at in stream]
    each, of_each = batchwise(found, events, set(), times=times, only_once=False)
    for where in (set[int](), cuts, set(range(len(events)))):
        cut, of_cut = batchwise(found, events, where, times=times)
        assert cut.people() == each.people()
        assert [one is None for one in of_cut] == [one is None for one in of_each]
        assert of_cut == of_each


@settings(max_examples=300)
@given(any_rules(), streams, st.sets(st.integers(1, 19), max_size=5))
@example(WINDOWED, [(ids(user_id="a", device=str(n)), n * 3 * DAY) for n in range(4)], {2})
def test_under_any_rules_every_limit_holds(
    found: IdentityRules, stream: list[tuple[Event, int]], cuts: set[int]
) -> None:
    kept, _ = batchwise(found, [event for event, _ in stream], cuts, times=[at for _, at in stream])
    for profile, known in kept.people().items():
        assert len(known) <= found.maximum_cluster
        assert len([one for one in known if one.kind == "user_id"]) <= 1
        for one in found.kinds:
            times = kept.attached_at(profile, one.name)
            if one.window is Window.EVER:
                assert len(times) <= one.limit
            else:
                assert all(
                    last - first >= SPAN[one.window] for first, last in zip(times, times[one.limit :], strict=False)
                )


@settings(max_examples=300)
@given(any_rules(), streams)
def test_under_any_rules_every_identifier_offered_is_known_accepted_refused_blocked_or_a_conflict(
    found: IdentityRules, stream: list[tuple[Event, int]]
) -> None:
    kept, of_events = batchwise(
        found, [event for event, _ in stream], set(), times=[at for _, at in stream], only_once=False
    )
    by_event = {
        event_id: list(links) for event_id, links in itertools.groupby(kept.links, key=lambda link: link.event_id)
    }
    people = kept.people()
    for number, (event, _) in enumerate(stream):
        links = by_event.get(f"e{number}", [])
        told = [link.identifier for link in links]
        assert len(set(told)) == len(told)
        assert set(told) <= set(event)
        profile = of_events[number]
        for identifier in set(event) - set(told):
            assert profile is not None
            assert identifier in people[profile]  # nothing to tell: it was its profile's already


@settings(max_examples=100)
@given(any_rules(), streams)
def test_counted_anew_nothing_is_over_the_contract_and_under_a_stricter_one_it_is_told(
    found: IdentityRules, stream: list[tuple[Event, int]]
) -> None:
    kept, _ = batchwise(found, [event for event, _ in stream], set(), times=[at for _, at in stream])
    given_now = [(one, profile, "e", at) for one, (profile, at) in kept.identifiers.items()]
    assert overgrown(found, [], given_now, kept.canonical) == []
    largest = {profile: len(known) for profile, known in kept.people().items() if len(known) > 1}
    told = overgrown(replace(found, maximum_cluster=1), [], given_now, kept.canonical)
    assert {profile for profile, broken in told if broken == "maximum_cluster"} == set(largest)


def test_counting_anew_finds_a_profile_that_has_too_much_and_a_value_on_two() -> None:
    limited = rules(USER, replace(EMAIL, limit=1), replace(DEVICE, limit=1, window=Window.DAY))
    x, y, d, e = (*ids(email="x"), *ids(email="y"), *ids(device="d"), *ids(device="e"))
    known = [KnownIdentifier(identifier=x, profile_id="p1")]

    def told(*attached: tuple[Identifier, str, str, int]) -> list[tuple[str, str]]:
        return overgrown(limited, known, attached, lambda profile: profile)

    assert told((y, "p1", "e1", 0)) == [("p1", "limit of email")]
    assert told((y, "p2", "e1", 0)) == []
    assert told((x, "p1", "e1", 0)) == [("p1", "email on two profiles"), ("p1", "limit of email")]
    assert told((d, "p1", "e1", 0), (e, "p1", "e2", DAY - 1)) == [("p1", "limit of device")]
    assert told((d, "p1", "e1", 0), (e, "p1", "e2", DAY)) == []


# -- how values are read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "raw", "value"),
    [
        (("email",), " Ann@Example.COM ", "ann@example.com"),
        (("email",), "mailto:ann@example.com", "ann@example.com"),
        (("email",), "ann", LinkRefusal.INVALID_VALUE),
        (("email",), "null", LinkRefusal.BLOCKED_VALUE),
        ((Phone(region="DE"),), "0151 1234 5678", "+4915112345678"),
        ((Phone(region="US"),), "(212) 555-0123", "+12125550123"),
        (("phone",), "+44 20 7946 0958", "+442079460958"),
        (("phone",), "0151 1234 5678", LinkRefusal.INVALID_VALUE),
        ((Phone(region="DE"),), "12", LinkRefusal.INVALID_VALUE),
        ((Phone(region="DE"),), "nobody", LinkRefusal.INVALID_VALUE),
        ((Replace(pattern=r"[^0-9]", by=""),), "12-34", "1234"),
        (("trim", Replace(pattern="^crm:", by="")), " crm:7", "7"),
        (("trim", "lower"), " NULL ", LinkRefusal.BLOCKED_VALUE),
    ],
)
def test_a_value_is_read_as_its_kind_says(steps: tuple[Step, ...], raw: str, value: str | LinkRefusal) -> None:
    read = replace(EMAIL, normalise=steps, blocked_values=frozenset({"null"}))
    assert read.reading(raw) == value
    assert read.read(raw) == (None if isinstance(value, LinkRefusal) else value)


def test_a_value_that_does_not_match_whole_is_not_valid() -> None:
    card = replace(kind("card", 1), valid="[0-9]{4}")
    assert card.reading("1234") == "1234"
    assert card.reading("12345") is LinkRefusal.INVALID_VALUE


def test_of_an_event_each_kind_is_read_and_what_names_nobody_is_not_kept() -> None:
    usable, refused = rules(USER, replace(EMAIL, normalise=("email",)), DEVICE).read(["u", "secret", None])
    assert usable == [Identifier("user_id", "u")]
    assert refused == [(Identifier("email", "blocked"), LinkRefusal.INVALID_VALUE)]
