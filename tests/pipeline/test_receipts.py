"""A receipt says of an event what became of it, from landing to the lake, and of an unknown one nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.receipts import EventReceipt, event_receipt
from activation_dagster.pipeline.work import drain
from activation_dagster.settings import Settings
from activation_dagster.sources.open_segments import OpenSegment
from activation_dagster.wiring import open_places

NOW = datetime(2026, 3, 1, 10, 15, 30, tzinfo=UTC)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    with open_places(Settings(home=tmp_path / "home"), clock=lambda: NOW + timedelta(seconds=5)) as found:
        yield found


def page(message_id: str, **more: object) -> bytes:
    event = {"type": "page", "messageId": message_id, "anonymousId": "a", "properties": {"path": "/"}, **more}
    return json.dumps(event).encode()


def receipt(places: Places, message_id: str) -> EventReceipt | None:
    return event_receipt(places, message_id, source="shop")


def status(places: Places, message_id: str) -> str | None:
    found = receipt(places, message_id)
    return None if found is None else found.status


def test_an_event_is_pending_in_an_open_file_and_in_a_sealed_segment_until_it_is_judged(places: Places) -> None:
    segment = OpenSegment.create(places.landing, "shop", "a")
    segment.append(page('é"/m') + b"\n" + page("other") + b"\n")
    assert status(places, 'é"/m') == "pending"
    segment.seal(NOW)
    assert status(places, 'é"/m') == "pending"
    assert event_receipt(places, 'é"/m', source="web") is None
    drain(places, now=places.clock)
    assert status(places, 'é"/m') == "accepted"


def test_accepted_duplicate_and_quarantined_are_told_with_their_reasons(places: Places) -> None:
    lines = [page("good"), page("bad", anonymousId=5), b"not json", page("good")]
    places.landing.seal("shop", lines, sealed_at=NOW, suffix="a")
    places.landing.seal("web", [page("good")], sealed_at=NOW, suffix="b")
    drain(places, now=places.clock)
    good = receipt(places, "good")
    assert good is not None
    assert (good.status, good.contract, good.reason) == ("accepted", "page", None)
    bad = receipt(places, "bad")
    assert bad is not None
    assert (bad.status, bad.reason) == ("quarantined", "invalid_envelope")
    again = event_receipt(places, "good", source="web")
    assert again is not None
    assert (again.status, again.reason) == ("duplicate", "in_batch")


def test_of_an_event_that_never_came_nothing_is_known(places: Places) -> None:
    places.landing.seal("shop", [page("m1", userId="never"), b'{"note":"never"}'], sealed_at=NOW, suffix="a")
    assert receipt(places, "never") is None
    assert receipt(places, "") is None
    drain(places, now=places.clock)
    assert receipt(places, "never") is None


def test_an_event_of_long_ago_is_still_known(places: Places) -> None:
    places.landing.seal("shop", [page("old")], sealed_at=NOW - timedelta(days=30), suffix="a")
    drain(places, now=places.clock)
    assert status(places, "old") == "accepted"
