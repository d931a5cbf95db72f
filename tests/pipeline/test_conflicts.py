"""An event of two people waits where the contract says so: seen, explained, judged again, mended or dismissed."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from activation_dagster.commands.printing import plain
from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.reasons import IncidentKind, QuarantineReason
from activation_dagster.domain.repairs import Selection
from activation_dagster.errors import ContractsInvalid
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.dismissal import dismiss
from activation_dagster.pipeline.identity.apply import apply_plan, plan_apply
from activation_dagster.pipeline.people import person_named
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.purge import purge
from activation_dagster.pipeline.quarantine import QuarantinedEvent, kept_for, listed, shown
from activation_dagster.pipeline.reentry import finish_reentries, repair, replay
from activation_dagster.pipeline.watch import batch_sums, totals, watch
from activation_dagster.pipeline.work import work_batch
from activation_dagster.registry.repairs import read_repair
from activation_dagster.state.engine import State
from activation_dagster.state.incidents import list_incidents, resolve
from activation_dagster.state.quarantine import list_acts
from activation_dagster.state.tables import activity
from tests.pipeline.small_shop import (
    NOW,
    Clock,
    Event,
    batches_of,
    choice,
    event,
    identify,
    lake_rows,
    land,
    ledger,
    places_at,
    purchase,
    work,
)
from tests.pipeline.test_resolve import contracts_with, found_of, name, seen

KINDS: dict[str, Any] = {
    "user_id": {"paths": ["userId"], "normalise": ["trim"], "limit": 1},
    "email": {"paths": ["context.traits.email", "traits.email"], "normalise": ["email"]},
}
CONFLICT = Selection(reason="identity_conflict")
ANN, BEA = name("user_id", "ann"), name("user_id", "bea")


@pytest.fixture
def shop(tmp_path: Path, state: State) -> Places:
    """A shop whose identity contract leaves events of two people to nobody."""
    return places_at(tmp_path, state, contracts=contracts_with(tmp_path, KINDS, on_conflict="quarantine"))


def both(user: str = "bea", email: str = "ann@shop.test", **more: Any) -> Event:
    """Bea's event with Ann's address."""
    return seen(user, email=email, **more)


def land_conflict(shop: Places, *more: Event) -> Event:
    """Ann and Bea are known; then comes an event of both, and more; all is worked."""
    conflict = both()
    land(shop, seen("ann", email="ann@shop.test"), seen("bea"), at=NOW - timedelta(minutes=9))
    work(shop)
    land(shop, conflict, *more, at=NOW - timedelta(minutes=8))
    work(shop)
    return conflict


def change_identity(shop: Places, **changes: Any) -> None:
    """The identity contract of today, changed."""
    file = shop.contracts_root / "identity.yaml"
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(content | {"version": "changed"} | changes, sort_keys=False))


def waiting(shop: Places) -> tuple[QuarantinedEvent, ...]:
    return shown(shop, CONFLICT)


def sums_hold(shop: Places) -> bool:
    assert all(sums.hold for sums in batch_sums(shop, [batch.batch_id for batch in batches_of(shop)]))
    return totals(shop).conserved


# -- seen -------------------------------------------------------------------------------------------------------------


def test_an_event_in_conflict_is_a_line_of_its_own_with_both_candidates_and_the_rule_and_shows_nobody(
    shop: Places,
) -> None:
    land_conflict(shop)
    (group,) = listed(shop)
    assert (group.event, group.reason, group.field, group.events) == ("page", "identity_conflict", "email", 1)
    assert group.owner == contracts_today(shop).identity.owner
    assert group.removed_from is None
    assert listed(shop, Selection(field="email")) == (group,)
    assert listed(shop, Selection(field="user_id")) == ()
    (found,) = waiting(shop)
    assert found.violations == ("email: limit_reached",)
    (email,) = [one for one in found.candidates if one.kind == "email"]
    assert (email.profile_id, email.other_profile_id, email.rule) == (BEA, ANN, "limit_reached")
    assert {one.kind for one in found.candidates} == {"user_id", "email"}
    assert "ann@shop.test" not in repr(found)
    (revealed,) = shown(shop, CONFLICT, reveal=True)
    assert {one.identifier for one in revealed.candidates} == {"bea", "ann@shop.test"}


def test_an_event_in_conflict_was_accepted_and_is_counted_there_and_nowhere_else(shop: Places) -> None:
    land_conflict(shop)
    counted = totals(shop)
    assert (counted.received, counted.accepted, counted.quarantined) == (3, 3, 0)
    assert sums_hold(shop)
    assert watch(shop, NOW).incidents == ()
    tables = lake_rows(shop)
    assert tables["quarantined_events"] == []
    assert Counter(row[4] for row in tables["resolved_events"]) == {None: 2, "identity_conflict": 1}


# -- judged again -----------------------------------------------------------------------------------------------------


def test_what_is_still_in_conflict_does_not_enter_again(shop: Places) -> None:
    land_conflict(shop)
    report = replay(shop, CONFLICT, by="ann")
    assert (report.selected, report.passing) == (1, 0)
    assert report.broken == {"identity_conflict email: limit_reached": 1}
    assert work(shop) == []
    assert len(waiting(shop)) == 1


def test_under_another_contract_it_is_somebodys_and_twice_is_once(shop: Places) -> None:
    bought = purchase("bea", at=NOW - timedelta(days=1)) | {"context": {"traits": {"email": "ann@shop.test"}}}
    conflict = land_conflict(shop, bought)
    change_identity(shop, rules={"on_conflict": "drop_weakest"})
    assert replay(shop, CONFLICT).passing == 2  # only tried
    report = replay(shop, CONFLICT, by="ann")
    assert report.passing == 2
    assert replay(shop, CONFLICT, by="ann").selected == 0
    batches = work(shop)
    assert [batch.provenance for batch in batches] == [Provenance.REPLAY]
    assert waiting(shop) == ()
    assert {one.became != "" for one in shown(shop, CONFLICT, closed=True)} == {True}
    rows = lake_rows(shop)
    profiles = Counter((row[3], row[4]) for row in rows["resolved_events"] if row[1] == batches[0].batch_id)
    assert profiles == {(BEA, None): 2}
    assert rows["duplicate_events"] == []
    counted = totals(shop)
    assert (counted.received, counted.accepted, counted.duplicate) == (6, 6, 0)
    assert sums_hold(shop)
    # what its sender sends again is a duplicate, before and after
    land(shop, conflict, bought)
    work(shop)
    assert totals(shop).duplicate == 2
    for batch in batches_of(shop):
        work_batch(shop, batch)
    assert lake_rows(shop)["resolved_events"] == rows["resolved_events"]
    (act,) = _acts(shop)
    assert (act.kind, act.events) == ("replay", 2)


def test_of_events_that_enter_together_one_may_make_another_somebodys(shop: Places) -> None:
    """They are judged in the order in which they would enter, and so they are resolved."""
    land_conflict(shop, both("cem"), both("cem"))
    change_identity(shop, rules={"on_conflict": "keep_apart"})
    tried = replay(shop, CONFLICT)
    assert (tried.selected, tried.passing) == (3, 3)
    replay(shop, CONFLICT, by="ann")
    work(shop)
    assert waiting(shop) == ()


def test_a_repair_mends_the_identifier_in_dispute(shop: Places, tmp_path: Path) -> None:
    land_conflict(shop)
    file = tmp_path / "addresses.yaml"
    content = {
        "id": "addresses",
        "owner": "platform",
        "reason_for": "A form filled in the address of whoever used it before.",
        "select": {"reason": "identity_conflict", "field": "email"},
        "steps": [{"drop": {"field": "context.traits.email"}}],
    }
    file.write_text(yaml.safe_dump(content))
    read = read_repair(file, owners=contracts_today(shop).owners)
    assert repair(shop, read, by="ann").passing == 1
    (batch,) = work(shop)
    assert batch.provenance is Provenance.REPAIR
    assert waiting(shop) == ()
    assert (totals(shop).accepted, totals(shop).duplicate) == (4, 0)
    assert sums_hold(shop)


def test_what_enters_again_and_is_in_conflict_again_waits_again(shop: Places) -> None:
    land_conflict(shop)
    change_identity(shop, rules={"on_conflict": "drop_weakest"})
    assert replay(shop, CONFLICT, by="ann").passing == 1
    change_identity(shop, rules={"on_conflict": "quarantine"})
    work(shop)
    (again,) = waiting(shop)
    assert again.candidates
    change_identity(shop, rules={"on_conflict": "drop_weakest"})
    assert replay(shop, CONFLICT, by="ann").passing == 1
    work(shop)
    assert waiting(shop) == ()
    assert (totals(shop).accepted, totals(shop).duplicate) == (5, 0)


def test_who_dies_while_it_enters_again_leaves_what_is_finished_to_the_same_end(shop: Places) -> None:
    class Died(Exception):
        pass

    def die(point: str) -> None:
        if point == "reentry.recorded":
            raise Died

    land_conflict(shop)
    change_identity(shop, rules={"on_conflict": "drop_weakest"})
    with pytest.raises(Died):
        replay(replace(shop, at=die), CONFLICT, by="ann")
    assert finish_reentries(shop) == 1
    assert replay(shop, CONFLICT, by="ann").selected == 0
    work(shop)
    assert (totals(shop).accepted, totals(shop).duplicate, len(waiting(shop))) == (4, 0, 0)


def test_a_trigger_that_was_nobodys_is_held_once_when_it_is_somebodys(shop: Places) -> None:
    """A replay recomputes, it never sends: what it finds missing is held for a named person."""
    land(shop, identify("ann", email="ann@shop.test"), identify("bea"), purchase("bea"), at=NOW - timedelta(minutes=9))
    work(shop)
    yes = choice("bea", marketing_email=True, personalization=True)
    yes["context"]["traits"] = {"email": "ann@shop.test"}
    land(shop, yes, at=NOW - timedelta(minutes=8))
    work(shop)
    assert ledger(shop) == ()
    assert any("identity_conflict" in decision for decision in lake_rows(shop)["send_decisions"])
    change_identity(shop, rules={"on_conflict": "drop_weakest"})
    replay(shop, CONFLICT, by="ann")
    work(shop)
    (send,) = [one for one in ledger(shop) if one.workflow_id == "welcome_back"]
    assert (send.status.value, send.reason) == ("held", "not_live")


@pytest.mark.parametrize("is_dismissed", [False, True])
def test_what_entered_again_or_was_dismissed_is_not_counted_again_when_history_is_adjudicated(
    shop: Places, is_dismissed: bool
) -> None:
    """Under the new rules the event that waited would be Bea's as well, and of its two arrivals the second counts."""
    one = replace(shop, batch_max_bytes=1)
    bought = purchase("bea", at=NOW - timedelta(days=1)) | {"context": {"traits": {"email": "ann@shop.test"}}}
    land_conflict(one, bought)
    if is_dismissed:
        dismiss(one, CONFLICT, by="ann", why="A till that was tried.")
    change_identity(one, rules={"on_conflict": "drop_weakest"})
    if not is_dismissed:
        replay(one, CONFLICT, by="ann")
    work(one)
    before = _activity(one)
    assert {(profile, count) for profile, _, count in before} == (set() if is_dismissed else {(BEA, 1)})
    apply_plan(one, json.loads(json.dumps(plain(plan_apply(one, None)))), by="ann", why="The new rules hold.")
    assert _activity(one) == before
    assert len(shown(one, CONFLICT, closed=True)) == 2
    assert waiting(one) == ()


