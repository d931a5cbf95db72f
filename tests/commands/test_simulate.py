"""`activation simulate --scenario`: landed at once, or sent to a collector; and what it may not be asked."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from activation_dagster.cli import app
from activation_dagster.errors import WrongUse
from tests.pipeline.tracking_server import Far, far_collector


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Far]:
    monkeypatch.setenv("ACTIVATION_HOME", str(tmp_path / "home"))
    with far_collector() as made:
        yield made


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *words])


def test_a_scenario_is_landed_without_a_collector_and_sent_to_one_that_is_named(far: Far) -> None:
    told = json.loads(run("--scenario", "bot_flood", "--rate", "10", "--minutes", "1", "--json").stdout)
    assert told["lines"] == 600 + 200 * 9
    words = ("--scenario", "calm", "--rate", "100", "--minutes", "0.02", "--to", f"{far.address}/v1/", "--key", "key")
    sent = json.loads(run(*words, "--json").stdout)
    assert (sent["events"], sent["calls"]) == (120, {"honest": 120})
    assert len(far.ids) == 120
    assert "Sent 120 calls of 'calm'" in run(*words).stdout


def test_a_collector_without_a_scenario_or_a_key_is_wrong_use(far: Far) -> None:
    for words in (("--to", far.address), ("--to", far.address, "--scenario", "calm")):
        assert isinstance(run(*words).exception, WrongUse)
