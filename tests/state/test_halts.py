"""Halts and incidents: made, found, and ended once."""

from __future__ import annotations

import threading

import pytest

from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.errors import WrongUse
from activation_dagster.state.engine import State
from activation_dagster.state.halts import active, halt, hold_for_share, lift
from activation_dagster.state.incidents import list_incidents, open_incident, resolve
from tests.state.examples import NOW, after, until_waiting


def scopes(state: State) -> list[str]:
    with state.read() as connection:
        return [found.scope for found in active(connection)]


def test_a_halt_is_in_force_until_it_is_lifted(state: State) -> None:
    halt(state, "workflow:welcome", by="ann", why="wrong text", now=NOW)
    halt(state, "channel:email", by="ben", why="provider down", now=NOW)
    assert scopes(state) == ["workflow:welcome", "channel:email"]
    assert [found.why for found in lift(state, "workflow:welcome", by="ann", now=after(9))] == ["wrong text"]
    assert scopes(state) == ["channel:email"]


def test_lifting_lifts_every_halt_of_that_scope_and_nothing_else(state: State) -> None:
    for who in ("ann", "ben"):
        halt(state, "*", by=who, why="both saw it", now=NOW)
    halt(state, "channel:email", by="ann", why="x", now=NOW)
    assert len(lift(state, "*", by="ann", now=NOW)) == 2
    assert lift(state, "*", by="ann", now=NOW) == ()
    assert scopes(state) == ["channel:email"]


@pytest.mark.parametrize("scope", ["", "everything", "workflow:", "workflow: x", "profile:p1", "**"])
def test_a_scope_that_names_nothing_is_refused(state: State, scope: str) -> None:
    with pytest.raises(WrongUse, match="no scope of a halt"):
        halt(state, scope, by="ann", why="x", now=NOW)


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_halt_gets_in_though_claims_overlap_without_a_gap(state: State, dialect: str) -> None:
    seen: list[list[str]] = []

    def claim_later() -> None:
        with state.write() as connection:
            hold_for_share(connection)
            seen.append([found.scope for found in active(connection)])

    halting = threading.Thread(target=halt, args=(state, "*"), kwargs={"by": "ann", "why": "now", "now": NOW})
    claiming = threading.Thread(target=claim_later)
    with state.write() as connection:
        hold_for_share(connection)
        halting.start()
        until_waiting(state)
        claiming.start()
        until_waiting(state, 2)  # a claim that comes after the halt stands behind it, though the row is only shared
    halting.join()
    claiming.join()
    assert seen == [["*"]]


def test_an_incident_about_one_thing_is_open_once(state: State) -> None:
    with state.write() as connection:
        first, again = (
            open_incident(
                connection, IncidentKind.SUM_BROKEN, about="b1", owner="data", sentence="s", now=NOW, batch_id="b1"
            )
            for _ in range(2)
        )
        other = open_incident(
            connection, IncidentKind.SUM_BROKEN, about="b2", owner="data", sentence="s", now=after(1), batch_id="b2"
        )
        assert first == again
        assert [found.incident_id for found in list_incidents(connection, is_open=True)] == [other, first]
        assert list_incidents(connection, is_open=False) == ()


def test_an_incident_that_happens_again_after_it_was_resolved_is_a_new_one(state: State) -> None:
    def happen(seconds: float) -> str:
        with state.write() as connection:
            return open_incident(
                connection,
                IncidentKind.DESTINATION_STOPPED,
                about="iterable",
                owner="crm",
                sentence="s",
                now=after(seconds),
            )

    first = happen(0)
    with state.write() as connection:
        assert resolve(connection, first, by="ann", resolution="new key", now=after(5))
        assert not resolve(connection, first, by="ben", resolution="me too", now=after(6))
        assert not resolve(connection, "no such incident", by="ben", resolution="", now=after(6))
    second = happen(10)
    assert second != first
    assert happen(11) == second
    with state.read() as connection:
        (closed,) = list_incidents(connection, is_open=False)
        assert len(list_incidents(connection)) == 2
    assert (closed.resolved_by, closed.resolution, closed.resolved_at) == ("ann", "new key", after(5))