def _activity(shop: Places) -> list[tuple[str, str, int]]:
    """What is counted of whom: (profile, measure, events), a row a batch."""
    with shop.state.read() as connection:
        rows = connection.execute(select(activity.c.profile_id, activity.c.measure, activity.c.event_count))
        return sorted(tuple(row) for row in rows)


# -- dismissed, kept --------------------------------------------------------------------------------------------------


def test_dismissed_it_waits_no_more_and_stays_accepted(shop: Places) -> None:
    land_conflict(shop)
    assert dismiss(shop, CONFLICT, by="ann", why="Nobody needs a page view.").selected == 1
    assert listed(shop) == ()
    assert totals(shop).accepted == 3
    assert replay(shop, CONFLICT, by="ann").selected == 0
    assert sums_hold(shop)


def test_it_is_kept_as_what_was_accepted_is(shop: Places, state: State) -> None:
    land_conflict(shop)
    assert QuarantineReason.IDENTITY_CONFLICT not in kept_for(shop)
    later = replace(shop, clock=Clock(NOW + timedelta(days=9_999)))
    assert purge(later, by="ann").removed == 0
    assert len(waiting(later)) == 1


def _acts(shop: Places) -> list[Any]:
    with shop.state.read() as connection:
        return list_acts(connection, limit=None)


