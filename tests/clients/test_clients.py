"""Unmodified SDKs against the collector: each messageId is in `ingested_events` exactly once, with consent and context.

`make test-clients` installs the SDKs under .clients/ and runs these; nothing else does.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from activation_dagster.domain.batches import Phase
from activation_dagster.lake.tables import INGESTED
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.work import drain
from activation_dagster.wiring import open_places
from tests.sources.collector.running import KEY, REPOSITORY, Running, in_a_process, settings_under, until

pytestmark = pytest.mark.clients

CLIENTS = REPOSITORY / ".clients"
PROGRAMS = Path(__file__).parent / "programs"
PYTHON = str(CLIENTS / "venv" / "bin" / "python")
CALLS = {"track", "identify", "page", "screen", "group", "alias"}

SDKS = {
    "segment-analytics-python": [PYTHON, str(PROGRAMS / "segment_python.py")],
    "segment-analytics-python, gzip": [PYTHON, str(PROGRAMS / "segment_python.py"), "gzip"],
    "rudder-sdk-python": [PYTHON, str(PROGRAMS / "rudder_python.py")],
    "@segment/analytics-node": ["node", str(PROGRAMS / "segment_node.cjs")],
}


@pytest.fixture
def running(tmp_path: Path) -> Generator[Running]:
    with in_a_process(settings_under(tmp_path), workers=2) as found:
        yield found


def started(running: Running, command: Sequence[str], *, count: int, pause: float) -> subprocess.Popen[str]:
    program, script, *more = command
    environment = {**os.environ, "NODE_PATH": str(CLIENTS / "node_modules")}
    return subprocess.Popen(
        [program, script, running.url, KEY, str(count), str(pause), *more],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def ingested(running: Running) -> list[dict[str, Any]]:
    """Every row of `ingested_events`, after all that landed was worked."""
    with open_places(running.settings) as places:
        drain(places, now=places.clock)
        with duckdb.connect(":memory:") as connection:
            found = connection.execute(
                "select message_id, event_type, payload::json->>'$.context.consent.categoryPreferences.ads', "
                "payload::json->>'$.context.library.name', fault from " + closed_rows(places, INGESTED, Phase.INGESTED)
            ).fetchall()
    names = ("message_id", "type", "ads", "library", "fault")
    return [dict(zip(names, row, strict=True)) for row in found]


def all_sealed(running: Running, messages: set[str]) -> None:
    until(lambda: messages <= {str(one.get("messageId")) for one in running.events()})


@pytest.mark.parametrize("sdk", SDKS)
def test_each_call_of_each_sdk_arrives_exactly_once_with_its_consent_and_context(running: Running, sdk: str) -> None:
    process = started(running, SDKS[sdk], count=3, pause=0)
    said, _ = process.communicate(timeout=120)
    messages = said.split()
    assert process.returncode == 0
    assert len(set(messages)) == len(messages) == 3 * len(CALLS)
    all_sealed(running, set(messages))
    rows = ingested(running)
    assert Counter(row["message_id"] for row in rows) == Counter(messages)
    assert Counter(row["type"] for row in rows) == Counter(dict.fromkeys(CALLS, 3))
    assert {row["ads"] for row in rows} == {"false"}
    assert all(row["library"] for row in rows)
    assert {row["fault"] for row in rows} == {None}


@pytest.mark.parametrize("sdk", ["segment-analytics-python", "@segment/analytics-node"])
def test_a_collector_that_is_killed_and_started_again_loses_none(tmp_path: Path, sdk: str) -> None:
    settings = settings_under(tmp_path)
    with in_a_process(settings) as running:
        process = started(running, SDKS[sdk], count=20, pause=0.05)
        until(lambda: len(running.events()) > 10)
    with in_a_process(settings, port=running.port) as again:
        said, _ = process.communicate(timeout=120)
        messages = set(said.split())
        assert process.returncode == 0
        assert len(messages) == 20 * len(CALLS)
        all_sealed(again, messages)
    assert {str(one["messageId"]) for one in again.events()} == messages
