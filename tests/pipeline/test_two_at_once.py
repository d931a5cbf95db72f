"""Two runs that resolve overlapping identifiers at once leave what one after the other leaves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from activation_dagster.domain.batches import Batch, Provenance
from activation_dagster.errors import LeaseHeld
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import plan_batch
from activation_dagster.pipeline.work import work_batch
from activation_dagster.state.engine import open_state
from activation_dagster.state.tables import (
    companions,
    consent_records,
    identifiers,
    links,
    membership_changes,
    profile_redirects,
    profiles,
    traits,
)
from tests.pipeline.small_shop import NOW, lake_rows, places_at
from tests.pipeline.test_merges import Seen, as_event

BATCHES = [
    [
        Seen(user="ann", news=False, hour=1),
        Seen(device="phone", news=True, hour=2),
        Seen(user="ann", device="phone"),
        Seen(user="bea", device="tablet"),
        Seen(device="laptop", email="a@shop.test"),
    ],
    [
        Seen(user="bea", device="phone", news=True, hour=3),
        Seen(user="ann", device="laptop"),
        Seen(device="tablet", email="b@shop.test"),
        Seen(user="cem", email="b@shop.test"),
        Seen(device="phone", email="a@shop.test", news=True, hour=2),
    ],
]
"""Both say something of the same people, and each merges what the other knows."""
TABLES = (
    profiles,
    identifiers,
    companions,
    profile_redirects,
    links,
    consent_records,
    membership_changes,
    traits,
)
PATIENCE_S = 60.0


def planned(places: Places) -> list[Batch]:
    """Both batches, planned one after the other and not begun."""
    found: list[Batch] = []
    for number, seen in enumerate(BATCHES):
        content = [
            json.dumps(as_event(one) | {"messageId": f"{number}.{line}"}).encode() for line, one in enumerate(seen)
        ]
        places.landing.seal("web", content, sealed_at=NOW - timedelta(minutes=9 - number), suffix="once")
        batch = plan_batch(places, provenance=Provenance.LIVE, now=NOW)
        assert batch is not None
        found.append(batch)
    return found


def until_done(places: Places, batch: Batch, *, waited: Callable[[], None]) -> None:
    """Work a batch, and again while another is in its way."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            work_batch(places, batch)
        except LeaseHeld:
            waited()
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
        else:
            return


def in_state(places: Places) -> dict[str, list[tuple[Any, ...]]]:
    with places.state.read() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr) for table in TABLES
        }


@pytest.mark.parametrize("first", [0, 1], ids=["in order", "the later one first"])
def test_two_runs_that_resolve_the_same_people_at_once_leave_what_one_after_the_other_leaves(
    new_state_url: Callable[[], str], tmp_path: Path, first: int
) -> None:
    """Whoever is first stands in the middle of its effects until the other has tried and was told to wait."""
    with ExitStack() as stack:
        alone = places_at(tmp_path / "alone", stack.enter_context(closing(open_state(new_state_url()))))
        planned_alone = planned(alone)
        for number in (first, 1 - first):
            work_batch(alone, planned_alone[number])

        url = new_state_url()
        shared = [
            places_at(tmp_path / "both", stack.enter_context(closing(open_state(url))), holder=f"run{number}")
            for number in range(len(BATCHES))
        ]
        batches = planned(shared[0])
        began, tried = threading.Event(), threading.Event()

        def hold_up(point: str) -> None:
            if point == "resolved.links":
                began.set()
                assert tried.wait(timeout=PATIENCE_S)

        with ThreadPoolExecutor(len(batches)) as pool:
            one = pool.submit(until_done, replace(shared[first], at=hold_up), batches[first], waited=lambda: None)
            assert began.wait(timeout=PATIENCE_S)
            other = pool.submit(until_done, shared[1 - first], batches[1 - first], waited=tried.set)
            one.result(timeout=2 * PATIENCE_S)
            other.result(timeout=2 * PATIENCE_S)
        assert in_state(shared[0]) == in_state(alone)
        assert lake_rows(shared[0]) == lake_rows(alone)
        assert in_state(alone)["profile_redirects"] or first == 1
