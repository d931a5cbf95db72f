"""Evidence: each link of an explanation's chain, as it stood when the decision was made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from activation_dagster.domain.audiences import (
    MILLIONTH,
    Audience,
    DayOfActivity,
    MeasureCondition,
    TraitCondition,
    amount,
    trait_matches,
)
from activation_dagster.domain.batches import Batch, Phase
from activation_dagster.domain.consent import ConsentStatus, current_choice
from activation_dagster.domain.contracts import EventContract, Undeclared, kept
from activation_dagster.domain.masking import masked, shown_payload
from activation_dagster.domain.sends import SendStatus
from activation_dagster.domain.traits import TraitRules
from activation_dagster.domain.workflows import EventTrigger, Workflow
from activation_dagster.lake.rule_sql import literal
from activation_dagster.lake.tables import INGESTED, RESOLVED, VALIDATED
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.contracts_in_force import contracts_of
from activation_dagster.pipeline.decided import Decided, decisions_where
from activation_dagster.pipeline.explanation import (
    AnswerSeen,
    AudienceSeen,
    ConditionSeen,
    ConsentSeen,
    EventSeen,
    GateSeen,
    RequiredConsent,
    Rival,
    Trigger,
    WorkflowSeen,
)
from activation_dagster.pipeline.people import (
    Choice,
    choices,
    region_of,
)
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.traits import person_traits
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.state import suppressions
from activation_dagster.state.consent import records_of
from activation_dagster.state.former import then
from activation_dagster.state.instants import instant
from activation_dagster.state.profiles import activity_of
from activation_dagster.state.sends import Send
from activation_dagster.state.subjects import Cluster, cluster_of
from activation_dagster.state.tables import membership_changes

MOST_EVENTS = 5
"""Events of an entry that are shown: the newest of the batch that made it."""


def trigger_of(places: Places, row: Decided, batch: Batch, *, reveal: bool) -> Trigger:
    import duckdb

    hours, name = [batch.arrival_hour], batch.batch_id
    ingested = closed_rows(places, INGESTED, Phase.INGESTED, hours=hours, batch_id=name)
    validated = closed_rows(places, VALIDATED, Phase.VALIDATED, hours=hours, batch_id=name)
    resolved = closed_rows(places, RESOLVED, Phase.RESOLVED, hours=hours, batch_id=name)
    chosen = (
        literal(row.trigger_event_id)
        if row.trigger_event_id
        else f"select event_id from {resolved} as r where profile_id = {literal(row.profile_id)} "
        f"order by occurred_at desc limit {MOST_EVENTS}"
    )
    query = f"""
        select v.event_id, v.event_name, v.event_type, v.source, v.contract, v.contract_version, v.occurred_at,
            i.received_at, i.payload
        from {validated} as v
        join {ingested} as i on i.event_id = v.event_id
        where v.event_id in ({chosen})
        order by v.occurred_at desc
    """
    with duckdb.connect(":memory:") as connection:
        found = connection.execute(query).fetchall()
    contracts = contracts_of(places, batch)
    segments = {segment.segment_id: segment.path for segment in batch.segments}
    return Trigger(
        kind="event" if row.trigger_event_id else "entry into its audience",
        events=tuple(
            EventSeen(
                event_id=event[0],
                event_name=event[1] or event[2],
                source=event[3],
                segment=segments.get(event[0].rpartition(":")[0], ""),
                contract=event[4],
                contract_version=event[5] or "",
                occurred_at=event[6].replace(tzinfo=UTC),
                received_at=event[7].replace(tzinfo=UTC),
                payload=shown_payload(
                    _as_kept(event[8] or "", contracts.events.get(event[4]), event[5]), reveal=reveal
                ),
            )
            for event in found
        ),
    )


def _as_kept(payload: str, contract: EventContract | None, version_name: str | None) -> bytes:
    """An accepted event's text without what its contract drops."""
    version = None if contract is None else contract.version(version_name)
    if contract is None or version is None or contract.undeclared is not Undeclared.DROP:
        return payload.encode()
    event: dict[str, Any] = json.loads(payload)
    if contract.section in event:
        event[contract.section] = kept(contract, version, event[contract.section])
    return json.dumps(event, ensure_ascii=False).encode()


