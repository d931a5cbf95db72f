"""Copies of sends: which batches' sends have changed since the lake got them, and what the lake holds of each batch.

Whoever changes the outcome of a send leaves a mark in the same transaction, so that no change is ever missed. A mark is
a row of its own: nobody waits for anybody to leave one, and a copier takes away only the marks that it has read.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from activation_dagster.domain.batches import TableCopy
from activation_dagster.domain.sends import SETTLED
from activation_dagster.state.bulk import insert_new
from activation_dagster.state.instants import instant
from activation_dagster.state.tables import batches, send_changes, send_copies, sends


def mark_changed(connection: Connection, batch_ids: Iterable[str]) -> None:
    """Note that the outcome of sends of these batches changes in this transaction."""
    mark = uuid.uuid4().hex
    insert_new(connection, send_changes, ("batch_id", "mark"), [(batch_id, mark) for batch_id in sorted({*batch_ids})])


def changed_batches(connection: Connection) -> list[str]:
    """Batches with marks, in the order they were planned; asking costs what has changed, not what ever was."""
    query = select(batches.c.batch_id).where(batches.c.batch_id.in_(select(send_changes.c.batch_id).distinct()))
    return list(connection.execute(query.order_by(batches.c.batch_no)).scalars())


def marks_of(connection: Connection, batch_id: str) -> list[str]:
    """The marks of a batch; what they tell of stands in this snapshot."""
    return list(connection.execute(select(send_changes.c.mark).where(send_changes.c.batch_id == batch_id)).scalars())


def settled_sends(connection: Connection, batch_id: str) -> tuple[datetime | None, list[tuple[Any, ...]]]:
    """The batch's arrival hour (None: there is no such batch) and its sends that are settled.

    A row is (send_key, workflow_id, audience_id, profile_id, destination, status, reason, claimed_at, answered_at),
    the times in microseconds.
    """
    hour = connection.execute(select(batches.c.arrival_hour).where(batches.c.batch_id == batch_id)).scalar_one_or_none()
    query = (
        select(
            sends.c.send_key,
            sends.c.workflow_id,
            sends.c.audience_id,
            sends.c.profile_id,
            sends.c.destination,
            sends.c.status,
            sends.c.reason,
            sends.c.claimed_at,
            sends.c.answered_at,
        )
        .where(sends.c.batch_id == batch_id, sends.c.status.in_(sorted(SETTLED)))
        .order_by(sends.c.send_key)
    )
    return None if hour is None else instant(hour), [tuple(row) for row in connection.execute(query)]


def begin_copy(connection: Connection, batch_id: str) -> bool:
    """Note that a batch's sends are being copied; False where nobody ever began to, so that the lake has none."""
    columns = ("batch_id", "table_version", "row_count", "checksum")
    if insert_new(connection, send_copies, columns, [(batch_id, None, 0, "0")]):
        return False
    connection.execute(update(send_copies).where(send_copies.c.batch_id == batch_id).values(table_version=None))
    return True


def close_copy(connection: Connection, batch_id: str, *, marks: Iterable[str], copy: TableCopy) -> None:
    """Note what the lake holds of a batch's sends now, and take away the marks that were read before."""
    connection.execute(
        update(send_copies)
        .where(send_copies.c.batch_id == batch_id)
        .values(table_version=copy.version, row_count=copy.rows, checksum=copy.checksum)
    )
    connection.execute(
        delete(send_changes).where(send_changes.c.batch_id == batch_id, send_changes.c.mark.in_(list(marks)))
    )


def closed_copies(connection: Connection) -> list[tuple[str, datetime, TableCopy]]:
    """What the lake should hold: batch, arrival hour, copy; without those that somebody began and did not close."""
    rows = connection.execute(
        select(
            send_copies.c.batch_id,
            batches.c.arrival_hour,
            send_copies.c.table_version,
            send_copies.c.row_count,
            send_copies.c.checksum,
        )
        .join_from(send_copies, batches, batches.c.batch_id == send_copies.c.batch_id)
        .where(send_copies.c.table_version.is_not(None))
        .order_by(batches.c.batch_no)
    )
    return [(row[0], instant(row[1]), TableCopy(version=row[2], rows=row[3], checksum=row[4])) for row in rows]
