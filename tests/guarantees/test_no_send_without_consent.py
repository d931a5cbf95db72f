"""Promise 3: no send without consent. Unknown means no; what a person said last counts, up to the claim of the message.

Everybody here bought something and a workflow waits for what they answer, so that consent alone stands between each of
them and a message. That a *no* which comes in the middle of a claim is not overrun is in
`test_no_send_without_consent_race.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as some

from activation_dagster.domain.consent import ConsentStatus
from activation_dagster.pipeline.people import person_named
from activation_dagster.pipeline.places import Places
from activation_dagster.state.consent import record_choice
from activation_dagster.state.halts import halt
from activation_dagster.state.suppressions import suppress
from tests.destinations.far_end import FarEnd
from tests.guarantees.events import Whole, choice, event, identify, purchase, written
from tests.guarantees.shop import NOW, Clock, Row, Shop, far_end_in, the_far_end_has_what_the_ledger_says

BEFORE = NOW - timedelta(days=2)
YEARS_AGO = NOW - timedelta(days=400)


@pytest.fixture(scope="module")
def shared_far_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarEnd]:
    with far_end_in(tmp_path_factory.mktemp("far_end")) as far_end:
        yield far_end


@pytest.fixture
def far_end(shared_far_end: FarEnd) -> FarEnd:
    """Nothing has arrived yet."""
    shared_far_end.reset()
    return shared_far_end


@pytest.fixture
def shop(tmp_path: Path, far_end: FarEnd, state_url: str) -> Shop:
    """An empty shop, on SQLite and on PostgreSQL."""
    return Shop(folder=tmp_path, address=far_end.address, state_url=state_url)


def buyer(name: str, *, country: str | None = "US") -> list[Whole]:
    """Somebody who bought for 600 and has not been asked anything."""
    traits = {} if country is None else {"country": country}
    return [
        identify(f"{name}-1", at=BEFORE, user=name, **traits),
        purchase(f"{name}-2", at=BEFORE, user=name, price=600.0),
    ]


def answer(name: str, *, marketing: bool, personalization: bool = True, at: datetime = BEFORE, nth: int = 0) -> Whole:
    return choice(f"{name}-a{nth}", at=at, user=name, marketing=marketing, personalization=personalization)


# -- when decisions are made ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a person said before something happened that a workflow waits for, and why no message may follow."""

    said: Callable[[str], list[Whole]]
    reason: str
    country: str | None = "US"


def trigger(name: str) -> Whole:
    """An answer to a banner that asked for something else: two workflows wait for the event, it allows nothing."""
    whole = choice(f"{name}-t", at=NOW, user=name, marketing=True)
    return whole | {"context": {"consent": {"categoryPreferences": {"analytics": True}}}}


def only(*events: Whole) -> Callable[[str], list[Whole]]:
    return lambda _: list(events)


def on_device(device: str, *, marketing: bool, at: datetime = BEFORE) -> Whole:
    """The answer of somebody who is known by a device alone."""
    return choice(f"{device}-a", at=at, device=device, marketing=marketing)


def is_one(name: str, device: str) -> Whole:
    """The device turns out to be this person's."""
    return identify(f"{name}-{device}-one", at=BEFORE + timedelta(hours=4), user=name, device=device)


def said_no_and_then_yes_as_another(who: str) -> list[Whole]:
    phone = f"{who}-phone"
    return [
        answer(who, marketing=False),
        on_device(phone, marketing=True, at=BEFORE + timedelta(hours=1)),
        is_one(who, phone),
    ]


def said_yes_and_is_another_who_said_no(who: str) -> list[Whole]:
    phone = f"{who}-phone"
    return [
        on_device(phone, marketing=False),
        answer(who, marketing=True, at=BEFORE + timedelta(hours=1)),
        is_one(who, phone),
    ]


def is_another_who_is_another_who_said_no(who: str) -> list[Whole]:
    """An address joins two devices, one of which said no; then one of the devices is this person's."""
    phone, tablet = f"{who}-phone", f"{who}-tablet"
    mail = {"email": f"{who}@shop.test"}
    return [
        on_device(phone, marketing=True, at=BEFORE + timedelta(hours=2)),
        on_device(tablet, marketing=False),
        answer(who, marketing=True, at=BEFORE + timedelta(hours=1)),
        identify(f"{who}-m1", at=BEFORE, device=phone, **mail),
        identify(f"{who}-m2", at=BEFORE, device=tablet, **mail),
        is_one(who, phone),
    ]


