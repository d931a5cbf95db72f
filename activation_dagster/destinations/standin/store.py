"""What the stand-in has received, in one SQLite file: committed and synced before a call is answered."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from activation_dagster.destinations.standin.rules import JsonObject
from activation_dagster.domain.sends import Json

_SCHEMA = """
create table if not exists users (
    row_id integer primary key, user_id text unique, email text unique, fields text not null,
    created_at_ms integer not null, received_at_ms integer not null, times_received integer not null
);
create table if not exists events (
    row_id integer primary key autoincrement, event_id text unique, event_name text not null, user_id text, email text,
    created_at integer, received_at_ms integer not null, last_received_at_ms integer not null,
    times_received integer not null, body text not null
);
create table if not exists workflow_entries (
    row_id integer primary key autoincrement, workflow_id integer not null, user_id text, email text,
    received_at_ms integer not null, times_received integer not null, entry_number integer not null, body text not null
);
create index if not exists workflow_entries_by_user on workflow_entries (workflow_id, user_id, email);
create table if not exists workflows (workflow_id integer primary key, registered_at_ms integer not null);
create table if not exists forgotten (kind text, hash text, primary key (kind, hash)) without rowid;
create table if not exists field_types (
    scope text, field text, type text not null, primary key (scope, field)
) without rowid;
create table if not exists refusals (
    endpoint text, status integer, code text, calls integer not null, primary key (endpoint, status, code)
) without rowid;
"""


@dataclass(slots=True, kw_only=True)
class StoredUser:
    """One profile of the project; `row_id` is None until it is written. `fields` holds neither identifier."""

    row_id: int | None = None
    user_id: str | None
    email: str | None
    fields: JsonObject = field(default_factory=dict[str, Json])
    created_at_ms: int
    received_at_ms: int
    times_received: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event of one accepted call; `body` is the item as it came."""

    event_id: str | None
    event_name: str
    user_id: str | None
    email: str | None
    created_at: int | None
    body: JsonObject


def _hash(identifier: str) -> str:
    # Iterable's own: user ids too are lower-cased here, although they are case-sensitive elsewhere.
    return hashlib.sha256(identifier.strip().lower().encode()).hexdigest()


def _dumps(value: JsonObject) -> str:
    return orjson.dumps(value).decode()


