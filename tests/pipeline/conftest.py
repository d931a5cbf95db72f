"""The pipeline runs on both databases of state."""

from __future__ import annotations

from pathlib import Path

import pytest

from activation_dagster.pipeline.places import Places
from activation_dagster.state.engine import State
from tests.databases import (
    dialect,
    empty_url,
    migrated_sqlite,
    new_state_url,
    postgres,
    state,
    state_url,
)
from tests.pipeline.small_shop import places_at
from tests.pipeline.worked import worked, worked_once

__all__ = [
    "dialect",
    "empty_url",
    "migrated_sqlite",
    "new_state_url",
    "postgres",
    "state",
    "state_url",
    "worked",
    "worked_once",
]


@pytest.fixture
def places(tmp_path: Path, state: State) -> Places:
    """An empty environment."""
    return places_at(tmp_path, state)
