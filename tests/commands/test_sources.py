"""`activation sources` and `activation events status`: a key is shown once and rotates; an event is told of."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activation_dagster.registry.front_desk import FrontDesk
from tests.pipeline.small_shop import REPOSITORY
from tests.test_cli import Run, home, run

__all__ = ["home", "run"]


@pytest.fixture
def contracts(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the contracts that commands may write."""
    shutil.copytree(REPOSITORY / "contracts", tmp_path / "contracts")
    monkeypatch.setenv("ACTIVATION_CONTRACTS", str(tmp_path / "contracts"))
    return tmp_path / "contracts"


def opened_by(contracts: Path, key: str) -> str | None:
    found = FrontDesk(contracts).source_of(key, datetime.now(UTC))
    return None if found is None else found.name


def test_a_created_source_is_opened_by_the_key_that_was_printed_and_the_file_does_not_hold_it(
    run: Run, contracts: Path
) -> None:
    ended = run("sources", "create", "web", "--owner", "growth", "--environment", "prod", "--event", "page", "--json")
    assert ended.code == 0
    key = ended.json["write_key"]
    assert len(key) == 32
    assert opened_by(contracts, key) == "web"
    assert key not in (contracts / "sources.yaml").read_text()
    (web,) = [one for one in run("sources", "list", "--json").json if one["name"] == "web"]
    assert (web["environment"], web["owner"], web["events"], web["keys"]) == ("prod", "growth", ["page"], 1)
    assert run("contracts", "check").code == 0


def test_both_keys_open_until_the_overlap_is_over(run: Run, contracts: Path) -> None:
    first = run("sources", "rotate", "shop", "--json").json["write_key"]
    second = run("sources", "rotate", "shop", "--json").json["write_key"]
    assert (opened_by(contracts, first), opened_by(contracts, second)) == ("shop", "shop")
    third = run("sources", "rotate", "shop", "--overlap-hours", "0", "--json").json["write_key"]
    assert [opened_by(contracts, key) for key in (first, second, third)] == [None, None, "shop"]


def test_a_source_that_breaks_the_contracts_is_not_written(run: Run, contracts: Path) -> None:
    before = (contracts / "sources.yaml").read_text()
    for words in (("--owner", "nobody", "--event", "page"), ("--owner", "shop", "--event", "pages")):
        ended = run("sources", "create", "web", "--environment", "prod", *words)
        assert ended.code == 1
        assert "sources.yaml" in ended.err
    assert (contracts / "sources.yaml").read_text() == before
    assert run("sources", "create", "shop", "--owner", "shop", "--environment", "demo").code == 2
    assert run("sources", "rotate", "shops").code == 2


def test_the_status_of_an_event_is_told_from_landing_to_the_lake(run: Run, contracts: Path, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text('{"type":"page","messageId":"m1","anonymousId":"a","properties":{"path":"/"}}\n')
    assert run("events", "land", str(file), "--source", "shop").code == 0
    assert run("events", "status", "m1", "--source", "shop").out.strip() == "pending"
    assert run("work", "--no-deliver").code == 0
    said = run("events", "status", "m1", "--source", "shop", "--json").json
    assert (said["status"], said["contract"]) == ("accepted", "page")
    assert "accepted" in run("events", "status", "m1", "--source", "shop").out
    assert run("events", "status", "m2", "--source", "shop").code == 2
