"""Choices, suppressions and the control log: written once, under locks, and read as they were known."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from activation_dagster.domain.consent import ConsentStatus
from activation_dagster.errors import WrongUse
from activation_dagster.state.consent import COLUMNS, insert_choices, record_id, records_of
from activation_dagster.state.control import record_act
from activation_dagster.state.engine import State
from activation_dagster.state.instants import micros
from activation_dagster.state.subjects import lock_subjects
from activation_dagster.state.suppressions import active_for, suppress
from activation_dagster.state.tables import control_log
from tests.state.examples import NOW, add_profiles, choose, merge

BEFORE = NOW - timedelta(days=1)


def acts(state: State) -> list[tuple[int, str, str]]:
    with state.read() as connection:
        query = select(control_log.c.seq, control_log.c.actor, control_log.c.act).order_by(control_log.c.seq)
        return [(seq, actor, act) for seq, actor, act in connection.execute(query)]


def with_profiles(state: State, *profiles: str) -> None:
    with state.write() as connection:
        add_profiles(connection, profiles)


def test_an_act_takes_the_next_number_and_keeps_what_is_needed_to_do_it_again(state: State) -> None:
    with state.write() as connection:
        assert record_act(connection, now=NOW, actor="ann", act="halt", detail={"scope": "*", "n": [1]}) == 1
        assert record_act(connection, now=NOW, actor="ben", act="lift", detail={}) == 2
        row = connection.execute(select(control_log).where(control_log.c.seq == 1)).one()
    assert (row.done_at, row.actor, row.act, json.loads(row.detail)) == (
        micros(NOW),
        "ann",
        "halt",
        {"scope": "*", "n": [1]},
    )


def test_a_choice_is_recorded_with_its_act(state: State) -> None:
    with_profiles(state, "p1")
    record = choose(state, "p1")
    with state.read() as connection:
        assert records_of(connection, ["p1", "p2"]) == {"p1": [record]}
    assert acts(state) == [(record.seq, "desk", "consent")]


def test_recording_the_same_choice_again_changes_nothing(state: State) -> None:
    with_profiles(state, "p1")
    assert choose(state, "p1") == choose(state, "p1")
    assert len(acts(state)) == 1


def test_a_no_of_the_same_instant_is_not_hidden_by_a_yes(state: State) -> None:
    with_profiles(state, "p1")
    choose(state, "p1", ConsentStatus.GRANTED)
    choose(state, "p1", ConsentStatus.DENIED)
    with state.read() as connection:
        assert {record.status for record in records_of(connection, ["p1"])["p1"]} == set(ConsentStatus)


def test_a_choice_for_nobody_is_refused(state: State) -> None:
    with pytest.raises(WrongUse, match="does not exist"):
        choose(state, "p1")
    with pytest.raises(WrongUse, match="does not exist"):
        suppress(state, profile_id="p1", channel="*", reason="bounce", source="x", now=NOW, actor="x")
    assert acts(state) == []


def test_choices_are_known_as_they_were(state: State) -> None:
    with_profiles(state, "p1")
    first = choose(state, "p1", decided_at=BEFORE)
    second = choose(state, "p1", ConsentStatus.DENIED, decided_at=NOW)
    with state.read() as connection:
        assert records_of(connection, ["p1"], up_to_seq=first.seq) == {"p1": [first]}
        assert records_of(connection, ["p1"], up_to_seq=second.seq) == {"p1": [first, second]}


def test_a_choice_waits_for_a_merge_and_then_locks_everybody(state: State) -> None:
    with_profiles(state, "p1", "p2")
    choosing = threading.Thread(target=choose, args=(state, "p1", ConsentStatus.DENIED))
    with state.write() as connection:
        lock_subjects(connection, ["p1", "p2"])
        choosing.start()
        choosing.join(0.2)
        assert choosing.is_alive()
        merge(connection, "p1", "p2")
    choosing.join()
    with state.read() as connection:
        assert len(records_of(connection, ["p1"])["p1"]) == 1


def test_choices_of_a_batch_are_written_once(state: State) -> None:
    with_profiles(state, "p1", "p2")
    rows = []
    for profile in ("p2", "p1"):
        identity = record_id(
            source="e1",
            profile_id=profile,
            purpose="marketing",
            channel="email",
            status=ConsentStatus.GRANTED,
            decided_at=NOW,
        )
        rows.append((identity, profile, "marketing", "email", "granted", micros(NOW), 5, "e1", "{}"))
    assert len(COLUMNS) == len(rows[0])
    with state.write() as connection:
        assert insert_choices(connection, rows) == 2
        assert insert_choices(connection, rows) == 0
        found = records_of(connection, ["p1", "p2"])
    assert {profile: [record.seq for record in records] for profile, records in found.items()} == {
        "p1": [5],
        "p2": [5],
    }


def test_a_suppression_stands_once_and_is_known_as_it_was(state: State) -> None:
    with_profiles(state, "p1")
    for _ in range(2):
        suppress(state, profile_id="p1", channel="email", reason="bounce", source="destination:x", now=NOW, actor="x")
    with state.read() as connection:
        (found,) = active_for(connection, ["p1", "p2"])["p1"]
        assert active_for(connection, ["p1"], up_to_seq=found.seq - 1) == {}
    assert found.covers("email")
    assert not found.covers("push")
    assert acts(state) == [(found.seq, "x", "suppress")]


def test_a_suppression_of_every_channel_covers_each(state: State) -> None:
    with_profiles(state, "p1")
    suppress(state, profile_id="p1", channel="*", reason="erasure", source="person:p", now=NOW, actor="desk")
    with state.read() as connection:
        (found,) = active_for(connection, ["p1"])["p1"]
    assert found.covers("email")
    assert found.covers("push")
