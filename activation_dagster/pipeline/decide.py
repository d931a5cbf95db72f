"""Decide: every candidate is sent or refused, with its reason; sends enter the ledger, released or held."""

from __future__ import annotations

import json
from datetime import UTC, timedelta

from sqlalchemy import select

from activation_dagster.domain.batches import Phase, PhaseReport, Provenance
from activation_dagster.domain.reasons import HoldReason
from activation_dagster.domain.sends import SendStatus
from activation_dagster.domain.workflows import EventTrigger
from activation_dagster.lake.tables import DECISIONS
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.consent import compute_consented
from activation_dagster.pipeline.link_accounts import account_links
from activation_dagster.state.batches import is_released, release_batch
from activation_dagster.state.bulk import select_in
from activation_dagster.state.instants import micros
from activation_dagster.state.profile_identifiers import held_by
from activation_dagster.state.sends import intend
from activation_dagster.state.tables import sends

RELEASE_CHECKS = (
    "ingested_events__not_accounted_for",
    "resolved_events__nobody_and_no_reason",
    "overgrown_profiles__over_the_contract",
    "offered_links__not_accounted_for",
    "audience_memberships__without_consent",
    "send_decisions__not_released",
)
"""Checks under sql/checks/ that must find nothing before a batch's sends are released."""

INTENDS_AT_ONCE = 2_000


def compute_decided(run: BatchRun) -> None:
    """Make `send_decisions` and `send_fields`."""
    if run.engine.has("send_decisions"):
        return
    compute_consented(run, record=False)
    engine = run.engine
    _put_workflows(run)
    engine.compute("decide/candidates")
    keys = [row[0] for row in engine.rows("select distinct send_key from candidates")]
    with run.places.state.read() as connection:
        decided = [
            (row[0],)
            for row in select_in(
                connection, select(sends.c.send_key).where(sends.c.seq < run.position), sends.c.send_key, keys
            )
        ]
        members: dict[str, str] = dict(
            engine.rows(
                "select m.member, m.profile_id from cluster_members as m "
                "where m.profile_id in (select profile_id from candidates)"
            )
        )
        found = sorted(
            (members[profile], kind, value)
            for profile, kind, value in held_by(
                connection, sorted(members), lambda c: (c.profile_id, c.kind, c.value), up_to_seq=run.position
            )
        )
    engine.put("decided_keys", {"send_key": "VARCHAR"}, decided)
    first = {(profile, kind): value for profile, kind, value in reversed(found)}
    engine.put(
        "profile_keys",
        {"profile_id": "VARCHAR", "kind": "VARCHAR", "value": "VARCHAR"},
        [(profile, kind, value) for (profile, kind), value in first.items()],
    )
    engine.compute("decide/judged_candidates")
    engine.compute("decide/send_decisions")
    engine.compute("decide/send_fields")


def _put_workflows(run: BatchRun) -> None:
    """Make relations of the workflows, their conditions and the fields they declare."""
    workflows: list[tuple[object, ...]] = []
    conditions: list[tuple[object, ...]] = []
    fields: list[tuple[object, ...]] = []
    for workflow in run.contracts.workflows.values():
        trigger = workflow.trigger
        reentry = (
            None
            if workflow.reentry is None
            else -1
            if workflow.reentry == timedelta.max
            else int(workflow.reentry.total_seconds())
        )
        workflows.append(
            (
                workflow.workflow_id,
                workflow.version,
                trigger.event if isinstance(trigger, EventTrigger) else None,
                workflow.audience_id,
                workflow.purpose,
                workflow.channel,
                workflow.priority,
                workflow.destination,
                workflow.endpoint,
                workflow.subject,
                run.contracts.destinations[workflow.destination].profile_key,
                reentry,
                workflow.expires_after // timedelta(microseconds=1),
            )
        )
        if isinstance(trigger, EventTrigger):
            conditions.extend(
                (workflow.workflow_id, f'$."{name}"', json.dumps(value, ensure_ascii=False))
                for name, value in trigger.where.items()
            )
        for target, declared in (("data", workflow.data_fields), ("profile", workflow.profile_fields)):
            for field, path in declared.items():
                section, name = path.split(".", 1)
                fields.append((workflow.workflow_id, target, field, section, name, f'$."{name}"'))
    text = "VARCHAR"
    run.engine.put(
        "workflows",
        {
            "workflow_id": text,
            "version": text,
            "trigger_contract": text,
            "audience_id": text,
            "purpose": text,
            "channel": text,
            "priority": "INTEGER",
            "destination": text,
            "endpoint": text,
            "subject": text,
            "profile_key": text,
            "reentry_seconds": "BIGINT",
            "expires_after_micros": "BIGINT",
        },
        workflows,
    )
    run.engine.put("workflow_conditions", {"workflow_id": text, "path": text, "value": text}, conditions)
    as_written = (
        "select * replace (json(value)::varchar as value) from"  # properties are compared as DuckDB writes JSON
    )
    run.engine.make("workflow_conditions", f"{as_written} workflow_conditions")
    run.engine.put(
        "workflow_fields",
        {"workflow_id": text, "target": text, "field": text, "section": text, "name": text, "path": text},
        fields,
    )


