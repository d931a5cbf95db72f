"""Sending on: every sound event arrives at least once under its own messageId, whatever the receiver does."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.destinations.tracking_api import TrackingApi
from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.events import occurred_at
from activation_dagster.domain.forwarding import (
    MAX_BATCH_BYTES,
    MAX_EVENT_BYTES,
    Outgoing,
    back_off,
    in_batches,
    outgoing,
    said,
)
from activation_dagster.domain.landing import Segment
from activation_dagster.domain.times import read_instant
from activation_dagster.errors import LeaseHeld, RetryLater, StopTheDestination
from activation_dagster.pipeline.forward import ForwardReport, Pace, forward
from activation_dagster.pipeline.forward_status import Target, forward_status
from activation_dagster.pipeline.import_archive import import_archive
from activation_dagster.pipeline.places import Places
from activation_dagster.sources.archives import FolderArchive
from activation_dagster.state import forwards
from activation_dagster.state.engine import State
from tests.pipeline.small_shop import NOW, Clock, bad_price, lines, places_at, purchase
from tests.pipeline.tracking_server import CUT_AFTER, CUT_BEFORE, SLOW, Far, far_collector

MILLISECOND = timedelta(milliseconds=1)
LONG_AGO = NOW - timedelta(days=1)


@pytest.fixture
def far() -> Generator[Far]:
    with far_collector() as made:
        yield made


def landed(places: Places, *events: Any, source: str = "web", at: datetime = NOW, suffix: str = "a") -> Segment:
    """Events, or raw lines, in a segment."""
    raw = [event if isinstance(event, bytes) else lines(event)[0] for event in events]
    return places.landing.seal(source, raw, sealed_at=at, suffix=suffix)


def purchases(count: int, *, size: int = 0) -> list[dict[str, Any]]:
    """Purchases with numbered message ids."""
    return [
        {**purchase("ann"), "messageId": f"p-{number:05d}", "context": {"filling": "x" * size}}
        for number in range(count)
    ]


def sent_on(
    places: Places, far: Far, *, most_tries: int | None = 20, waits: list[float] | None = None, timeout: float = 30.0
) -> ForwardReport:
    """One pass; waiting costs no time and is written down."""

    def wait(seconds: float) -> bool:
        if waits is not None and seconds:
            waits.append(seconds)
        return False

    receiver = TrackingApi(far.address, "key", timeout_seconds=timeout)
    try:
        return forward(places, target(far), receiver, Pace(wait=wait, most_tries=most_tries), since=LONG_AGO)
    finally:
        receiver.close()


def target(far: Far) -> Target:
    return Target(source="web", address=far.address)


def test_every_event_arrives_in_order_under_its_own_id_within_the_limits(places: Places, far: Far) -> None:
    events = purchases(3_000, size=300)
    landed(places, *events[:2_000])
    landed(places, *events[2_000:], at=NOW + timedelta(seconds=1), suffix="b")
    landed(places, purchase("eve"), source="app", suffix="c")
    report = sent_on(places, far)
    assert far.ids == [event["messageId"] for event in events]
    assert (report.segments, report.sent, report.withheld, report.refused) == (2, 3_000, 0, 0)
    assert max(far.sizes) <= 500_000
    assert max(map(len, far.batches)) <= 2_500
    key = base64.b64encode(b"key:").decode()
    assert set(far.calls) == {f"/v1/batch Basic {key} 200"}
    assert {event["properties"]["product_id"] for batch in far.batches for event in batch} == {"sku-1"}
    assert sent_on(places, far).sent == 0


def test_429_500_cut_and_slow_are_tried_again_until_everything_is_there(places: Places, far: Far) -> None:
    events = purchases(30)
    landed(places, *events)
    far.orders = ["429", "500", CUT_BEFORE, "503", CUT_AFTER, SLOW]
    waits: list[float] = []
    report = sent_on(places, far, waits=waits, timeout=2.0)
    assert report.sent == 30
    assert set(far.ids) == {event["messageId"] for event in events}
    assert waits[0] >= 7  # what Retry-After asked for
    assert len(waits) >= 6


def test_what_is_refused_for_good_is_recorded_and_those_beside_it_go(places: Places, far: Far) -> None:
    events = purchases(40)
    segment = landed(places, *events)
    far.guilty = frozenset({"p-00003", "p-00031"})
    far.most_events = 16  # 413 beyond
    report = sent_on(places, far)
    assert (report.sent, report.refused) == (38, 2)
    assert sorted(far.ids) == sorted({event["messageId"] for event in events} - far.guilty)
    with places.state.read() as connection:
        refused = forwards.refusals_of(connection, target(far).target_id, limit=10)
    at = segment.segment_id
    assert sorted(refused) == [
        (f"{at}:0000004", "refused_by_receiver", 400),
        (f"{at}:0000032", "refused_by_receiver", 400),
    ]


def test_an_event_over_32_kb_is_recorded_and_not_sent(places: Places, far: Far) -> None:
    landed(places, *purchases(1, size=MAX_EVENT_BYTES), purchase("bob"))
    report = sent_on(places, far)
    assert (report.sent, report.refused, len(far.ids)) == (1, 1, 1)


def test_what_breaks_its_contract_waits_here_and_is_not_sent_on(places: Places, far: Far) -> None:
    refused = b'{"collector":{"refused":"too_large","verdict":"too_large"},"type":"track","messageId":"m"}'
    stamped = b'{"collector":{"verdict":"too_late"},' + lines(purchase("bob"))[0][1:]
    good = purchase("ann")
    landed(places, b'{"cut', bad_price("ann"), b"", refused, stamped, good)
    report = sent_on(places, far)
    assert (report.sent, report.withheld) == (1, 4)
    assert far.ids == [good["messageId"]]


def test_a_wrong_key_stops_without_refusing_anything(places: Places, far: Far) -> None:
    landed(places, *purchases(3))
    far.orders = ["401"]
    with pytest.raises(StopTheDestination, match="status 401"):
        sent_on(places, far)
    assert forward_status(places, target(far)).refused == 0
    assert sent_on(places, far).sent == 3


def test_after_so_many_tries_it_gives_up_and_loses_nothing(places: Places, far: Far) -> None:
    landed(places, *purchases(3))
    far.orders = ["500"] * 3
    with pytest.raises(RetryLater, match="after 3 tries"):
        sent_on(places, far, most_tries=3)
    assert sent_on(places, far).sent == 3


class Died(BaseException):
    """Ends a program where it stands."""


@pytest.mark.parametrize("point", ["forward.sent", "forward.recorded"])
def test_dying_sends_at_most_one_step_again_under_the_same_ids(
    tmp_path: Path, state: State, far: Far, point: str
) -> None:
    passed: Counter[str] = Counter()

    def die(name: str) -> None:
        passed[name] += 1
        if name == point and passed[name] == 2:
            raise Died

    events = purchases(6_000)
    landed(places_at(tmp_path, state), *events)
    with pytest.raises(Died):
        sent_on(places_at(tmp_path, state, at=die), far)
    sent_on(places_at(tmp_path, state), far)
    counts = Counter(far.ids)
    assert set(counts) == {event["messageId"] for event in events}
    assert max(counts.values()) <= 2
    assert sum(count == 2 for count in counts.values()) == (2_500 if point == "forward.sent" else 0)


def test_a_target_begins_when_it_is_first_asked_for_and_not_with_the_history(places: Places, far: Far) -> None:
    landed(places, purchase("old"), at=LONG_AGO - timedelta(hours=1))
    new = purchase("new")
    landed(places, new, suffix="b")
    sent_on(places, far)
    assert far.ids == [new["messageId"]]


def test_an_archive_is_not_sent_on_unless_it_is_the_way_in(places: Places, far: Far, tmp_path: Path) -> None:
    for name, provenance in (("old", Provenance.BACKFILL), ("live", Provenance.LIVE)):
        file = tmp_path / name / "1.ndjson"
        file.parent.mkdir()
        file.write_bytes(lines({**purchase("ann"), "messageId": name})[0])
        import_archive(places, FolderArchive(root=file.parent), source="web", provenance=provenance)
    sent_on(places, far)
    assert far.ids == ["live"]


def test_how_far_behind_it_is_is_the_age_of_the_oldest_segment_that_waits(
    tmp_path: Path, state: State, far: Far
) -> None:
    clock = Clock()
    places = places_at(tmp_path, state, clock=clock)
    before = forward_status(places, target(far))
    assert (before.begun, before.waiting_segments) == (False, 0)
    landed(places, *purchases(2))
    sent_on(places, far)
    landed(places, *purchases(2), at=NOW + timedelta(seconds=5), suffix="b")
    clock.now += timedelta(seconds=65)
    behind = forward_status(places, target(far))
    assert (behind.waiting_segments, behind.lag_seconds, behind.sent) == (1, 60.0, 2)
    sent_on(places, far)
    assert (forward_status(places, target(far)).lag_seconds, forward_status(places, target(far)).sent) == (0.0, 4)


def test_only_one_process_sends_on_to_a_target(places: Places, far: Far) -> None:
    with places.landing.held(f"forward-{target(far).target_id}"), pytest.raises(LeaseHeld):
        sent_on(places, far)


INSTANT = st.integers(0, 10**12).map(lambda milliseconds: datetime(2000, 1, 1, tzinfo=UTC) + milliseconds * MILLISECOND)


@given(original=INSTANT, sent=INSTANT, received=INSTANT, again=INSTANT)
def test_a_receiver_that_corrects_the_clock_again_finds_the_same_instant(
    original: datetime, sent: datetime, received: datetime, again: datetime
) -> None:
    event = {"timestamp": said(original), "originalTimestamp": said(original), "sentAt": said(sent)}
    ours = outgoing(event, event_id="s:1", received_at=received)
    theirs = json.loads(ours.body)
    happened = read_instant(theirs["timestamp"])
    assert happened is not None
    assert occurred_at(timestamp=None, original=happened, sent=again, received=again) == happened
    assert happened == received - (sent - original)
    assert theirs["messageId"] == "landed-s-1"
    assert set(theirs) == {"messageId", "timestamp"}


@given(sizes=st.lists(st.integers(1, 40_000), max_size=60))
def test_batches_keep_order_and_both_limits(sizes: list[int]) -> None:
    events = [Outgoing(event_id=str(number), body=b"x" * size) for number, size in enumerate(sizes)]
    batches = list(in_batches(events, max_bytes=MAX_BATCH_BYTES, max_events=20))
    assert [event for batch in batches for event in batch] == events
    for batch in batches:
        assert len(batch) <= 20
        assert sum(len(event.body) + 1 for event in batch) <= MAX_BATCH_BYTES or len(batch) == 1


@given(attempt=st.integers(1, 100), jitter=st.floats(0, 1), asked=st.none() | st.floats(0, 1e6))
def test_waits_grow_to_five_minutes_and_what_is_asked_for_is_kept_up_to_an_hour(
    attempt: int, jitter: float, asked: float | None
) -> None:
    seconds = back_off(attempt, jitter=jitter, retry_after=asked).total_seconds()
    assert seconds >= 0.25
    assert seconds >= min(asked or 0, 3600) - 0.001
    assert seconds <= max(300.0, min(asked or 0, 3600.0)) + 0.001
