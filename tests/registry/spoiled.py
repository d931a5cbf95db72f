"""Contracts that a test may spoil: what loading a folder says of them, and how one of its files is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from activation_dagster.errors import ContractsInvalid
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.registry.loading import load_contracts

CONTRACTS = Path(__file__).resolve().parent.parent.parent / "contracts"


def loaded(root: Path, environment: str = "demo") -> ContractSet:
    """The contracts of a folder."""
    return load_contracts(root, environment=environment)


def faults(root: Path) -> list[str]:
    """Every fault of a folder as it is told, or none."""
    try:
        loaded(root)
    except ContractsInvalid as invalid:
        return [str(fault) for fault in invalid.faults]
    return []


def edit(file: Path, change: Callable[[Any], None]) -> None:
    """Change what a YAML file says."""
    content = yaml.safe_load(file.read_text())
    change(content)
    file.write_text(yaml.safe_dump(content, sort_keys=False))