class Store:
    """All of one project's data. Use from one thread at a time; `clock_ms` gives epoch milliseconds."""

    def __init__(self, path: Path, *, clock_ms: Callable[[], int]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._clock_ms = clock_ms
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.executescript(_SCHEMA)
        self._unsaved_types: dict[str, dict[str, str]] = {}
        self._field_types: dict[str, dict[str, str]] = {}
        for row in self._db.execute("select scope, field, type from field_types"):
            self._field_types.setdefault(row["scope"], {})[row["field"]] = row["type"]

    def close(self) -> None:
        """Closes the file; nothing is lost without it."""
        self._db.close()

    def now_ms(self) -> int:
        """Server time, epoch milliseconds."""
        return self._clock_ms()

    @property
    def field_types(self) -> Mapping[str, Mapping[str, str]]:
        """Scope → field → type, as fixed by the first value ever kept."""
        return self._field_types

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All or nothing; committed and synced when it ends."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._unsaved_types.clear()
            self._db.execute("rollback")
            raise
        self._db.execute("commit")
        for scope, types in self._unsaved_types.items():
            self._field_types.setdefault(scope, {}).update(types)
        self._unsaved_types.clear()

    def fix_field_types(self, scope: str, types: Mapping[str, str]) -> None:
        """Fixes types for good; the caller has checked that none is fixed already."""
        if types:
            self._unsaved_types.setdefault(scope, {}).update(types)
            self._db.executemany(
                "insert or ignore into field_types values (?, ?, ?)",
                [(scope, name, kind) for name, kind in types.items()],
            )

    def users_by(self, column: str, identifiers: Iterable[str]) -> dict[str, StoredUser]:
        """Profiles by `user_id` or `email`; those not found are absent."""
        rows = self._db.execute(
            f"select * from users where {column} in (select value from json_each(?))",
            (orjson.dumps([*identifiers]).decode(),),
        )
        return {
            row[column]: StoredUser(
                row_id=row["row_id"],
                user_id=row["user_id"],
                email=row["email"],
                fields=orjson.loads(row["fields"]),
                created_at_ms=row["created_at_ms"],
                received_at_ms=row["received_at_ms"],
                times_received=row["times_received"],
            )
            for row in rows
        }

    def known(self, column: str, identifiers: Iterable[str]) -> set[str]:
        """Which of these identifiers belong to a profile; cheaper than `users_by`."""
        rows = self._db.execute(
            f"select {column} from users where {column} in (select value from json_each(?))",
            (orjson.dumps([*identifiers]).decode(),),
        )
        return {row[0] for row in rows}

    def forgotten(self, column: str, identifiers: Iterable[str]) -> set[str]:
        """Which of these identifiers were forgotten and may not come back."""
        if self._db.execute("select 1 from forgotten limit 1").fetchone() is None:
            return set()
        by_hash: dict[str, set[str]] = {}
        for identifier in identifiers:
            by_hash.setdefault(_hash(identifier), set()).add(identifier)
        rows = self._db.execute(
            "select hash from forgotten where kind = ? and hash in (select value from json_each(?))",
            (column, orjson.dumps([*by_hash]).decode()),
        )
        return {identifier for row in rows for identifier in by_hash[row["hash"]]}

    def put_users(self, users: Sequence[StoredUser]) -> None:
        """Writes new and changed profiles."""
        columns = [
            (u.user_id, u.email, _dumps(u.fields), u.created_at_ms, u.received_at_ms, u.times_received, u.row_id)
            for u in users
        ]
        self._db.executemany(
            "update users set user_id = ?, email = ?, fields = ?, created_at_ms = ?, received_at_ms = ?,"
            " times_received = ? where row_id = ?",
            [row for row in columns if row[-1] is not None],
        )
        self._db.executemany(
            "insert into users (user_id, email, fields, created_at_ms, received_at_ms, times_received, row_id)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            [row for row in columns if row[-1] is None],
        )

    def put_events(self, events: Iterable[StoredEvent]) -> None:
        """Keeps events; one with an id already kept updates it, one without an id is always another event."""
        now = self._clock_ms()
        self._db.executemany(
            "insert into events (event_id, event_name, user_id, email, created_at, received_at_ms,"
            " last_received_at_ms, times_received, body) values (?, ?, ?, ?, ?, ?, ?, 1, ?)"
            " on conflict (event_id) do update set event_name = excluded.event_name, user_id = excluded.user_id,"
            " email = excluded.email, created_at = excluded.created_at, body = excluded.body,"
            " last_received_at_ms = excluded.last_received_at_ms, times_received = times_received + 1",
            [(e.event_id, e.event_name, e.user_id, e.email, e.created_at, now, now, _dumps(e.body)) for e in events],
        )

    def add_workflow_entry(self, workflow_id: int, *, user_id: str | None, email: str | None, body: JsonObject) -> None:
        """One more entry, however often the same was asked before: this endpoint knows no idempotency."""
        self._db.execute(
            "insert into workflow_entries"
            " (workflow_id, user_id, email, received_at_ms, times_received, entry_number, body)"
            " select ?1, ?2, ?3, ?4, 1, 1 + count(*), ?5 from workflow_entries"
            " where workflow_id = ?1 and user_id is ?2 and email is ?3",
            (workflow_id, user_id, email, self._clock_ms(), _dumps(body)),
        )

    def register_workflows(self, workflow_ids: Iterable[int]) -> None:
        """Makes journeys known, so that they can be triggered."""
        now = self._clock_ms()
        with self.transaction():
            self._db.executemany(
                "insert or ignore into workflows values (?, ?)", [(number, now) for number in workflow_ids]
            )

    def workflows(self) -> list[tuple[int, int]]:
        """Registered journeys: (id, registered at in epoch milliseconds)."""
        return [(row[0], row[1]) for row in self._db.execute("select * from workflows order by workflow_id")]

    def forget(self, column: str, identifier: str) -> None:
        """Deletes a profile, and lets none of its identifiers come back."""
        with self.transaction():
            user = self.users_by(column, [identifier]).get(identifier)
            both = {column: identifier} if user is None else {"user_id": user.user_id, "email": user.email}
            for kind, value in both.items():
                if value is not None:
                    self._db.execute("insert or ignore into forgotten values (?, ?)", (kind, _hash(value)))
                    self._db.execute(f"delete from users where {kind} = ?", (value,))

    def clear(self) -> None:
        """Forgets everything, as if the file were new."""
        with self.transaction():
            for table in ("users", "events", "workflow_entries", "workflows", "forgotten", "field_types", "refusals"):
                self._db.execute(f"delete from {table}")
            self._db.execute("delete from sqlite_sequence")
        self._field_types.clear()

    def count_refusal(self, endpoint: str, status: int, code: str) -> None:
        """Counts one refused call."""
        with self.transaction():
            self._db.execute(
                "insert into refusals values (?, ?, ?, 1)"
                " on conflict (endpoint, status, code) do update set calls = calls + 1",
                (endpoint, status, code),
            )

    def rows(self, sql: str, parameters: Sequence[int | str] = ()) -> list[dict[str, int | str | None]]:
        """Rows of one SELECT, for inspection only."""
        return [dict(row) for row in self._db.execute(sql, parameters)]
