"""The main job on the simulator's dirt, over days, held against a plain-Python job of the same meaning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activation_dagster.sources.simulator import simulate
from tests.sql.platform import (
    Platform,
    assert_as_received,
    assert_same_decisions,
    assert_same_members,
    assert_same_people,
    assert_sent_once,
    platform,
)

NOW = datetime(2026, 3, 1, 10, 15, 30, 123_000, tzinfo=UTC)
PAUSES = [timedelta(), timedelta(hours=1), timedelta(hours=40), timedelta(days=45), timedelta(days=300)]
"""Between landings: in the hour, inside the dedupe window, outside it, past an audience's window, past a consent's."""


@pytest.fixture(scope="module", params=[7])
def worked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The simulator's lines, landed in five parts with days between them, worked and delivered."""
    lines = simulate(seed=request.param, people=350, events=5_000, now=NOW).lines
    with platform(tmp_path_factory.mktemp("installation"), now=NOW, batch_max_bytes=300_000) as found:
        size = len(lines) // len(PAUSES) + 1
        for number, pause in enumerate(PAUSES):
            found.now += pause
            again = lines[: size // 10]  # what came first comes once more
            found.land([*lines[number * size : (number + 1) * size], *again], segment_bytes=100_000)
            found.work()
            if number % 2:  # not after each, so that a no may come between decision and gate
                found.deliver()
        found.deliver()
        yield found


def test_every_event_is_received_and_judged_as_line_by_line(worked: Platform) -> None:
    assert_as_received(worked)


def test_profiles_are_the_people_that_event_by_event_makes(worked: Platform) -> None:
    assert_same_people(worked)


def test_members_are_those_counted_by_hand(worked: Platform) -> None:
    assert_same_members(worked)


def test_every_candidate_is_decided_as_by_hand(worked: Platform) -> None:
    assert_same_decisions(worked)


def test_what_the_stand_in_holds_is_the_ledgers_sent_each_once(worked: Platform) -> None:
    assert_sent_once(worked)


def says(**more: Any) -> bytes:
    """One event of one person as a line."""
    return json.dumps({"userId": "u1", "messageId": hashlib.md5(repr(more).encode()).hexdigest(), **more}).encode()


def test_a_member_leaves_when_consent_runs_out_though_nothing_was_heard_of_them(tmp_path: Path) -> None:
    """Where no country is known a yes lasts 365 days; the purchase still counts on the day after."""
    with platform(tmp_path, now=NOW) as found:
        asked, bought = NOW.isoformat(), (NOW + timedelta(days=10)).isoformat()
        choices = {"categoryPreferences": {"marketing_email": True, "personalization": True}}
        yes = says(
            type="track", event="Segment Consent Preference Updated", timestamp=asked, context={"consent": choices}
        )
        price = {"product_id": "x", "price": 600, "quantity": 1, "currency": "EUR"}
        found.land([yes], segment_bytes=1_000)
        found.work()
        found.now += timedelta(days=10)
        found.land(
            [says(type="track", event="Product Purchased", timestamp=bought, properties=price)], segment_bytes=1_000
        )
        found.work()
        assert found.plain.members("high_value_users")
        assert_same_members(found)
        for days, members in ((354, 1), (1, 0)):
            found.now += timedelta(days=days)
            other = says(type="page", userId="somebody else", timestamp=found.now.isoformat(), name=str(days))
            found.land([other], segment_bytes=1_000)
            found.work()
            assert len(found.plain.members("high_value_users")) == members
            assert_same_members(found)
        assert_same_decisions(found)