def consent_then(
    connection: Connection, contracts: ContractSet, workflow: Workflow, person: Cluster, position: int, at: datetime
) -> ConsentSeen:
    rules = contracts.consent
    region = region_of(connection, rules, person.members, position)
    said = [record for found in records_of(connection, person.members, position).values() for record in found]
    requires: list[RequiredConsent] = []
    for purpose in rules.required(workflow.purpose, region):
        choice = current_choice(said, purpose=purpose, channel=workflow.channel)
        days = rules.regions[region].valid_for_days.get(purpose)
        has_run_out = choice is not None and days is not None and choice.decided_at + timedelta(days=days) <= at
        found = "unknown" if choice is None else choice.status.value
        requires.append(
            RequiredConsent(
                purpose=purpose,
                valid_for_days=days,
                found="expired" if has_run_out and found == ConsentStatus.GRANTED else found,
                record_id="" if choice is None else choice.record_id,
            )
        )
    asked = {required.purpose for required in requires}
    hard = [found for rows in suppressions.active_for(connection, person.members, position).values() for found in rows]
    return ConsentSeen(
        purpose=workflow.purpose,
        channel=workflow.channel,
        region=region,
        is_default_region=region == rules.default_region,
        requires=tuple(requires),
        records=choices(
            connection, rules, [one for one in said if one.purpose in asked and one.channel == workflow.channel]
        ),
        suppressions=tuple(found for found in hard if found.covers(workflow.channel)),
    )


def audience_then(
    connection: Connection,
    rule: Audience,
    policies: TraitRules,
    person: Cluster,
    position: int,
    at: datetime,
    *,
    reveal: bool,
) -> AudienceSeen:
    members = sorted(person.members)
    traits = person_traits(connection, policies, members, position)
    activity = [
        DayOfActivity(
            measure=measure,
            day=datetime.fromtimestamp(day * 86_400, UTC).date(),
            event_count=count,
            total_millionths=total,
        )
        for _, measure, day, _, count, total in activity_of(connection, members, up_to_seq=position)
    ]
    seen: list[ConditionSeen] = []
    for condition in rule.conditions:
        if isinstance(condition, MeasureCondition):
            reached = amount(condition, activity, at.date())
            seen.append(
                ConditionSeen(
                    condition=_condition_text(condition),
                    measured=f"{reached / MILLIONTH:,.2f}".removesuffix(".00"),
                    is_met=reached >= round(condition.at_least * MILLIONTH),
                )
            )
            continue
        value = traits.get(condition.trait)
        policy = f" (by {policies.of(condition.trait).policy})" if policies.asks(condition.trait) else ""
        seen.append(
            ConditionSeen(
                condition=_condition_text(condition) + policy,
                measured=json.dumps(value if reveal else masked(value), ensure_ascii=False),
                is_met=trait_matches(condition, value),
            )
        )
    changes = then(connection, membership_changes, position).c
    change = connection.execute(
        select(
            changes.change,
            changes.entry_no,
            changes.changed_at,
            changes.batch_id,
        )
        .where(
            changes.audience_id == rule.audience_id,
            changes.profile_id.in_(members),
            changes.seq <= position,
        )
        .order_by(changes.seq.desc())
        .limit(1)
    ).one_or_none()
    return AudienceSeen(
        audience_id=rule.audience_id,
        owner=rule.owner,
        description=rule.description,
        conditions=tuple(seen),
        is_match=all(condition.is_met for condition in seen),
        last_change="never entered" if change is None else change[0],
        entry_no=0 if change is None else change[1],
        changed_at=None if change is None else instant(change[2]),
        changed_by_batch="" if change is None else change[3],
    )


