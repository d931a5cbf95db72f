"""A real stand-in on loopback for every test, shared but emptied, and others for tests with wishes of their own."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from activation_dagster.destinations.standin.app import StandinSettings
from activation_dagster.destinations.standin.calls import Project
from activation_dagster.destinations.standin.server import running_standin
from tests.destinations.examples import WORKFLOW_ID
from tests.destinations.far_end import API_KEY, FarEnd, StartStandin


def _settings(folder: Path) -> StandinSettings:
    return StandinSettings(
        store=folder / "standin.sqlite",
        api_key=API_KEY,
        workflow_ids=(WORKFLOW_ID,),
        rate_scale=1_000.0,
        project=Project(disallowed_event_names=frozenset({"Forbidden Event"})),
    )


@contextmanager
def _running(settings: StandinSettings) -> Generator[FarEnd]:
    headers = {"Api-Key": API_KEY}
    with running_standin(settings) as address, httpx.Client(base_url=address, headers=headers) as client:
        yield FarEnd(address=address, client=client)


@pytest.fixture(scope="session")
def shared_standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarEnd]:
    """Started once, since starting and stopping costs more than most tests."""
    with _running(_settings(tmp_path_factory.mktemp("standin"))) as far_end:
        yield far_end


@pytest.fixture
def far_end(shared_standin: FarEnd) -> FarEnd:
    """An empty stand-in with fast limits, one journey and one disallowed event name."""
    shared_standin.reset()
    return shared_standin


@pytest.fixture
def start_standin(tmp_path: Path) -> Iterator[StartStandin]:
    """Starts stand-ins that end with the test; keywords are those of StandinSettings."""
    with ExitStack() as running:

        def start(**wishes: Any) -> FarEnd:
            return running.enter_context(_running(replace(_settings(tmp_path), **wishes)))

        yield start
