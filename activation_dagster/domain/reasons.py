"""Every reason code that the platform can raise; `contracts/failure_modes.yaml` owns each of them."""

from __future__ import annotations

from enum import StrEnum


class QuarantineReason(StrEnum):
    """Why an event waits. Lexical reasons first, then the envelope's, then the contract's, and identity's last.

    An event in conflict was accepted: it waits because nobody knows whose it is.
    """

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    TOO_DEEP = "too_deep"
    DUPLICATE_KEY = "duplicate_key"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    LONE_SURROGATE = "lone_surrogate"
    NUL_CHARACTER = "nul_character"
    INVALID_ENVELOPE = "invalid_envelope"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_EVENT_NAME = "missing_event_name"
    NO_IDENTIFIER = "no_identifier"
    INVALID_TIME = "invalid_time"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_VERSION = "unknown_version"
    CONTRACT_NOT_ACTIVE = "contract_not_active"
    WRONG_ENVIRONMENT = "wrong_environment"
    SOURCE_NOT_ALLOWED = "source_not_allowed"
    CONTRACT_VIOLATION = "contract_violation"
    ENVELOPE_VIOLATION = "envelope_violation"
    UNDECLARED_PROPERTY = "undeclared_property"
    TOO_LATE = "too_late"
    IDENTITY_CONFLICT = "identity_conflict"


class ShedReason(StrEnum):
    """Why an event was dropped as it arrived; a line in landing says so."""

    OVERLOAD = "shed_overload"
    RATE_LIMIT = "shed_rate_limit"


class DuplicateCause(StrEnum):
    """Where the first event with the same messageId was seen."""

    IN_BATCH = "in_batch"
    IN_WINDOW = "in_window"


class LinkRefusal(StrEnum):
    """Why an identifier was not linked to the profile of its event."""

    BLOCKED_VALUE = "blocked_value"
    INVALID_VALUE = "invalid_value"
    SHARED_VALUE = "shared_value"
    OUTLIVED_VALUE = "outlived_value"
    LIMIT_REACHED = "limit_reached"
    CLUSTER_FULL = "cluster_full"
    UNIQUE_ELSEWHERE = "unique_elsewhere"
    WEAK_ELSEWHERE = "weak_elsewhere"
    SEPARATED = "separated"


class DecisionRefusal(StrEnum):
    """Why a candidate is refused when decisions are made (recomputable)."""

    NO_PROFILE = "no_profile"
    IDENTITY_CONFLICT = "identity_conflict"
    NO_PROFILE_KEY = "no_profile_key"
    CONSENT_UNKNOWN = "consent_unknown"
    CONSENT_DENIED = "consent_denied"
    CONSENT_EXPIRED = "consent_expired"
    SUPPRESSED = "suppressed"
    NOT_IN_AUDIENCE = "not_in_audience"
    TOO_OLD = "too_old"
    TOO_LATE = "too_late"
    ALREADY_DECIDED = "already_decided"
    LOST_TO = "lost_to"  # raised as lost_to:<workflow_id>


class GateRefusal(StrEnum):
    """Why the gate refuses a send in the transaction that would have claimed it."""

    CONSENT_WITHDRAWN = "consent_withdrawn"
    SUPPRESSED_SINCE = "suppressed_since"
    INSIDE_REENTRY = "inside_reentry"
    EXPIRED = "expired"


class SendFailure(StrEnum):
    """What a destination's answer, or its absence, means for a send."""

    REJECTED_BY_DESTINATION = "rejected_by_destination"
    UNKNOWN_TO_DESTINATION = "unknown_to_destination"
    FORGOTTEN_BY_DESTINATION = "forgotten_by_destination"
    DESTINATION_UNAVAILABLE = "destination_unavailable"
    RATE_LIMITED = "rate_limited"
    DESTINATION_STOPPED = "destination_stopped"
    OUTCOME_UNKNOWN = "outcome_unknown"
    LEASE_OVER = "lease_over"


class HoldReason(StrEnum):
    """Why a send waits for a named person."""

    NOT_LIVE = "not_live"
    CLOSED_BEFORE = "closed_before"
    CHECK_FAILED = "check_failed"


class ForwardFailure(StrEnum):
    """Why an event is never sent on to another collector."""

    TOO_LARGE_TO_FORWARD = "too_large_to_forward"
    REFUSED_BY_RECEIVER = "refused_by_receiver"
    NOT_ACCEPTED = "not_accepted"


class IncidentKind(StrEnum):
    """What opens an incident by itself."""

    SUM_BROKEN = "sum_broken"
    LAKE_DAMAGED = "lake_damaged"
    SEND_UNKNOWN = "send_unknown"
    DESTINATION_STOPPED = "destination_stopped"
    CHECK_FAILED = "check_failed"
    RUN_FAILED = "run_failed"
    CONTRACTS_REFUSED = "contracts_refused"
    IDENTITY_CONFLICTS = "identity_conflicts"
