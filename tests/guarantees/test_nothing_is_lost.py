"""Promise 1: nothing is lost, wherever a worker is killed.

Events of a small shop land in three segments, two of them in one hour, and each becomes a batch. A worker dies by
SIGKILL at a named recovery point, another process goes on when its leases have run out, and in the end everything is
what it is where nobody died: every table of state and of the lake, and the far end. On SQLite each point is tried on
its own; on PostgreSQL one landing survives a death at every point, one after the other, beginning with an empty lake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.destinations.far_end import FarEnd
from tests.guarantees.landings import LANDED, LANDED_AT, land_everything, segments
from tests.guarantees.shop import (
    NOW,
    Held,
    Shop,
    compared,
    compared_lake,
    differences,
    every_event_is_in_one_place,
    far_end_in,
    the_far_end_has_what_the_ledger_says,
)
from tests.guarantees.worker import Workers, running_workers

PHASES = {
    "ingested": ("opened", "effects", "written", "durable", "closed"),
    "validated": ("opened", "effects", "written", "written", "written", "durable", "closed"),
    "resolved": ("opened", "links", "effects", "written", "durable", "closed"),
    "consented": ("facts", "opened", "effects", "written", "durable", "closed"),
    "decided": ("opened", "effects", "written", "durable", "closed"),
    "intended": ("opened", "released", "effects", "durable", "closed"),
}
"""Every recovery point of a batch, in order; `written` once a lake table."""

BATCH_POINTS = tuple(
    f"{phase}.{name}:{names[: number + 1].count(name)}"
    for phase, names in PHASES.items()
    for number, name in enumerate(names)
)

SEND_POINTS = (
    *("sends.claimed:1", "sends.called:1", "sends.answered:1"),  # seven events in one call
    *("sends.claimed:2", "sends.called:2", "sends.answered:2"),  # the rest of them
    "sends.claimed:3",  # no event is due any more
    *("sends.claimed:4", "sends.called:3", "sends.answered:3"),  # two journeys, one call each
    *("sends.called:4", "sends.answered:4"),
    "sends.claimed:5",
    *(f"sends.{name}:{batch}" for batch in (1, 2, 3) for name in ("copying", "copy_written", "copy_durable", "copied")),
)

AFTER_THE_LEASE = NOW + timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """What comes of the landing where nobody dies, and the shop as it stood on the way there.

    `last_batch_waits`: two of three batches are worked. `to_be_sent`: all are, and nothing is delivered yet.
    """

    state: Held
    lake: Held
    batch_points: tuple[str, ...]
    send_points: tuple[str, ...]
    last_batch_waits: Shop
    to_be_sent: Shop


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with running_workers() as started:
        yield started


@pytest.fixture(scope="module")
def shared_far_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarEnd]:
    with far_end_in(tmp_path_factory.mktemp("far_end")) as far_end:
        yield far_end


@pytest.fixture
def far_end(shared_far_end: FarEnd, undisturbed: Undisturbed) -> FarEnd:
    """Nothing has arrived yet."""
    shared_far_end.reset()
    return shared_far_end


@pytest.fixture(scope="module")
def undisturbed(workers: Workers, shared_far_end: FarEnd, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    shop = Shop(folder=tmp_path_factory.mktemp("undisturbed"), address=shared_far_end.address)
    *earlier, last = zip(segments(), LANDED_AT, strict=True)
    for lines, at in earlier:
        shop.land(lines, at=at)
    workers.run(shop, what=["drain"])
    shop.land(last[0], at=last[1])
    last_batch_waits = shop.copied(tmp_path_factory.mktemp("last_batch_waits"))
    worked = workers.run(shop, what=["drain"])
    to_be_sent = shop.copied(tmp_path_factory.mktemp("to_be_sent"))
    sent = workers.run(shop, what=["deliver"])
    state = shop.state()
    the_far_end_has_what_the_ledger_says(state["sends"], shared_far_end)
    return Undisturbed(
        state=compared(state),
        lake=compared_lake(shop.lake()),
        batch_points=worked.points,
        send_points=sent.points,
        last_batch_waits=last_batch_waits,
        to_be_sent=to_be_sent,
    )


def nothing_was_lost(shop: Shop, far_end: FarEnd, undisturbed: Undisturbed, in_doubt: set[str]) -> None:
    """All is as it would be had nobody died, but for the journeys that a dead worker had in hand: those are unknown."""
    state, lake = shop.state(), shop.lake()
    every_event_is_in_one_place(shop, lake)
    the_far_end_has_what_the_ledger_says(state["sends"], far_end)
    counted = shop.totals()
    assert counted.conserved
    assert (counted.received, counted.batches, counted.unfinished_batches, counted.waiting_segments) == (
        LANDED,
        3,
        0,
        0,
    )
    assert (counted.unknown, counted.pending) == (len(in_doubt), len(in_doubt))
    incidents = state.pop("incidents")
    assert [row["kind"] for row in incidents] == (["send_unknown"] if in_doubt else [])
    assert all(row["owner"] and row["resolved_at"] is None for row in incidents)
    unknown = {"status": "unknown", "reason": "outcome_unknown", "http_status": None, "in_doubt": True}
    expected = {name: rows for name, rows in undisturbed.state.items() if name != "incidents"} | {
        "sends": sorted(
            ({**row, **unknown} if row["send_key"] in in_doubt else row for row in undisturbed.state["sends"]),
            key=repr,
        )
    }
    assert differences(compared(state), expected) == []
    of_the_ledger = [
        {**row, "status": "unknown", "reason": "outcome_unknown"} if row["send_key"] in in_doubt else row
        for row in undisturbed.lake["sends"]
    ]
    expected_lake = undisturbed.lake | {"sends": sorted(of_the_ledger, key=repr)}
    assert differences(compared_lake(lake), expected_lake) == []


def journeys_in_hand(shop: Shop) -> set[str]:
    """Sends to the endpoint that takes no key which a worker has claimed and not answered."""
    return {
        key for key, row in shop.sends().items() if row["status"] == "claimed" and row["endpoint"] == "trigger_workflow"
    }


def test_every_recovery_point_is_tried(undisturbed: Undisturbed) -> None:
    assert undisturbed.batch_points == BATCH_POINTS
    assert undisturbed.send_points == SEND_POINTS


def test_the_landing_has_something_to_lose(undisturbed: Undisturbed) -> None:
    state, lake = undisturbed.state, undisturbed.lake
    assert all(lake.values())
    assert {row["endpoint"] for row in state["sends"]} == {"track", "trigger_workflow"}
    assert {row["status"] for row in state["sends"]} == {"sent", "refused"}
    assert len(state["profile_redirects"]) > 5
    assert {row["decision"] for row in state["links"]} == {"accepted", "blocked", "conflict"}
    assert {row["status"] for row in state["consent_records"]} == {"granted", "denied"}
    assert len({row["source"] for row in state["consent_records"] if row["source"].startswith("merge:")}) == 2
    assert {row["change"] for row in state["membership_changes"]} >= {"entered", "exited"}


@pytest.mark.parametrize("point", BATCH_POINTS)
def test_a_batch_whose_worker_is_killed_is_finished_by_the_next(
    point: str, undisturbed: Undisturbed, workers: Workers, far_end: FarEnd, tmp_path: Path
) -> None:
    shop = undisturbed.last_batch_waits.copied(tmp_path)
    assert workers.run(shop, die_at=[point]).died_at == point
    assert workers.run(shop, clock=AFTER_THE_LEASE).finished
    nothing_was_lost(shop, far_end, undisturbed, in_doubt=set())


@pytest.mark.parametrize("point", SEND_POINTS)
def test_a_delivery_that_is_killed_is_finished_by_the_next(
    point: str, undisturbed: Undisturbed, workers: Workers, far_end: FarEnd, tmp_path: Path
) -> None:
    shop = undisturbed.to_be_sent.copied(tmp_path)
    killed = workers.run(shop, what=["deliver"], die_at=[point])
    assert killed.died_at == point
    in_doubt = journeys_in_hand(shop)
    assert workers.run(shop, clock=AFTER_THE_LEASE).finished
    nothing_was_lost(shop, far_end, undisturbed, in_doubt)


@pytest.mark.parametrize("dialect", ["postgresql"])  # on SQLite each point is tried on its own above
def test_dying_at_every_point_one_after_the_other_loses_nothing(
    dialect: str, state_url: str, undisturbed: Undisturbed, workers: Workers, far_end: FarEnd, tmp_path: Path
) -> None:
    shop = Shop(folder=tmp_path, address=far_end.address, state_url=state_url)
    land_everything(shop)
    waiting = [*BATCH_POINTS, *SEND_POINTS]
    in_doubt: set[str] = set()
    clock: datetime = NOW
    while died_at := workers.run(shop, clock=clock, die_at=waiting).died_at:
        waiting.remove(died_at)
        in_doubt |= journeys_in_hand(shop)
        clock += timedelta(minutes=5)
    assert set(waiting) <= set(SEND_POINTS[3:])  # who dies over a call leaves fewer calls to die over
    nothing_was_lost(shop, far_end, undisturbed, in_doubt)
