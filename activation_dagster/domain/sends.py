"""A send: one message that may reach one person once, from its key to what the destination answered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class SendStatus(StrEnum):
    """Where a send stands in the ledger.

    held → pending → claimed → sent | refused | rejected | expired | unknown; a claimed send whose destination could
    not be reached goes back to pending. Only `pending` may be claimed, only `claimed` may be answered.
    """

    HELD = "held"
    PENDING = "pending"
    CLAIMED = "claimed"
    SENT = "sent"
    REFUSED = "refused"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


STILL_OPEN = frozenset({SendStatus.HELD, SendStatus.PENDING, SendStatus.CLAIMED, SendStatus.UNKNOWN})
"""Statuses that the second sum counts as pending."""

NOT_SENT = frozenset({SendStatus.REFUSED, SendStatus.REJECTED, SendStatus.EXPIRED})
"""Statuses that the second sum counts as refused."""

SETTLED = NOT_SENT | {SendStatus.SENT, SendStatus.UNKNOWN}
"""Statuses that stay until a person acts; what the lake's copy of the ledger holds."""

MAY_HAVE_ARRIVED = frozenset({SendStatus.CLAIMED, SendStatus.SENT, SendStatus.UNKNOWN})
"""Statuses that a re-entry rule must look at: the person may have the message."""


def send_key(*, workflow_id: str, trigger: str) -> str:
    """The idempotency key (40 hex digits) of one real-world trigger of one workflow.

    `trigger` names what happened, never when or in which batch we computed it: `message:<messageId>` for an event,
    `entry:<oldest identifier's key>:<entry number>` for an audience entry.
    """
    return hashlib.sha256(f"{workflow_id}\x1f{trigger}".encode()).hexdigest()[:40]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One claimed send as a destination sees it: the execution input contract, the profile key, the declared fields.

    `profile_fields` are declared traits to upsert on the destination's profile before the message; `endpoint` is a
    name from the destination's contract; `subject` is the event name or the journey's id there; `created_at` is the
    time of the trigger (UTC).
    """

    send_key: str
    endpoint: str
    subject: str
    profile_key: str
    audience_id: str
    validated_at: datetime
    consent_checked: bool
    created_at: datetime
    data_fields: Mapping[str, Json] = field(default_factory=dict[str, Json])
    profile_fields: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def execution_input(self) -> dict[str, Json]:
        """What reaches execution beside the profile key: the three contract fields and the declared data fields."""
        return {
            **self.data_fields,
            "audience_id": self.audience_id,
            "validated_at": self.validated_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "consent_checked": self.consent_checked,
        }


class Outcome(StrEnum):
    """What one delivery attempt did to one message."""

    DELIVERED = "delivered"
    REJECTED = "rejected"  # the destination will never take it
    RETRY = "retry"  # it certainly did not arrive; try again later
    IN_DOUBT = "in_doubt"  # it may have arrived
    STOPPED = "stopped"  # it did not arrive, and no call can succeed until somebody acts


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a destination answered for one message; `answer` never holds personal data."""

    send_key: str
    outcome: Outcome
    reason: str = ""
    http_status: int | None = None
    answer: str = ""
    retry_after_seconds: float | None = None
