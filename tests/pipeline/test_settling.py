"""Settling: a batch that is settled at once leaves the same state and the same tables as one decided set by set."""

from __future__ import annotations

import itertools
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from activation_dagster.pipeline import resolve
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.settling import settle_sets
from activation_dagster.pipeline.work import work_batch
from activation_dagster.state import identity as graph_state
from activation_dagster.state.engine import State, open_state
from activation_dagster.state.tables import links, profile_redirects
from tests.pipeline.small_shop import NOW, Event, batches_of, lake_rows, lines, places_at, work
from tests.pipeline.test_resolve import contracts_with, in_state, seen

KINDS: dict[str, Any] = {
    "user_id": {"paths": ["userId"], "normalise": ["trim"], "limit": 1, "blocked_values": ["null"]},
    "email": {"paths": ["context.traits.email"], "normalise": ["email"], "limit": 3},
    "phone": {"paths": ["context.traits.phone"], "normalise": ["trim", "lower"], "blocked_patterns": ["^0*$"]},
    "anonymous_id": {"paths": ["anonymousId"], "normalise": ["trim"], "limit": 4},
}
ODD = ["ü", "'", '"quoted"', "a,b", "back\\slash", "tab\there", "line\nbreak", "😀", "\\N", "%s", "0", "A b"]


def traffic(count: int) -> list[Event]:
    """Mostly people of their own; some share a device, some are joined later, some values name nobody."""
    dice = random.Random(4)
    events: list[Event] = []
    for number in range(count):
        who = dice.randrange(count // 3)
        user = f"u{who}" if dice.random() < 0.6 else None
        said: dict[str, Any] = {"anonymousId": f" d{who}-{dice.randrange(2)} "}
        if dice.random() < 0.3:
            said["email"] = f"M{who}@shop.test"
        if dice.random() < 0.2:
            said["phone"] = f"{dice.choice(ODD)}{who if dice.random() < 0.9 else ''}"
        if dice.random() < 0.03:
            said["anonymousId"] = f"tablet{dice.randrange(3)}"
        if dice.random() < 0.02:
            user = "null"
        if dice.random() < 0.1:
            del said["anonymousId"]
        events.append(seen(user, at=NOW - timedelta(seconds=number), **said))
    return events


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Settles batches of any size; of each how many sets were settled and how many were left."""
    shares: list[tuple[int, int]] = []

    def settle(run: BatchRun) -> Any:
        found = settle_sets(run)
        shares.append((found.found.num_rows, found.left.num_rows))
        return found

    monkeypatch.setattr(resolve, "SETTLED_FROM_SETS", 1)
    monkeypatch.setattr(resolve, "settle_sets", settle)
    return shares


def worked_in(places: Places, events: list[Event], sizes: list[int], *, first: int = 0) -> None:
    """Land and work events in batches of some sizes, from the `first` batch on."""
    for number, (begin, end) in enumerate(itertools.pairwise([0, *itertools.accumulate(sizes)])):
        if number >= first:
            at = NOW - timedelta(minutes=20 - number)
            places.landing.seal("web", lines(*events[begin:end]), sealed_at=at, suffix=f"s{number}")
            work(places)


def test_state_and_tables_are_those_of_deciding_set_by_set(
    tmp_path: Path, state: State, counted: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    contracts = contracts_with(tmp_path, KINDS)
    events, sizes = traffic(900), [400, 1, 250, 249]
    places = places_at(tmp_path / "settled", state, contracts=contracts)
    worked_in(places, events, sizes[:3])
    monkeypatch.setattr(graph_state, "SCANNED_UP_TO", 0)  # the last one probes state by index
    worked_in(places, events, sizes, first=3)
    monkeypatch.setattr(resolve, "SETTLED_FROM_SETS", 1 << 40)
    other = open_state(f"sqlite:///{tmp_path / 'plain.db'}")
    try:
        plain = places_at(tmp_path / "plain", other, contracts=contracts)
        worked_in(plain, events, sizes)
        assert in_state(places) == in_state(plain)
        assert lake_rows(places) == lake_rows(plain)
        with other.read() as connection:
            assert connection.execute(select(func.count()).select_from(profile_redirects)).scalar_one() > 10
            found = connection.execute(select(links.c.decision, func.count()).group_by(links.c.decision)).all()
    finally:
        other.close()
    assert {row[0] for row in found} >= {"accepted", "blocked", "conflict"}
    (first, left), _, (scanned, _), (probed, _) = counted
    assert first > 2 * left > 20
    assert min(scanned, probed) > 20


def test_a_settled_batch_that_runs_again_says_the_same_and_adds_nothing(
    tmp_path: Path, state: State, counted: list[tuple[int, int]]
) -> None:
    places = places_at(tmp_path, state, contracts=contracts_with(tmp_path, KINDS))
    worked_in(places, traffic(300), [150, 150])
    tables, rows = lake_rows(places), in_state(places)
    for batch in [*batches_of(places), *reversed(batches_of(places))]:
        work_batch(places, batch)
        assert in_state(places) == rows
    assert lake_rows(places) == tables
    assert len(counted) == 6
