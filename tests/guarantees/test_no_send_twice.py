"""Promise 4: no send twice, whatever is repeated, broken off, held up or done by two at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from activation_dagster.errors import LeaseLost
from activation_dagster.lake.delta import Lake
from activation_dagster.lake.tables import DUPLICATES
from activation_dagster.pipeline.send import deliver
from activation_dagster.state.incidents import list_incidents
from tests.destinations.far_end import FarEnd
from tests.guarantees.events import Whole, choice, identify, purchase, written
from tests.guarantees.landings import land_everything
from tests.guarantees.shop import (
    NOW,
    Clock,
    Held,
    Shop,
    compared,
    differences,
    far_end_in,
    the_far_end_has_what_the_ledger_says,
)
from tests.guarantees.worker import Workers, running_workers

BEFORE = NOW - timedelta(days=2)
AFTER_THE_LEASE = NOW + timedelta(minutes=5)

TRACK = "/api/events/trackBulk"
TRIGGER = "/api/workflows/triggerWorkflow"


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with running_workers() as started:
        yield started


@pytest.fixture(scope="module")
def shared_far_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarEnd]:
    with far_end_in(tmp_path_factory.mktemp("far_end")) as far_end:
        yield far_end


@pytest.fixture
def far_end(shared_far_end: FarEnd) -> FarEnd:
    """Nothing has arrived yet."""
    shared_far_end.reset()
    return shared_far_end


@pytest.fixture
def shop(tmp_path: Path, far_end: FarEnd, state_url: str) -> Shop:
    """An empty shop, on SQLite and on PostgreSQL."""
    return Shop(folder=tmp_path, address=far_end.address, state_url=state_url)


def buyer(name: str, *, price: float = 12.0) -> list[Whole]:
    """Somebody in the United States who bought and then allows news: a welcome goes out, for 500 a journey too."""
    return [
        identify(f"{name}-1", at=BEFORE, user=name, country="US"),
        purchase(f"{name}-2", at=BEFORE, user=name, price=price),
        asks(name),
    ]


def asks(name: str, message_id: str = "", *, marketing: bool = True, at: datetime = BEFORE) -> Whole:
    return choice(message_id or f"{name}-3", at=at, user=name, marketing=marketing)


def by_status(shop: Shop) -> Counter[tuple[str, str]]:
    return Counter((row["workflow_id"], row["status"]) for row in shop.sends().values())


def nobody_was_sent_twice(shop: Shop, far_end: FarEnd) -> None:
    assert shop.totals().conserved
    the_far_end_has_what_the_ledger_says(shop.sends().values(), far_end)


# -- the same again ---------------------------------------------------------------------------------------------------


def test_a_message_that_comes_again_after_the_dedupe_window_is_accepted_and_not_sent(
    shop: Shop, far_end: FarEnd
) -> None:
    shop = replace(shop, dedupe_window_hours=1)
    shop.land(written(*buyer("ann")), at=NOW - timedelta(hours=8))
    shop.work()
    assert shop.deliver().sent == 1
    ledger = shop.sends()

    shop.land(written(asks("ann")), at=NOW - timedelta(hours=1))
    shop.work()
    assert shop.deliver().claimed == 0

    assert shop.sends() == ledger
    nobody_was_sent_twice(shop, far_end)
    assert (shop.totals().accepted, shop.totals().duplicate) == (4, 0)
    again = [row for row in shop.lake()["send_decisions"] if row["trigger_event_id"].endswith("0000001")]
    assert {(row["workflow_id"], row["outcome"], row["reason"]) for row in again} == {
        ("welcome_back", "refuse", "already_decided"),
        ("panel_invitation", "refuse", "lost_to:welcome_back"),
    }


def test_a_message_that_comes_again_inside_the_window_is_a_duplicate(shop: Shop, far_end: FarEnd) -> None:
    shop.land(written(*buyer("ann"), asks("ann")), at=NOW - timedelta(hours=8))
    shop.land(written(asks("ann")), at=NOW - timedelta(hours=1))
    shop.work()
    assert shop.deliver().sent == 1
    nobody_was_sent_twice(shop, far_end)
    assert Counter(row["cause"] for row in shop.lake()["duplicate_events"]) == {"in_batch": 1, "in_window": 1}


def test_who_comes_back_into_an_audience_does_not_enter_a_journey_again_that_is_entered_once(
    shop: Shop, far_end: FarEnd
) -> None:
    clock = Clock(now=NOW - timedelta(hours=8))
    story = [buyer("ann", price=600.0), [asks("ann", "no", marketing=False, at=BEFORE + timedelta(hours=1))]]
    story.append([asks("ann", "yes", at=BEFORE + timedelta(hours=2))])
    for number, events in enumerate(story):
        shop.land(written(*events), at=clock.now)
        shop.work(clock=clock)
        shop.deliver(clock=clock)
        clock.advance(hours=number + 1)
    entries = [row for row in shop.sends().values() if row["workflow_id"] == "vip_journey"]
    assert Counter((row["status"], row["reason"]) for row in entries) == {
        ("sent", ""): 1,
        ("refused", "inside_reentry"): 1,
    }
    assert len(far_end.rows("workflow_entries")) == 1
    nobody_was_sent_twice(shop, far_end)


# -- answers that do not come -----------------------------------------------------------------------------------------


def test_an_event_whose_answer_is_lost_is_sent_again_under_its_key_and_kept_once(shop: Shop, far_end: FarEnd) -> None:
    shop.land(written(*buyer("ann"), *buyer("bob")), at=NOW)
    shop.work()
    far_end.order(TRACK, "drop_after")
    clock = Clock()
    delivered = shop.deliver(clock=clock)
    assert (delivered.claimed, delivered.sent, delivered.waiting) == (2, 0, 2)
    assert shop.totals().pending == 2
    assert len(far_end.rows("events")) == 2
    clock.advance(minutes=1)
    assert shop.deliver(clock=clock).sent == 2
    assert [row["times_received"] for row in far_end.rows("events")] == [2, 2]
    nobody_was_sent_twice(shop, far_end)


def test_a_journey_whose_answer_is_lost_is_unknown_and_never_repeated(shop: Shop, far_end: FarEnd) -> None:
    shop.land(written(*buyer("ann", price=600.0)), at=NOW)
    shop.work()
    far_end.order(TRIGGER, "drop_after")
    clock = Clock()
    assert shop.deliver(clock=clock).unknown == 1
    for _ in range(3):
        clock.advance(hours=1)
        assert shop.deliver(clock=clock).claimed == 0
    assert by_status(shop) == {("welcome_back", "sent"): 1, ("vip_journey", "unknown"): 1}
    assert len(far_end.rows("workflow_entries")) == 1
    assert (shop.totals().pending, shop.totals().unknown) == (1, 1)
    nobody_was_sent_twice(shop, far_end)
    with shop.places() as places, places.state.read() as connection:
        (incident,) = list_incidents(connection, is_open=True)
    assert incident.kind == "send_unknown"


# -- two at once ------------------------------------------------------------------------------------------------------


def crowd(shop: Shop) -> None:
    """Twenty people to welcome, five of them into the journey."""
    people = [buyer(f"u{number}", price=600.0 if number < 5 else 12.0) for number in range(20)]
    shop.land(written(*(event for person in people for event in person)), at=NOW)
    shop.work()


def test_two_processes_that_deliver_at_once_send_each_message_once(shop: Shop, far_end: FarEnd) -> None:
    crowd(shop)
    far_end.order(TRACK, "delay", seconds=0.1, times=3)
    with ExitStack() as stack:
        both = [stack.enter_context(running_workers()) for _ in range(2)]
        for one in both:  # each with a claim in hand, so that neither comes too late to meet the other
            assert one.run(shop, what=["deliver"], claim_size=3, stop_at=["sends.claimed:1"]).stopped_at
        with ThreadPoolExecutor(2) as pool:
            ends = list(pool.map(Workers.resume, both))
    assert all(end.finished for end in ends)
    assert by_status(shop) == {("welcome_back", "sent"): 20, ("vip_journey", "sent"): 5}
    assert all(row["attempts"] == 1 for row in shop.sends().values())
    assert {row["times_received"] for row in far_end.rows("events")} == {1}
    nobody_was_sent_twice(shop, far_end)


def test_a_delivery_begins_nothing_more_once_its_lease_is_over_and_sends_the_rest_under_the_next(
    shop: Shop, far_end: FarEnd
) -> None:
    crowd(shop)
    clock = Clock()
    begun_late: list[str] = []

    def each_call_takes_long(point: str) -> None:
        if point == "sends.called":
            clock.advance(seconds=0.4 * shop.settings.lease_seconds)
            begun_late.extend(
                key
                for key, row in shop.sends().items()
                if row["status"] == "claimed" and row["lease_until"] < clock.now.timestamp() * 1e6
            )

    with shop.places(clock=clock, at=each_call_takes_long) as places, shop.destinations(places) as destinations:
        report = deliver(places, destinations, clock=clock, claim_size=500)
    assert begun_late  # the lease was over with journeys still to trigger
    assert (report.unknown, report.waiting) == (0, 2)
    assert by_status(shop) == {("welcome_back", "sent"): 20, ("vip_journey", "sent"): 5}
    assert Counter(row["attempts"] for row in shop.sends().values()) == {1: 23, 2: 2}
    nobody_was_sent_twice(shop, far_end)


def test_a_delivery_held_up_past_its_lease_repeats_nothing_that_another_has_taken_over(
    shop: Shop, far_end: FarEnd, workers: Workers
) -> None:
    crowd(shop)
    held_up = workers.run(shop, what=["deliver"], stop_at=["sends.claimed:1"])
    assert held_up.stopped_at
    assert workers.run(shop, what=["deliver"], clock=AFTER_THE_LEASE).finished
    assert workers.resume().finished
    assert by_status(shop) == {("welcome_back", "sent"): 20, ("vip_journey", "sent"): 5}
    assert Counter(row["times_received"] for row in far_end.rows("events")) == {1: 13, 2: 7}
    nobody_was_sent_twice(shop, far_end)


def test_a_journey_held_up_past_its_lease_is_unknown_and_entered_at_most_once(
    shop: Shop, far_end: FarEnd, workers: Workers
) -> None:
    crowd(shop)
    held_up = workers.run(shop, what=["deliver"], stop_at=["sends.called:2"], claim_size=500)
    assert held_up.stopped_at  # one journey is called and not answered, four are claimed and not called
    assert workers.run(shop, what=["deliver"], clock=AFTER_THE_LEASE).finished
    assert workers.resume().finished
    assert by_status(shop) == {("welcome_back", "sent"): 20, ("vip_journey", "unknown"): 5}
    assert shop.totals().pending == 5
    nobody_was_sent_twice(shop, far_end)


# -- two at one batch -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, shared_far_end: FarEnd) -> dict[str, Held]:
    """State and lake where one worker worked everything."""
    shop = Shop(folder=tmp_path_factory.mktemp("undisturbed"), address=shared_far_end.address)
    land_everything(shop)
    shop.work()
    return {"state": compared(shop.state()), "lake": shop.lake()}


def all_is_as_one_would_have_left_it(shop: Shop, undisturbed: dict[str, Held]) -> None:
    assert differences(compared(shop.state()), undisturbed["state"]) == []
    assert differences(shop.lake(), undisturbed["lake"]) == []
    assert shop.totals().conserved


@pytest.mark.parametrize("point", ["ingested.opened:1", "consented.effects:1", "intended.released:1"])
def test_a_batch_in_hand_is_left_alone_until_its_lease_runs_out(
    shop: Shop, workers: Workers, undisturbed: dict[str, Held], point: str
) -> None:
    land_everything(shop)
    assert workers.run(shop, what=["drain"], stop_at=[point]).stopped_at == point
    assert workers.run(shop, what=["drain"]).gave_up == "LeaseHeld"
    assert workers.resume().finished
    all_is_as_one_would_have_left_it(shop, undisturbed)


LATE = (
    *("ingested.opened:1", "validated.written:2", "resolved.links:1", "consented.effects:1", "decided.opened:1"),
    "intended.released:1",
)
"""Before what a phase writes to the lake, between its tables, and between what it writes to state."""


@pytest.mark.parametrize("point", LATE)
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_worker_held_up_past_its_lease_writes_nothing_more(
    dialect: str, shop: Shop, workers: Workers, undisturbed: dict[str, Held], point: str
) -> None:
    land_everything(shop)
    assert workers.run(shop, what=["drain"], stop_at=[point]).stopped_at == point
    assert workers.run(shop, what=["drain"], clock=AFTER_THE_LEASE).finished
    assert workers.resume().gave_up == "LeaseLost"
    all_is_as_one_would_have_left_it(shop, undisturbed)


def test_two_processes_that_work_the_same_landing_at_once_do_it_once(
    shop: Shop, undisturbed: dict[str, Held], far_end: FarEnd
) -> None:
    land_everything(shop)
    with ExitStack() as stack:
        both = [stack.enter_context(running_workers()) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            ends = list(pool.map(lambda one: one.run(shop, what=["drain"]), both))
        assert {end.gave_up for end in ends} <= {"", "LeaseHeld"}
        assert both[0].run(shop, what=["drain"]).finished
    all_is_as_one_would_have_left_it(shop, undisturbed)


def test_rows_that_another_writes_after_the_lease_was_looked_at_are_not_doubled(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake" / "demo")
    row = (
        "select '2025-09-18-10' as arrival_hour, 'b1' as batch_id, 'e1' as event_id, 'shop' as source, "
        "'m1' as message_id, 'in_batch' as cause"
    )
    asked: list[str] = []

    def replace_rows(before_commit: Callable[[], None]) -> None:
        with duckdb.connect(":memory:") as connection:
            lake.replace(
                connection,
                DUPLICATES,
                select=row,
                arrival_hour="2025-09-18-10",
                batch_id="b1",
                may_exist=bool(asked),
                before_commit=before_commit,
            )

    def another_takes_over() -> None:
        if asked:
            raise LeaseLost("Somebody else has the batch.")
        asked.append("the lease still stands")
        replace_rows(lambda: None)

    with pytest.raises(LeaseLost):
        replace_rows(another_takes_over)
    with duckdb.connect(":memory:") as connection:
        assert connection.execute(f"select count(*) from {lake.source(DUPLICATES)} as d").fetchall() == [(1,)]
