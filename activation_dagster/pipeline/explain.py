"""Explain: why a message went out or did not, as one chain from the event to the destination's answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from activation_dagster.domain.masking import masked, shown_payload
from activation_dagster.domain.sends import SendStatus
from activation_dagster.domain.workflows import EventTrigger, Workflow
from activation_dagster.errors import WrongUse
from activation_dagster.lake.tables import DECISIONS, INGESTED, RESOLVED, VALIDATED
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.contracts_in_force import contracts_of, contracts_today
from activation_dagster.pipeline.explanation import (
    AnswerSeen,
    AudienceSeen,
    BatchSeen,
    ConditionSeen,
    ConsentSeen,
    DecisionSeen,
    EventSeen,
    Explanation,
    GateSeen,
    OtherDecision,
    RequiredConsent,
    Rival,
    Trigger,
    WorkflowSeen,
)
from activation_dagster.pipeline.people import (
    NO_LIMIT,
    Choice,
    choices,
    identity_of,
    newest_traits,
    person_named,
    region_of,
)
from activation_dagster.pipeline.places import Places
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.state import suppressions
from activation_dagster.state.batches import load_batch
from activation_dagster.state.consent import records_of
from activation_dagster.state.instants import instant
from activation_dagster.state.profiles import activity_of
from activation_dagster.state.sends import Send, get
from activation_dagster.state.subjects import Cluster, cluster_of
from activation_dagster.state.tables import membership_changes, sends

DECISION_COLUMNS = (
    "decision_id, send_key, workflow_id, workflow_version, audience_id, profile_id, trigger_event_id, triggered_at, "
    "outcome, reason, evidence, batch_id, arrival_hour"
)
MOST_EVENTS = 5
"""Events of an entry that are shown: the newest of the batch that made it."""

MOST_OTHERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
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


def explain(
    places: Places,
    *,
    send_key: str | None = None,
    decision_id: str | None = None,
    profile: str | None = None,
    workflow: str | None = None,
    reveal: bool = False,
) -> Explanation:
    """The chain behind one decision: by send key or decision id (or their beginning, for a send), or by person and workflow.

    A person and workflow give the newest decision, with the others listed. Where the hour is known (a send) only its
    files are read; else all of the decisions are searched. Raises WrongUse where nothing is so named.
    """
    if send_key is not None or decision_id is not None:
        row, send = _named(places, send_key=send_key, decision_id=decision_id)
        return _explained(places, row, send, others=(), reveal=reveal)
    if profile is None or workflow is None:
        raise WrongUse("Nothing says what to explain, in the command. Name a send, or a profile and a workflow.")
    person = person_named(places, profile)
    found = _decisions_of(places, person, workflow)
    if not found:
        return _no_candidate(places, person, workflow, reveal=reveal)
    return _explained(
        places,
        found[0],
        _send(places, found[0].send_key, found[0].decision_id),
        others=tuple(_other(row) for row in found[1 : MOST_OTHERS + 1]),
        reveal=reveal,
    )


# -- finding the decision ---------------------------------------------------------------------------------------------


def _named(places: Places, *, send_key: str | None, decision_id: str | None) -> tuple[_Row, Send | None]:
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
            return _row_of(places, send), send
    parts = [f"{part} = $name" for part, asked in (("send_key", send_key), ("decision_id", decision_id)) if asked]
    rows = _rows(places, " or ".join(parts), {"name": name})
    if not rows:
        raise WrongUse(
            f"No send and no decision is called '{name}', in the ledger and the lake. "
            "List sends with `activation sends list`, or ask with --profile and --workflow."
        )
    return rows[0], _send(places, rows[0].send_key, rows[0].decision_id)


def _send(places: Places, send_key: str, decision_id: str) -> Send | None:
    """The send that this very decision made; the same key may stand for an earlier decision."""
    with places.state.read() as connection:
        found = get(connection, send_key)
    return found if found is not None and found.decision_id == decision_id else None


def _row_of(places: Places, send: Send) -> _Row:
    """The decision of a send from the one hour that it can be in; from the ledger where the lake has lost it."""
    with places.state.read() as connection:
        batch = load_batch(connection, send.batch_id)
    if batch is not None:
        rows = _rows(places, "decision_id = $name", {"name": send.decision_id}, batch=batch)
        if rows:
            return rows[0]
    return _Row(
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


def _decisions_of(places: Places, person: Cluster, workflow: str) -> list[_Row]:
    condition = "workflow_id = $workflow and profile_id in (select unnest($members))"
    return _rows(places, condition, {"workflow": workflow, "members": sorted(person.members)})


def _rows(
    places: Places, condition: str, parameters: Mapping[str, object], *, batch: Batch | None = None
) -> list[_Row]:
    """Decisions that fit, the newest first; of one batch's hour where a batch is given."""
    import duckdb

    hours = None if batch is None else [batch.arrival_hour]
    source = closed_rows(
        places, DECISIONS, Phase.DECIDED, hours=hours, batch_id=None if batch is None else batch.batch_id
    )
    query = (
        f"select {DECISION_COLUMNS} from {source} as d where {condition} order by arrival_hour desc, triggered_at desc"
    )
    with duckdb.connect(":memory:") as connection:
        found = connection.execute(query, dict(parameters)).fetchall()
    return [
        _Row(
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


def _other(row: _Row) -> OtherDecision:
    return OtherDecision(
        decision_id=row.decision_id,
        send_key=row.send_key,
        triggered_at=row.triggered_at,
        outcome=row.outcome,
        reason=row.reason,
        batch_id=row.batch_id,
    )


# -- the chain --------------------------------------------------------------------------------------------------------


def _explained(
    places: Places, row: _Row, send: Send | None, *, others: tuple[OtherDecision, ...], reveal: bool
) -> Explanation:
    with places.state.read() as connection:
        batch = load_batch(connection, row.batch_id)
    if batch is None:
        raise WrongUse(
            f"The decision {row.decision_id} belongs to batch {row.batch_id}, which state does not know. "
            "Is this the lake of another environment? See ACTIVATION_ENVIRONMENT and ACTIVATION_STATE_URL."
        )
    contracts = contracts_of(places, batch)
    workflow = contracts.workflows.get(row.workflow_id)
    owner, response = _answerable(contracts, "decision", row.reason)
    position = NO_LIMIT if batch.position is None else batch.position
    with places.state.read() as connection:
        person = cluster_of(connection, [row.profile_id])[row.profile_id] if row.profile_id else None
        identity = None if person is None else identity_of(connection, person, reveal=reveal)
        then = cluster_of(connection, [row.profile_id], position)[row.profile_id] if row.profile_id else None
        consent, audience = None, None
        if then is not None and workflow is not None:
            consent = _consent(connection, contracts, workflow, then, position, batch.as_of)
            rule = contracts.audiences[workflow.audience_id]
            audience = _audience(connection, rule, then, position, batch.as_of, reveal=reveal)
        gate = None if send is None else _gate(connection, contracts, send)
    decision = DecisionSeen(
        decision_id=row.decision_id,
        send_key=row.send_key,
        workflow_id=row.workflow_id,
        workflow_version=row.workflow_version,
        audience_id=row.audience_id,
        profile_id=row.profile_id,
        triggered_at=row.triggered_at,
        outcome=row.outcome,
        reason=row.reason,
        owner=owner,
        response=response,
        evidence=dict(row.evidence),
    )
    trigger = _trigger(places, row, batch, reveal=reveal)
    return Explanation(
        sentence=_sentence(decision, trigger, gate, send),
        decision=decision,
        batch=BatchSeen(
            batch_id=batch.batch_id,
            arrival_hour=batch.arrival_hour,
            provenance=batch.provenance,
            as_of=batch.as_of,
            position=batch.position,
            contract_set=batch.contract_set,
        ),
        trigger=trigger,
        person=identity,
        consent=consent,
        audience=audience,
        workflow=None if workflow is None else _workflow(workflow, _rivals(places, contracts, row, batch)),
        gate=gate,
        answer=None if send is None else _answer(send),
        others=others,
    )


def _no_candidate(places: Places, person: Cluster, workflow_id: str, *, reveal: bool) -> Explanation:
    """Where nothing was ever decided: what the rules say of the person today."""
    contracts = contracts_today(places)
    workflow = contracts.workflows.get(workflow_id)
    if workflow is None:
        raise WrongUse(
            f"No workflow '{workflow_id}' is promised, under contracts/workflows/, and nothing was decided for it. "
            f"Take one of: {', '.join(sorted(contracts.workflows))}."
        )
    now = places.clock()
    with places.state.read() as connection:
        identity = identity_of(connection, person, reveal=reveal)
        consent = _consent(connection, contracts, workflow, person, NO_LIMIT, now)
        rule = contracts.audiences[workflow.audience_id]
        audience = _audience(connection, rule, person, NO_LIMIT, now, reveal=reveal)
    return Explanation(
        sentence=f"Nothing was decided: no {_trigger_text(workflow)} of this person was ever accepted, so workflow "
        f"'{workflow_id}' had no candidate. What follows is as of today.",
        decision=None,
        batch=None,
        trigger=None,
        person=identity,
        consent=consent,
        audience=audience,
        workflow=_workflow(workflow, ()),
        gate=None,
        answer=None,
        others=(),
    )


def _answerable(contracts: ContractSet, group: str, reason: str) -> tuple[str, str]:
    """Owner and response of a reason code; empty where there is no reason."""
    mode = contracts.failure_modes.get(f"{group}.{reason.partition(':')[0]}")
    return ("", "") if mode is None else (mode.owner, mode.response)


def _sentence(decision: DecisionSeen, trigger: Trigger, gate: GateSeen | None, send: Send | None) -> str:
    asked = f"Workflow '{decision.workflow_id}' was asked for by an {trigger.kind}"
    if decision.outcome == "refuse":
        return f"{asked} and refused when decisions were made: {decision.reason}. {decision.response}"
    if gate is None or send is None:
        return f"{asked} and decided as a send, which is not in the ledger yet."
    where = f"destination '{send.destination}'"
    match gate.status:
        case SendStatus.SENT:
            return f"{asked}, passed the gate and was sent: {where} answered {send.http_status or 'that it has it'}."
        case SendStatus.REFUSED | SendStatus.EXPIRED:
            return f"{asked}, and the gate ended it: {gate.reason}. {gate.response}"
        case SendStatus.REJECTED:
            return f"{asked}, passed the gate, and {where} rejected it: {gate.reason}. {gate.response}"
        case SendStatus.UNKNOWN:
            return f"{asked}, and nobody knows whether it arrived at {where}. {gate.response}"
        case SendStatus.HELD:
            return f"{asked}, and waits for a named person: {gate.reason}. {gate.response}"
        case SendStatus.CLAIMED:
            return f"{asked}, passed the gate, and is on its way to {where}."
        case SendStatus.PENDING:
            return f"{asked}, and waits for the gate{f' ({gate.reason})' if gate.reason else ''}."


# -- its links --------------------------------------------------------------------------------------------------------


def _trigger(places: Places, row: _Row, batch: Batch, *, reveal: bool) -> Trigger:
    import duckdb

    hours, name = [batch.arrival_hour], batch.batch_id
    ingested = closed_rows(places, INGESTED, Phase.INGESTED, hours=hours, batch_id=name)
    validated = closed_rows(places, VALIDATED, Phase.VALIDATED, hours=hours, batch_id=name)
    resolved = closed_rows(places, RESOLVED, Phase.RESOLVED, hours=hours, batch_id=name)
    chosen = (
        "select $event as event_id"
        if row.trigger_event_id
        else f"select event_id from {resolved} as r where profile_id = $profile order by occurred_at desc limit $most"
    )
    parameters: dict[str, object] = (
        {"event": row.trigger_event_id} if row.trigger_event_id else {"profile": row.profile_id, "most": MOST_EVENTS}
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
        found = connection.execute(query, parameters).fetchall()
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
                contract_version=event[5],
                occurred_at=event[6].replace(tzinfo=UTC),
                received_at=event[7].replace(tzinfo=UTC),
                payload=shown_payload((event[8] or "").encode(), reveal=reveal),
            )
            for event in found
        ),
    )


