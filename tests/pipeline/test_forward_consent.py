"""A forward with a purpose sends on what accepted people allow at that moment, and says of the rest why not."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.destinations.tracking_api import TrackingApi
from activation_dagster.domain.consent import ConsentRecord, ConsentRules, ConsentStatus
from activation_dagster.domain.reasons import DecisionRefusal
from activation_dagster.pipeline.forward import ForwardReport, Pace, forward
from activation_dagster.pipeline.forward_consent import why_not
from activation_dagster.pipeline.forward_status import Target, forward_status
from activation_dagster.pipeline.people import person_named
from activation_dagster.pipeline.places import Places
from activation_dagster.state.consent import record_choice
from activation_dagster.state.suppressions import suppress
from tests.pipeline.small_shop import NOW, REPOSITORY, bad_price, buyer, identify, land, purchase, work
from tests.pipeline.test_shed_events import shed_line
from tests.pipeline.tracking_server import Far, far_collector

LONG_AGO = NOW - timedelta(days=1)


@pytest.fixture
def far() -> Generator[Far]:
    with far_collector() as made:
        yield made


def target(far: Far, *, purpose: str | None = "marketing", channel: str | None = None) -> Target:
    return Target(source="web", address=far.address, purpose=purpose, channel=channel)


def sent_on(places: Places, far: Far, to: Target, pace: Pace | None = None) -> ForwardReport:
    receiver = TrackingApi(far.address, "key")
    try:
        return forward(places, to, receiver, pace or Pace(wait=lambda _: False, most_tries=5), since=LONG_AGO)
    finally:
        receiver.close()


def users(far: Far) -> set[str]:
    return {event["userId"] for batch in far.batches for event in batch}


def test_only_people_who_allow_it_go_and_the_others_are_counted_by_why(places: Places, far: Far) -> None:
    twice = purchase("ann")
    land(
        places,
        *buyer("ann", allows=True),
        *buyer("bob", allows=False),
        identify("eve"),
        bad_price("ann"),
        twice,
        twice,
        shed_line(purchase("ann")),
        b"no json",
    )
    to = target(far)
    assert sent_on(places, far, to).segments == 0  # nobody knows yet whose they are
    assert forward_status(places, to).waiting_segments == 1
    work(places)
    report = sent_on(places, far, to)
    assert users(far) == {"ann"}
    assert (report.segments, report.sent, report.withheld) == (1, 4, 8)
    expected = {
        "consent_denied": 3, "consent_unknown": 1, "contract_violation": 1, "not_accepted": 1, "shed_overload": 1,
        "not_json": 1,
    }  # fmt: skip
    assert report.withheld_by_reason == expected
    status = forward_status(places, to)
    assert (status.sent, status.withheld, status.withheld_by_reason) == (4, 8, expected)
    assert (status.waiting_segments, status.is_stale) == (0, False)


def test_without_a_purpose_everything_sound_goes_and_waits_for_no_batch(places: Places, far: Far) -> None:
    land(places, *buyer("ann", allows=True), *buyer("bob", allows=False), shed_line(purchase("eve")))
    report = sent_on(places, far, target(far, purpose=None))
    assert users(far) == {"ann", "bob"}
    assert report.withheld_by_reason == {"shed_overload": 1}


def test_a_yes_given_later_lets_later_events_go_and_a_no_stops_them_at_once(places: Places, far: Far) -> None:
    to = target(far, purpose="research", channel="email")
    land(places, identify("ann"))
    work(places)
    assert sent_on(places, far, to).withheld_by_reason == {"consent_unknown": 1}
    say(places, "ann", ConsentStatus.GRANTED, purpose="research", days_ago=1)
    land(places, purchase("ann"))
    work(places)
    assert sent_on(places, far, to).sent == 1
    land(places, purchase("ann"), purchase("ann"))
    work(places)
    say(places, "ann", ConsentStatus.DENIED, purpose="research", days_ago=0)  # after its batch, before it goes
    assert sent_on(places, far, to).withheld_by_reason == {"consent_denied": 2}


def test_a_no_that_comes_while_a_receiver_is_waited_for_is_heard(places: Places, far: Far) -> None:
    land(places, *buyer("ann", allows=True), *buyer("bob", allows=True))
    work(places)
    far.orders = ["500"]

    def wait(seconds: float) -> bool:
        if seconds:
            say(places, "bob", ConsentStatus.DENIED, purpose="marketing", days_ago=0)
        return False

    report = sent_on(places, far, target(far), Pace(wait=wait, most_tries=5))
    assert users(far) == {"ann"}
    assert report.withheld_by_reason == {"consent_denied": 3}


def test_a_suppressed_person_is_withheld_whatever_was_allowed(places: Places, far: Far) -> None:
    land(places, *buyer("ann", allows=True))
    work(places)
    suppress(
        places.state,
        profile_id=person_named(places, "user_id:ann").canonical,
        channel="*",
        reason="erasure",
        source="test",
        actor="test",
        now=NOW,
    )
    assert sent_on(places, far, target(far)).withheld_by_reason == {"suppressed": 3}
    assert far.ids == []


def test_a_target_for_which_something_waits_and_nobody_looks_is_stale(places: Places, far: Far) -> None:
    to = target(far)
    land(places, identify("ann"))
    sent_on(places, far, to)  # it waits for its batch
    assert not forward_status(places, to).is_stale
    later = replace(places, clock=lambda: NOW + timedelta(seconds=300))
    assert forward_status(later, to).is_stale
    sent_on(later, far, to)
    assert not forward_status(later, to).is_stale
    work(places)
    sent_on(places, far, to)
    even_later = replace(places, clock=lambda: NOW + timedelta(hours=2))
    assert not forward_status(even_later, to).is_stale  # nothing waits


def say(places: Places, user: str, status: ConsentStatus, *, purpose: str, days_ago: float) -> None:
    record_choice(
        places.state,
        profile_id=person_named(places, f"user_id:{user}").canonical,
        purpose=purpose,
        channel="email",
        status=status,
        decided_at=NOW - timedelta(days=days_ago),
        source="test",
        proof={},
        now=NOW,
        actor="test",
    )


# -- the rule ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rules() -> ConsentRules:
    from activation_dagster.registry.loading import load_contracts

    return load_contracts(REPOSITORY / "contracts", environment="demo").consent


SAID = st.lists(
    st.tuples(st.sampled_from(["email", "push"]), st.sampled_from(ConsentStatus), st.integers(0, 30)), max_size=6
)


@given(said=SAID)
def test_a_no_to_a_channel_is_heard_and_silence_is_no(
    rules: ConsentRules, said: list[tuple[str, ConsentStatus, int]]
) -> None:
    records = [
        ConsentRecord(
            record_id=str(number),
            profile_id="p",
            purpose="marketing",
            channel=channel,
            status=status,
            decided_at=NOW - timedelta(days=days),
            seq=number,
            source="test",
        )
        for number, (channel, status, days) in enumerate(said)
    ]
    found = why_not(rules, records, purpose="marketing", channels=["email", "push"], region="united_states", at=NOW)
    newest = {
        channel: max(
            (one for one in records if one.channel == channel),
            key=lambda one: (one.decided_at, one.status is ConsentStatus.DENIED),
        ).status
        for channel in {one.channel for one in records}
    }
    if ConsentStatus.DENIED in newest.values():
        assert found is DecisionRefusal.CONSENT_DENIED
    elif ConsentStatus.GRANTED in newest.values():
        assert found is None
    else:
        assert found is DecisionRefusal.CONSENT_UNKNOWN
