"""The ledger: how a send begins, what becomes of it, and how it is found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.domain.sends import Outcome, SendStatus
from activation_dagster.errors import WrongUse
from activation_dagster.state.answers import Answered, Recovered, answer, backoff_seconds, recover
from activation_dagster.state.engine import State
from activation_dagster.state.incidents import list_incidents
from activation_dagster.state.sends import get, intend, ledger_counts, list_sends, release
from activation_dagster.state.suppressions import active_for
from activation_dagster.state.tables import control_log
from tests.state.examples import (
    ENDPOINTS,
    IDEMPOTENT,
    NOW,
    ONCE,
    add_profiles,
    add_send,
    after,
    claim_now,
    key_of,
    keys,
    merge,
    people,
    receipt,
    send_of,
    send_row,
)


def claimed_send(state: State, name: str = "a", profile: str = "p1", **other: Any) -> None:
    people(state, profile)
    add_send(state, name, profile, **other)
    assert keys(claim_now(state)) == [key_of(name)]


def incidents(state: State) -> list[IncidentKind]:
    with state.read() as connection:
        return [found.kind for found in list_incidents(connection)]


# -- beginning ------------------------------------------------------------------------------------------------------


def test_a_key_that_stands_stays_as_it_is(state: State) -> None:
    claimed_send(state)
    answer(state, "t1", [receipt("a", Outcome.DELIVERED)], now=after(1), endpoint=IDEMPOTENT)
    before = send_of(state, "a")
    assert intend(state, [send_row("a", "p1", workflow_version="2", status="held", reason="not_live")]) == 0
    with state.write() as connection:
        assert intend(connection, [send_row("a", "p1", decision_id="another decision")]) == 0
    assert send_of(state, "a") == before


def test_a_send_begins_with_nothing_tried(state: State) -> None:
    people(state, "p1")
    add_send(state, "a", "p1", status="held", reason="not_live")
    send = send_of(state, "a")
    assert (send.status, send.reason, send.attempts, send.in_doubt, send.claimed_at) == (
        "held",
        "not_live",
        0,
        False,
        None,
    )
    assert (send.data_fields, send.profile_fields, send.consent_evidence) == ({"plan": "gold"}, {}, {})


@pytest.mark.parametrize(("status", "reason"), [("sent", ""), ("claimed", ""), ("held", "")])
def test_a_send_begins_pending_or_held_for_a_reason(state: State, status: str, reason: str) -> None:
    people(state, "p1")
    with pytest.raises(WrongUse, match="begins pending, or held"):
        add_send(state, "a", "p1", status=status, reason=reason)


def test_a_send_to_a_profile_without_a_subject_row_is_refused_whole(state: State) -> None:
    people(state, "p1")
    with pytest.raises(WrongUse, match="1 profiles of sends do not exist"):
        intend(state, [send_row("a", "p1"), send_row("b", "nobody")])
    with state.read() as connection:
        assert ledger_counts(connection) == {}


# -- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "endpoint", "status", "reason", "due", "in_doubt"),
    [
        (Outcome.DELIVERED, ONCE, SendStatus.SENT, "", 0, False),
        (Outcome.REJECTED, IDEMPOTENT, SendStatus.REJECTED, "rejected_by_destination", 0, False),
        (Outcome.RETRY, ONCE, SendStatus.PENDING, "destination_unavailable", 12, False),
        (Outcome.STOPPED, ONCE, SendStatus.PENDING, "destination_stopped", 310, False),
        (Outcome.IN_DOUBT, IDEMPOTENT, SendStatus.PENDING, "outcome_unknown", 12, True),
        (Outcome.IN_DOUBT, ONCE, SendStatus.UNKNOWN, "outcome_unknown", 0, True),
    ],
)
def test_an_outcome_leads_to_a_status(
    state: State, outcome: Outcome, endpoint: Any, status: SendStatus, reason: str, due: float, in_doubt: bool
) -> None:
    claimed_send(state)
    given = receipt("a", outcome, http_status=418, answer="teapot")
    answered = answer(state, "t1", [given], now=after(10), endpoint=endpoint)
    send = send_of(state, "a")
    assert (send.status, send.reason, send.due_at, send.in_doubt) == (status, reason, after(due), in_doubt)
    assert (send.answered_at, send.http_status, send.answer) == (after(10), 418, "teapot")
    expected = {status.value: 1}
    assert answered == Answered(**{name: expected.get(name, 0) for name in ("sent", "rejected", "pending", "unknown")})
    opened = {Outcome.STOPPED: [IncidentKind.DESTINATION_STOPPED]}.get(outcome, [])
    assert incidents(state) == ([IncidentKind.SEND_UNKNOWN] if status is SendStatus.UNKNOWN else opened)


@pytest.mark.parametrize(("asked", "due"), [(0.0, 10), (7.5, 17.5), (1e12, 10 + 86_400), (-5.0, 12)])
def test_a_destination_that_says_when_is_believed_within_reason(state: State, asked: float, due: float) -> None:
    claimed_send(state)
    given = receipt("a", Outcome.RETRY, reason="rate_limited", retry_after_seconds=asked)
    answer(state, "t1", [given], now=after(10), endpoint=ONCE)
    assert (send_of(state, "a").due_at, send_of(state, "a").reason) == (after(due), "rate_limited")


def test_waiting_grows_with_each_attempt_up_to_a_quarter_of_an_hour() -> None:
    assert [backoff_seconds(attempts) for attempts in (1, 2, 3, 9, 10, 10_000)] == [2, 4, 8, 512, 900, 900]


@pytest.mark.parametrize("token", ["t2", ""])
def test_an_answer_under_another_token_changes_nothing(state: State, token: str) -> None:
    claimed_send(state)
    before = send_of(state, "a")
    answered = answer(state, token, [receipt("a", Outcome.DELIVERED)], now=after(1), endpoint=ONCE)
    assert answered == Answered(lost=1)
    assert send_of(state, "a") == before


def test_an_answer_that_comes_after_the_send_was_recovered_changes_nothing(state: State) -> None:
    claimed_send(state)
    recover(state, now=after(60), endpoints=ENDPOINTS)
    claim_now(state, now=after(60), token="t2")
    assert answer(state, "t1", [receipt("a", Outcome.REJECTED)], now=after(61), endpoint=IDEMPOTENT).lost == 1
    assert answer(state, "t2", [receipt("a", Outcome.DELIVERED)], now=after(62), endpoint=IDEMPOTENT).sent == 1
    assert answer(state, "t2", [receipt("a", Outcome.REJECTED)], now=after(63), endpoint=IDEMPOTENT).lost == 1
    assert send_of(state, "a").status is SendStatus.SENT


def test_a_refusal_of_a_send_in_doubt_leaves_it_unknown(state: State) -> None:
    claimed_send(state)
    answer(state, "t1", [receipt("a", Outcome.IN_DOUBT)], now=after(1), endpoint=IDEMPOTENT)
    claim_now(state, now=after(10), token="t2")
    answer(state, "t2", [receipt("a", Outcome.REJECTED)], now=after(11), endpoint=IDEMPOTENT)
    assert send_of(state, "a").status is SendStatus.UNKNOWN


def test_a_person_whom_the_destination_forgot_is_suppressed(state: State) -> None:
    claimed_send(state)
    given = receipt("a", Outcome.REJECTED, reason="forgotten_by_destination", http_status=400)
    answer(state, "t1", [given], now=after(1), endpoint=IDEMPOTENT)
    assert send_of(state, "a").reason == "forgotten_by_destination"
    with state.read() as connection:
        (found,) = active_for(connection, ["p1"])["p1"]
    assert (found.channel, found.reason, found.source) == ("*", "forgotten_by_destination", "destination:iterable")
    add_send(state, "b", "p1")
    claim_now(state, now=after(2))
    assert send_of(state, "b").reason == "suppressed_since"


def test_an_outage_is_one_incident(state: State) -> None:
    people(state, "p1", "p2", "p3")
    for name in ("1", "2", "3"):
        add_send(state, name, f"p{name}")
    claim_now(state)
    answered = answer(
        state, "t1", [receipt(name, Outcome.IN_DOUBT) for name in ("1", "2", "3")], now=after(1), endpoint=ONCE
    )
    assert answered.unknown == 3
    assert incidents(state) == [IncidentKind.SEND_UNKNOWN]


# -- recovering -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "status", "recovered"),
    [
        ("track", SendStatus.PENDING, Recovered(pending=1)),
        ("trigger", SendStatus.UNKNOWN, Recovered(unknown=1)),
        ("no longer in the contract", SendStatus.UNKNOWN, Recovered(unknown=1)),
    ],
)
def test_a_claim_whose_holder_died_is_taken_back(
    state: State, endpoint: str, status: SendStatus, recovered: Recovered
) -> None:
    claimed_send(state, endpoint=endpoint)
    assert recover(state, now=after(59.9), endpoints=ENDPOINTS) == Recovered()
    assert recover(state, now=after(60), endpoints=ENDPOINTS) == recovered
    assert recover(state, now=after(61), endpoints=ENDPOINTS) == Recovered()
    send = send_of(state, "a")
    assert (send.status, send.reason, send.in_doubt) == (status, "outcome_unknown", True)
    assert incidents(state) == ([IncidentKind.SEND_UNKNOWN] if recovered.unknown else [])
    assert len(claim_now(state, now=after(62), token="t2").claimed) == recovered.pending


# -- holding and releasing ------------------------------------------------------------------------------------------


def held(state: State) -> None:
    people(state, "p1")
    add_send(state, "a", "p1", status="held", reason="not_live", batch_id="b1")
    add_send(state, "b", "p1", status="held", reason="check_failed", batch_id="b2", workflow_id="other")
    add_send(state, "c", "p1", batch_id="b1")


def test_a_held_send_is_not_claimed(state: State) -> None:
    held(state)
    assert keys(claim_now(state)) == [key_of("c")]
    assert claim_now(state).claimed == ()


@pytest.mark.parametrize(
    ("chosen", "released"),
    [
        ({"send_keys": [key_of("b"), key_of("c"), "no such key"]}, ["b"]),
        ({"workflow": "welcome"}, ["a"]),
        ({"batch_id": "b2"}, ["b"]),
        ({"reason": "not_live"}, ["a"]),
        ({"reason": "not_live", "workflow": "other"}, []),
        ({"send_keys": []}, []),
    ],
)
def test_a_named_person_releases_what_fits_every_filter(
    state: State, chosen: dict[str, Any], released: list[str]
) -> None:
    held(state)
    assert release(state, by="ann", now=after(5), **chosen) == len(released)
    assert release(state, by="ann", now=after(6), **chosen) == 0
    for name in ("a", "b"):
        send = send_of(state, name)
        assert (send.status, send.reason) == (("pending", "") if name in released else (send.status, send.reason))
        assert (send.status is SendStatus.HELD) is (name not in released)
    with state.read() as connection:
        query = select(control_log.c.actor, control_log.c.detail).where(control_log.c.act == "release")
        log = [(actor, json.loads(detail)) for actor, detail in connection.execute(query)]
    assert log == [("ann", {"send_keys": [key_of(name) for name in released]})] * bool(released)


def test_everything_at_once_is_not_released(state: State) -> None:
    with pytest.raises(WrongUse, match="Everything that is held"):
        release(state, by="ann", now=NOW)


# -- reading --------------------------------------------------------------------------------------------------------


def test_the_ledger_is_counted_by_status_and_reason(state: State) -> None:
    held(state)
    claim_now(state)
    with state.read() as connection:
        assert ledger_counts(connection) == {
            (SendStatus.HELD, "not_live"): 1,
            (SendStatus.HELD, "check_failed"): 1,
            (SendStatus.CLAIMED, ""): 1,
        }


def test_sends_are_found_by_what_is_known_of_them(state: State) -> None:
    held(state)
    with state.write() as connection:
        add_profiles(connection, ["p2"])
        merge(connection, "p1", "p2")
    with state.read() as connection:

        def found(**chosen: Any) -> set[str]:
            return {send.decision_id for send in list_sends(connection, **chosen)}

        assert found() == {"d-a", "d-b", "d-c"}
        assert found(status=SendStatus.PENDING) == {"d-c"}
        assert found(workflow="other") == {"d-b"}
        assert found(batch_id="b1") == {"d-a", "d-c"}
        assert found(profile="p2") == {"d-a", "d-b", "d-c"}  # through the redirect
        assert found(profile="p9") == set()
        assert len(found(limit=2)) == 2
        assert get(connection, "no such key") is None
