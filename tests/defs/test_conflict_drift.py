"""The check on identity warns where conflicts become more than they were, and not where a batch is small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from activation_dagster.defs.checks import OF_BATCHES, Verdict
from activation_dagster.defs.findings import look
from activation_dagster.domain.batches import Batch, Phase
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.work import VERBS
from activation_dagster.state.engine import open_state
from tests.pipeline.small_shop import NOW, batches_of, event, land, places_at, work

BOX = {"traits": {"email": "box@shop.test"}}


def judged(places: Places, batch: Batch) -> Verdict:
    """What the check says of a batch."""
    (check,) = [check for check in OF_BATCHES if check.name == "identity_conflicts"]
    with BatchRun(places, batch) as run:
        reports = [VERBS[phase](run) for phase in (Phase.INGESTED, Phase.VALIDATED, Phase.RESOLVED)]
        return check.judge(look(run, reports))


@pytest.mark.parametrize(("people", "passes"), [(120, False), (20, True)])
def test_conflicts_that_become_more_are_told_where_the_batch_is_large_enough(
    tmp_path: Path, people: int, passes: bool
) -> None:
    state = open_state(f"sqlite:///{tmp_path}/state.db")
    try:
        places = places_at(tmp_path, state)
        land(places, *[event("page", f"u{number}", at=NOW, properties={}) for number in range(120)])
        work(places)
        shared = [event("page", f"v{number}", at=NOW, properties={}, context=BOX) for number in range(people)]
        land(places, *shared)
        work(places)
        first, second = batches_of(places)
        assert judged(places, first).passed
        verdict = judged(places, second)
        assert verdict.passed is passes
        assert verdict.numbers["usual_rate"] == 0
        assert json.dumps(dict(verdict.numbers))
        assert float(verdict.numbers["rate"]) > 0.4
    finally:
        state.close()
