"""The one door to the state database: opening it, bringing its schema up to date, and its two kinds of transactions.

A reading transaction is a snapshot that cannot write. A writing transaction on SQLite is BEGIN IMMEDIATE, so that
whoever reads in it reads what nobody can change any more before it commits; on PostgreSQL it is READ COMMITTED, where
the same certainty comes from row locks (see `consent.lock_subjects`).
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from activation_dagster.errors import StateUnusable

Dialect = Literal["sqlite", "postgresql"]

HEAD = "0012"
"""The newest migration under `migrations/versions`; a test keeps the two equal. Written here so that a run which finds
it in the database need not import alembic (import time is latency)."""

MIGRATION_LOCK = 7_345_021_908_113_377
"""The PostgreSQL advisory lock that one migrating process holds."""

WAIT_SECONDS = 30.0
"""How long a transaction waits for SQLite's write lock before it gives up."""

LONGEST_NAP_SECONDS = 0.004
"""SQLite's own busy handler sleeps up to 100 ms between tries, so that a bulk load's short pauses pass it by; ours
looks again every few milliseconds."""


CHECKPOINT_PAGES = 16_384
"""SQLite's log is brought into the file when it holds so many pages, 64 MiB; at 4 MiB, which is usual, every chunk of a
bulk load brought its pages in by itself, the same ones over and over, and took twice the time."""


class State:
    """An open state database; threads may share it, and each process has its own pool, forked or spawned."""

    __slots__ = ("_pid", "_readers", "_writers", "dialect", "where")

    def __init__(self, *, readers: Engine, writers: Engine, dialect: Dialect, where: str) -> None:
        self._readers = readers
        self._writers = writers
        self._pid = os.getpid()
        self.dialect: Dialect = dialect
        self.where = where

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A snapshot of state; writing in it fails."""
        self._leave_parent_connections()
        with self._readers.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A writing transaction: committed when the block ends, rolled back when it raises.

        Raises StateUnusable where somebody else keeps SQLite's write lock for `WAIT_SECONDS`.
        """
        self._leave_parent_connections()
        with self._writers.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all idle connections of this process."""
        self._readers.dispose()
        self._writers.dispose()

    def _leave_parent_connections(self) -> None:
        if self._pid != os.getpid():  # a forked child must not use, nor close, its parent's connections
            self._readers.dispose(close=False)
            self._writers.dispose(close=False)
            self._pid = os.getpid()


def open_state(url: str, *, migrate: bool = True) -> State:
    """Open the state database at a SQLAlchemy url (`sqlite:///…` or `postgresql+psycopg://…`), creating its folder.

    With `migrate`, a schema that is absent or behind is brought up to date, by one process at a time. Raises
    StateUnusable when the database cannot be opened, is newer than this program, or is behind and may not be migrated.
    """
    parsed = _parse(url)
    where = _place(parsed)
    try:
        state = _open_sqlite(parsed, where) if parsed.get_backend_name() == "sqlite" else _open_postgres(parsed, where)
        with ExitStack() as on_failure:
            on_failure.callback(state.close)
            with state.read() as connection:
                found = _version(connection)
            if found != HEAD:
                _bring_up_to_date(state, migrate=migrate)
            on_failure.pop_all()
    except (DBAPIError, OSError) as error:
        raise StateUnusable(
            f"The state database cannot be opened ({_cause(error, parsed)}), at {where}. "
            "Check that the place exists, that it may be written to, and that ACTIVATION_STATE_URL names it."
        ) from None  # the chained exception could print the url, and with it a password
    return state


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
        raise StateUnusable(
            "The address of the state database cannot be understood, in ACTIVATION_STATE_URL. "
            "Write sqlite:////folder/file.db or postgresql+psycopg://user:password@host/database."
        ) from None
    if backend not in ("sqlite", "postgresql"):
        raise StateUnusable(
            f"State cannot live in '{backend}', at {_place(parsed)}. Use sqlite:///… or postgresql+psycopg://…."
        )
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StateUnusable(
            "State cannot live in memory, where every connection sees another database, at sqlite://. "
            "Name a file: sqlite:////folder/file.db."
        )
    return parsed


def _place(url: URL) -> str:
    """The url without user, password and query: any of them may hold a secret."""
    host = f"{url.host or ''}{f':{url.port}' if url.port else ''}"
    return f"{url.get_backend_name()}://{host}/{url.database or ''}"


def _cause(error: DBAPIError | OSError, url: URL) -> str:
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    sentence = (str(original).strip().splitlines() or [type(original).__name__])[0]
    secrets = [str(url.password or ""), *(str(value) for value in url.query.values())]
    for secret in filter(None, secrets):
        sentence = sentence.replace(secret, "***")
    return sentence


def open_scratch(folder: Path) -> State:
    """A state of its own with today's tables and nothing in them, to compute on and throw away with its folder."""
    from activation_dagster.state.tables import metadata

    url = make_url(f"sqlite:///{folder / 'scratch.db'}")
    state = _open_sqlite(url, "a folder for computing", is_lasting=False)
    with state.write() as connection:
        metadata.create_all(connection)
    return state


