"""A batch goes through its phases in their order, whoever carries them out."""

from __future__ import annotations

import pytest

from activation_dagster.domain.batches import PHASES, Batch, Phase, Provenance
from activation_dagster.errors import WrongUse
from activation_dagster.lake.tables import TABLES
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import plan_batch
from activation_dagster.pipeline.watch import totals
from activation_dagster.pipeline.work import VERBS
from activation_dagster.state.batches import load_batch
from activation_dagster.state.tables import batch_phases, links
from tests.pipeline.small_shop import NOW, buyer, lake_rows, land, work


def planned(places: Places) -> Batch:
    land(places, *buyer("u1", price=700.0))
    batch = plan_batch(places, provenance=Provenance.LIVE, now=NOW)
    assert batch is not None
    return batch


@pytest.mark.parametrize("phase", list(VERBS)[1:])
def test_a_phase_is_refused_while_the_one_before_it_is_not_closed(places: Places, phase: Phase) -> None:
    batch = planned(places)
    ground = PHASES[PHASES.index(phase) - 1]
    with BatchRun(places, batch) as run:
        for earlier in list(VERBS)[: list(VERBS).index(ground)]:
            VERBS[earlier](run)
    lake = lake_rows(places)
    with BatchRun(places, batch) as run, pytest.raises(WrongUse) as refused:
        VERBS[phase](run)
    assert str(refused.value) == (
        f"The batch {batch.batch_id} cannot be {phase} before it is {ground}, in the phases of state. "
        "Carry out its phases in order: select the assets before this one too, or run `activation work`."
    )
    assert lake_rows(places) == lake
    work(places)
    assert totals(places).conserved
    assert totals(places).unfinished_batches == 0


def test_a_refused_phase_leaves_nothing_behind(places: Places) -> None:
    batch = planned(places)
    with BatchRun(places, batch) as run, pytest.raises(WrongUse, match="cannot be resolved before it is validated"):
        VERBS[Phase.RESOLVED](run)
    assert not any(places.lake.exists(table) for table in TABLES.values())
    with places.state.read() as connection:
        found = load_batch(connection, batch.batch_id)
        assert found is not None
        assert found.position is None  # a position without work would stop every later batch
        for table in (batch_phases, links):
            assert connection.execute(table.select()).all() == []


def test_a_phase_that_fails_may_be_carried_out_again_and_those_after_it_too(places: Places) -> None:
    batch = planned(places)
    with BatchRun(places, batch) as run:
        VERBS[Phase.INGESTED](run)
        with pytest.raises(WrongUse):
            VERBS[Phase.RESOLVED](run)
        VERBS[Phase.VALIDATED](run)
        VERBS[Phase.RESOLVED](run)
        assert run.was_closed(Phase.RESOLVED)
