"""The lake's tables: their columns with types and meaning, and which column names a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its DuckDB type, and what it says."""

    name: str
    type: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeTable:
    """A Delta table, partitioned by `arrival_hour`; a batch replaces its own rows. `key` names a row inside a batch."""

    name: str
    grain: str
    key: str
    columns: tuple[Column, ...]


_BATCH = (
    Column("arrival_hour", "VARCHAR", "Hour of arrival, YYYY-MM-DD-HH in UTC; the partition"),
    Column("batch_id", "VARCHAR", "The batch that wrote the row"),
)
_EVENT = (*_BATCH, Column("event_id", "VARCHAR", "Landing segment and line"))

INGESTED = LakeTable(
    name="ingested_events",
    grain="one event as received, accepted or not",
    key="event_id",
    columns=(
        *_EVENT,
        Column("source", "VARCHAR", "The source whose landing folder it came to"),
        Column("environment", "VARCHAR", "The environment of the landing folder"),
        Column("event_type", "VARCHAR", "The call: track, identify, page, screen, group, alias"),
        Column("event_name", "VARCHAR", "The name of a track, page or screen call"),
        Column("message_id", "VARCHAR", "The sender's messageId, or one derived from event_id"),
        Column("user_id", "VARCHAR", "userId as sent"),
        Column("anonymous_id", "VARCHAR", "anonymousId as sent"),
        Column("occurred_at", "TIMESTAMP", "When it happened, corrected for clock skew"),
        Column("received_at", "TIMESTAMP", "When it was received"),
        Column("fault", "VARCHAR", "Why it cannot be read or routed, or was shed"),
        Column("payload", "VARCHAR", "The event as received; empty where it is not text"),
    ),
)
VALIDATED = LakeTable(
    name="validated_events",
    grain="one accepted event",
    key="event_id",
    columns=(
        *_EVENT,
        Column("source", "VARCHAR", "The source it came from"),
        Column("contract", "VARCHAR", "The contract that it keeps; unknown_event where it was declared to be kept"),
        Column("contract_version", "VARCHAR", "The version that judged it"),
        Column("event_type", "VARCHAR", "The call"),
        Column("event_name", "VARCHAR", "The event's name"),
        Column("message_id", "VARCHAR", "The messageId it has taken"),
        Column("occurred_at", "TIMESTAMP", "When it happened"),
        Column("used_properties", "VARCHAR", "The properties that anything downstream reads, as JSON"),
    ),
)
QUARANTINED = LakeTable(
    name="quarantined_events",
    grain="one event that waits for repair",
    key="event_id",
    columns=(
        *_EVENT,
        Column("source", "VARCHAR", "The source it came from"),
        Column("reason", "VARCHAR", "The reason code"),
        Column("violations", "VARCHAR[]", "Every way it breaks its contract; never a value"),
        Column("contract", "VARCHAR", "The contract that judged it, where one did"),
        Column("contract_version", "VARCHAR", "The version that judged it"),
        Column("owner", "VARCHAR", "The team that answers for it"),
        Column("event_type", "VARCHAR", "The call, where it could be read"),
        Column("event_name", "VARCHAR", "The event's name, where it could be read"),
        Column("message_id", "VARCHAR", "Its messageId, which it has not taken"),
        Column("received_at", "TIMESTAMP", "When it was received"),
        Column("payload", "BLOB", "The bytes as received"),
    ),
)
DUPLICATES = LakeTable(
    name="duplicate_events",
    grain="one event whose messageId was taken before",
    key="event_id",
    columns=(
        *_EVENT,
        Column("source", "VARCHAR", "The source it came from"),
        Column("message_id", "VARCHAR", "The repeated messageId"),
        Column("cause", "VARCHAR", "in_batch or in_window"),
    ),
)
RESOLVED = LakeTable(
    name="resolved_events",
    grain="one accepted event",
    key="event_id",
    columns=(
        *_EVENT,
        Column("profile_id", "VARCHAR", "The profile of the time; follow redirects"),
        Column("unresolved_reason", "VARCHAR", "Why it has no profile, where it has none"),
        Column("occurred_at", "TIMESTAMP", "When it happened"),
    ),
)
MEMBERSHIPS = LakeTable(
    name="audience_memberships",
    grain="one change of one profile's membership in one audience",
    key="change_id",
    columns=(
        *_BATCH,
        Column("change_id", "VARCHAR", "Audience, profile and batch"),
        Column("audience_id", "VARCHAR", "The audience"),
        Column("profile_id", "VARCHAR", "The profile of the time; follow redirects"),
        Column("change", "VARCHAR", "entered, exited or kept (looked at again)"),
        Column("entry_no", "INTEGER", "Which entry of this profile it is"),
        Column("validated_at", "TIMESTAMP", "The instant the rules used"),
        Column("consent_checked", "BOOLEAN", "Whether consent was granted then; false only when it exited for that"),
        Column("evidence", "VARCHAR", "What was measured, and the consent records, as JSON"),
    ),
)
DECISIONS = LakeTable(
    name="send_decisions",
    grain="one candidate",
    key="decision_id",
    columns=(
        *_BATCH,
        Column("decision_id", "VARCHAR", "Batch, workflow and trigger"),
        Column("send_key", "VARCHAR", "The idempotency key of the trigger"),
        Column("workflow_id", "VARCHAR", "The workflow"),
        Column("workflow_version", "VARCHAR", "Its version"),
        Column("audience_id", "VARCHAR", "The workflow's audience"),
        Column("profile_id", "VARCHAR", "The profile of the time; follow redirects"),
        Column("trigger_event_id", "VARCHAR", "The event that triggered it; empty for an entry"),
        Column("triggered_at", "TIMESTAMP", "When the trigger happened"),
        Column("outcome", "VARCHAR", "send or refuse"),
        Column("reason", "VARCHAR", "Why it is refused"),
        Column("evidence", "VARCHAR", "Consent records, membership, rivals and region, as JSON"),
    ),
)
SENDS = LakeTable(
    name="sends",
    grain="one send of the ledger that is settled: sent, refused, rejected, expired or unknown",
    key="send_key",
    columns=(
        *_BATCH,
        Column("send_key", "VARCHAR", "The idempotency key"),
        Column("workflow_id", "VARCHAR", "The workflow"),
        Column("audience_id", "VARCHAR", "The audience"),
        Column("profile_id", "VARCHAR", "The profile of the time; follow redirects"),
        Column("destination", "VARCHAR", "Where it goes"),
        Column("status", "VARCHAR", "Where it stands in the ledger"),
        Column("reason", "VARCHAR", "Why, where it was not sent"),
        Column("claimed_at", "TIMESTAMP", "When the gate let it through"),
        Column("answered_at", "TIMESTAMP", "When the destination answered"),
    ),
)

TABLES = {
    table.name: table
    for table in (INGESTED, VALIDATED, QUARANTINED, DUPLICATES, RESOLVED, MEMBERSHIPS, DECISIONS, SENDS)
}