CASES = {
    "silence": Case(said=only(), reason="consent_unknown"),
    "a no": Case(said=lambda who: [answer(who, marketing=False)], reason="consent_denied"),
    "a yes and then a no": Case(
        said=lambda who: [
            answer(who, marketing=True, nth=1),
            answer(who, marketing=False, at=BEFORE + timedelta(hours=1), nth=2),
        ],
        reason="consent_denied",
    ),
    "a later no that arrives before the yes": Case(
        said=lambda who: [
            answer(who, marketing=False, at=BEFORE + timedelta(hours=1), nth=2),
            answer(who, marketing=True, nth=1),
        ],
        reason="consent_denied",
    ),
    "a yes and a no at one instant": Case(
        said=lambda who: [answer(who, marketing=False, nth=1), answer(who, marketing=True, nth=2)],
        reason="consent_denied",
    ),
    "a no in the account pages": Case(
        said=lambda who: [
            answer(who, marketing=True),
            event(
                "track",
                f"{who}-v2",
                at=BEFORE + timedelta(hours=1),
                user=who,
                event="user_profile_updated",
                properties={"user_id": who, "updated_at": "2025-09-16T11:00:00Z", "consent_status": False},
                context={"protocols": {"event_version": "v2"}},
            ),
        ],
        reason="consent_denied",
    ),
    "a yes to something else": Case(
        said=lambda who: [
            answer(who, marketing=True)
            | {"context": {"consent": {"categoryPreferences": {"personalization": True, "marketing_email": "true?"}}}}
        ],
        reason="consent_unknown",
    ),
    "a yes in quarantine": Case(
        said=lambda who: [answer(who, marketing=True) | {"timestamp": "yesterday"}], reason="consent_unknown"
    ),
    "a yes of somebody else": Case(said=lambda _: [answer("neighbour", marketing=True)], reason="consent_unknown"),
    "a yes that ran out where a yes runs out": Case(
        said=lambda who: [answer(who, marketing=True, at=NOW - timedelta(days=731))],
        reason="consent_expired",
        country="CA",
    ),
    "half of what the region asks for": Case(
        said=lambda who: [answer(who, marketing=True, personalization=False)], reason="consent_denied", country="DE"
    ),
    "a yes that ran out where nobody knows the country": Case(
        said=lambda who: [answer(who, marketing=True, at=YEARS_AGO)], reason="consent_expired", country=None
    ),
    "half of what is asked where nobody knows the country": Case(
        said=lambda who: [answer(who, marketing=True, personalization=False)], reason="consent_denied", country=None
    ),
    "a country that no region has": Case(
        said=lambda who: [answer(who, marketing=True, at=YEARS_AGO)], reason="consent_expired", country="Atlantis"
    ),
    "a no before a merge": Case(said=said_no_and_then_yes_as_another, reason="consent_denied"),
    "a merge with somebody who said no": Case(said=said_yes_and_is_another_who_said_no, reason="consent_denied"),
    "a merge with somebody who merged with somebody who said no": Case(
        said=is_another_who_is_another_who_said_no, reason="consent_denied"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Everybody of CASES, and one who said yes, after a batch each for what they said and for the trigger."""

    decisions: dict[str, set[tuple[str, str]]]
    sent_to: set[str]


@pytest.fixture(scope="module", params=["what was said comes first", "all comes at once"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("asked")
    people = {f"user-{number}": case for number, case in enumerate(CASES.values())}
    story = [
        whole
        for name, case in people.items()
        for whole in [*buyer(name, country=case.country), *case.said(name)]
    ] + [*buyer("glad"), answer("glad", marketing=True)]  # fmt: skip
    triggers = [trigger(name) for name in [*people, "glad"]]
    with far_end_in(folder) as far_end:
        shop = Shop(folder=folder, address=far_end.address)
        if request.param == "all comes at once":
            shop.land(written(*story, *triggers), at=NOW)
        else:
            shop.land(written(*story), at=NOW - timedelta(minutes=10))
            shop.land(written(*triggers), at=NOW)
        shop.work()
        shop.deliver()
        assert shop.totals().conserved
        the_far_end_has_what_the_ledger_says(shop.sends().values(), far_end)
        yield Asked(
            decisions={case: decisions_of(shop, f"user-{number}") for number, case in enumerate(CASES)},
            sent_to={row["user_id"] for name in ("events", "workflow_entries") for row in far_end.rows(name)},
        )


def decisions_of(shop: Shop, user: str) -> set[tuple[str, str]]:
    """(outcome, reason) of what the person's trigger asked for."""
    with shop.places() as places:
        members = person_named(places, f"user_id:{user}").members
    lake = shop.lake()
    triggers = {row["event_id"] for row in lake["validated_events"] if row["message_id"] == f"{user}-t"}
    found: list[Row] = [row for row in lake["send_decisions"] if row["trigger_event_id"] in triggers]
    assert {row["profile_id"] for row in found} <= members
    assert len(found) == 2
    return {(row["outcome"], row["reason"]) for row in found}


@pytest.mark.parametrize("case", CASES)
def test_a_candidate_is_refused_for_what_the_person_said_last(case: str, asked: Asked) -> None:
    assert asked.decisions[case] == {("refuse", CASES[case].reason)}


def test_only_who_said_yes_is_sent_anything(asked: Asked) -> None:
    assert asked.sent_to == {"glad"}


@pytest.mark.parametrize(
    "said",
    [
        said_no_and_then_yes_as_another,
        said_yes_and_is_another_who_said_no,
        is_another_who_is_another_who_said_no,
    ],
)
def test_who_said_no_as_another_is_sent_nothing_though_all_comes_in_one_batch(
    said: Callable[[str], list[Whole]], shop: Shop, far_end: FarEnd
) -> None:
    shop.land(written(*buyer("ann"), *said("ann"), trigger("ann")), at=NOW)
    assert len(shop.work()) == 1
    assert decisions_of(shop, "ann") == {("refuse", "consent_denied")}
    delivered = shop.deliver()
    assert (delivered.claimed, delivered.refused) == (0, 0)
    nothing_arrived(shop, far_end)


# -- between the decision and the claim -------------------------------------------------------------------------------


def says_no(places: Places) -> None:
    record_choice(
        places.state,
        profile_id=person_named(places, "user_id:ann").canonical,
        purpose="marketing",
        channel="email",
        status=ConsentStatus.DENIED,
        decided_at=NOW,
        source="person:desk",
        proof={},
        now=NOW,
        actor="desk",
    )


def complains(places: Places) -> None:
    suppress(
        places.state,
        profile_id=person_named(places, "user_id:ann").canonical,
        channel="*",
        reason="complaint",
        source="destination:iterable",
        now=NOW,
        actor="iterable",
    )


@pytest.mark.parametrize(("act", "reason"), [(says_no, "consent_withdrawn"), (complains, "suppressed_since")])
def test_a_no_between_the_decision_and_the_claim_is_heard(
    shop: Shop, far_end: FarEnd, act: Callable[[Places], None], reason: str
) -> None:
    decided(shop)
    with shop.places() as places:
        act(places)
    delivered = shop.deliver()
    assert (delivered.claimed, delivered.refused) == (0, 2)
    assert {row["reason"] for row in shop.sends().values()} == {reason}
    nothing_arrived(shop, far_end)


def decided(shop: Shop) -> None:
    """Ann said yes; an event and a journey are due."""
    shop.land(written(*buyer("ann"), answer("ann", marketing=True)), at=NOW - timedelta(minutes=9))
    shop.work()
    assert {row["status"] for row in shop.sends().values()} == {"pending"}
    assert len(shop.sends()) == 2


def nothing_arrived(shop: Shop, far_end: FarEnd) -> None:
    assert (far_end.rows("events"), far_end.rows("workflow_entries")) == ([], [])
    assert shop.totals().conserved


def test_a_no_in_a_later_batch_is_heard_before_the_claim(shop: Shop, far_end: FarEnd) -> None:
    decided(shop)
    shop.land(written(answer("ann", marketing=False, at=BEFORE + timedelta(hours=1), nth=2)), at=NOW)
    shop.work()
    assert shop.deliver().claimed == 0
    nothing_arrived(shop, far_end)


def test_a_merge_with_somebody_who_said_no_is_heard_before_the_claim(shop: Shop, far_end: FarEnd) -> None:
    shop.land(
        written(choice("phone-no", at=BEFORE - timedelta(hours=5), device="phone", marketing=False)),
        at=NOW - timedelta(minutes=19),
    )
    decided(shop)
    shop.land(written(identify("one", at=NOW, user="ann", device="phone")), at=NOW)
    shop.work()
    assert shop.deliver().claimed == 0
    assert {row["reason"] for row in shop.sends().values()} == {"consent_withdrawn"}
    nothing_arrived(shop, far_end)


def test_a_yes_that_runs_out_before_the_claim_is_none(shop: Shop, far_end: FarEnd) -> None:
    said = answer("ann", marketing=True, at=NOW - timedelta(days=729, hours=23))
    shop.land(written(*buyer("ann", country="CA"), said, trigger("ann")), at=NOW)
    shop.work()
    assert {row["status"] for row in shop.sends().values()} == {"pending"}
    clock = Clock(now=NOW + timedelta(hours=2))
    assert shop.deliver(clock=clock).claimed == 0
    nothing_arrived(shop, far_end)


def test_what_is_halted_waits_and_goes_nowhere(shop: Shop, far_end: FarEnd) -> None:
    decided(shop)
    with shop.places() as places:
        halt(places.state, "*", by="ann", why="wrong text", now=NOW)
    delivered = shop.deliver()
    assert (delivered.claimed, delivered.refused) == (0, 0)
    assert shop.totals().pending == 2
    nothing_arrived(shop, far_end)


# -- whatever people say, in whatever order ---------------------------------------------------------------------------

sayings = some.lists(
    some.tuples(some.integers(0, 5), some.booleans(), some.booleans(), some.integers(0, 3)), min_size=10, max_size=40
)
"""(who, marketing, personalization, hours after BEFORE), in the order of arrival."""

COUNTRIES = ("US", "GB", "DE", "FR", None, "Atlantis")


@settings(max_examples=5, phases=[Phase.explicit, Phase.generate])
@given(sayings)
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_nobody_is_sent_anything_whose_last_word_is_not_yes(
    dialect: str,
    tmp_path_factory: pytest.TempPathFactory,
    shared_far_end: FarEnd,
    said: list[tuple[int, bool, bool, int]],
) -> None:
    shared_far_end.reset()
    shop = Shop(folder=tmp_path_factory.mktemp("said"), address=shared_far_end.address)
    story = [whole for who, country in enumerate(COUNTRIES) for whole in buyer(f"u{who}", country=country)]
    story += [
        answer(f"u{who}", marketing=news, personalization=personal, at=BEFORE + timedelta(hours=hour), nth=number)
        for number, (who, news, personal, hour) in enumerate(said)
    ]
    middle = len(story) // 2
    for number, lines in enumerate([story[:middle], story[middle:]]):
        shop.land(written(*lines), at=NOW + timedelta(milliseconds=number))
    shop.work()
    shop.deliver()
    assert shop.totals().conserved
    arrived = {row["user_id"] for name in ("events", "workflow_entries") for row in shared_far_end.rows(name)}
    assert arrived <= {f"u{who}" for who in range(len(COUNTRIES)) if may_be_told(said, who)}
    # everybody who may be told something asked for it, and an answer is what a workflow waits for
    assert arrived >= {f"u{who}" for who in range(len(COUNTRIES)) if may_be_told(said, who) and not later_no(said, who)}


def may_be_told(said: list[tuple[int, bool, bool, int]], who: int) -> bool:
    """The newest answer counts, of two at one instant the no; outside the United States and Britain both are needed."""
    mine = [one for one in said if one[0] == who]
    if not mine:
        return False
    last = max(hour for *_, hour in mine)
    news = all(one[1] for one in mine if one[3] == last)
    personal = all(one[2] for one in mine if one[3] == last)
    return news and (personal or COUNTRIES[who] in ("US", "GB"))


def later_no(said: list[tuple[int, bool, bool, int]], who: int) -> bool:
    """Whether some batch may have seen a no of this person."""
    return any(not (one[1] and one[2]) for one in said if one[0] == who)
