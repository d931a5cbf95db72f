"""`activation forward`: which sources are sent on with which key, how it ends, and what `activation status` says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from activation_dagster.cli import app
from activation_dagster.errors import ContractsInvalid, SettingsInvalid, WrongUse
from activation_dagster.registry.loading import load_contracts
from activation_dagster.sources.landing import Landing
from tests.pipeline.small_shop import REPOSITORY, lines, purchase
from tests.pipeline.tracking_server import Far, far_collector

LONG_AGO = "2020-01-01T00:00:00Z"
PATIENCE_SECONDS = 60


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Far]:
    """An installation whose source 'web' is sent on to a receiver, and one event in its landing."""
    with far_collector() as made:
        contracts = tmp_path / "contracts"
        shutil.copytree(REPOSITORY / "contracts", contracts)
        said = {"owner": "platform", "environment": "demo", "forward": {"to": f"{made.address}/v1/", "key": "FAR_KEY"}}
        other = {**said, "environment": "elsewhere"}
        (contracts / "sources.yaml").write_text(json.dumps({"sources": {"web": said, "other": other}}))
        monkeypatch.setenv("ACTIVATION_CONTRACTS", str(contracts))
        monkeypatch.setenv("ACTIVATION_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("FAR_KEY", "key")
        land(tmp_path, "one")
        yield made


def land(tmp_path: Path, message_id: str) -> None:
    event = {**purchase("ann"), "messageId": message_id}
    Landing(tmp_path / "home" / "landing" / "demo").seal(
        "web", lines(event), sealed_at=datetime.now(UTC), suffix=message_id
    )


def run(*words: str) -> Result:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        return CliRunner().invoke(app, list(words))
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(number, handler)


def status() -> dict[str, Any]:
    (found,) = json.loads(run("status", "--json").stdout)["forwards"]
    return found


def test_once_sends_what_waits_and_status_says_how_far_it_is(far: Far) -> None:
    assert (status()["begun"], status()["source"]) == (False, "web")
    assert "nobody has begun" in run("status").stdout
    ended = run("forward", "--once", "--since", LONG_AGO, "--json")
    assert ended.exit_code == 0, ended.exception
    (told,) = json.loads(ended.stdout)
    assert (told["source"], told["sent"], told["trouble"]) == ("web", 1, "")
    assert far.ids == ["one"]
    assert (status()["sent"], status()["waiting_segments"], status()["lag_seconds"]) == (1, 0, 0.0)


def test_a_refused_key_ends_it_with_1_and_no_key_is_shown(far: Far) -> None:
    far.orders = ["403"]
    ended = run("forward", "--once", "--since", LONG_AGO)
    assert ended.exit_code == 1
    assert "status 403" in ended.stderr
    assert status()["waiting_segments"] == 1
    assert status()["lag_seconds"] > 0


def test_a_key_that_is_missing_and_nothing_to_send_on_are_told(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAR_KEY")
    missing = run("forward", "--once")
    assert isinstance(missing.exception, SettingsInvalid)
    assert "FAR_KEY" in str(missing.exception)
    monkeypatch.setenv("ACTIVATION_ENVIRONMENT", "third")
    assert isinstance(run("forward", "--once").exception, WrongUse)


def test_the_loop_sends_what_lands_until_it_is_told_to_stop(far: Far, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "activation_dagster.cli", "forward", "--since", LONG_AGO]
    with subprocess.Popen(command, cwd=REPOSITORY, env=dict(os.environ)) as process:
        try:
            _until(lambda: far.ids == ["one"], process)
            land(tmp_path, "two")
            _until(lambda: far.ids == ["one", "two"], process)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


def test_a_forward_that_is_changed_or_taken_away_is_seen_without_a_restart(far: Far, tmp_path: Path) -> None:
    sources = tmp_path / "contracts" / "sources.yaml"
    command = [sys.executable, "-m", "activation_dagster.cli", "forward", "--since", LONG_AGO]
    with (
        far_collector() as other,
        subprocess.Popen(
            command, cwd=REPOSITORY, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        assert process.stdout is not None
        try:
            _until(lambda: far.ids == ["one"], process)
            sources.write_text("sources: [")  # a mistake ends nothing
            assert process.stderr is not None
            while "refused; what was sent on before goes on" not in (line := process.stderr.readline().decode()):
                assert line
            said = {"owner": "platform", "environment": "demo", "forward": {"to": other.address, "key": "FAR_KEY"}}
            sources.write_text(json.dumps({"sources": {"web": said}}))
            _until(lambda: other.ids == ["one"], process)  # another address begins anew
            land(tmp_path, "two")
            _until(lambda: other.ids == ["one", "two"], process)
            sources.write_text(json.dumps({"sources": {"web": {**said, "forward": None}}}))
            while "no longer sent on" not in (line := process.stdout.readline().decode()) or other.address not in line:
                assert line
            land(tmp_path, "three")
            sources.write_text(json.dumps({"sources": {"web": said}}))
            _until(lambda: other.ids == ["one", "two", "three"], process)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    assert far.ids == ["one"]


def test_a_purpose_that_nobody_is_asked_about_is_a_fault(far: Far, tmp_path: Path) -> None:
    sources = tmp_path / "contracts" / "sources.yaml"
    for more, told in (
        ({"purpose": "marketin"}, "Did you mean 'marketing'?"),
        ({"purpose": "research", "channel": "push"}, "names channel 'push'"),
        ({"channel": "email"}, "names a channel and no purpose"),
    ):
        said = {"owner": "platform", "environment": "demo"}
        forward = {"to": far.address, "key": "FAR_KEY", **more}
        sources.write_text(json.dumps({"sources": {"web": {**said, "forward": forward}}}))
        with pytest.raises(ContractsInvalid) as refused:
            load_contracts(tmp_path / "contracts", environment="demo")
        (fault,) = refused.value.faults
        assert told in fault.sentence


def _until(holds: Any, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert process.poll() is None
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
