"""Against a git ref: what was published stands as it was, what is new fits or says who agreed that it does not."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from activation_dagster.errors import MendTheEnvironment, WrongUse
from activation_dagster.registry.published import PublishedReport, check_against

CONSUMERS = {"signed_up": ("crm", "shop")}
OWNERS = ("crm", "shop", "legal")


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@shop.example", "-c", "commit.gpgsign=false"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, env=environment)


def version(name: str, properties: dict[str, Any], *, required: tuple[str, ...] = (), **more: Any) -> str:
    shape = {"event_name": "Signed Up", "version": name, "properties": properties, "required": list(required), **more}
    return json.dumps(shape)


V1 = version("v1", {"plan": {"type": "string", "enum": ["free", "pro"]}, "seats": {"type": "integer"}})
COMPATIBLE = version("v2", {"plan": {"type": "string", "enum": ["free", "pro"]}, "coupon": {"type": "string"}})
BREAKING: dict[str, Any] = {"properties": {"plan": {"type": "string", "enum": ["free"]}}, "required": ("plan",)}


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A repository in which one version was published; contracts/ is not its root."""
    root = tmp_path / "repository" / "contracts"
    folder = root / "events" / "signed_up"
    folder.mkdir(parents=True)
    (folder / "contract.yaml").write_text("owner: crm\ncriticality: standard\ndescription: Somebody signed up.\n")
    (folder / "v1.json").write_text(V1)
    git(root.parent, "init", "--quiet", "--initial-branch", "main")
    git(root.parent, "add", ".")
    git(root.parent, "commit", "--quiet", "--message", "published")
    return root


def checked(contracts: Path, ref: str = "main") -> PublishedReport:
    return check_against(contracts, ref, consumers=CONSUMERS, owners=OWNERS)


def told(report: PublishedReport) -> list[str]:
    return [str(fault) for fault in report.faults]


def write(contracts: Path, name: str, text: str) -> None:
    path = contracts / "events" / "signed_up" / name
    path.write_text(text)


def test_what_stands_as_it_was_is_no_fault(contracts: Path) -> None:
    assert checked(contracts) == PublishedReport(ref="main", published=1, new=(), faults=())


def test_line_ends_that_git_turned_are_no_edit(contracts: Path) -> None:
    git(contracts, "tag", "before")
    write(contracts, "v2.yaml", "event_name: Signed Up\nversion: v2\nproperties: {}\n")
    git(contracts, "add", ".")
    git(contracts, "commit", "--quiet", "--message", "two")
    write(contracts, "v2.yaml", "event_name: Signed Up\r\nversion: v2\r\nproperties: {}\r\n")
    assert checked(contracts).faults == ()
    assert checked(contracts, "before").new == ("events/signed_up/v2.yaml",)


def test_an_edited_version_is_named(contracts: Path) -> None:
    write(contracts, "v1.json", V1.replace('"seats"', '"places"'))
    (sentence,) = told(checked(contracts))
    assert sentence.startswith("events/signed_up/v1.json: was published at main and is edited; restore it")


def test_a_deleted_version_is_named_and_so_is_a_whole_event_that_is_gone(contracts: Path) -> None:
    (contracts / "events" / "signed_up" / "v1.json").unlink()
    (sentence,) = told(checked(contracts))
    assert sentence.startswith("events/signed_up/v1.json: was published at main and is gone; restore it")
    (contracts / "events" / "signed_up" / "contract.yaml").unlink()
    (contracts / "events" / "signed_up").rmdir()
    assert told(checked(contracts)) == [sentence]


def test_contract_yaml_may_change(contracts: Path) -> None:
    write(contracts, "contract.yaml", "owner: shop\ncriticality: critical\ndescription: Other words.\n")
    assert checked(contracts).faults == ()


def test_a_new_compatible_version_is_welcome(contracts: Path) -> None:
    write(contracts, "v2.json", COMPATIBLE)
    assert checked(contracts) == PublishedReport(ref="main", published=1, new=("events/signed_up/v2.json",), faults=())


def test_a_new_event_has_nothing_to_fit(contracts: Path) -> None:
    folder = contracts / "events" / "signed_out"
    folder.mkdir()
    (folder / "v1.json").write_text(V1)
    assert checked(contracts).new == ("events/signed_out/v1.json",)
    assert checked(contracts).faults == ()


def test_a_version_before_a_published_one_is_refused(contracts: Path) -> None:
    write(contracts, "v3.json", COMPATIBLE.replace('"v2"', '"v3"'))
    git(contracts, "add", ".")
    git(contracts, "commit", "--quiet", "--message", "three")
    write(contracts, "v2.json", COMPATIBLE)
    assert told(checked(contracts)) == [
        "events/signed_up/v2.json: is new, but v3 is published already; number it after that."
    ]