# -- when there are more ----------------------------------------------------------------------------------------------


_numbers = itertools.count(1)


def crowd(size: int, *, address: str | None = None) -> list[Event]:
    """So many new people; with an address, all with the same."""
    more: dict[str, Any] = {} if address is None else {"email": address}
    return [seen(f"p{next(_numbers)}", **more) for _ in range(size)]


def test_a_jump_of_conflicts_is_an_incident_with_an_owner_until_somebody_resolves_it(
    tmp_path: Path, state: State
) -> None:
    jump = {"at_least": 5, "above_share": 0.1, "factor": 3}
    shop = places_at(tmp_path, state, contracts=contracts_with(tmp_path, KINDS, conflict_jump=jump))
    for size, address in ((6, "a@shop.test"), (20, None), (20, None), (4, "b@shop.test"), (20, None)):
        land(shop, *crowd(size, address=address))  # the first batch has nothing before it, and four are too few
        work(shop)
    assert _open(shop) == []
    land(shop, *crowd(20, address="c@shop.test"))
    work(shop)
    (incident,) = _open(shop)
    mode = contracts_today(shop).failure_modes["incident.identity_conflicts"]
    assert (incident.owner, incident.batch_id) == (mode.owner, batches_of(shop)[-1].batch_id)
    assert "19 of 40 links are in conflict" in incident.sentence
    assert "shop.test" not in incident.sentence
    work_batch(shop, batches_of(shop)[-1])
    assert _open(shop) == [incident]
    with state.write() as connection:
        assert resolve(connection, incident.incident_id, by="ann", resolution="A kiosk; blocked.", now=NOW)
    work_batch(shop, batches_of(shop)[-1])
    assert _open(shop) == []  # who runs the batch again does not open it again