def _condition_text(condition: MeasureCondition | TraitCondition) -> str:
    if isinstance(condition, TraitCondition):
        values = ", ".join(json.dumps(value, ensure_ascii=False) for value in condition.values)
        return f"{condition.trait} {condition.comparison.value} {values}"
    window = "" if condition.within_days is None else f" within {condition.within_days} days"
    return f"{condition.measure.name} at least {condition.at_least:g}{window}"


def rivals_of(places: Places, contracts: ContractSet, row: Decided, batch: Batch) -> tuple[Rival, ...]:
    """Candidates of other workflows on the same trigger: of the same event, or of the same entry."""
    same = (
        f"profile_id = {literal(row.profile_id)} and trigger_event_id = {literal(row.trigger_event_id)} "
        f"and decision_id <> {literal(row.decision_id)}"
    )
    if not row.trigger_event_id:
        same += f" and audience_id = {literal(row.audience_id)}"
    found: list[Rival] = []
    for other in decisions_where(places, same, batch=batch):
        promised = contracts.workflows.get(other.workflow_id)
        found.append(
            Rival(
                workflow_id=other.workflow_id,
                priority=None if promised is None else promised.priority,
                outcome=other.outcome,
                reason=other.reason,
                decision_id=other.decision_id,
            )
        )
    return tuple(sorted(found, key=lambda rival: (-(rival.priority or 0), rival.workflow_id)))


def workflow_seen(workflow: Workflow, rivals: Sequence[Rival]) -> WorkflowSeen:
    reentry = workflow.reentry
    return WorkflowSeen(
        workflow_id=workflow.workflow_id,
        version=workflow.version,
        owner=workflow.owner,
        description=workflow.description,
        trigger=trigger_text(workflow),
        priority=workflow.priority,
        reentry="at once"
        if reentry is None
        else "never again"
        if reentry == timedelta.max
        else f"after {reentry.days} days",
        expires_after_hours=workflow.expires_after / timedelta(hours=1),
        rivals=tuple(rivals),
    )


def trigger_text(workflow: Workflow) -> str:
    if isinstance(workflow.trigger, EventTrigger):
        return f"event '{workflow.trigger.event}'"
    return f"entry into audience '{workflow.audience_id}'"


def gate_of(connection: Connection, contracts: ContractSet, send: Send) -> GateSeen:
    group = {SendStatus.REFUSED: "gate", SendStatus.EXPIRED: "gate", SendStatus.HELD: "hold"}.get(send.status, "send")
    owner, response = answerable(contracts, group, send.reason)
    return GateSeen(
        status=send.status,
        reason=send.reason,
        owner=owner,
        response=response,
        landed_at=send.landed_at,
        due_at=send.due_at,
        expires_at=send.expires_at,
        claimed_at=send.claimed_at,
        attempts=send.attempts,
        evidence=dict(send.consent_evidence),
        records=_records_at_claim(connection, contracts, send),
    )


def _records_at_claim(connection: Connection, contracts: ContractSet, send: Send) -> tuple[Choice, ...]:
    named = send.consent_evidence.get("records")
    ids = set(named) if isinstance(named, list) else set[Any]()
    person = cluster_of(connection, [send.profile_id])[send.profile_id]
    said = [record for found in records_of(connection, person.members).values() for record in found]
    return choices(connection, contracts.consent, [record for record in said if record.record_id in ids])


def answer_of(send: Send) -> AnswerSeen:
    return AnswerSeen(
        destination=send.destination,
        endpoint=send.endpoint,
        subject=send.subject,
        http_status=send.http_status,
        answer=send.answer,
        answered_at=send.answered_at,
        is_in_doubt=send.in_doubt,
    )


def answerable(contracts: ContractSet, group: str, reason: str) -> tuple[str, str]:
    """Owner and response of a reason code; empty where there is no reason."""
    mode = contracts.failure_modes.get(f"{group}.{reason.partition(':')[0]}")
    return ("", "") if mode is None else (mode.owner, mode.response)