def test_a_breaking_version_says_what_breaks_and_how_to_declare_it(contracts: Path) -> None:
    write(contracts, "v2.json", version("v2", **BREAKING))
    (sentence,) = told(checked(contracts))
    assert sentence.startswith("events/signed_up/v2.json: is not compatible with v1 in mode full (")
    assert "ENUM_ARRAY_NARROWED at #/properties/plan" in sentence
    assert "REQUIRED_ATTRIBUTE_ADDED at #/required/plan" in sentence
    assert "breaking: {migration: …, owners: […]}" in sentence


def test_the_mode_of_the_event_decides(contracts: Path) -> None:
    write(contracts, "v2.json", version("v2", {"plan": {"type": "string"}}))
    assert "ENUM_ARRAY_REMOVED" in told(checked(contracts))[0]
    write(contracts, "contract.yaml", "owner: crm\ncompatibility: backward\n")
    assert checked(contracts).faults == ()
    write(contracts, "contract.yaml", "owner: crm\ncompatibility: backwards\n")
    assert "Did you mean 'backward'?" in "".join(told(checked(contracts)))


def test_each_new_version_is_held_to_the_one_before_it_new_or_not(contracts: Path) -> None:
    write(contracts, "v2.json", COMPATIBLE)
    write(contracts, "v3.json", version("v3", {"coupon": {"type": "integer"}}))
    (sentence,) = told(checked(contracts))
    assert "events/signed_up/v3.json: is not compatible with v2" in sentence


def test_a_property_that_comes_back_as_another_is_refused(contracts: Path) -> None:
    write(contracts, "v2.json", COMPATIBLE)  # without seats
    write(contracts, "v3.json", version("v3", {"coupon": {"type": "string"}, "seats": {"type": "string"}}))
    (sentence,) = told(checked(contracts))
    assert "events/signed_up/v3.json: is not compatible with v1" in sentence
    assert "TYPE_CHANGED at #/properties/seats" in sentence
    write(contracts, "v3.json", version("v3", {"coupon": {"type": "string"}, "seats": {"type": "number"}}))
    assert checked(contracts).faults == ()


@pytest.mark.parametrize(
    ("declared", "faults"),
    [
        ({"migration": "Send plan; see the wiki.", "owners": ["crm", "shop"]}, []),
        (
            {"migration": "Send plan.", "owners": ["crm"]},
            ["breaking.owners: must name the owners of what reads the event: shop."],
        ),
        (
            {"owners": ["crm", "shop"]},
            ["breaking.migration: does not say how those who send and read the event migrate; write it."],
        ),
        (
            {"migration": "Send plan.", "owners": ["crm", "shop", "shops"]},
            ["breaking.owners: names owner 'shops', which is not in owners.yaml. Did you mean 'shop'?"],
        ),
        (
            "yes",
            [
                "breaking.migration: does not say how those who send and read the event migrate; write it.",
                "breaking.owners: must name the owners of what reads the event: crm, shop.",
            ],
        ),
    ],
    ids=["whole", "an owner too few", "no migration", "an owner that is none", "no declaration"],
)
def test_a_declared_break_needs_a_migration_and_the_owners_of_its_readers(
    contracts: Path, declared: Any, faults: list[str]
) -> None:
    write(contracts, "v2.json", version("v2", **BREAKING, breaking=declared))
    assert told(checked(contracts)) == [f"events/signed_up/v2.json: {fault}" for fault in faults]


def test_a_declared_break_that_breaks_nothing_is_a_fault(contracts: Path) -> None:
    declared = json.loads(COMPATIBLE) | {"breaking": {"migration": "none", "owners": ["crm"]}}
    write(contracts, "v2.json", json.dumps(declared))
    assert told(checked(contracts)) == [
        "events/signed_up/v2.json: breaking: declares a break, and nothing breaks; remove it."
    ]


def test_a_ref_that_does_not_exist_is_told_in_three_parts(contracts: Path) -> None:
    for ref in ("nowhere", "--help", ""):
        with pytest.raises(WrongUse, match=r"^The git ref '.*' does not exist in the repository of .+\. Name a branch"):
            checked(contracts, ref)


def test_a_folder_in_no_repository_is_told_in_three_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(WrongUse, match=r"^The folder .+ is in no git repository, so nothing is published there\. Run"):
        checked(tmp_path)


def test_a_machine_without_git_is_told_in_three_parts(contracts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MendTheEnvironment, match=r"^The program git is missing: .+ Install it"):
        checked(contracts)
