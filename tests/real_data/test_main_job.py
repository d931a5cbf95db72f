"""The main job on a hundred thousand real events of both sources, held against a plain-Python job of the same meaning.

`make test-real DATA=...` runs this. Without the folder it fails: a test that skips itself proves nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activation_dagster.sources.real_data import convert
from tests.sql.platform import (
    Platform,
    assert_as_received,
    assert_same_decisions,
    assert_same_members,
    assert_same_people,
    assert_sent_once,
    platform,
)

pytestmark = pytest.mark.real_data

NOW = datetime(2026, 3, 1, 10, 15, 30, 123_456, tzinfo=UTC)
SEGMENT_BYTES = 4 << 20
BATCH_BYTES = 16 << 20


@pytest.fixture(scope="module")
def main_dir() -> Path:
    named = os.environ.get("ACTIVATION_TEST_DATA")
    assert named, "ACTIVATION_TEST_DATA is not set. Name the folder that holds main/."
    folder = Path(named) / "main"
    assert folder.is_dir(), f"There is no folder {folder}. Name the folder that holds main/ in ACTIVATION_TEST_DATA."
    return folder


@pytest.fixture(scope="module")
def worked(main_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Both sources landed, drained in several batches and delivered.

    Equal rows of online_retail repeat a message id, so that there is something to take out.
    """
    folder = tmp_path_factory.mktemp("installation")
    with platform(folder, now=NOW, batch_max_bytes=BATCH_BYTES) as found:
        found.land(convert(main_dir, now=NOW, duplicates="content"), segment_bytes=SEGMENT_BYTES)
        assert len(found.work()) > 2
        found.deliver()
        yield found


def test_every_event_is_received_and_judged_as_line_by_line(worked: Platform) -> None:
    assert_as_received(worked)
    assert worked.plain.events["accepted"] > 90_000
    assert worked.plain.events["duplicate"] > 100


def test_profiles_are_the_people_of_a_plain_union_of_identifiers(worked: Platform) -> None:
    assert_same_people(worked)
    for person in worked.plain.persons():
        assert Counter(one.kind for one in person.identifiers)["user_id"] <= 1


def test_members_of_both_audiences_are_those_counted_by_hand(worked: Platform) -> None:
    assert_same_members(worked)
    assert len(worked.plain.members("high_value_users")) > 20
    assert len(worked.plain.members("recent_buyers")) > 20


def test_every_candidate_is_decided_as_by_hand(worked: Platform) -> None:
    assert_same_decisions(worked)
    reasons = Counter(decision.reason for decision in worked.plain.decisions)
    assert {"", "lost_to:welcome_back", "consent_denied", "not_in_audience"} <= set(reasons)


def test_what_the_stand_in_holds_is_the_ledgers_sent_each_once(worked: Platform) -> None:
    assert_sent_once(worked)
    assert Counter(worked.plain.outcomes.values())["sent"] > 50


def test_without_repeats_the_same_job_takes_nothing_out(main_dir: Path, tmp_path: Path) -> None:
    with platform(tmp_path, now=NOW, batch_max_bytes=BATCH_BYTES) as found:
        found.land(convert(main_dir, now=NOW, at_least=20_000), segment_bytes=SEGMENT_BYTES)
        found.work()
        assert found.plain.events["duplicate"] == 0
        assert_as_received(found)
        assert_same_decisions(found)
        found.deliver()
        assert_sent_once(found)
