"""`activation contracts diff` and `check --against`: what they print, and how they end."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from activation_dagster import cli
from activation_dagster.registry.versions import version_files
from tests.pipeline.small_shop import REPOSITORY
from tests.registry.test_published import git

SEED = REPOSITORY / "contracts" / "events" / "user_profile_updated"


@pytest.fixture(autouse=True)
def _plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ACTIVATION_") or name == "COLUMNS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ACTIVATION_HOME", str(tmp_path / "home"))


def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str, str]:
    """How `activation …` ended, and what it wrote to its two outputs."""
    monkeypatch.setattr(sys, "argv", ["activation", *map(str, words)])
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    out, err = capfd.readouterr()
    return code, out, err


@pytest.fixture
def diff(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def go(*words: object) -> tuple[int, Any]:
        code, out, err = run(capfd, monkeypatch, "contracts", "diff", *words, "--json")
        return code, json.loads(out) if out else err

    return go


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_seed_versions_are_compared(diff: Any) -> None:
    code, found = diff(SEED / "v1.json", SEED / "v2.json")
    assert (code, found["compatible"], found["mode"]) == (1, False, "full")
    broken = [change for change in found["changes"] if change["breaking"]]
    assert [(change["rule"], change["path"]) for change in broken] == [
        ("REQUIRED_ATTRIBUTE_ADDED", "#/required/updated_at")
    ]
    assert broken[0]["example"] == {"user_id": "a"}
    assert broken[0]["example_refused_by"] == "new"
    assert {"rule", "path", "breaking", "message"} <= found["changes"][0].keys()
    assert diff(SEED / "v1.json", SEED / "v2.json", "--mode", "forward")[0] == 0
    assert diff(SEED / "v1.json", SEED / "v2.json", "--mode", "NONE")[0] == 0
    assert diff(SEED / "v2.json", SEED / "v2.json") == (0, {"compatible": True, "mode": "full", "changes": []})


def test_plain_schemas_are_judged_strictly_in_json_and_yaml(diff: Any, tmp_path: Path) -> None:
    old = write(tmp_path / "old.yaml", "type: object\nproperties: {a: {type: string}}\n")
    new = write(
        tmp_path / "new.json", {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    )
    code, found = diff(old, new, "--mode", "backward")
    assert (code, found["changes"][0]["rule"]) == (1, "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL")
    assert diff(old, new, "--mode", "forward")[0] == 0


def test_a_type_that_another_word_says_now_is_not_called_anything(diff: Any, tmp_path: Path) -> None:
    old = write(tmp_path / "old.json", {"properties": {"a": {"type": "string"}}})
    new = write(tmp_path / "new.json", {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}})
    messages = {change["rule"]: change["message"] for change in diff(old, new)[1]["changes"]}
    assert messages["TYPE_EXTENDED"] == "the type was string and is said by anyOf"
    write(new, {"properties": {"a": {}}})
    messages = {change["rule"]: change["message"] for change in diff(old, new)[1]["changes"]}
    assert messages["TYPE_EXTENDED"] == "the type was string and is anything"


def test_a_folder_is_its_versions_before_the_new_one(diff: Any, tmp_path: Path) -> None:
    for number, kind in ((1, "string"), (2, "integer"), (10, "integer"), (11, "boolean")):
        write(tmp_path / f"v{number}.json", {"properties": {"a": {"type": kind}}})
    assert diff(tmp_path, tmp_path / "v10.json", "--mode", "full")[0] == 0
    code, found = diff(tmp_path, tmp_path / "v10.json", "--mode", "full_transitive")
    assert code == 1
    assert [change["against"] for change in found["changes"]] == [str(tmp_path / "v1.json")]
    named = (tmp_path / "v1.json", tmp_path / "v2.json", tmp_path / "v10.json")
    assert diff(*named, "--mode", "full")[0] == 0
    assert diff(*named, "--mode", "full_transitive")[0] == 1
    assert diff(tmp_path, tmp_path / "v1.json")[0] == 2


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("{", "{}", "is no sound JSON"),
        ('{"a": 1, "a": 2}', "{}", "stands twice"),
        ('{"$ref": "#/$defs/x"}', "{}", "refers to '#/$defs/x', which is not there"),
        ("[]", "{}", "where a schema belongs"),
        ('{"event_name": "e", "version": "v1", "propertys": {}}', "{}", "propertys"),
        ('{"event_name": "e", "version": "v1", "properties": {}}', "{}", "not of one kind"),
        ('{"event_name": "e", "version": "v1", "properties": {}, "required": ["x"]}', "{}", "requires x"),
    ],
)
def test_files_that_cannot_be_compared_end_with_2_and_a_sentence(
    diff: Any, tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    code, told = diff(write(tmp_path / "old.json", old), write(tmp_path / "new.json", new))
    assert code == 2
    assert sentence in told
    assert "Traceback" not in told


def test_wrong_use_ends_with_2(diff: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "v1.json", {})
    assert diff(file, tmp_path / "nowhere.json")[0] == 2
    assert diff(tmp_path / "nowhere.json", file)[0] == 2
    assert diff(file, tmp_path)[0] == 2
    assert diff(file)[0] == 2
    assert diff(file, file, "--mode", "sideways")[0] == 2
    other = SEED.parent / "product_purchased" / "v1.yaml"
    assert "two versions of one event" in diff(SEED / "v1.json", other)[1]


def test_people_read_a_table_that_fits(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run(capfd, monkeypatch, "contracts", "diff", SEED / "v1.json", SEED / "v2.json")
    assert code == 1
    said = " ".join(out.split())  # where lines wrap depends on how long the paths are
    assert "is NOT compatible with" in said
    assert "2 changes, 1 breaking" in said
    assert max(map(len, out.splitlines())) <= 100


def test_check_against_a_ref_names_the_edited_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    contracts = tmp_path / "repository" / "contracts"
    shutil.copytree(REPOSITORY / "contracts", contracts)
    git(contracts.parent, "init", "--quiet", "--initial-branch", "main")
    git(contracts.parent, "add", ".")
    git(contracts.parent, "commit", "--quiet", "--message", "published")
    monkeypatch.setenv("ACTIVATION_CONTRACTS", str(contracts))
    code, out, _ = run(capfd, monkeypatch, "contracts", "check", "--against", "main", "--json")
    assert (code, json.loads(out)["faults"]) == (0, [])
    published = sum(
        len(version_files(folder)) for folder in [*(contracts / "events").iterdir(), contracts / "envelope"]
    )
    assert json.loads(out)["against"] == {"ref": "main", "published": published, "new": []}
    edited = contracts / "events" / "product_purchased" / "v1.yaml"
    edited.write_text(edited.read_text().replace("Invoice of the order", "Invoice"))
    code, out, _ = run(capfd, monkeypatch, "contracts", "check", "--against", "main", "--json")
    assert code == 1
    told = {fault["file"]: fault["sentence"] for fault in json.loads(out)["faults"]}
    assert "is edited" in told["events/product_purchased/v1.yaml"]
    code, _, err = run(capfd, monkeypatch, "contracts", "check", "--against", "nowhere")
    assert (code, err.count("\n")) == (2, 1)
