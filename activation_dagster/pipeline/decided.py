"""Decided: finding the decisions that were made, by send, by id, or by person and workflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from activation_dagster.domain.batches import Batch, Phase
from activation_dagster.errors import WrongUse
from activation_dagster.lake.rule_sql import literal
from activation_dagster.lake.tables import DECISIONS
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.places import Places
from activation_dagster.state.batches import load_batch, load_batches
from activation_dagster.state.sends import Send, get
from activation_dagster.state.subjects import Cluster
from activation_dagster.state.tables import sends

DECISION_COLUMNS = (
    "decision_id, send_key, workflow_id, workflow_version, audience_id, profile_id, trigger_event_id, triggered_at, "
    "outcome, reason, evidence, batch_id, arrival_hour"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One row of `send_decisions`."""

    decision_id: str
    send_key: str
    workflow_id: str
    workflow_version: str
    audience_id: str
    profile_id: str
    trigger_event_id: str
    triggered_at: datetime
    outcome: str
    reason: str
    evidence: Mapping[str, Any]
    batch_id: str
    arrival_hour: str


def decision_named(places: Places, *, send_key: str | None, decision_id: str | None) -> tuple[Decided, Send | None]:
    name = send_key or decision_id or ""
    columns = [sends.c.send_key] if send_key is not None else [sends.c.decision_id]
    if send_key is not None and decision_id is not None:
        columns.append(sends.c.decision_id)
    for column in columns:
        with places.state.read() as connection:
            keys = connection.execute(
                select(sends.c.send_key).where(column >= name, column < f"{name}g").limit(2)
            ).scalars()
            matching = list(keys)
            if len(matching) > 1:
                raise WrongUse(f"Several sends begin with '{name}', in the ledger. Write more of it.")
            send = get(connection, matching[0]) if matching else None
        if send is not None:
            return _decision_of(places, send), send
    asked = (("send_key", send_key), ("decision_id", decision_id))
    parts = [f"{column} = {literal(value)}" for column, value in asked if value]
    rows = decisions_where(places, " or ".join(parts))
    if not rows:
        raise WrongUse(
            f"No send and no decision is called '{name}', in the ledger and the lake. "
            "List sends with `activation sends list`, or ask with --profile and --workflow."
        )
    return rows[0], send_of(places, rows[0].send_key, rows[0].decision_id)


def send_of(places: Places, send_key: str, decision_id: str) -> Send | None:
    """The send that this very decision made; the same key may stand for an earlier decision."""
    with places.state.read() as connection:
        found = get(connection, send_key)
    return found if found is not None and found.decision_id == decision_id else None


def _decision_of(places: Places, send: Send) -> Decided:
    """The decision of a send from the one hour that it can be in; from the ledger where the lake has lost it."""
    with places.state.read() as connection:
        batch = load_batch(connection, send.batch_id)
    if batch is not None:
        rows = decisions_where(places, f"decision_id = {literal(send.decision_id)}", batch=batch)
        if rows:
            return rows[0]
    return Decided(
        decision_id=send.decision_id,
        send_key=send.send_key,
        workflow_id=send.workflow_id,
        workflow_version=send.workflow_version,
        audience_id=send.audience_id,
        profile_id=send.profile_id,
        trigger_event_id="",
        triggered_at=send.triggered_at,
        outcome="send",
        reason="",
        evidence={},
        batch_id=send.batch_id,
        arrival_hour="",
    )


def decisions_of(places: Places, person: Cluster, workflow: str) -> list[Decided]:
    """Every decision on a person and workflow, the one that was made last first."""
    members = ", ".join(literal(member) for member in sorted(person.members))
    found = decisions_where(places, f"workflow_id = {literal(workflow)} and profile_id in ({members})")
    with places.state.read() as connection:
        known = load_batches(connection, {row.batch_id for row in found})
    positions = {batch.batch_id: batch.position or 0 for batch in known}
    return sorted(found, key=lambda row: (positions.get(row.batch_id, 0), row.triggered_at), reverse=True)


def decisions_where(places: Places, condition: str, *, batch: Batch | None = None) -> list[Decided]:
    """Decisions that fit a SQL condition, the newest first; of one batch's hour where a batch is given.

    Values stand in the condition as literals: a bound parameter makes DuckDB import pandas, which costs half a second.
    """
    import duckdb

    hours = None if batch is None else [batch.arrival_hour]
    source = closed_rows(
        places, DECISIONS, Phase.DECIDED, hours=hours, batch_id=None if batch is None else batch.batch_id
    )
    query = (
        f"select {DECISION_COLUMNS} from {source} as d where {condition} order by arrival_hour desc, triggered_at desc"
    )
    with duckdb.connect(":memory:") as connection:
        found = connection.execute(query).fetchall()
    return [
        Decided(
            decision_id=row[0],
            send_key=row[1],
            workflow_id=row[2],
            workflow_version=row[3],
            audience_id=row[4],
            profile_id=row[5] or "",
            trigger_event_id=row[6],
            triggered_at=row[7].replace(tzinfo=UTC),
            outcome=row[8],
            reason=row[9],
            evidence=json.loads(row[10]),
            batch_id=row[11],
            arrival_hour=row[12],
        )
        for row in found
    ]
