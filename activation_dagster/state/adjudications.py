"""Adjudications: every time that history was adjudicated again, and which identifiers a person keeps apart."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from activation_dagster.domain.separations import Pair
from activation_dagster.state.bulk import insert_new, select_in
from activation_dagster.state.control import record_act
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.tables import adjudications, batches, control_log, separations

ACTS = {"apply": "identity_apply", "unmerge": "identity_unmerge"}
"""What the control log calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjudication:
    """One time that history was adjudicated again, at the state sequence `seq`.

    `contract_set`: the set whose identity rules hold since then for all that came before; empty where only links were
    undone. Not finished: whoever did it died, and what it says is not yet all written.
    """

    seq: int
    act: str
    contract_set: str
    started_at: datetime
    is_finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """Who did an act, when and why, as the control log has it."""

    act: str
    actor: str
    done_at: datetime
    why: str


def begin(
    connection: Connection,
    *,
    act: str,
    contract_set: str,
    pairs: Mapping[Pair, str],
    by: str,
    why: str,
    now: datetime,
    detail: Mapping[str, Any],
) -> Adjudication:
    """Write that history is adjudicated again from here on: the act, the row, and which pairs are kept apart.

    `pairs`: the event whose link is undone, by pair. To be called with no other lock than the environment's lease.
    """
    told = {
        **detail,
        "why": why,
        "pairs": [[first.hex(), second.hex(), pairs[first, second]] for first, second in sorted(pairs)],
    }
    seq = record_act(connection, now=now, actor=by, act=ACTS[act], detail=told)
    connection.execute(
        insert(adjudications).values(seq=seq, act=act, contract_set=contract_set, started_at=micros(now))
    )
    insert_new(
        connection,
        separations,
        ("first_key", "second_key", "seq", "event_id"),
        [(*pair, seq, event_id) for pair, event_id in sorted(pairs.items())],
    )
    return Adjudication(seq=seq, act=act, contract_set=contract_set, started_at=now, is_finished=False)


def finish(connection: Connection, seq: int, *, now: datetime) -> None:
    """Write that all that an adjudication says is written."""
    connection.execute(update(adjudications).where(adjudications.c.seq == seq).values(finished_at=micros(now)))


def adjudications_of(connection: Connection) -> list[Adjudication]:
    """Every adjudication, the oldest first."""
    rows = connection.execute(select(adjudications).order_by(adjudications.c.seq))
    return [
        Adjudication(
            seq=row.seq,
            act=row.act,
            contract_set=row.contract_set,
            started_at=instant(row.started_at),
            is_finished=row.finished_at is not None,
        )
        for row in rows
    ]


def open_adjudication(connection: Connection) -> Adjudication | None:
    """The adjudication that somebody began and nobody finished, or None."""
    return next((one for one in adjudications_of(connection) if not one.is_finished), None)


def separations_among(connection: Connection, keys: Collection[bytes], *, up_to_seq: int) -> frozenset[Pair]:
    """The pairs kept apart, of those whose one side is among `keys`; by index, and one look where there is none."""
    query = select(separations.c.first_key, separations.c.second_key).where(separations.c.seq <= up_to_seq)
    if connection.execute(query.limit(1)).one_or_none() is None:
        return frozenset()
    found = select_in(connection, query, separations.c.first_key, keys)
    return frozenset((bytes(first), bytes(second)) for first, second in found)


def separated_keys(connection: Connection, *, up_to_seq: int) -> frozenset[bytes]:
    """The identifiers (keys) that are kept apart from some other."""
    query = select(separations.c.first_key, separations.c.second_key).where(separations.c.seq <= up_to_seq)
    return frozenset(bytes(key) for row in connection.execute(query) for key in row)


def all_separations(connection: Connection) -> frozenset[Pair]:
    """Every pair kept apart."""
    rows = connection.execute(select(separations.c.first_key, separations.c.second_key))
    return frozenset((bytes(first), bytes(second)) for first, second in rows)


def separated_by(connection: Connection, keys: Iterable[bytes]) -> dict[bytes, int]:
    """Of some identifiers, those that are kept apart from another, with the act that first did it."""
    wanted = list(keys)
    found: dict[bytes, int] = {}
    for column in (separations.c.first_key, separations.c.second_key):
        for key, seq in select_in(connection, select(column, separations.c.seq), column, wanted):
            found[bytes(key)] = min(seq, found.get(bytes(key), seq))
    return found


def doings(connection: Connection, seqs: Collection[int]) -> dict[int, Doing]:
    """Who did some acts and why, by their sequence."""
    query = select(
        control_log.c.seq, control_log.c.act, control_log.c.actor, control_log.c.done_at, control_log.c.detail
    )
    return {
        seq: Doing(act=act, actor=actor, done_at=instant(done_at), why=str(json.loads(detail).get("why", "")))
        for seq, act, actor, done_at, detail in select_in(connection, query, control_log.c.seq, sorted(seqs))
    }


def unfinished_position(connection: Connection) -> str | None:
    """A batch that has a position and is not finished, or None: what it will write is not there yet."""
    query = select(func.min(batches.c.batch_id)).where(batches.c.position.is_not(None), batches.c.closed_at.is_(None))
    return connection.execute(query).scalar_one()
