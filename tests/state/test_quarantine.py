"""What waits is closed once, by a named act, and a segment is known before it is sealed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.landing import Segment
from activation_dagster.errors import RetryLater
from activation_dagster.state.engine import State
from activation_dagster.state.quarantine import (
    Act,
    Reentry,
    close,
    closings,
    confirm_sealed,
    list_acts,
    provenances,
    unsealed,
)
from activation_dagster.state.tables import control_log, quarantine_closings, sequence

NOW = datetime(2025, 9, 18, 10, 12, tzinfo=UTC)
ACT = Act(
    act_id="q1",
    kind="repair",
    name="prices",
    fingerprint="f",
    done_at=NOW,
    done_by="ann",
    reason="A till wrote words.",
    content="id: prices",
)
EVENTS = {"e1": "s1:0000001", "e2": "s1:0000002"}
SEGMENT = Reentry(segment_id="s1", source="web", act_id="q1", provenance=Provenance.REPAIR, events=EVENTS)


def test_an_act_is_kept_with_what_it_closed_and_where_that_entered_again(state: State) -> None:
    with state.write() as connection:
        close(connection, ACT, EVENTS, segment=SEGMENT, now=NOW)
    with state.read() as connection:
        assert list_acts(connection, limit=5) == [replace(ACT, events=2, unsealed=1)]
        assert sorted(closings(connection)) == [
            ("e1", "q1", "repair", "prices", "s1:0000001"),
            ("e2", "q1", "repair", "prices", "s1:0000002"),
        ]
        assert closings(connection, ["e2", "e9"]) == [("e2", "q1", "repair", "prices", "s1:0000002")]
        (found,) = connection.execute(select(control_log.c.actor, control_log.c.act)).all()
    assert tuple(found) == ("ann", "quarantine.repair")


def test_a_second_chunk_of_an_act_adds_to_it(state: State) -> None:
    for events in ({"e1": ""}, {"e2": "", "e3": ""}):
        with state.write() as connection:
            close(connection, ACT, events, now=NOW)
    with state.read() as connection:
        assert [(act.act_id, act.events) for act in list_acts(connection, limit=None)] == [("q1", 3)]


def test_an_event_is_closed_once_and_who_comes_second_writes_nothing(state: State) -> None:
    with state.write() as connection:
        close(connection, ACT, {"e2": ""}, now=NOW)
    with pytest.raises(RetryLater, match="1 of these events"), state.write() as connection:
        close(connection, replace(ACT, act_id="q2"), EVENTS, segment=SEGMENT, now=NOW)
    with state.read() as connection:
        assert connection.execute(select(quarantine_closings.c.event_id)).scalars().all() == ["e2"]
        assert unsealed(connection) == []
        assert connection.execute(select(func.count()).select_from(control_log)).scalar_one() == 1
        assert connection.execute(select(sequence.c.value)).scalar_one() == 1


def test_a_segment_is_unsealed_until_it_is_confirmed(state: State) -> None:
    with state.write() as connection:
        close(connection, ACT, EVENTS, segment=SEGMENT, now=NOW)
        close(connection, ACT, {"e3": "s10:0000001"}, now=NOW)  # of another segment whose id begins alike
    with state.read() as connection:
        ((segment, act),) = unsealed(connection)
    assert (segment, act.act_id) == (SEGMENT, "q1")
    for _ in range(2):
        with state.write() as connection:
            confirm_sealed(connection, SEGMENT, now=NOW)
    with state.read() as connection:
        assert unsealed(connection) == []
        assert [act.unsealed for act in list_acts(connection, limit=1)] == [0]


def test_a_segment_has_its_provenance_before_anybody_can_see_it(state: State) -> None:
    def segment(segment_id: str, source: str) -> Segment:
        return Segment(arrival_hour=NOW, segment_id=segment_id, source=source, path="p", size_bytes=1)

    with state.write() as connection:
        close(connection, ACT, EVENTS, segment=SEGMENT, now=NOW)
    with state.read() as connection:
        assert provenances(connection, [segment("s1", "web"), segment("s2", "web")]) == {
            ("web", "s1"): Provenance.REPAIR
        }
