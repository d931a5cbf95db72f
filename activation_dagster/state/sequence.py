"""The state sequence: one number an act or a batch, taken in the transaction that writes what stands at it."""

from __future__ import annotations

from sqlalchemy import Connection, update

from activation_dagster.state.tables import sequence


def next_seq(connection: Connection) -> int:
    """The next state sequence (from 1). Its row stays locked until the transaction ends, so numbers commit in order."""
    taken = connection.execute(
        update(sequence)
        .where(sequence.c.name == "state")
        .values(value=sequence.c.value + 1)
        .returning(sequence.c.value)
    )
    return taken.scalar_one()
