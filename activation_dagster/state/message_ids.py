"""The message ids taken inside the dedupe window, in time buckets that are dropped whole, so that cost stays flat."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Column, Connection, MetaData, String, Table, delete, select

from activation_dagster.state.bulk import insert_in_chunks, insert_keys_in_chunks, insert_new, select_in
from activation_dagster.state.engine import State
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.tables import duplicates, message_id_buckets


class MessageIds:
    """The index of one environment. A bucket spans half a window, so at most four are ever probed.

    An id counts as taken for at least `window` and at most one and a half windows after it was taken.
    """

    def __init__(self, state: State, *, window: timedelta) -> None:
        self._state = state
        self._window = window
        self._span = max(window / 2, timedelta(hours=1))

    def take(self, keys: Sequence[str], *, batch_no: int, arrival_hour: datetime) -> list[str]:
        """Take message ids (22-character keys, best sorted) for a batch; those that another batch had taken before.

        Taking again what this batch has taken changes nothing.
        """
        bucket = self._bucket(arrival_hour)
        others = self._owned_by_others(keys, batch_no, arrival_hour, but_for=bucket.name)
        wanted = [key for key in keys if key not in others] if others else keys
        if insert_keys_in_chunks(self._state, bucket, wanted, batch_no) < len(wanted):
            # Some stood already: ours, from a run that broke off, or another batch's of the same hours.
            others |= self._owned_by_others(keys, batch_no, arrival_hour)
        return sorted(others)

    def taken(self, keys: Sequence[str], *, batch_no: int, arrival_hour: datetime) -> list[str]:
        """Those of the keys that batches other than this one have taken inside the window."""
        return sorted(self._owned_by_others(keys, batch_no, arrival_hour))

    def _owned_by_others(
        self, keys: Sequence[str], batch_no: int, arrival_hour: datetime, *, but_for: str = ""
    ) -> set[str]:
        found: set[str] = set()
        with self._state.read() as connection:
            for table in self._probed(connection, arrival_hour):
                if table.name == but_for or connection.execute(select(table.c.key).limit(1)).first() is None:
                    continue
                query = select(table.c.key).where(table.c.batch_no != batch_no)
                found.update(row[0] for row in select_in(connection, query, table.c.key, keys))
        return found

    def forget(self, *, newest_hour: datetime) -> list[str]:
        """Drop the buckets that no event arriving at `newest_hour` or later can meet; their table names."""
        dropped: list[str] = []
        with self._state.write() as connection:
            rows = connection.execute(
                select(message_id_buckets.c.starts_at, message_id_buckets.c.table_name).where(
                    message_id_buckets.c.ends_at <= micros(newest_hour - self._window - self._span)
                )
            ).all()
            for starts_at, name in rows:
                _table(name).drop(connection)
                connection.execute(delete(message_id_buckets).where(message_id_buckets.c.starts_at == starts_at))
                dropped.append(name)
        return dropped

    def _probed(self, connection: Connection, arrival_hour: datetime) -> list[Table]:
        rows = connection.execute(
            select(message_id_buckets.c.table_name).where(
                message_id_buckets.c.ends_at > micros(arrival_hour - self._window)
            )
        )
        return [_table(row[0]) for row in rows]

    def _bucket(self, arrival_hour: datetime) -> Table:
        span = self._span // timedelta(microseconds=1)
        starts_at = micros(arrival_hour) // span * span
        table = _table(f"message_ids_{instant(starts_at).astimezone(UTC):%Y%m%d%H}")
        with self._state.read() as connection:
            if connection.execute(
                select(message_id_buckets.c.starts_at).where(message_id_buckets.c.starts_at == starts_at)
            ).first():
                return table
        with self._state.write() as connection:
            table.create(connection, checkfirst=True)
            insert_new(
                connection,
                message_id_buckets,
                ("starts_at", "ends_at", "table_name"),
                [(starts_at, starts_at + span, table.name)],
            )
        return table


def _table(name: str) -> Table:
    return Table(
        name,
        MetaData(),
        Column("key", String(22), primary_key=True),
        Column("batch_no", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def record_duplicates(state: State, batch_id: str, rows: Sequence[tuple[str, str]]) -> None:
    """Keep which events (event_id, cause) of a batch were repeats: their bucket will be dropped, the verdict not."""
    insert_in_chunks(
        state, duplicates, ("batch_id", "event_id", "cause"), [(batch_id, event, cause) for event, cause in rows]
    )


def recorded_duplicates(connection: Connection, batch_id: str) -> list[tuple[str, str]]:
    """The repeats of a batch as they were recorded: (event_id, cause)."""
    rows = connection.execute(
        select(duplicates.c.event_id, duplicates.c.cause).where(duplicates.c.batch_id == batch_id)
    )
    return [(row[0], row[1]) for row in rows]
