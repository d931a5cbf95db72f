"""Marks of changed sends: who settles a send leaves one, and sends of before there were marks have one too."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, select

from activation_dagster.domain.sends import Outcome
from activation_dagster.state import engine
from activation_dagster.state.answers import answer, recover
from activation_dagster.state.engine import State, open_state
from activation_dagster.state.send_copies import mark_changed, marks_of
from activation_dagster.state.sends import FRESH, INTENDED_COLUMNS
from activation_dagster.state.tables import send_changes, sends
from tests.state.examples import ENDPOINTS, IDEMPOTENT, NOW, add_send, after, claim_now, people, receipt, send_row


def marked(state: State) -> list[str]:
    """The batches with marks, one for each mark."""
    with state.read() as connection:
        return sorted(connection.execute(select(send_changes.c.batch_id)).scalars())


def test_an_answer_that_settles_leaves_one_mark_a_batch_and_one_that_does_not_leaves_none(state: State) -> None:
    people(state, "p1", "p2", "p3")
    for name, batch in (("1", "b1"), ("2", "b1"), ("3", "b2")):
        add_send(state, name, f"p{name}", batch_id=batch)
    claim_now(state)
    assert marked(state) == []
    outcomes = {"1": Outcome.DELIVERED, "2": Outcome.REJECTED, "3": Outcome.RETRY}
    answer(state, "t1", [receipt(*told) for told in outcomes.items()], now=NOW, endpoint=IDEMPOTENT)
    assert marked(state) == ["b1"]


def test_a_refusal_of_the_gate_and_a_claim_that_became_unknown_leave_marks(state: State) -> None:
    people(state, "p1", "p2")
    add_send(state, "1", "p1", batch_id="b1", expires_at=1)
    add_send(state, "2", "p2", batch_id="b2", endpoint="trigger")
    claim_now(state)
    assert marked(state) == ["b1"]
    recover(state, now=after(3_600), endpoints=ENDPOINTS)
    assert marked(state) == ["b1", "b2"]


def test_every_transaction_leaves_a_mark_of_its_own(state: State) -> None:
    for _ in range(2):
        with state.write() as connection:
            mark_changed(connection, ["b1", "b1"])
    with state.read() as connection:
        assert len({*marks_of(connection, "b1")}) == 2


def test_sends_that_stood_before_there_were_marks_are_marked_by_the_migration(empty_url: str) -> None:
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).parent.mkdir(parents=True)
    old = create_engine(empty_url)
    with old.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(engine.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        row = dict(zip(INTENDED_COLUMNS, send_row("1", "p1", batch_id="b7"), strict=True))
        connection.execute(sends.insert().values(**row, **FRESH))
    old.dispose()
    state = open_state(empty_url)
    assert marked(state) == ["b7"]
    state.close()