def _open_sqlite(url: URL, where: str, *, is_lasting: bool = True) -> State:
    Path(str(url.database)).expanduser().resolve().parent.mkdir(parents=True, exist_ok=True)

    def engine(*, writes: bool) -> Engine:
        made = create_engine(
            url, connect_args={"timeout": WAIT_SECONDS}, pool_size=4, max_overflow=60, hide_parameters=True
        )

        @event.listens_for(made, "connect")
        def prepare(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = None  # the driver begins nothing by itself: we say which BEGIN
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={'FULL' if is_lasting else 'OFF'}")
            connection.execute("PRAGMA cache_size=-65536")  # 64 MiB: probes of millions of identifiers stay inside
            connection.execute("PRAGMA temp_store=MEMORY")
            if writes:
                connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
                connection.execute("PRAGMA busy_timeout=0")  # `begin` below waits by itself
            else:
                connection.execute("PRAGMA query_only=1")

        @event.listens_for(made, "begin")
        def begin(connection: Connection) -> None:
            if writes:
                _begin_immediate(connection, where)
            else:
                connection.exec_driver_sql("BEGIN")

        return made

    return State(readers=engine(writes=False), writers=engine(writes=True), dialect="sqlite", where=where)


def _begin_immediate(connection: Connection, where: str) -> None:
    driver: Any = connection.connection.driver_connection
    give_up_at = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise OperationalError("BEGIN IMMEDIATE", None, error) from error
            if time.monotonic() > give_up_at:
                raise StateUnusable(
                    f"The state database was locked for {WAIT_SECONDS:g} s by somebody else's transaction, at {where}. "
                    "A migration or another long transaction may hold it: try again. If it stays so, look for one that "
                    "stands still among the processes that have the file open (`fuser` names them), and end that one."
                ) from error
            time.sleep(random.uniform(0.0005, LONGEST_NAP_SECONDS))


def _open_postgres(url: URL, where: str) -> State:
    pool = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=4,
        max_overflow=60,
        hide_parameters=True,  # parameters are personal data and would stand in error messages
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10},
    )

    @event.listens_for(pool, "handle_error")
    def forget_values(context: ExceptionContext) -> None:
        if context.sqlalchemy_exception is not None:
            without_values(context.sqlalchemy_exception)
        without_values(context.original_exception)

    readers = pool.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    writers = pool.execution_options(isolation_level="READ COMMITTED", postgresql_readonly=False)
    return State(readers=readers, writers=writers, dialect="postgresql", where=where)


def without_values(error: BaseException) -> None:
    """Cut a PostgreSQL error's message down to its first line: the next ones quote the row, and so personal data."""
    error.args = tuple(part.split("\n", 1)[0] if isinstance(part, str) else part for part in error.args)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _bring_up_to_date(state: State, *, migrate: bool) -> None:
    with state.write() as connection:
        if state.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        found = _version(connection)  # another process may have migrated while we waited
        if found == HEAD:
            return
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if found is not None and found not in known:
            raise StateUnusable(
                f"The schema of state is at version '{found}', which this program does not know (it knows up to "
                f"'{HEAD}'), at {state.where}. Install the release that wrote it, or a newer one."
            )
        if not migrate:
            raise StateUnusable(
                f"The schema of state is at version '{found or 'none'}' and this program needs '{HEAD}', at "
                f"{state.where}. Open it once with migrations allowed."
            )
        command.upgrade(config, "head")
