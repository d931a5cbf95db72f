"""The gate: what is claimed, what is refused and why, and what it leaves for later."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from activation_dagster.domain.consent import ConsentStatus
from activation_dagster.domain.reasons import GateRefusal, IncidentKind
from activation_dagster.domain.sends import Outcome, SendStatus
from activation_dagster.state.answers import answer
from activation_dagster.state.engine import State
from activation_dagster.state.gate import claim
from activation_dagster.state.halts import halt, lift
from activation_dagster.state.incidents import list_incidents
from activation_dagster.state.instants import micros
from activation_dagster.state.suppressions import suppress
from activation_dagster.state.tables import sends
from tests.state.examples import (
    IDEMPOTENT,
    NOW,
    RULES,
    add_profiles,
    add_send,
    after,
    choose,
    claim_now,
    key_of,
    keys,
    merge,
    people,
    receipt,
    send_of,
)

DAY = 86_400


def refused(state: State, name: str) -> tuple[SendStatus, str]:
    send = send_of(state, name)
    return send.status, send.reason


def test_a_due_send_of_a_willing_person_is_claimed(state: State) -> None:
    people(state, "p1")
    add_send(state, "a", "p1")
    claimed = claim_now(state)
    (send,) = claimed.claimed
    assert (claimed.refused, claimed.waiting) == (0, 0)
    assert send.message.consent_checked
    assert send.message.execution_input() == {
        "plan": "gold",
        "audience_id": "high_value_users",
        "validated_at": "2025-09-18T10:12:00Z",
        "consent_checked": True,
    }
    assert (send.attempts, send.in_doubt, send.lease_until) == (1, False, after(60))
    row = send_of(state, "a")
    assert (row.status, row.claim_token, row.claimed_at, row.lease_until, row.attempts) == (
        SendStatus.CLAIMED,
        "t1",
        NOW,
        after(60),
        1,
    )


def test_the_claim_keeps_what_it_read(state: State) -> None:
    with state.write() as connection:
        add_profiles(connection, ["p1"])
    record = choose(state, "p1")
    add_send(state, "a", "p1")
    claim_now(state)
    assert send_of(state, "a").consent_evidence == {
        "checked_at": micros(NOW),
        "rules": "rules-1",
        "records": [record.record_id],
    }


def test_a_claimed_send_is_not_claimed_again(state: State) -> None:
    people(state, "p1")
    add_send(state, "a", "p1")
    assert keys(claim_now(state)) == [key_of("a")]
    assert claim_now(state, token="t2") == replace(claim_now(state, token="t2"), claimed=(), refused=0, waiting=0)


@pytest.mark.parametrize(
    "other",
    [
        {"due_at": micros(after(1))},
        {"destination": "webhook"},
        {"endpoint": "trigger"},
        {"status": "held", "reason": "not_live"},
    ],
    ids=["not due", "another destination", "another endpoint", "held"],
)
def test_what_is_not_asked_for_is_left_alone(state: State, other: dict[str, Any]) -> None:
    people(state, "p1")
    add_send(state, "a", "p1", **other)
    before = send_of(state, "a")
    assert claim_now(state, endpoint="track").claimed == ()
    assert send_of(state, "a") == before


def test_the_longest_due_come_first_up_to_the_limit(state: State) -> None:
    people(state, "p1", "p2", "p3")
    for wait, name in enumerate(("c", "a", "b"), start=1):
        add_send(state, name, f"p{wait}", due_at=micros(after(-wait)))
    assert keys(claim_now(state, limit=2)) == sorted([key_of("b"), key_of("a")])


def test_a_person_gets_one_send_a_claim(state: State) -> None:
    people(state, "p1", "p2")
    with state.write() as connection:
        merge(connection, "p2", "p1")
    for wait, (name, profile) in enumerate((("a", "p1"), ("b", "p2"), ("c", "p1")), start=1):
        add_send(state, name, profile, due_at=micros(after(-wait)), workflow_id=name)
    claims = [claim_now(state, token=f"t{n}") for n in range(4)]
    assert [keys(one) for one in claims] == [[key_of("c")], [key_of("b")], [key_of("a")], []]
    assert [one.waiting for one in claims] == [2, 1, 0, 0]


def test_silence_is_a_no(state: State) -> None:
    with state.write() as connection:
        add_profiles(connection, ["p1"])
    add_send(state, "a", "p1")
    assert claim_now(state).refused == 1
    assert refused(state, "a") == (SendStatus.REFUSED, GateRefusal.CONSENT_WITHDRAWN)
    assert send_of(state, "a").consent_evidence["consent"] == "consent_unknown"


@pytest.mark.parametrize(
    ("region", "days", "consent"),
    [
        ("plain", 10_000, None),
        ("strict", 0, "consent_unknown"),  # profiling was never asked
        ("a region that the rules forgot", 0, "consent_unknown"),
    ],
)
def test_the_region_says_what_is_enough(state: State, region: str, days: int, consent: str | None) -> None:
    people(state, "p1")
    add_send(state, "a", "p1", region=region, expires_at=micros(after(days * DAY + 3_600)))
    claim_now(state, now=after(days * DAY))
    send = send_of(state, "a")
    assert send.status is (SendStatus.CLAIMED if consent is None else SendStatus.REFUSED)
    assert send.consent_evidence.get("consent") == consent


@pytest.mark.parametrize(("days", "consent"), [(28, None), (29, "consent_expired")])
def test_a_yes_runs_out_at_its_instant(state: State, days: int, consent: str | None) -> None:
    people(state, "p1")  # said yes one day before NOW; marketing lasts 30 days in the strict region
    choose(state, "p1", purpose="profiling")
    add_send(state, "a", "p1", region="strict", expires_at=micros(after(90 * DAY)))
    claim_now(state, now=after(days * DAY))
    assert send_of(state, "a").consent_evidence.get("consent") == consent


def test_a_no_of_anybody_the_person_ever_was_counts(state: State) -> None:
    people(state, "p1", "p2", "p3")
    with state.write() as connection:
        merge(connection, "p1", "p2")
        merge(connection, "p3", "p2")
    choose(state, "p3", ConsentStatus.DENIED, decided_at=NOW)
    add_send(state, "a", "p1")
    claim_now(state)
    assert refused(state, "a") == (SendStatus.REFUSED, GateRefusal.CONSENT_WITHDRAWN)
    assert send_of(state, "a").consent_evidence["consent"] == "consent_denied"


@pytest.mark.parametrize(
    ("channel", "whose", "stops"), [("email", "p1", True), ("*", "p2", True), ("push", "p1", False)]
)
def test_a_suppression_outweighs_consent(state: State, channel: str, whose: str, stops: bool) -> None:
    people(state, "p1", "p2")
    with state.write() as connection:
        merge(connection, "p1", "p2")
    suppress(state, profile_id=whose, channel=channel, reason="bounce", source="d", now=NOW, actor="d")
    add_send(state, "a", "p1")
    claim_now(state)
    expected = (SendStatus.REFUSED, GateRefusal.SUPPRESSED_SINCE) if stops else (SendStatus.CLAIMED, "")
    assert refused(state, "a") == expected


@pytest.mark.parametrize(("seconds", "status"), [(-1, SendStatus.CLAIMED), (0, SendStatus.EXPIRED)])
def test_a_send_expires_at_its_instant(state: State, seconds: float, status: SendStatus) -> None:
    people(state, "p1")
    add_send(state, "a", "p1", expires_at=micros(after(100)))
    claim_now(state, now=after(100 + seconds))
    assert send_of(state, "a").status is status


@pytest.mark.parametrize("scope", ["*", "workflow:welcome", "channel:email", "destination:iterable"])
def test_a_halted_send_stays_pending_and_goes_when_the_halt_is_lifted(state: State, scope: str) -> None:
    people(state, "p1")
    add_send(state, "a", "p1")
    before = send_of(state, "a")
    halt(state, scope, by="ann", why="x", now=NOW)
    assert claim_now(state).claimed == ()
    assert send_of(state, "a") == before
    lift(state, scope, by="ann", now=NOW)
    assert keys(claim_now(state)) == [key_of("a")]


@pytest.mark.parametrize("scope", ["workflow:other", "channel:push", "destination:webhook"])
def test_a_halt_of_something_else_stops_nothing(state: State, scope: str) -> None:
    people(state, "p1")
    add_send(state, "a", "p1")
    halt(state, scope, by="ann", why="x", now=NOW)
    assert keys(claim_now(state)) == [key_of("a")]


def test_halted_sends_do_not_stand_in_the_way_of_others(state: State) -> None:
    people(state, "p1", "p2", "p3")
    add_send(state, "a", "p1", due_at=micros(after(-9)), workflow_id="halted")
    add_send(state, "b", "p2", due_at=micros(after(-9)), workflow_id="halted")
    add_send(state, "c", "p3")
    halt(state, "workflow:halted", by="ann", why="x", now=NOW)
    assert keys(claim_now(state, limit=1)) == [key_of("c")]


# -- re-entry -------------------------------------------------------------------------------------------------------


def earlier_send(state: State, status: str, claimed_at: datetime | None, **other: Any) -> None:
    key = add_send(state, "earlier", "p1", **other)
    with state.write() as connection:
        values: dict[str, Any] = {"status": status}
        if claimed_at is not None:
            values["claimed_at"] = micros(claimed_at)
        connection.execute(update(sends).where(sends.c.send_key == key).values(**values))


@pytest.mark.parametrize("status", ["claimed", "sent", "unknown"])
@pytest.mark.parametrize(
    ("reentry", "seconds_ago", "inside"),
    [(None, 1, False), (100, 99, True), (100, 100, False), (0, 0, False), (-1, 10 * 365 * DAY, True)],
)
def test_a_person_does_not_enter_again_too_soon(
    state: State, status: str, reentry: int | None, seconds_ago: int, inside: bool
) -> None:
    people(state, "p1", "p2")
    earlier_send(state, status, after(-seconds_ago))
    with state.write() as connection:
        merge(connection, "p1", "p2")  # after a merge the same person has another id
    add_send(state, "a", "p2", reentry_seconds=reentry)
    claim_now(state)
    expected = (SendStatus.REFUSED, GateRefusal.INSIDE_REENTRY) if inside else (SendStatus.CLAIMED, "")
    assert refused(state, "a") == expected
    assert send_of(state, "a").consent_evidence.get("earlier_send") == (key_of("earlier") if inside else None)


@pytest.mark.parametrize("status", ["refused", "rejected", "expired", "held"])
def test_a_message_that_never_arrived_does_not_count(state: State, status: str) -> None:
    people(state, "p1")
    earlier_send(state, status, after(-1))
    add_send(state, "a", "p1", reentry_seconds=-1)
    assert keys(claim_now(state)) == [key_of("a")]


def test_another_workflow_does_not_count(state: State) -> None:
    people(state, "p1")
    earlier_send(state, "sent", after(-1), workflow_id="other")
    add_send(state, "a", "p1", reentry_seconds=-1)
    assert keys(claim_now(state)) == [key_of("a")]


def test_a_send_that_waits_in_doubt_counts_as_one_that_may_have_arrived(state: State) -> None:
    people(state, "p1")
    add_send(state, "earlier", "p1")
    claim_now(state)
    answer(state, "t1", [receipt("earlier", Outcome.IN_DOUBT)], now=after(1), endpoint=IDEMPOTENT)
    assert send_of(state, "earlier").status is SendStatus.PENDING
    add_send(state, "a", "p1", reentry_seconds=-1)
    claim_now(state, now=after(1))
    assert refused(state, "a") == (SendStatus.REFUSED, GateRefusal.INSIDE_REENTRY)


def test_a_retry_does_not_stand_in_its_own_way(state: State) -> None:
    people(state, "p1")
    add_send(state, "a", "p1", reentry_seconds=-1)
    claim_now(state)
    answer(state, "t1", [receipt("a", Outcome.IN_DOUBT)], now=after(1), endpoint=IDEMPOTENT)
    assert keys(claim_now(state, now=after(10), token="t2")) == [key_of("a")]


# -- in doubt -------------------------------------------------------------------------------------------------------


def test_a_send_in_doubt_whose_person_says_no_is_unknown_and_not_refused(state: State) -> None:
    people(state, "p1")
    add_send(state, "a", "p1")
    claim_now(state)
    answer(state, "t1", [receipt("a", Outcome.IN_DOUBT)], now=after(1), endpoint=IDEMPOTENT)
    choose(state, "p1", ConsentStatus.DENIED, decided_at=after(2))
    claimed = claim_now(state, now=after(30), token="t2")
    assert (claimed.claimed, claimed.refused) == ((), 1)
    send = send_of(state, "a")
    assert (send.status, send.reason) == (SendStatus.UNKNOWN, "outcome_unknown")
    assert send.consent_evidence["consent"] == "consent_denied"
    with state.read() as connection:
        assert [found.kind for found in list_incidents(connection)] == [IncidentKind.SEND_UNKNOWN]


def test_claiming_ends_for_a_clock_that_goes_back(state: State) -> None:
    people(state, "p1")
    add_send(state, "a", "p1")
    assert claim_now(state, now=NOW - timedelta(days=1)).claimed == ()


def test_a_claim_of_nothing_is_empty(state: State) -> None:
    found = claim(
        state, RULES, now=NOW, limit=10, claim_token="t", lease_seconds=1, destination="nowhere", endpoint=None
    )
    assert (found.claimed, found.refused, found.waiting) == ((), 0, 0)
