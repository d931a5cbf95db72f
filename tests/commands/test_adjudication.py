"""`identity plan`, `apply` and `unmerge` as somebody types them: looked at, done once, undone, and refused."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from activation_dagster.domain.identifiers import Identifier, profile_id
from tests.pipeline.small_shop import REPOSITORY, event, lines
from tests.test_cli import Run, home, run

__all__ = ["home", "run"]

PHONE, TABLET = (profile_id(Identifier("anonymous_id", value)) for value in ("phone", "tablet"))


@pytest.fixture
def contracts(home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The contracts of an installation in which Ann was seen on two devices, each alone before, and worked."""
    folder = tmp_path / "contracts"
    shutil.copytree(REPOSITORY / "contracts", folder)
    monkeypatch.setenv("ACTIVATION_CONTRACTS", str(folder))
    at = datetime.now(UTC) - timedelta(hours=1)

    def page(user: str | None, device: str) -> dict[str, object]:
        seen = event("page", user or "", at=at, properties={"path": "/"}, anonymousId=device)
        return seen if user else {name: value for name, value in seen.items() if name != "userId"}

    file = tmp_path / "seen.ndjson"
    said = (page(None, "phone"), page(None, "tablet"), page("ann", "phone"), page("ann", "tablet"))
    file.write_bytes(b"\n".join(lines(*said)) + b"\n")
    assert run("events", "land", str(file), "--source", "web").code == 0
    assert run("work", "--no-deliver").code == 0
    return folder


def allow_one_device(contracts: Path) -> Path:
    """The identity contract of today with one device a person, beside it."""
    content = yaml.safe_load((contracts / "identity.yaml").read_text())
    content["version"] = "tried"
    content["kinds"]["anonymous_id"]["limit"] = 1
    file = contracts.parent / "tried.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def test_a_plan_is_looked_at_then_done_once_and_changes_nothing_before(
    contracts: Path, run: Run, tmp_path: Path
) -> None:
    tried, written = allow_one_device(contracts), tmp_path / "plan.json"
    assert run("status", "--json").json["profiles"] == 1
    shown = run("identity", "plan", "--rules", str(tried), "--out", str(written))
    assert shown.code == 0, shown.err
    assert "1 person looked at would be 2" in shown.out
    assert str(written) in shown.out.replace("\n", "")
    assert "phone" not in shown.out
    assert run("status", "--json").json["profiles"] == 1
    refused = run("identity", "apply", str(written), "--by", "ann", "--why", "A tablet is a family's.")
    assert refused.code != 0
    assert "contracts/identity.yaml" in refused.err.replace("\n", "")
    shutil.copy(tried, contracts / "identity.yaml")
    done = run("identity", "apply", str(written), "--by", "ann", "--why", "A tablet is a family's.")
    assert done.code == 0, done.err
    assert done.out.startswith("Done, as act ")
    assert run("status", "--json").json["profiles"] == 2
    assert run("identity", "plan").out == "Nothing would change.\n"
    again = run("identity", "apply", str(written), "--by", "ann", "--why", "A tablet is a family's.")
    assert again.code != 0
    assert "Plan again" in " ".join(again.err.split())


def test_a_merge_is_undone_by_name_after_a_look_at_it(contracts: Path, run: Run) -> None:
    tried = run("identity", "unmerge", "--profile", TABLET, "--dry-run")
    assert tried.code == 0, tried.err
    assert tried.out.startswith("Would be kept apart: ")
    assert run("status", "--json").json["profiles"] == 1
    done = run("identity", "unmerge", "--profile", TABLET, "--by", "ann", "--why", "Her son's.", "--json")
    assert done.code == 0, done.err
    assert done.json["plan"]["profiles"]["split"] == 1
    assert run("status", "--json").json["profiles"] == 2
    assert run("identity", "show", TABLET, "--json").json["profile_id"] == TABLET


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--by", "ann", "--why", "x"), "--link EVENT_ID or --profile PROFILE_ID"),
        (("--profile", PHONE), "--dry-run"),
        (("--profile", PHONE, "--by", "ann", "--why", "x"), "became another"),
        (("--link", "nowhere:0000001", "--dry-run"), "nowhere:0000001"),
    ],
)
def test_what_cannot_be_undone_is_told_and_nothing_is_done(
    contracts: Path, run: Run, words: tuple[str, ...], told: str
) -> None:
    refused = run("identity", "unmerge", *words)
    assert refused.code != 0
    assert told in " ".join(refused.err.split())
    assert run("status", "--json").json["profiles"] == 1


def test_a_file_that_is_no_plan_is_refused(contracts: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    for content in ("{", "[]", '{"format": 0}'):
        file.write_text(content)
        refused = run("identity", "apply", str(file), "--by", "ann", "--why", "x")
        assert refused.code != 0
        assert "identity plan --out FILE" in " ".join(refused.err.split())


def test_a_plan_that_cannot_be_written_is_told(contracts: Path, run: Run, tmp_path: Path) -> None:
    refused = run("identity", "plan", "--out", str(tmp_path / "no" / "plan.json"))
    assert refused.code != 0
    assert "The plan cannot be written" in " ".join(refused.err.split())
