"""The ledger: every send that was ever intended, once a key, how it begins, what is held, and how to read it.

Claiming is in `gate`; what becomes of a claimed send is in `answers`.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from activation_dagster.domain.sends import Json, SendStatus
from activation_dagster.errors import WrongUse
from activation_dagster.state.bulk import insert_in_chunks, insert_new, select_in, update_by_key
from activation_dagster.state.control import record_act
from activation_dagster.state.engine import State
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.subjects import cluster_of
from activation_dagster.state.tables import profiles, sends

INTENDED_COLUMNS = (
    "send_key",
    "decision_id",
    "batch_id",
    "seq",
    "workflow_id",
    "workflow_version",
    "audience_id",
    "profile_id",
    "purpose",
    "channel",
    "region",
    "destination",
    "endpoint",
    "subject",
    "profile_key",
    "data_fields",
    "profile_fields",
    "validated_at",
    "triggered_at",
    "landed_at",
    "expires_at",
    "reentry_seconds",
    "status",
    "reason",
    "due_at",
)
"""What a row of `intend` holds, in this order: times in microseconds, fields as JSON text."""

FRESH: Mapping[str, Any] = {
    "attempts": 0,
    "claim_token": "",
    "answer": "",
    "consent_evidence": "{}",
    "in_doubt": False,
}
"""What every send begins with."""

CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """One row of the ledger; times are UTC, `consent_evidence` is what the last claim read."""

    send_key: str
    decision_id: str
    batch_id: str
    seq: int
    workflow_id: str
    workflow_version: str
    audience_id: str
    profile_id: str
    purpose: str
    channel: str
    region: str
    destination: str
    endpoint: str
    subject: str
    profile_key: str
    data_fields: Mapping[str, Json]
    profile_fields: Mapping[str, Json]
    validated_at: datetime
    triggered_at: datetime
    landed_at: datetime
    expires_at: datetime
    reentry_seconds: int | None
    status: SendStatus
    reason: str
    due_at: datetime
    attempts: int
    claim_token: str
    claimed_at: datetime | None
    lease_until: datetime | None
    answered_at: datetime | None
    http_status: int | None
    answer: str
    consent_evidence: Mapping[str, Json]
    in_doubt: bool


def intend(place: State | Connection, rows: Sequence[tuple[Any, ...]]) -> int:
    """Write sends (tuples in the order of `INTENDED_COLUMNS`) as pending, or as held with the reason why.

    A key that stands already stays as it is, whatever became of it. On a State the rows go in chunks, on a Connection
    in its transaction. Returns how many were new. Raises WrongUse, and writes nothing, for another status, for a hold
    without a reason and for a profile without a subject row: such a person's *no* could not be waited for.
    """
    _require_status(rows)
    profile_ids = {row[INTENDED_COLUMNS.index("profile_id")] for row in rows}
    columns = (*INTENDED_COLUMNS, *FRESH)
    fresh = tuple(FRESH.values())
    complete = [(*row, *fresh) for row in rows]
    if isinstance(place, State):
        with place.read() as connection:
            _require_subjects(connection, profile_ids)
        return insert_in_chunks(place, sends, columns, complete)
    _require_subjects(place, profile_ids)
    return insert_new(place, sends, columns, complete)


def release(
    state: State,
    *,
    by: str,
    now: datetime,
    send_keys: Iterable[str] | None = None,
    workflow: str | None = None,
    batch_id: str | None = None,
    reason: str | None = None,
) -> int:
    """Let held sends go: they become pending, due now, and pass the gate like all others. Returns how many.

    At least one filter must be given (all given must fit). Each chunk is one act in the control log, with its keys. An
    expired send is let go too: the gate says so when it gets there.
    """
    if send_keys is None and workflow is None and batch_id is None and reason is None:
        raise WrongUse(
            "Everything that is held was to be let go, in the release asked for. "
            "Name the sends, a workflow, a batch or the reason of the hold."
        )
    query = select(sends.c.send_key).where(sends.c.status == "held")
    for column, value in ((sends.c.workflow_id, workflow), (sends.c.batch_id, batch_id), (sends.c.reason, reason)):
        if value is not None:
            query = query.where(column == value)
    with state.read() as connection:
        if send_keys is None:
            named = list(connection.execute(query.order_by(sends.c.send_key)).scalars())
        else:
            named = sorted(key for (key,) in select_in(connection, query, sends.c.send_key, send_keys))
    released = 0
    for start in range(0, len(named), CHUNK):
        with state.write() as connection:
            rows = lock_sends(connection, named[start : start + CHUNK])
            held = [row.send_key for row in rows if row.status == "held"]
            if not held:
                continue
            changes = [(key, "pending", "", micros(now)) for key in held]
            released += update_by_key(connection, sends, "send_key", ("status", "reason", "due_at"), changes)
            record_act(connection, now=now, actor=by, act="release", detail={"send_keys": held})
    return released


def ledger_counts(connection: Connection) -> dict[tuple[SendStatus, str], int]:
    """How many sends stand where, by status and reason (empty where a status needs none)."""
    query = select(sends.c.status, sends.c.reason, func.count()).group_by(sends.c.status, sends.c.reason)
    return {(SendStatus(status), reason): count for status, reason, count in connection.execute(query)}


def list_sends(
    connection: Connection,
    *,
    status: SendStatus | None = None,
    workflow: str | None = None,
    profile: str | None = None,
    batch_id: str | None = None,
    limit: int = 100,
) -> tuple[Send, ...]:
    """Sends, the newest trigger first; `profile` stands for everybody its person ever was."""
    query = select(sends).order_by(sends.c.triggered_at.desc(), sends.c.send_key).limit(limit)
    if status is not None:
        query = query.where(sends.c.status == status.value)
    if workflow is not None:
        query = query.where(sends.c.workflow_id == workflow)
    if batch_id is not None:
        query = query.where(sends.c.batch_id == batch_id)
    if profile is not None:
        _, members = cluster_of(connection, [profile])[profile]
        query = query.where(sends.c.profile_id.in_(sorted(members)))
    return tuple(_send(row) for row in connection.execute(query))


def get(connection: Connection, send_key: str) -> Send | None:
    """The send with this key, or None."""
    row = connection.execute(select(sends).where(sends.c.send_key == send_key)).one_or_none()
    return None if row is None else _send(row)


def lock_sends(connection: Connection, send_keys: Iterable[str]) -> list[Row[*tuple[Any, ...]]]:
    """Ledger rows by key, locked in the order of their keys."""
    keys = sorted(set(send_keys))
    found: list[Row[*tuple[Any, ...]]] = []
    for part in _parts(keys):
        query = select(sends).where(sends.c.send_key.in_(part)).order_by(sends.c.send_key).with_for_update()
        found.extend(connection.execute(query))
    return found


def _parts(keys: Sequence[str]) -> Generator[Sequence[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]


def _require_status(rows: Sequence[tuple[Any, ...]]) -> None:
    status, reason = INTENDED_COLUMNS.index("status"), INTENDED_COLUMNS.index("reason")
    for row in rows:
        if row[status] != "pending" and not (row[status] == "held" and row[reason]):
            raise WrongUse(
                f"A send was to begin as '{row[status]}' with reason '{row[reason]}', in the ledger. "
                "A send begins pending, or held with the reason why."
            )


def _require_subjects(connection: Connection, profile_ids: set[str]) -> None:
    query = select(profiles.c.profile_id)
    known = {profile_id for (profile_id,) in select_in(connection, query, profiles.c.profile_id, profile_ids)}
    if profile_ids - known:
        raise WrongUse(
            f"{len(profile_ids - known)} profiles of sends do not exist, in the profiles of state. "
            "Write profiles before their sends: their rows are what consent and claims lock."
        )


def _send(row: Row[*tuple[Any, ...]]) -> Send:
    values = dict(row._mapping)  # pyright: ignore[reportPrivateUsage] (SQLAlchemy's public name for it)
    for name in ("data_fields", "profile_fields", "consent_evidence"):
        values[name] = json.loads(values[name])
    for name, value in values.items():
        if name.endswith("_at") or name == "lease_until":
            values[name] = None if value is None else instant(value)
    values["status"] = SendStatus(values["status"])
    return Send(**values)