def _open(shop: Places) -> list[Any]:
    with shop.state.read() as connection:
        return list(list_incidents(connection, is_open=True, kind=IncidentKind.IDENTITY_CONFLICTS))


def test_what_a_jump_is_may_be_declared_and_a_mistake_is_told(tmp_path: Path) -> None:
    root = contracts_with(tmp_path, KINDS, conflict_jump={"atleast": 5, "above_share": 2})
    with pytest.raises(ContractsInvalid) as refused:
        contracts_today_at(root)
    told = {fault.path: fault.sentence for fault in refused.value.faults}
    assert "Did you mean 'at_least'?" in told["rules.conflict_jump.atleast"]
    assert "rules.conflict_jump.above_share" in told


def contracts_today_at(root: Path) -> None:
    from activation_dagster.registry.loading import load_contracts

    load_contracts(root, environment="shop")


def test_nobody_else_is_touched_by_an_event_in_conflict(shop: Places) -> None:
    conflict = land_conflict(shop)
    assert found_of(shop, [conflict]) == ["identity_conflict"]
    assert person_named(shop, "email:ann@shop.test").canonical == ANN
    assert person_named(shop, "user_id:bea").members == frozenset({BEA})
    land(shop, event("page", "bea", at=NOW, properties={"path": "/"}))
    work(shop)
    assert len(waiting(shop)) == 1