def _consent(
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


def _audience(
    connection: Connection, rule: Audience, person: Cluster, position: int, at: datetime, *, reveal: bool
) -> AudienceSeen:
    members = sorted(person.members)
    traits = newest_traits(connection, members, position)
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
        seen.append(
            ConditionSeen(
                condition=_condition_text(condition),
                measured=json.dumps(value if reveal else masked(value), ensure_ascii=False),
                is_met=trait_matches(condition, value),
            )
        )
    change = connection.execute(
        select(
            membership_changes.c.change,
            membership_changes.c.entry_no,
            membership_changes.c.changed_at,
            membership_changes.c.batch_id,
        )
        .where(
            membership_changes.c.audience_id == rule.audience_id,
            membership_changes.c.profile_id.in_(members),
            membership_changes.c.seq <= position,
        )
        .order_by(membership_changes.c.seq.desc())
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


def _rivals(places: Places, contracts: ContractSet, row: _Row, batch: Batch) -> tuple[Rival, ...]:
    """Candidates of other workflows on the same trigger: of the same event, or of the same entry."""
    same = "profile_id = $profile and trigger_event_id = $event and decision_id <> $decision"
    parameters = {"profile": row.profile_id, "event": row.trigger_event_id, "decision": row.decision_id}
    if not row.trigger_event_id:
        same += " and audience_id = $audience"
        parameters["audience"] = row.audience_id
    found: list[Rival] = []
    for other in _rows(places, same, parameters, batch=batch):
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


def _workflow(workflow: Workflow, rivals: Sequence[Rival]) -> WorkflowSeen:
    reentry = workflow.reentry
    return WorkflowSeen(
        workflow_id=workflow.workflow_id,
        version=workflow.version,
        owner=workflow.owner,
        description=workflow.description,
        trigger=_trigger_text(workflow),
        priority=workflow.priority,
        reentry="at once"
        if reentry is None
        else "never again"
        if reentry == timedelta.max
        else f"after {reentry.days} days",
        expires_after_hours=workflow.expires_after / timedelta(hours=1),
        rivals=tuple(rivals),
    )


def _trigger_text(workflow: Workflow) -> str:
    if isinstance(workflow.trigger, EventTrigger):
        return f"event '{workflow.trigger.event}'"
    return f"entry into audience '{workflow.audience_id}'"


def _gate(connection: Connection, contracts: ContractSet, send: Send) -> GateSeen:
    group = {SendStatus.REFUSED: "gate", SendStatus.EXPIRED: "gate", SendStatus.HELD: "hold"}.get(send.status, "send")
    owner, response = _answerable(contracts, group, send.reason)
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


def _answer(send: Send) -> AnswerSeen:
    return AnswerSeen(
        destination=send.destination,
        endpoint=send.endpoint,
        subject=send.subject,
        http_status=send.http_status,
        answer=send.answer,
        answered_at=send.answered_at,
        is_in_doubt=send.in_doubt,
    )
