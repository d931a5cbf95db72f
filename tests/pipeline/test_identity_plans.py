"""History adjudicated again: what a plan says is what apply does, and what was undone is as if it had never been."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from sqlalchemy import select

from activation_dagster.commands.printing import plain
from activation_dagster.domain.batches import Batch
from activation_dagster.domain.consent import ConsentStatus, current_choice
from activation_dagster.domain.identifiers import Identifier, profile_id
from activation_dagster.domain.separations import Pair
from activation_dagster.errors import LeaseHeld, WrongUse
from activation_dagster.pipeline.identity import apply as identity_apply
from activation_dagster.pipeline.identity import parts
from activation_dagster.pipeline.identity.apply import apply_plan, plan_apply
from activation_dagster.pipeline.identity.graph import graph_of
from activation_dagster.pipeline.identity.plan import find_differences
from activation_dagster.pipeline.identity.unmerge import unmerge
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.work import work_batch
from activation_dagster.state.adjudications import adjudications_of, all_separations
from activation_dagster.state.consent import record_choice, records_of
from activation_dagster.state.engine import open_state
from activation_dagster.state.subjects import cluster_of
from activation_dagster.state.suppressions import active_for, suppress
from activation_dagster.state.tables import control_log, links, profile_redirects
from tests.pipeline.dying import applying_dies
from tests.pipeline.identity_stories import (
    CONTRACTS,
    Seen,
    contracts_at,
    cut,
    former_rows,
    held,
    land_batches,
    stories,
    unlike,
    write_contract,
)
from tests.pipeline.small_shop import (
    NOW,
    Clock,
    Event,
    batches_of,
    buyer,
    choice,
    event,
    lake_rows,
    land,
    ledger,
    places_at,
    purchase,
    send_out,
    work,
)

SEARCH = settings(
    max_examples=int(os.environ.get("ADJUDICATED_HISTORIES", "2")),  # one takes ten seconds
    derandomize="ADJUDICATED_HISTORIES" not in os.environ,  # so few find nothing by luck: `make test-adjudication` does
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.large_base_example,
        HealthCheck.function_scoped_fixture,  # each history has databases of its own
    ],
)


@contextmanager
def environment(folder: Path, url: str, contract: str) -> Generator[Places]:
    """An environment of one batch a segment, under one of the contracts."""
    folder.mkdir(parents=True, exist_ok=True)
    state = open_state(url)
    try:
        yield replace(places_at(folder, state, contracts=contracts_at(folder, contract)), batch_max_bytes=1)
    finally:
        state.close()


LEFT_OUT = ("separated", "blocked_value")
"""Reasons of links that a history without the link has not, or has for want of another identifier."""

Told = list[list[tuple[Seen, int]]]


def as_planned(places: Places) -> dict[str, Any]:
    return json.loads(json.dumps(plain(plan_apply(places, None))))


@SEARCH
@given(
    some.lists(stories, min_size=15, max_size=30),
    some.sampled_from(sorted(CONTRACTS)),
    some.sampled_from(sorted(CONTRACTS)),
)
def test_what_is_applied_is_what_was_planned_and_what_the_rules_make_of_it_from_the_first_event(
    tmp_path_factory: pytest.TempPathFactory, new_state_url: Callable[[], str], told: Told, before: str, after: str
) -> None:
    folder = tmp_path_factory.mktemp("applied")
    batches = cut(told)
    with (
        environment(folder / "then", new_state_url(), before) as places,
        environment(folder / "new", new_state_url(), after) as fresh,
    ):
        for one in (places, fresh):
            land_batches(one, batches)
            work(one)
        as_it_was, lake = held(places), lake_rows(places)
        write_contract(places.contracts_root, after)
        plan = as_planned(places)
        assert held(places) == as_it_was
        with pytest.MonkeyPatch.context() as changed:
            changed.setattr(parts, "MOST_IN_A_PART", 10)
            assert as_planned(places) == plan
            applied = apply_plan(places, plan, by="bob", why="A better contract.")
        assert {name: list(rows) for name, rows in applied.rows.items()} == plan["rows"]
        from_scratch = held(fresh)
        assert unlike(held(places), from_scratch) == {}
        assert as_planned(places)["is_empty"]
        for batch in batches_of(places):
            work_batch(places, batch)
        assert lake_rows(places) == lake  # as it was known
        assert unlike(held(places), from_scratch) == {}


@SEARCH
@given(some.lists(stories, min_size=15, max_size=30), some.sampled_from(sorted(CONTRACTS)))
def test_a_merge_that_is_undone_is_as_if_it_had_never_been(
    tmp_path_factory: pytest.TempPathFactory, new_state_url: Callable[[], str], told: Told, contract: str
) -> None:
    folder = tmp_path_factory.mktemp("undone")
    batches = cut(told)
    with (
        environment(folder / "then", new_state_url(), contract) as places,
        environment(folder / "new", new_state_url(), contract) as fresh,
    ):
        land_batches(places, batches)
        work(places)
        with places.state.read() as connection:
            losers = sorted(connection.execute(select(profile_redirects.c.from_profile)).scalars())
        if not losers:
            return
        lake = lake_rows(places)
        for loser in losers[:: max(1, len(losers) // 3)]:
            with places.state.read() as connection:
                lost = select(profile_redirects.c.to_profile).where(profile_redirects.c.from_profile == loser)
                if connection.execute(lost).one_or_none() is None:
                    continue
            tried = unmerge(places, profile=loser, dry_run=True)
            done = unmerge(places, profile=loser, by="bob", why="A tablet of two people.")
            assert done.plan == tried.plan
            assert done.pairs
        with places.state.read() as connection:
            pairs: frozenset[Pair] = all_separations(connection)
        land_batches(fresh, [[seen.without(sorted(pairs)) for seen in batch] for batch in batches])
        work(fresh)
        from_scratch = held(fresh, but_for=LEFT_OUT)
        assert unlike(held(places, but_for=LEFT_OUT), from_scratch) == {}
        for batch in batches_of(places):
            work_batch(places, batch)
        assert lake_rows(places) == lake
        assert unlike(held(places, but_for=LEFT_OUT), from_scratch) == {}


# -- one by one, on both databases -------------------------------------------------------------------------------------

ANN, PHONE = (profile_id(Identifier(*named)) for named in (("user_id", "ann"), ("anonymous_id", "phone")))
DAYS_AGO = NOW - timedelta(days=1)


def by_phone(one: Event) -> Event:
    """What a device does that nobody has said who they are on."""
    return {name: value for name, value in one.items() if name != "userId"} | {"anonymousId": "phone"}


def page(user: str, **more: Any) -> Event:
    return event("page", user, at=DAYS_AGO, properties={"path": "/"}, **more)


@pytest.fixture
def family(places: Places, tmp_path: Path) -> Places:
    """Ann and whoever uses her phone were taken for one person, who became a high-value customer and was told so."""
    land(places, *buyer("ann", price=300.0), *map(by_phone, buyer("", price=300.0)), at=NOW - timedelta(minutes=9))
    land(places, page("ann", anonymousId="phone"), at=NOW - timedelta(minutes=8))
    one = replace(places, batch_max_bytes=1)
    work(one)
    send_out(one, tmp_path)
    return one


def status_of(places: Places, workflow: str) -> list[tuple[str, str, str]]:
    return [
        (send.profile_id, send.status.value, send.reason) for send in ledger(places) if send.workflow_id == workflow
    ]


def person_of(places: Places, profile: str) -> str:
    with places.state.read() as connection:
        return cluster_of(connection, [profile])[profile].canonical


def test_who_was_told_as_one_person_is_not_told_again_as_two(family: Places, tmp_path: Path) -> None:
    assert status_of(family, "vip_journey") == [(ANN, "sent", "")]
    done = unmerge(family, profile=PHONE, by="bob", why="The phone is her son's.")
    assert {(one.exited, one.exited_samples) for one in done.plan.audiences if one.exited} == {(1, (ANN,))}
    assert all(len(one.entered_samples) == one.entered for one in done.plan.audiences)
    assert done.plan.sends
    assert {profile for one in done.plan.sends for profile in one.samples} <= {ANN, PHONE}
    assert all(one.samples for one in done.plan.sends)
    assert (person_of(family, PHONE), person_of(family, ANN)) == (PHONE, ANN)
    son = {**page("son", anonymousId="phone"), "timestamp": NOW.strftime("%Y-%m-%dT%H:%M:%SZ")}
    land(family, son, purchase("son", 900.0), choice("son", marketing_email=True), purchase("ann", 900.0))
    work(family)
    assert {row[:2] for row in status_of(family, "vip_journey")} == {(ANN, "sent"), (PHONE, "pending")}
    send_out(family, tmp_path)
    assert set(status_of(family, "vip_journey")) == {(ANN, "sent", ""), (PHONE, "refused", "inside_reentry")}


def test_a_plan_or_an_unmerge_sends_nothing_by_itself(family: Places) -> None:
    before = ledger(family)
    unmerge(family, profile=PHONE, by="bob", why="The phone is her son's.")
    work(family)
    assert ledger(family) == before


def say(places: Places, status: ConsentStatus, channel: str) -> None:
    """A person records what Ann said."""
    record_choice(
        places.state,
        profile_id=ANN,
        purpose="marketing",
        channel=channel,
        status=status,
        decided_at=NOW,
        source="person:bob",
        proof={},
        now=NOW,
        actor="bob",
    )


def test_a_no_that_a_person_recorded_stays_with_every_part(family: Places) -> None:
    say(family, ConsentStatus.DENIED, "email")
    say(family, ConsentStatus.GRANTED, "sms")
    suppress(family.state, profile_id=ANN, channel="push", reason="complaint", source="call", now=NOW, actor="bob")
    done = unmerge(family, profile=PHONE, by="bob", why="The phone is her son's.")
    assert {(one.before, one.after) for one in done.plan.consents} == {("unknown", "denied"), ("unknown", "granted")}
    assert {one.samples for one in done.plan.consents} == {(PHONE,)}
    with family.state.read() as connection:
        for profile, said in ((ANN, {"email": "denied", "sms": "granted"}), (PHONE, {"email": "denied"})):
            records = records_of(connection, [profile])[profile]
            for channel in ("email", "sms"):
                found = current_choice(records, purpose="marketing", channel=channel)
                assert (None if found is None else found.status.value) == said.get(channel)
            assert [one.channel for one in active_for(connection, [profile])[profile]] == ["push"]
    with family.state.read() as connection:
        assert not adjudications_of(connection)[-1].contract_set
    assert find_differences(family, rules=None).is_empty


def test_what_was_refused_because_of_a_link_that_is_undone_is_no_longer_refused(
    new_state_url: Callable[[], str], tmp_path: Path
) -> None:
    told = [
        [Seen(user="bea", hour=8), Seen(device="tablet", hour=16)],
        [
            Seen(user="bea", device="tablet", hour=21),
            Seen(user="bea", device="laptop", hour=15),
            Seen(device="laptop", does="yes", hour=5),
        ],
    ]
    bea, tablet, laptop = (
        Identifier(*named) for named in (("user_id", "bea"), ("anonymous_id", "tablet"), ("anonymous_id", "laptop"))
    )
    with environment(tmp_path, new_state_url(), "one device a day") as places:
        land_batches(places, told)
        work(places)
        assert person_of(places, profile_id(tablet)) == profile_id(bea)
        assert graph_of(places, "anonymous_id:laptop", reveal=False).profile_id == profile_id(laptop)
        unmerge(places, profile=profile_id(tablet), by="bob", why="The tablet is the family's.")
        assert graph_of(places, "anonymous_id:laptop", reveal=False).profile_id == profile_id(bea)


@pytest.mark.parametrize("moment", ["identity.begun", "identity.profiles"])
def test_a_no_that_comes_meanwhile_stays_with_who_was_attached_and_never_another(places: Places, moment: str) -> None:
    land(places, page("ann", anonymousId="phone"), by_phone(page("")))
    work(places)
    with places.state.read() as connection:
        (joined,) = set(connection.execute(select(links.c.event_id)).scalars())

    def at(name: str) -> None:
        if name == moment:
            say(places, ConsentStatus.DENIED, "email")
            suppress(
                places.state, profile_id=ANN, channel="push", reason="complaint", source="call", now=NOW, actor="bob"
            )

    unmerge(replace(places, at=at), link=joined, by="bob", why="The phone is her son's.")
    with places.state.read() as connection:
        for profile in (ANN, PHONE):
            said = current_choice(records_of(connection, [profile])[profile], purpose="marketing", channel="email")
            assert said is not None
            assert said.status is ConsentStatus.DENIED
            assert [one.channel for one in active_for(connection, [profile])[profile]] == ["push"]


@pytest.mark.parametrize("is_said_again", [False, True])
def test_a_suppression_that_is_said_again_is_of_whoever_they_are_by_then(places: Places, is_said_again: bool) -> None:
    def complain() -> None:
        suppress(places.state, profile_id=ANN, channel="push", reason="complaint", source="call", now=NOW, actor="bob")

    land(places, page("ann"), by_phone(page("")))
    work(places)
    complain()
    complain()
    land(places, page("ann", anonymousId="phone"))
    work(places)
    if is_said_again:
        complain()
        complain()
    with places.state.read() as connection:
        assert len(active_for(connection, [ANN])[ANN]) == 1 + is_said_again
    unmerge(places, profile=PHONE, by="bob", why="The phone is her son's.")
    with places.state.read() as connection:
        assert active_for(connection, [ANN, PHONE]).keys() == ({ANN, PHONE} if is_said_again else {ANN})


def test_who_was_separated_before_is_left_out_of_a_plan_that_is_not_about_them(family: Places, tmp_path: Path) -> None:
    say(family, ConsentStatus.DENIED, "email")
    suppress(family.state, profile_id=ANN, channel="push", reason="complaint", source="call", now=NOW, actor="bob")
    unmerge(family, profile=PHONE, by="bob", why="The phone is her son's.")
    land(family, page("", anonymousId="laptop"))
    work(family)
    land(family, page("ann", anonymousId="tablet"), page("ann", anonymousId="laptop"))
    work(family)
    places = replace(family, contracts_root=contracts_at(tmp_path, "one device"))
    plan = as_planned(places)
    assert (plan["profiles"], plan["consents"]) == (plan["profiles"] | {"split": 1, "unchanged": 1}, [])
    apply_plan(places, plan, by="bob", why="One device a person.")
    assert as_planned(places)["is_empty"]
    with family.state.read() as connection:
        for profile in (ANN, PHONE):  # and not the laptop: it was nobody's when the *no* was said
            said = current_choice(records_of(connection, [profile])[profile], purpose="marketing", channel="email")
            assert said is not None
            assert said.status is ConsentStatus.DENIED
            assert [one.channel for one in active_for(connection, [profile])[profile]] == ["push"]


def test_what_was_undone_is_told_with_who_did_it_and_why(family: Places) -> None:
    unmerge(family, profile=PHONE, by="bob", why="The phone is her son's.")
    told = graph_of(family, "user_id:ann", reveal=True)
    said = {(link.decision.value, link.reason, bool(link.adjudicated), bool(link.ended)) for link in told.links}
    assert said >= {("refused", "separated", True, False), ("accepted", "", False, True)}
    assert any("unmerge by bob" in link.ended and "her son's" in link.ended for link in told.links)
    with family.state.read() as connection:
        (act,) = connection.execute(select(control_log).where(control_log.c.act == "identity_unmerge"))
    assert (act.actor, json.loads(act.detail)["why"]) == ("bob", "The phone is her son's.")


def test_the_two_stay_apart_until_other_identifiers_make_them_one(family: Places) -> None:
    unmerge(family, profile=PHONE, by="bob", why="The phone is her son's.")
    land(family, page("ann", anonymousId="phone"))
    work(family)
    assert person_of(family, PHONE) == PHONE
    land(family, page("ann", context={"traits": {"email": "a@shop.test"}}))
    land(family, by_phone(page("", context={"traits": {"email": "a@shop.test"}})))
    work(family)
    assert person_of(family, PHONE) == ANN


def test_a_link_is_named_by_the_event_that_made_it(family: Places) -> None:
    (joined,) = [moved.event_id for moved in graph_of(family, "user_id:ann", reveal=False).redirects]
    done = unmerge(family, link=joined, by="bob", why="The phone is her son's.")
    assert [pair[2] for pair in done.pairs] == [joined]
    assert not done.is_still_one
    assert person_of(family, PHONE) == PHONE
    with pytest.raises(WrongUse, match="No link was made"):
        unmerge(family, link=joined, by="bob", why="Again.")
    with pytest.raises(WrongUse, match="No other profile"):
        unmerge(family, profile=PHONE, by="bob", why="Again.")
    with pytest.raises(WrongUse, match="No link was made"):
        unmerge(family, link="nothing", by="bob", why="Again.")


def test_a_plan_whose_rules_or_state_moved_on_is_refused(places: Places, tmp_path: Path) -> None:
    places = replace(places, contracts_root=contracts_at(tmp_path, "as it is"), batch_max_bytes=1)
    land_batches(places, [[Seen(user="ann", device="phone"), Seen(user="ann", device="tablet")]])
    work(places)
    write_contract(places.contracts_root, "one device")
    plan = as_planned(places)
    write_contract(places.contracts_root, "small")
    with pytest.raises(WrongUse, match="other identity rules"):
        apply_plan(places, plan, by="bob", why="")
    write_contract(places.contracts_root, "one device")
    with pytest.raises(WrongUse, match="was made for the environment"):
        apply_plan(places, plan | {"environment": "elsewhere"}, by="bob", why="")
    land_batches(places, [[Seen(user="bea", device="tablet")]], first=1)
    work(places)
    with pytest.raises(WrongUse, match="State moved on"):
        apply_plan(places, plan, by="bob", why="")
    apply_plan(places, as_planned(places), by="bob", why="")
    assert as_planned(places)["is_empty"]


# -- dying on the way, and somebody else at work -----------------------------------------------------------------------

TOLD = [
    [Seen(user="ann", device="phone", does="buy"), Seen(device="tablet", does="no"), Seen(user="bea", does="yes")],
    [
        Seen(user="ann", device="tablet", does="yes", hour=3),
        Seen(user="bea", device="tablet", does="buy", hour=4),
        Seen(device="phone", email="a@shop.test", does="US"),
        Seen(device="laptop", email="a@shop.test", does="buy", hour=5),
    ],
]
LATER = [Seen(user="ann", device="phone", does="buy", hour=9), Seen(user="bea", device="tablet", does="yes", hour=9)]
AFTER_THE_LEASE = timedelta(minutes=5)
POINTS = [
    "identity.begun:1",
    "identity.facts:1",
    "identity.facts:4",
    "identity.profiles:1",
    "identity.people:1",
    "identity.graph:1",  # after what was seen together,
    "identity.graph:2",  # and after the links
]


class Died(Exception):
    """A worker is gone."""


@contextmanager
def ready(folder: Path, url: str) -> Generator[Places]:
    """An environment whose contract has just become another."""
    with environment(folder, url, "as it is") as places:
        land_batches(places, TOLD)
        work(places)
        write_contract(places.contracts_root, "one device")
        yield places


def test_who_is_killed_on_the_way_leaves_what_is_finished_to_the_same_end(
    new_state_url: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_apply, "ROWS_AT_ONCE", 2)
    url = new_state_url()
    with ready(tmp_path / "whole", new_state_url()) as whole, ready(tmp_path / "cut", url) as places:
        apply_plan(whole, as_planned(whole), by="bob", why="A better contract.")
        plan = as_planned(places)
        for number, point in enumerate(POINTS):
            applying_dies(
                tmp_path / "cut",
                url,
                at=point,
                clock=NOW + number * AFTER_THE_LEASE,
                rows_at_once=2,
                plan=plan if point == POINTS[0] else None,
            )
            with places.state.read() as connection:
                assert [one.is_finished for one in adjudications_of(connection)] == [False]
        land_batches(places, [LATER], first=len(TOLD))
        land_batches(whole, [LATER], first=len(TOLD))
        later = Clock(NOW + len(POINTS) * AFTER_THE_LEASE)
        work(replace(places, clock=later))  # whoever works the next batch finishes it first
        work(replace(whole, clock=later))
        assert held(places) == held(whole)
        assert former_rows(places) == former_rows(whole) > 0
        with places.state.read() as connection:
            assert [one.is_finished for one in adjudications_of(connection)] == [True]


def test_the_same_command_again_finishes_what_was_begun(new_state_url: Callable[[], str], tmp_path: Path) -> None:
    def die(passed: str) -> None:
        if passed == "identity.people":
            raise Died

    with ready(tmp_path, new_state_url()) as places:
        plan = as_planned(places)
        with pytest.raises(Died):
            apply_plan(replace(places, at=die), plan, by="bob", why="A better contract.")
        assert apply_plan(places, plan, by="bob", why="A better contract.").is_resumed
        assert as_planned(places)["is_empty"]


def test_a_batch_that_comes_while_a_plan_is_applied_comes_after_it(
    new_state_url: Callable[[], str], tmp_path: Path
) -> None:
    with ready(tmp_path / "both", new_state_url()) as places, ready(tmp_path / "after", new_state_url()) as after:
        begun, worked = threading.Event(), threading.Event()

        def batch() -> list[Batch]:
            assert begun.wait(60)
            other = replace(places, holder="another")
            give_up_at = time.monotonic() + 60
            while True:
                try:
                    return work(other)
                except LeaseHeld:
                    worked.set()  # it has tried, and must wait
                    assert time.monotonic() < give_up_at
                    time.sleep(0.05)

        def wait(passed: str) -> None:
            if passed == "identity.begun":
                begun.set()
                assert worked.wait(60)

        land_batches(places, [LATER], first=len(TOLD))
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(batch)
            apply_plan(replace(places, at=wait), as_planned(places), by="bob", why="A better contract.")
            assert len(found.result(120)) == 1
        apply_plan(after, as_planned(after), by="bob", why="A better contract.")
        land_batches(after, [LATER], first=len(TOLD))
        work(after)
        assert held(places) == held(after)
