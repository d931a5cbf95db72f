"""A scenario over real HTTP to a real collector: every call lands once for each time it was sent, at its own time."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activation_dagster.domain.sources import key_sha256
from activation_dagster.errors import RetryLater, StopTheDestination
from activation_dagster.settings import load_settings
from activation_dagster.sources.scenarios import Plan, Scenario, calls
from activation_dagster.sources.traffic import MOST_EVENTS, send
from activation_dagster.wiring import collector_of
from tests.pipeline.small_shop import REPOSITORY
from tests.pipeline.tracking_server import CUT_AFTER, Far, far_collector
from tests.sources.loopback import serving

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEY = "a key of thirty-two characters.."


class Time:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def ms(self) -> int:
        return (self.now - EPOCH) // timedelta(milliseconds=1)

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def far() -> Generator[Far]:
    with far_collector() as made:
        yield made


def plan_of(scenario: Scenario) -> Plan:
    return Plan(scenario=scenario, seed=1, rate=5.0, minutes=1.0, start_ms=Time().ms())


def stored(home: Path) -> list[dict[str, object]]:
    files = sorted(file for file in (home / "landing").rglob("*") if file.is_file())
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def test_a_scenario_sent_to_the_collector_lands_call_by_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(REPOSITORY / "contracts", tmp_path / "contracts")
    key = f"{{sha256: {key_sha256(KEY)}, made_at: 2026-01-01T00:00:00Z}}"
    source = f"{{owner: platform, environment: demo, keys: [{key}]}}"
    (tmp_path / "contracts" / "sources.yaml").write_text(f"sources: {{shop: {source}}}\n")
    monkeypatch.setenv("ACTIVATION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ACTIVATION_CONTRACTS", str(tmp_path / "contracts"))
    plan, time = plan_of(Scenario.DUPLICATE_STORM), Time()
    made = list(calls(plan))
    with serving(collector_of(load_settings(), clock=time).application()) as address:
        sent = send(made, address=address, key=KEY, now_ms=time.ms, sleep=time.sleep)
        with pytest.raises(StopTheDestination, match="401"):
            send(made[:1], address=address, key="another", now_ms=time.ms, sleep=time.sleep)
    assert (sent.events, sent.failed_tries) == (len(made), 0)
    landed = stored(tmp_path / "home")
    assert Counter(event["messageId"] for event in landed) == Counter(call.draft.message_id for call in made)
    happened = {call.draft.message_id: call.draft.occurred_ms for call in made}
    assert {event["timestamp"][:19] for event in landed if isinstance(event["timestamp"], str)} == {
        (EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S") for ms in happened.values()
    }


def test_batches_are_small_leave_in_time_and_are_sent_again_when_cut(far: Far) -> None:
    time = Time()
    made = list(calls(plan_of(Scenario.SPIKE)))
    far.orders = ["500", "429", CUT_AFTER]
    sent = send(made, address=far.address, key="key", now_ms=time.ms, sleep=time.sleep)
    assert sent.failed_tries == 3
    assert set(far.ids) == {call.draft.message_id for call in made}
    assert max(map(len, far.batches)) <= MOST_EVENTS
    assert time.now - START >= timedelta(seconds=59)


def test_a_collector_that_is_down_is_told_after_ten_tries(far: Far) -> None:
    far.orders = ["503"] * 10
    time = Time()
    with pytest.raises(RetryLater, match="in 10 tries"):
        send(calls(plan_of(Scenario.CALM)), address=far.address, key="key", now_ms=time.ms, sleep=time.sleep)
