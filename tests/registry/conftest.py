"""What tests of the registry share: a copy of the contracts that a test may spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.registry.spoiled import CONTRACTS


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A copy of the contracts that a test may spoil."""
    copied = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, copied)
    return copied
