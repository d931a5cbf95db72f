"""Halts: a stop of everything, one workflow, one channel or one destination, in force from the moment it commits.

Claims hold the row 'halt' for share while they read what is halted; who halts takes it for update. So a halt waits for
the claims that run, at most one transaction long, and no claim that begins later misses it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, text, update

from activation_dagster.errors import WrongUse
from activation_dagster.state.control import record_act
from activation_dagster.state.engine import State
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.tables import gate_lock, halts

SCOPE = re.compile(r"\*|(workflow|channel|destination):\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """One stop: what it covers (`*`, `workflow:<id>`, `channel:<name>`, `destination:<name>`), by whom and why."""

    halt_id: str
    scope: str
    seq: int
    halted_at: datetime
    halted_by: str
    why: str


def halt(state: State, scope: str, *, by: str, why: str, now: datetime) -> Halt:
    """Stop every send inside `scope` at once: when this returns, nothing inside it is claimed until it is lifted.

    Raises WrongUse for a scope that names nothing.
    """
    if SCOPE.fullmatch(scope) is None:
        raise WrongUse(
            f"'{scope}' is no scope of a halt, in the halt asked for. "
            "Write *, workflow:<id>, channel:<name> or destination:<name>."
        )
    with state.write() as connection:
        _lock_for_update(connection)
        seq = record_act(connection, now=now, actor=by, act="halt", detail={"scope": scope, "why": why})
        made = Halt(halt_id=f"h{seq}", scope=scope, seq=seq, halted_at=now, halted_by=by, why=why)
        connection.execute(
            insert(halts).values(
                halt_id=made.halt_id, scope=scope, seq=seq, halted_at=micros(now), halted_by=by, why=why
            )
        )
        connection.execute(update(gate_lock).where(gate_lock.c.name == "halt").values(touched_seq=seq))
    return made


def lift(state: State, scope: str, *, by: str, now: datetime) -> tuple[Halt, ...]:
    """Lift every halt in force that has exactly this scope; returns them (none: there was nothing to lift)."""
    with state.write() as connection:
        _lock_for_update(connection)
        lifted = tuple(found for found in active(connection) if found.scope == scope)
        if lifted:
            ids = [found.halt_id for found in lifted]
            seq = record_act(connection, now=now, actor=by, act="lift", detail={"scope": scope, "halts": ids})
            connection.execute(
                update(halts).where(halts.c.halt_id.in_(ids)).values(lifted_at=micros(now), lifted_by=by)
            )
            connection.execute(update(gate_lock).where(gate_lock.c.name == "halt").values(touched_seq=seq))
    return lifted


def active(connection: Connection) -> tuple[Halt, ...]:
    """The halts in force, in the order they were made."""
    query = select(halts).where(halts.c.lifted_at.is_(None)).order_by(halts.c.seq)
    return tuple(_halt(row) for row in connection.execute(query))


def hold_for_share(connection: Connection) -> None:
    """Keep halts from coming or going until this transaction ends; others may hold it for share as well."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(gate_lock.c.name).where(gate_lock.c.name == "halt").with_for_update(read=True))


def _lock_for_update(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # The row alone would do, but row locks do not queue: claims that overlap without a gap would keep it shared
        # for ever. Whoever asks for the table after us waits behind us.
        connection.execute(text("LOCK TABLE gate_lock IN EXCLUSIVE MODE"))
        connection.execute(select(gate_lock.c.name).where(gate_lock.c.name == "halt").with_for_update())


def _halt(row: Row[*tuple[Any, ...]]) -> Halt:
    return Halt(
        halt_id=row.halt_id,
        scope=row.scope,
        seq=row.seq,
        halted_at=instant(row.halted_at),
        halted_by=row.halted_by,
        why=row.why,
    )
