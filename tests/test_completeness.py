"""Nothing is unowned and nothing is undocumented: reasons, contracts, settings, commands and checks (promise 8)."""

from __future__ import annotations

import inspect
import re
from enum import StrEnum
from functools import cache
from pathlib import Path

import pytest
import typer

from activation_dagster.cli import app
from activation_dagster.domain import reasons
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.registry.loading import load_contracts
from activation_dagster.registry.repairs import read_repair
from activation_dagster.settings import Settings, variable

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")

OWNED: dict[type[StrEnum], str] = {
    reasons.QuarantineReason: "quarantine",
    reasons.DuplicateCause: "duplicate",
    reasons.LinkRefusal: "link",
    reasons.DecisionRefusal: "decision",
    reasons.GateRefusal: "gate",
    reasons.SendFailure: "send",
    reasons.HoldReason: "hold",
    reasons.ForwardFailure: "forward",
    reasons.ShedReason: "shed",
    reasons.IncidentKind: "incident",
}
"""Each kind of reason code, and the group of failure_modes.yaml that owns it."""


@cache
def contracts() -> ContractSet:
    """Today's contracts."""
    return load_contracts(REPOSITORY / "contracts", environment="demo")


def documented(heading: str) -> set[str]:
    """The first column of the table under a heading of the README, without its ticks."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, flags=re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no chapter '{heading}'"
    return set(re.findall(r"^\| `([^`]+)` \|", found[1], flags=re.MULTILINE))


def command_names(of: typer.Typer = app) -> set[str]:
    """Every command as it is typed, without `activation`."""
    names = {
        command.name or command.callback.__name__ for command in of.registered_commands if command.callback is not None
    }
    for group in of.registered_groups:
        assert group.typer_instance is not None
        names |= {f"{group.name} {verb}" for verb in command_names(group.typer_instance)}
    return names


def test_every_kind_of_reason_code_has_a_group() -> None:
    kinds = {
        kind
        for _, kind in inspect.getmembers(reasons, inspect.isclass)
        if issubclass(kind, StrEnum) and kind is not StrEnum
    }
    assert kinds == set(OWNED)


@pytest.mark.parametrize(("kind", "group"), OWNED.items(), ids=OWNED.values())
def test_every_reason_code_is_owned_and_nothing_else_is(kind: type[StrEnum], group: str) -> None:
    owned = {mode.code for mode in contracts().failure_modes.values() if mode.group == group}
    assert owned == {code.value for code in kind}


def test_every_failure_mode_has_an_owner_who_exists_and_a_response() -> None:
    for mode in contracts().failure_modes.values():
        assert mode.owner in contracts().owners, mode.code
        assert mode.response.endswith("."), mode.code


def test_every_sql_reason_is_a_reason_code() -> None:
    """A literal that SQL gives as a reason and that no code has would be raised and never owned."""
    known = {code.value for kind in OWNED for code in kind}
    for file in sorted((REPOSITORY / "sql").rglob("*.sql")):
        text = file.read_text(encoding="utf-8")
        for case in re.findall(r"case\n(.*?)end as (?:reason|fault|cause)\b", text, flags=re.DOTALL):
            raised = set(re.findall(r"(?:then|else) '([a-z_]+):?'", case))
            assert raised <= known, f"{file.name}: {sorted(raised - known)}"


def test_every_event_contract_has_an_owner_a_description_and_a_newest_version() -> None:
    assert contracts().events
    for contract in contracts().events.values():
        assert contract.owner in contracts().owners, contract.slug
        assert contract.description, contract.slug
        assert contract.version(None) == contract.versions[-1] == contract.newest, contract.slug
        names = [version.version for version in contract.versions]
        assert names == [f"v{number}" for number in range(1, len(names) + 1)], contract.slug


def test_every_audience_workflow_and_destination_has_an_owner() -> None:
    promises = (*contracts().audiences.values(), *contracts().workflows.values(), *contracts().destinations.values())
    assert {promise.owner for promise in promises} <= set(contracts().owners)


def test_every_owner_answers_for_something() -> None:
    promises = (
        *contracts().events.values(),
        *contracts().audiences.values(),
        *contracts().workflows.values(),
        *contracts().destinations.values(),
        *contracts().failure_modes.values(),
    )
    assert set(contracts().owners) == {promise.owner for promise in promises}


def test_every_command_is_documented_and_nothing_else_is() -> None:
    assert documented("Commands") == {f"activation {name}" for name in command_names()}


def test_every_command_has_a_help_text() -> None:
    def helpless(of: typer.Typer) -> list[object]:
        found: list[object] = [command for command in of.registered_commands if not inspect.getdoc(command.callback)]
        for group in of.registered_groups:
            assert group.typer_instance is not None
            found += helpless(group.typer_instance)
        return found

    assert helpless(app) == []


def test_every_repair_can_be_read_and_has_an_owner_and_the_name_of_its_file() -> None:
    found = sorted((REPOSITORY / "contracts" / "repairs").iterdir())
    assert found
    assert [read_repair(file, owners=contracts().owners).repair.repair_id for file in found] == [
        file.stem for file in found
    ]


def test_every_check_is_documented_and_nothing_else_is() -> None:
    from activation_dagster.definitions import defs

    of_sql = {file.stem for file in (REPOSITORY / "sql" / "checks").glob("*.sql")}
    of_dagster = {key.name for key in defs.get_repository_def().asset_graph.asset_check_keys}
    assert documented("Checks") == of_sql | of_dagster


def test_every_setting_is_documented_and_nothing_else_is() -> None:
    text = (REPOSITORY / "deploy" / "README.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(ACTIVATION_[A-Z_]+)` \|", text, flags=re.MULTILINE))
    assert told == {variable(field) for field in Settings.model_fields}
