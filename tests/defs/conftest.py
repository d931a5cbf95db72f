"""A far end, and installations that send to it: a fresh one for a test, or one with its work done for reading."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from activation_dagster.sources.simulator import simulate
from activation_dagster.wiring import utc_now
from tests.databases import migrated_sqlite
from tests.defs.installation import Clock, Installation, far_end_under, installed, settings_under, this_hour
from tests.destinations.far_end import FarEnd

__all__ = ["migrated_sqlite"]


@pytest.fixture(scope="session")
def shared_far_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarEnd]:
    """Started once."""
    with far_end_under(tmp_path_factory.mktemp("far_end")) as far_end:
        yield far_end


@pytest.fixture
def clock() -> Clock:
    """Now; tests move it."""
    return Clock(now=utc_now())


@pytest.fixture
def installation(tmp_path: Path, shared_far_end: FarEnd, clock: Clock) -> Iterator[Installation]:
    """A fresh installation."""
    settings = settings_under(tmp_path, address=shared_far_end.address)
    with installed(settings, clock=clock) as fresh:
        yield fresh


@pytest.fixture(scope="package")
def worked(tmp_path_factory: pytest.TempPathFactory, shared_far_end: FarEnd) -> Iterator[Installation]:
    """An installation whose sensors have worked off the last hour and this one; for tests that only read it."""
    settings = settings_under(tmp_path_factory.mktemp("worked"), address=shared_far_end.address)
    with installed(settings, clock=utc_now) as done:
        lines = simulate(seed=3, people=60, events=800, now=utc_now()).lines
        done.land(lines[:400], at=this_hour() - timedelta(minutes=5), suffix="a")
        done.land(lines[400:], at=utc_now(), suffix="b")
        assert all(result.success for result in done.work())
        yield done
