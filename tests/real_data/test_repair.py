"""Words where the panel's ages stand are quarantined, told apart, repaired by one file and replayed; the sums hold.

`make test-real DATA=...` runs this. Of the 6,162 rows that hold DATA_EXPIRED somewhere, 105 hold it as the age: in the
other columns it is a text where the contract promises one, and those rows are accepted as they are.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.repairs import Selection
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.quarantine import listed, shown
from activation_dagster.pipeline.reentry import repair, replay
from activation_dagster.pipeline.watch import totals
from activation_dagster.pipeline.work import drain
from activation_dagster.registry.repairs import read_repair
from activation_dagster.settings import Settings
from activation_dagster.sources.real_data import convert
from activation_dagster.state.batches import all_finished, load_batches
from activation_dagster.wiring import open_places

pytestmark = pytest.mark.real_data

NOW = datetime(2026, 3, 1, 10, 15, 30, tzinfo=UTC)
REVOKED, EXPIRED, EXPIRED_ANYWHERE = 1_075, 105, 6_162
TOO_OLD = 5
"""Ages that are numbers beyond what the contract allows: no word to map, so they go on waiting."""

WORDS = REVOKED + EXPIRED
FILE = Path(__file__).resolve().parents[2] / "repairs" / "prescreen_age.yaml"


@pytest.fixture(scope="module")
def prescreens() -> list[bytes]:
    named = os.environ.get("ACTIVATION_TEST_DATA")
    assert named, "ACTIVATION_TEST_DATA is not set. Name the folder that holds main/."
    lines = convert(Path(named) / "main", now=NOW, everything=True)
    return [line for line in lines if b'"Prescreen Submitted"' in line]


def test_words_for_ages_wait_and_one_file_lets_them_in(prescreens: list[bytes], tmp_path: Path) -> None:
    assert len([line for line in prescreens if b'"DATA_EXPIRED"' in line]) == EXPIRED_ANYWHERE
    now = NOW
    with open_places(Settings(home=tmp_path / "home"), clock=lambda: now) as places:
        places.landing.seal("panel", prescreens, sealed_at=now, suffix="panel")
        drain(places, now=lambda: now)
        (group,) = listed(places)
        assert (group.event, group.field, group.events) == (
            "prescreen_submitted", "properties.age", WORDS + TOO_OLD,
        )  # fmt: skip
        assert [(line.value, line.events) for line in listed(places, by_value=True)] == [
            ('"CONSENT_REVOKED"', REVOKED),
            ('"DATA_EXPIRED"', EXPIRED),
            (None, TOO_OLD),
        ]
        read = read_repair(FILE, owners=contracts_today(places).owners)
        assert replay(places, Selection()).passing == 0
        tried = repair(places, read)
        assert (tried.selected, tried.passing, sum(tried.broken.values())) == (WORDS + TOO_OLD, WORDS, TOO_OLD)

        now += timedelta(days=1)
        for _ in range(2):
            repair(places, read, by="ann")
            replay(places, Selection(), by="ann")
            drain(places, now=lambda: now)
        assert [line.events for line in listed(places)] == [TOO_OLD]
        found = totals(places)
        assert (found.received, found.accepted, found.duplicate, found.quarantined) == (
            len(prescreens) + WORDS,
            len(prescreens) - TOO_OLD,
            0,
            WORDS + TOO_OLD,
        )
        assert found.conserved
        assert found.batches == 2
        assert {sample.closed_by for sample in shown(places, closed=True, limit=2_000)} == {"repair prescreen_age"}
        with places.state.read() as connection:
            provenances = [batch.provenance for batch in load_batches(connection, all_finished(connection))]
        assert provenances == [Provenance.LIVE, Provenance.REPAIR]
