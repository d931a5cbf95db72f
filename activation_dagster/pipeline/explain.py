"""Explain: why a message went out or did not, as one chain from the event to the destination's answer."""

from __future__ import annotations

from activation_dagster.domain.sends import SendStatus
from activation_dagster.errors import WrongUse
from activation_dagster.pipeline.contracts_in_force import contracts_of, contracts_serving
from activation_dagster.pipeline.decided import Decided, decision_named, decisions_of, send_of
from activation_dagster.pipeline.evidence import (
    answer_of,
    answerable,
    audience_then,
    consent_then,
    gate_of,
    rivals_of,
    trigger_of,
    trigger_text,
    workflow_seen,
)
from activation_dagster.pipeline.explanation import (
    BatchSeen,
    DecisionSeen,
    Explanation,
    GateSeen,
    OtherDecision,
    Trigger,
)
from activation_dagster.pipeline.people import (
    identity_of,
    person_named,
)
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.shed_counts import shed_text
from activation_dagster.pipeline.traits import NO_LIMIT
from activation_dagster.state.batches import load_batch
from activation_dagster.state.sends import Send
from activation_dagster.state.subjects import Cluster, cluster_of

MOST_OTHERS = 50


def explain(
    places: Places,
    *,
    send_key: str | None = None,
    decision_id: str | None = None,
    profile: str | None = None,
    workflow: str | None = None,
    reveal: bool = False,
) -> Explanation:
    """The chain behind one decision: by send key, by decision id, or by person and workflow.

    Of a send the beginning of either id is enough. Where both are given, either may fit. A person and workflow give
    the newest decision, with the others listed. Where the hour is known (a send) only its files are read; else all
    decisions are searched. Raises WrongUse where nothing is so named.
    """
    if send_key is not None or decision_id is not None:
        row, send = decision_named(places, send_key=send_key, decision_id=decision_id)
        return _explained(places, row, send, others=(), reveal=reveal)
    if profile is None or workflow is None:
        raise WrongUse("Nothing says what to explain, in the command. Name a send, or a profile and a workflow.")
    person = person_named(places, profile)
    found = decisions_of(places, person, workflow)
    if not found:
        return _no_candidate(places, person, workflow, reveal=reveal)
    return _explained(
        places,
        found[0],
        send_of(places, found[0].send_key, found[0].decision_id),
        others=tuple(_other(row) for row in found[1 : MOST_OTHERS + 1]),
        reveal=reveal,
    )


def _other(row: Decided) -> OtherDecision:
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
    places: Places, row: Decided, send: Send | None, *, others: tuple[OtherDecision, ...], reveal: bool
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
    owner, response = answerable(contracts, "decision", row.reason)
    position = NO_LIMIT if batch.position is None else batch.position
    with places.state.read() as connection:
        person = cluster_of(connection, [row.profile_id])[row.profile_id] if row.profile_id else None
        identity = None if person is None else identity_of(connection, person, reveal=reveal)
        then = cluster_of(connection, [row.profile_id], position)[row.profile_id] if row.profile_id else None
        consent, audience = None, None
        if then is not None and workflow is not None:
            consent = consent_then(connection, contracts, workflow, then, position, batch.as_of)
            rule = contracts.audiences[workflow.audience_id]
            policies = contracts.identity.traits
            audience = audience_then(connection, rule, policies, then, position, batch.as_of, reveal=reveal)
        gate = None if send is None else gate_of(connection, contracts, send)
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
    trigger = trigger_of(places, row, batch, reveal=reveal)
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
        workflow=None if workflow is None else workflow_seen(workflow, rivals_of(places, contracts, row, batch)),
        gate=gate,
        answer=None if send is None else answer_of(send),
        others=others,
    )


def _no_candidate(places: Places, person: Cluster, workflow_id: str, *, reveal: bool) -> Explanation:
    """Where nothing was ever decided: what the rules say of the person today."""
    contracts = contracts_serving(places)
    workflow = contracts.workflows.get(workflow_id)
    if workflow is None:
        raise WrongUse(
            f"No workflow '{workflow_id}' is promised, under contracts/workflows/, and nothing was decided for it. "
            f"Take one of: {', '.join(sorted(contracts.workflows))}."
        )
    now = places.clock()
    with places.state.read() as connection:
        identity = identity_of(connection, person, reveal=reveal)
        consent = consent_then(connection, contracts, workflow, person, NO_LIMIT, now)
        rule = contracts.audiences[workflow.audience_id]
        audience = audience_then(connection, rule, contracts.identity.traits, person, NO_LIMIT, now, reveal=reveal)
        shed = shed_text(connection, contracts, workflow, rule)
    return Explanation(
        sentence=f"Nothing was decided: there never was an {trigger_text(workflow)} of this person, so workflow "
        f"'{workflow_id}' had no candidate.{shed} What follows is as of today.",
        decision=None,
        batch=None,
        trigger=None,
        person=identity,
        consent=consent,
        audience=audience,
        workflow=workflow_seen(workflow, ()),
        gate=None,
        answer=None,
        others=(),
    )


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
