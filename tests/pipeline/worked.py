"""An environment that has been worked once and is copied for each test: working it anew costs seconds a test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine, delete, insert, select

from activation_dagster.pipeline.places import Places
from activation_dagster.state.engine import open_state
from tests.databases import Postgres
from tests.pipeline.small_shop import places_at, send_out, three_batches


@dataclass(slots=True, kw_only=True)
class WorkedOnce:
    """Three batches, worked and delivered, on each database that a test asks for."""

    folder: Path
    urls: dict[str, str] = field(default_factory=dict[str, str])

    @contextmanager
    def copy(self, dialect: str, to: Path, request: pytest.FixtureRequest) -> Generator[Places]:
        """A copy of the worked environment below the folder `to`, opened."""
        home = self.folder / dialect
        if dialect not in self.urls:
            home.mkdir(exist_ok=True)
            self.urls[dialect] = self._work(home, self._fresh(dialect, home, request))
        for part in ("landing", "lake"):
            shutil.copytree(home / part, to / part)
        if dialect == "sqlite":
            shutil.copy(home / "worked.db", to / "copy.db")
            url = f"sqlite:///{to / 'copy.db'}"
        else:
            new_state_url: Callable[[], str] = request.getfixturevalue("new_state_url")
            url = new_state_url()
            _copy_rows(self.urls[dialect], url)
        state = open_state(url)
        try:
            yield places_at(to, state)
        finally:
            state.close()

    @staticmethod
    def _fresh(dialect: str, home: Path, request: pytest.FixtureRequest) -> str:
        if dialect == "sqlite":
            return f"sqlite:///{home / 'worked.db'}"
        server: Postgres = request.getfixturevalue("postgres")
        return server.url(server.lend())

    @staticmethod
    def _work(home: Path, url: str) -> str:
        state = open_state(url)
        places = places_at(home, state)
        three_batches(places)
        send_out(places, home)
        state.close()
        return url


def _copy_rows(source: str, target: str) -> None:
    """All rows of all tables from one PostgreSQL database to another that has the schema."""
    tables = MetaData()
    here, there = create_engine(source), create_engine(target)
    with here.connect() as reading, there.begin() as writing:
        tables.reflect(reading)
        tables.create_all(writing)  # the message ids' buckets are tables that come and go
        for table in tables.sorted_tables:
            writing.execute(delete(table))
            rows = [dict(row) for row in reading.execute(select(table)).mappings()]
            if rows:
                writing.execute(insert(table), rows)
    here.dispose()
    there.dispose()


@pytest.fixture(scope="session")
def worked_once(tmp_path_factory: pytest.TempPathFactory) -> WorkedOnce:
    """Nothing is worked before a test asks."""
    return WorkedOnce(folder=tmp_path_factory.mktemp("worked"))


@pytest.fixture
def worked(worked_once: WorkedOnce, dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Generator[Places]:
    """Three batches in two hours, worked and delivered, for this test alone."""
    with worked_once.copy(dialect, tmp_path, request) as places:
        yield places
