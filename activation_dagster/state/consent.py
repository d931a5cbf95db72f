"""What people chose, append-only; written under the person's subject rows, so that no claim is under way meanwhile.

`lock_subjects` and `cluster_of` live in `subjects` and are offered here too: whoever writes consent needs them first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from activation_dagster.domain.consent import ConsentRecord, ConsentStatus
from activation_dagster.errors import WrongUse
from activation_dagster.state.bulk import insert_new, select_in
from activation_dagster.state.control import record_act
from activation_dagster.state.engine import State
from activation_dagster.state.former import then
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.subjects import cluster_of, lock_cluster, lock_subjects
from activation_dagster.state.tables import consent_records, profiles

__all__ = [
    "COLUMNS",
    "cluster_of",
    "insert_choices",
    "lock_subjects",
    "record_choice",
    "record_id",
    "record_of",
    "records_of",
]

COLUMNS = (
    "record_id",
    "profile_id",
    "purpose",
    "channel",
    "status",
    "decided_at",
    "seq",
    "source",
    "proof",
)


def record_id(
    *, source: str, profile_id: str, purpose: str, channel: str, status: ConsentStatus, decided_at: datetime
) -> str:
    """The id (40 hex digits) of one choice. The status is part of it, so that a *no* never hides behind a *yes* that
    the same source gave for the same instant."""
    parts = (source, profile_id, purpose, channel, status.value, str(micros(decided_at)))
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:40]


def record_choice(
    state: State,
    *,
    profile_id: str,
    purpose: str,
    channel: str,
    status: ConsentStatus,
    decided_at: datetime,
    source: str,
    proof: Mapping[str, Any],
    now: datetime,
    actor: str,
) -> ConsentRecord:
    """Record what a person, or a destination on a person's behalf, chose; it stands when this returns.

    Waits for a claim of the same person that is under way, and no later claim misses it. Recording the same choice
    again changes nothing and returns what stands. Raises WrongUse when there is no such profile.
    """
    identity = record_id(
        source=source, profile_id=profile_id, purpose=purpose, channel=channel, status=status, decided_at=decided_at
    )
    while True:
        with state.write() as connection:
            if lock_cluster(connection, profile_id) is None:
                continue  # a merge came in between: again, with everybody it brought
            standing = connection.execute(
                select(consent_records).where(consent_records.c.record_id == identity)
            ).one_or_none()
            if standing is not None:
                return record_of(tuple(standing))
            _require_profile(connection, profile_id)
            seq = record_act(
                connection,
                now=now,
                actor=actor,
                act="consent",
                detail={
                    "record_id": identity,
                    "profile_id": profile_id,
                    "purpose": purpose,
                    "channel": channel,
                    "status": status.value,
                    "decided_at": micros(decided_at),
                    "source": source,
                    "proof": dict(proof),
                },
            )
            proven = json.dumps(proof, sort_keys=True, separators=(",", ":"))
            row = (
                identity, profile_id, purpose, channel, status.value, micros(decided_at), seq, source, proven
            )  # fmt: skip
            insert_new(connection, consent_records, COLUMNS, [row])
            return ConsentRecord(
                record_id=identity,
                profile_id=profile_id,
                purpose=purpose,
                channel=channel,
                status=status,
                decided_at=decided_at,
                seq=seq,
                source=source,
            )


def insert_choices(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
    """Write a batch's choices (tuples in the order of `COLUMNS`; times in microseconds, proof as JSON text).

    Locks the subject rows first; on PostgreSQL call it once a transaction, or the sorted order is lost. Returns how
    many were new. Locking the profile that a choice is written for is enough: a claim locks the whole cluster.
    """
    place = COLUMNS.index("profile_id")
    lock_subjects(connection, {row[place] for row in rows})
    return insert_new(connection, consent_records, COLUMNS, rows)


def records_of(
    connection: Connection, profile_ids: Iterable[str], up_to_seq: int | None = None
) -> dict[str, list[ConsentRecord]]:
    """All choices written for these very profiles, by profile id; ask for all of a cluster to know the person's.

    With `up_to_seq`, as it was at that state sequence. Profiles without a choice are left out.
    """
    said = then(connection, consent_records, up_to_seq).c
    query = select(*(said[name] for name in COLUMNS[:-1]))
    if up_to_seq is not None:
        query = query.where(said.seq <= up_to_seq)
    found: dict[str, list[ConsentRecord]] = {}
    for row in select_in(connection, query, said.profile_id, profile_ids):
        found.setdefault(row[1], []).append(record_of(row))
    return found


def record_of(row: tuple[Any, ...]) -> ConsentRecord:
    """The record of one row; values in the order of `COLUMNS`."""
    return ConsentRecord(
        record_id=row[0],
        profile_id=row[1],
        purpose=row[2],
        channel=row[3],
        status=ConsentStatus(row[4]),
        decided_at=instant(row[5]),
        seq=row[6],
        source=row[7],
    )


def _require_profile(connection: Connection, profile_id: str) -> None:
    known = select(profiles.c.profile_id).where(profiles.c.profile_id == profile_id)
    if connection.execute(known).one_or_none() is None:
        raise WrongUse(
            "A choice was given for a profile that does not exist, in the profiles of state. "
            "Ask for the profile by an identifier first."
        )