def decide(run: BatchRun) -> PhaseReport:
    """Carry out the phase `decided`: counts decisions, those to send, and each reason to refuse."""
    run.hold(Phase.DECIDED)
    compute_decided(run)
    return run.carry_out(
        Phase.DECIDED,
        copies={
            DECISIONS: (
                f"select '{run.hour}' as arrival_hour, '{run.batch.batch_id}' as batch_id, decision_id, send_key, "
                "workflow_id, workflow_version, audience_id, profile_id, trigger_event_id, triggered_at, outcome, "
                "reason, evidence from send_decisions"
            )
        },
        counts=lambda: _counts(run),
    )


def _counts(run: BatchRun) -> dict[str, int]:
    counts = {"decisions": 0, "send": 0, "refuse": 0}
    for outcome, reason, count in run.engine.rows("select outcome, reason, count(*) from send_decisions group by all"):
        counts["decisions"] += count
        counts[outcome] += count
        if outcome == "refuse":
            counts[f"refused:{reason}"] = count
    return counts


def hold_reason(run: BatchRun, *, closed_before: bool, failed: list[str]) -> HoldReason | None:
    """Why this batch's new sends must wait for a named person; None when the gate may have them."""
    if run.batch.provenance is not Provenance.LIVE:
        return HoldReason.NOT_LIVE
    if closed_before:
        return HoldReason.CLOSED_BEFORE
    return HoldReason.CHECK_FAILED if failed else None


def failed_checks(run: BatchRun) -> list[str]:
    """The release checks that find offending rows."""
    found: list[str] = []
    for name in RELEASE_CHECKS:
        query = (run.places.sql_root / "checks" / f"{name}.sql").read_text(encoding="utf-8")
        if run.engine.one(f"select count(*) from ({query.strip()})")[0]:
            found.append(name)
    return found


def release(run: BatchRun) -> PhaseReport:
    """Carry out the phase `intended`: new sends enter the ledger, pending where the batch is released, else held.

    Only a live batch that was never closed before and that passes every release check is released. What the ledger
    already has stays as it is.
    """
    run.hold(Phase.INTENDED)
    compute_decided(run)
    account_links(run)
    failed = failed_checks(run)
    reason = hold_reason(run, closed_before=run.was_closed(Phase.INTENDED), failed=failed)
    intended: list[int] = []

    def effects() -> None:
        if reason is None:
            with run.state.write() as connection:
                release_batch(connection, run.batch.batch_id, checks=RELEASE_CHECKS, now=run.places.clock())
        run.places.at("intended.released")
        with run.places.state.read() as connection:
            let_go = reason is None and is_released(connection, run.batch.batch_id)
        rows = ledger_rows(
            run, SendStatus.PENDING if let_go else SendStatus.HELD, "" if reason is None else reason.value
        )
        intended.append(
            sum(
                intend(run.state, rows[start : start + INTENDS_AT_ONCE])
                for start in range(0, len(rows), INTENDS_AT_ONCE)
            )
        )

    return run.carry_out(
        Phase.INTENDED,
        effects=effects,
        copies={},
        counts=lambda: {
            "intended": run.engine.one("select count(*) from send_decisions where outcome = 'send'")[0],
            "failed_checks": len(failed),
        },
    )


def ledger_rows(run: BatchRun, status: SendStatus, reason: str) -> list[tuple[object, ...]]:
    """What `compute_decided` decided to send, as rows for `intend`."""
    rows = run.engine.rows(
        "select d.send_key, d.decision_id, d.workflow_id, d.workflow_version, d.audience_id, d.profile_id, d.purpose, "
        "d.channel, d.region, d.destination, d.endpoint, d.subject, d.profile_key, coalesce(f.data_fields, '{}'), "
        "coalesce(f.profile_fields, '{}'), d.triggered_at, d.landed_at, d.reentry_seconds, d.expires_after_micros "
        "from send_decisions as d left join send_fields as f on f.send_key = d.send_key "
        "where d.outcome = 'send' order by d.send_key"
    )
    as_of = micros(run.batch.as_of)
    built: list[tuple[object, ...]] = []
    for row in rows:
        triggered_at = micros(row[15].replace(tzinfo=UTC))
        landed_at = micros(row[16].replace(tzinfo=UTC))
        built.append(
            (
                row[0],
                row[1],
                run.batch.batch_id,
                run.position,
                *row[2:15],
                as_of,
                triggered_at,
                landed_at,
                triggered_at + row[18],
                row[17],
                status.value,
                reason,
                as_of,
            )
        )
    return built
