"""The places a verb works on, and the clock it reads the lease by; wired at the doors, handed down as one object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from activation_dagster.lake.delta import Lake
from activation_dagster.sources.landing import Landing
from activation_dagster.state.engine import State


def _pass_by(_: str) -> None:
    """What happens at a recovery point outside tests: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Everything outside the program that a batch of one environment needs.

    `holder` names this process in leases. `clock` (UTC) serves leases, times of closing and nothing that is decided.
    `at` is called at each named recovery point; tests die there.
    """

    environment: str
    landing: Landing
    lake: Lake
    state: State
    contracts_root: Path
    sql_root: Path
    clock: Callable[[], datetime]
    holder: str
    dedupe_window: timedelta
    batch_max_bytes: int
    lease_seconds: float
    at: Callable[[str], None] = _pass_by
