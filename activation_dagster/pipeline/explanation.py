"""What an explanation is made of: the chain from an event to a destination's answer, each link with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.sends import Json, SendStatus
from activation_dagster.pipeline.people import Choice, Identity
from activation_dagster.state.suppressions import Suppression


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSeen:
    """The batch that decided: what it knew (`position`), when its rules were (`as_of`), under which contracts."""

    batch_id: str
    arrival_hour: datetime
    provenance: Provenance
    as_of: datetime
    position: int | None
    contract_set: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSeen:
    """The decision as the lake has it; `owner` and `response` are those of its reason code, where it has one."""

    decision_id: str
    send_key: str
    workflow_id: str
    workflow_version: str
    audience_id: str
    profile_id: str
    triggered_at: datetime
    outcome: str
    reason: str
    owner: str
    response: str
    evidence: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSeen:
    """One event: where it landed, which contract judged it, and its payload (masked unless revealed)."""

    event_id: str
    event_name: str
    source: str
    segment: str
    contract: str
    contract_version: str
    occurred_at: datetime
    received_at: datetime
    payload: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What asked for the message: an event, or an entry into an audience with the person's events of that batch."""

    kind: str
    events: tuple[EventSeen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredConsent:
    """One purpose that the region asks for: what was found (granted, denied, unknown, expired) and in which record."""

    purpose: str
    valid_for_days: int | None
    found: str
    record_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentSeen:
    """What the person had allowed when the decision was made, and what the region asked for."""

    purpose: str
    channel: str
    region: str
    is_default_region: bool
    requires: tuple[RequiredConsent, ...]
    records: tuple[Choice, ...]
    suppressions: tuple[Suppression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionSeen:
    """One condition of the audience in words, what was measured of the person, and whether that is enough."""

    condition: str
    measured: str
    is_met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceSeen:
    """The audience's rule on this person, and the last change of membership that the decision could see."""

    audience_id: str
    owner: str
    description: str
    conditions: tuple[ConditionSeen, ...]
    is_match: bool
    last_change: str
    entry_no: int
    changed_at: datetime | None
    changed_by_batch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A workflow that was a candidate on the same trigger, and what became of it."""

    workflow_id: str
    priority: int | None
    outcome: str
    reason: str
    decision_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSeen:
    """The workflow as promised when the decision was made, and those that it competed with."""

    workflow_id: str
    version: str
    owner: str
    description: str
    trigger: str
    priority: int
    reentry: str
    expires_after_hours: float
    rivals: tuple[Rival, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSeen:
    """Where the send stands in the ledger, and what the gate read in the transaction that claimed or refused it."""

    status: SendStatus
    reason: str
    owner: str
    response: str
    landed_at: datetime
    due_at: datetime
    expires_at: datetime
    claimed_at: datetime | None
    attempts: int
    evidence: Json
    records: tuple[Choice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSeen:
    """What the destination answered, last."""

    destination: str
    endpoint: str
    subject: str
    http_status: int | None
    answer: str
    answered_at: datetime | None
    is_in_doubt: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherDecision:
    """Another decision on the same person and workflow."""

    decision_id: str
    send_key: str
    triggered_at: datetime
    outcome: str
    reason: str
    batch_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a message went out, or did not: one sentence, then the chain.

    A part is None where there is none: no decision where nothing ever triggered the workflow for this person, no gate
    and no answer where the decision was to refuse.
    """

    sentence: str
    decision: DecisionSeen | None
    batch: BatchSeen | None
    trigger: Trigger | None
    person: Identity | None
    consent: ConsentSeen | None
    audience: AudienceSeen | None
    workflow: WorkflowSeen | None
    gate: GateSeen | None
    answer: AnswerSeen | None
    others: tuple[OtherDecision, ...]
