"""The real sources, converted and replayed: every event of them, unchanged but for its time, in order, to the day.

`make test-real DATA=...` runs these. Without the folder they fail: a test that skips itself proves nothing.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activation_dagster.domain.times import read_instant
from activation_dagster.sources.real_data import convert

pytestmark = pytest.mark.real_data

NOW = datetime(2026, 3, 1, 10, 15, 30, 123_456, tzinfo=UTC)
NOW_TEXT = "2026-03-01T10:15:30.123Z"
RETAIL, ECOMMERCE = "uci-online-retail", "open-ecommerce-1.0"
# Where each source ends, in its own time: read off the data's README and stats.json.
ENDS = {RETAIL: "2011-12-09T12:50:00.000Z", ECOMMERCE: "2023-04-03T20:25:20.000Z"}
TIMES = ("timestamp", "receivedAt", "originalTimestamp")

# messageId → the event, for what a test reads more than once.
Events = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def main_dir() -> Path:
    named = os.environ.get("ACTIVATION_TEST_DATA")
    assert named, "ACTIVATION_TEST_DATA is not set. Name the folder that holds main/."
    folder = Path(named) / "main"
    assert folder.is_dir(), f"There is no folder {folder}. Name the folder that holds main/ in ACTIVATION_TEST_DATA."
    return folder


@pytest.fixture(scope="module")
def hundred_thousand(main_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in convert(main_dir, now=NOW)]


@pytest.fixture(scope="module")
def originals(main_dir: Path) -> Events:
    """953 events as the converter beside the data wrote them."""
    with gzip.open(main_dir / "sample_events.ndjson.gz", "rt", encoding="utf-8") as lines:
        return {event["messageId"]: event for event in map(json.loads, lines)}


def dataset(event: dict[str, Any]) -> str:
    return event["context"]["converter"]["dataset"]


def person(event: dict[str, Any]) -> tuple[str, str]:
    return dataset(event), event.get("userId") or event["anonymousId"]


def parsed(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    return map(json.loads, lines)


def at(text: str) -> datetime:
    instant = read_instant(text)
    assert instant is not None
    return instant


class Everything:
    """One walk over all events; 858,507 of them are not kept."""

    def __init__(self, main_dir: Path, wanted: Events) -> None:
        self.names: Counter[str] = Counter()
        self.datasets: Counter[str] = Counter()
        self.people: Counter[tuple[str, str]] = Counter()
        self.bytes = 0
        self.message_ids: set[str] = set()
        self.last: dict[str, str] = {}
        self.found: Events = {}
        self.in_order = True
        previous = ""
        for line in convert(main_dir, now=NOW, everything=True):
            event = json.loads(line)
            self.bytes += len(line) + 1
            self.names[event.get("event") or event["type"]] += 1
            self.datasets[dataset(event)] += 1
            self.people[person(event)] += 1
            self.message_ids.add(event["messageId"])
            self.last[dataset(event)] = event["timestamp"]
            self.in_order &= previous <= event["timestamp"]
            previous = event["timestamp"]
            if event["messageId"] in wanted:
                self.found[event["messageId"]] = event


@pytest.fixture(scope="module")
def everything(main_dir: Path, originals: Events) -> Everything:
    return Everything(main_dir, originals)


def test_everything_is_all_events_of_the_readme(everything: Everything) -> None:
    assert everything.datasets == {RETAIL: 546_297, ECOMMERCE: 312_210}
    assert everything.names == {
        "Product Purchased": 531_282 + 277_668,
        "Prescreen Submitted": 21_892,
        "identify": 4_388 + 6_325,
        "Product Cancelled": 9_288,
        "Segment Consent Preference Updated": 6_325,
        "Inventory Adjusted": 1_336,
        "Bad Debt Adjusted": 3,
    }
    assert len(everything.message_ids) == 858_507
    assert everything.bytes == 435_501_600
    assert len(everything.people) == 10_697 + 25_602


def test_both_sources_end_now_and_the_replay_runs_forward(everything: Everything) -> None:
    assert everything.last == {RETAIL: NOW_TEXT, ECOMMERCE: NOW_TEXT}
    assert everything.in_order


def test_an_event_is_what_the_original_converter_made_of_it_but_for_its_times(
    everything: Everything, originals: Events
) -> None:
    assert len(originals) == 953
    assert set(everything.found) == set(originals)
    for message_id, original in originals.items():
        converted = everything.found[message_id]
        assert list(converted) == list(original)
        for event in (converted, original):
            event["unshifted"] = {name: value for name, value in event.items() if name not in TIMES}
        # Compared as text: 6 is not 6.0 here.
        assert json.dumps(converted["unshifted"]) == json.dumps(original["unshifted"])


def test_all_times_of_one_source_move_by_the_same_amount(everything: Everything, originals: Events) -> None:
    now = NOW.replace(microsecond=123_000)
    shifts = {name: now - at(end) for name, end in ENDS.items()}
    received = 0
    for message_id, original in originals.items():
        for name in set(TIMES) & set(original):
            moved = at(everything.found[message_id][name]) - at(original[name])
            assert moved == shifts[dataset(original)]
            received += name == "receivedAt"
    assert received > 0


def test_order_inside_a_source_is_kept(everything: Everything, originals: Events) -> None:
    # The sample itself is in no one order, hence by the times and rows that its events had.
    found = [originals[message_id] for message_id in everything.found]
    retail = [
        (event["timestamp"], int(event["context"]["converter"]["row"])) for event in found if dataset(event) == RETAIL
    ]
    assert retail == sorted(retail)
    ecommerce = [event["timestamp"] for event in found if dataset(event) == ECOMMERCE]
    assert ecommerce == sorted(ecommerce)


def test_a_hundred_thousand_are_whole_people_of_both_sources_in_proportion(
    hundred_thousand: list[dict[str, Any]], everything: Everything
) -> None:
    taken = Counter(map(person, hundred_thousand))
    assert {who: everything.people[who] for who in taken} == dict(taken)
    assert 100_000 <= len(hundred_thousand) < 110_000
    sources = Counter(map(dataset, hundred_thousand))
    assert sources[RETAIL] / len(hundred_thousand) == pytest.approx(546_297 / 858_507, abs=0.02)
    assert sum("userId" not in event for event in hundred_thousand if dataset(event) == RETAIL) > 0


def test_a_hundred_thousand_hold_people_who_chose_and_bought(hundred_thousand: list[dict[str, Any]]) -> None:
    chose: dict[str, bool] = {}
    bought: defaultdict[str, int] = defaultdict(int)
    for event in hundred_thousand:
        if event.get("event") == "Segment Consent Preference Updated":
            chose[event["userId"]] = event["context"]["consent"]["categoryPreferences"]["data_sharing"]
        elif event.get("event") == "Product Purchased" and "userId" in event:
            bought[event["userId"]] += 1
    choices = Counter(chose.values())
    assert choices[True] > 100
    assert choices[False] > 20
    assert sum(granted and who in bought for who, granted in chose.items()) > 50


def test_the_selection_is_the_same_on_another_day_and_part_of_every_greater_one(
    main_dir: Path, hundred_thousand: list[dict[str, Any]]
) -> None:
    small = {event["messageId"] for event in parsed(convert(main_dir, now=NOW + timedelta(days=3), at_least=20_000))}
    assert 20_000 <= len(small) < 25_000
    assert small <= {event["messageId"] for event in hundred_thousand}


def test_a_share_takes_that_part_of_the_people(main_dir: Path, everything: Everything) -> None:
    people = {person(event) for event in parsed(convert(main_dir, now=NOW, share=0.05))}
    assert len(people) / len(everything.people) == pytest.approx(0.05, abs=0.005)
    assert {name for name, _ in people} == {RETAIL, ECOMMERCE}


def test_an_event_has_the_same_time_in_every_selection(
    hundred_thousand: list[dict[str, Any]], everything: Everything
) -> None:
    both = [event for event in hundred_thousand if event["messageId"] in everything.found]
    assert len(both) > 20
    for event in both:
        assert event["timestamp"] == everything.found[event["messageId"]]["timestamp"]


def test_message_ids_by_content_repeat_for_equal_rows_and_for_no_others(main_dir: Path) -> None:
    ids = Counter(
        event["messageId"] for event in parsed(convert(main_dir, now=NOW, everything=True, duplicates="content"))
    )
    assert sum(ids.values()) - len(ids) == 5_268
