"""Every invariant of identity is a blocking check: what breaks it on purpose is seen, and its sends are held."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update

from activation_dagster.defs.checks import OF_BATCHES, Verdict
from activation_dagster.defs.findings import look
from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.identifiers import Identifier, profile_id
from activation_dagster.pipeline import resolve
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import plan_batch
from activation_dagster.pipeline.work import VERBS
from activation_dagster.state.engine import State, open_state
from activation_dagster.state.profile_identifiers import keep_order
from activation_dagster.state.tables import identifiers, links
from tests.pipeline.small_shop import NOW, buyer, event, land, ledger, places_at, work

ANN = Identifier("user_id", "ann")
ANNS = profile_id(ANN)
LAPTOP = Identifier("anonymous_id", "laptop")

Breaking = Callable[[BatchRun, State], None]
"""Breaks one invariant, on purpose, when the effects of resolving stand."""


def lose_a_link(run: BatchRun, state: State) -> None:
    with state.write() as connection:
        assert connection.execute(delete(links).where(links.c.key == LAPTOP.key)).rowcount == 1


def invent_a_link(run: BatchRun, state: State) -> None:
    with state.write() as connection:
        row = connection.execute(select(links).where(links.c.key == LAPTOP.key)).one()._asdict()
        connection.execute(insert(links).values(row | {"key": b"k" * 16, "kind": "email"}))


def move_an_identifier(run: BatchRun, state: State) -> None:
    with state.write() as connection:
        moved = update(identifiers).where(identifiers.c.key == ANN.key).values(profile_id="p" + "0" * 24)
        assert connection.execute(moved).rowcount == 1


def lose_an_identifier(run: BatchRun, state: State) -> None:
    with state.write() as connection:
        assert connection.execute(delete(identifiers).where(identifiers.c.key == ANN.key)).rowcount == 1


def lose_a_profile_without_a_reason(run: BatchRun, state: State) -> None:
    run.engine.connection.execute("update resolved_events set profile_id = null where ordinal = 2")


def lose_an_event(run: BatchRun, state: State) -> None:
    run.engine.connection.execute("delete from resolved_events where ordinal = 2")


def break_a_limit(run: BatchRun, state: State) -> None:
    run.engine.connection.execute(f"insert into overgrown_profiles values ('{ANNS}', 'limit of email')")


def break_the_maximum(run: BatchRun, state: State) -> None:
    run.engine.connection.execute(f"insert into overgrown_profiles values ('{ANNS}', 'maximum_cluster')")


def nothing(run: BatchRun, state: State) -> None:
    pass


def worked(folder: Path, state: State, breaking: Breaking) -> tuple[dict[str, Verdict], Places]:
    """A batch in which somebody known takes a new laptop and buys, broken once it is resolved; what its checks say."""
    places = places_at(folder, state)
    land(places, event("page", "ann", at=NOW, properties={"path": "/"}))
    work(places)
    land(
        places,
        event("page", "ann", at=NOW, properties={"path": "/"}, anonymousId="laptop"),
        event("page", "ann", at=NOW, properties={"path": "/"}),
        *buyer("ann"),
    )
    batch = plan_batch(places, provenance=Provenance.LIVE, now=NOW)
    assert batch is not None
    in_hand: list[BatchRun] = []

    def at(point: str) -> None:
        if point == "resolved.effects":
            breaking(in_hand[0], state)

    with BatchRun(replace(places, at=at), batch) as run:
        in_hand.append(run)
        found = look(run, [verb(run) for verb in VERBS.values()])
    return {check.name: check.judge(found) for check in OF_BATCHES if check.is_blocking}, places


@pytest.fixture
def state(migrated_sqlite: Path, tmp_path: Path) -> Iterator[State]:
    """A fresh state."""
    shutil.copy(migrated_sqlite, tmp_path / "state.db")
    opened = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("breaking", "check"),
    [
        (lose_a_link, "link_accounting"),
        (invent_a_link, "link_accounting"),
        (move_an_identifier, "link_accounting"),
        (lose_an_identifier, "link_accounting"),
        (lose_a_profile_without_a_reason, "identity"),
        (lose_an_event, "identity"),
        (break_a_limit, "identity_limits"),
        (break_the_maximum, "identity_limits"),
    ],
)
def test_what_breaks_an_invariant_of_identity_fails_its_blocking_check_and_its_sends_are_held(
    tmp_path: Path, state: State, breaking: Breaking, check: str
) -> None:
    verdicts, places = worked(tmp_path, state, breaking)
    assert not verdicts[check].passed, verdicts[check].numbers
    assert not verdicts["release"].passed
    assert {(send.status.value, send.reason) for send in ledger(places)} <= {("held", "check_failed")}


@pytest.mark.parametrize("breaking", [lose_a_link, invent_a_link])
def test_a_link_that_is_lost_or_invented_is_seen_in_a_batch_that_is_settled_at_once(
    tmp_path: Path, state: State, breaking: Breaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "SETTLED_FROM_SETS", 1)
    verdicts, _ = worked(tmp_path, state, breaking)
    assert not verdicts["link_accounting"].passed


@pytest.mark.parametrize("settled_from", [1, resolve.SETTLED_FROM_SETS])
def test_what_is_sound_passes_every_check_and_each_link_is_counted(
    tmp_path: Path, state: State, settled_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "SETTLED_FROM_SETS", settled_from)
    verdicts, places = worked(tmp_path, state, nothing)
    assert all(verdict.passed for verdict in verdicts.values())
    numbers = verdicts["link_accounting"].numbers
    # two sets of identifiers, of three in all: the laptop is new, and ann is known in both
    assert (numbers["links_offered"], numbers["links_known"], numbers["links_accepted"]) == (3, 2, 1)
    assert {send.status.value for send in ledger(places)} == {"pending"}


def test_a_value_that_stands_twice_is_seen_when_its_profile_grows(tmp_path: Path, state: State) -> None:
    """State was damaged: an e-mail under a key that is not its own stands beside the sound one."""
    places = places_at(tmp_path, state)

    def mail(address: str) -> dict[str, object]:
        return event("page", "ann", at=NOW, properties={"path": "/"}, context={"traits": {"email": address}})

    land(places, mail("a@shop.test"))
    work(places)
    with state.write() as connection:
        row = connection.execute(select(identifiers).where(identifiers.c.kind == "email")).one()._asdict()
        keep_order(connection, [(row["profile_id"], b"k" * 16, row["event_id"])])
        connection.execute(insert(identifiers).values(row | {"key": b"k" * 16}))
    land(places, mail("b@shop.test"))
    batch = plan_batch(places, provenance=Provenance.LIVE, now=NOW)
    assert batch is not None
    with BatchRun(places, batch) as run:
        found = look(run, [verb(run) for verb in VERBS.values()])
    (check,) = [one for one in OF_BATCHES if one.name == "identity_limits"]
    assert check.is_blocking
    assert not check.judge(found).passed
