"""An event's envelope: what must hold for every event, whatever it says, and what its times mean.

The plain reference; `sql/ingest/ingested_events.sql` and `sql/validate/event_verdicts.sql` must agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from activation_dagster.domain.contracts import Call
from activation_dagster.domain.reasons import QuarantineReason, ShedReason
from activation_dagster.domain.times import read_instant

MAX_MESSAGE_ID = 100
TIMES = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
TEXTS = ("messageId", "userId", "anonymousId", "previousId", "groupId", "event")
OBJECTS = ("properties", "traits", "context")
CALLS = frozenset(call.value for call in Call)
COLLECTOR = "collector"
"""The key under which the collector says what it knows of an event: always the first of a line that it wrote."""
REFUSED = (QuarantineReason.TOO_LARGE, QuarantineReason.TOO_MANY)
"""What the collector alone can know: it is said under `collector.refused`, the first key there."""

SHED = "shed"
"""Where the collector says that it shed an event, the first key of what it says: the line is then all there is."""


def occurred_at(
    *, timestamp: datetime | None, original: datetime | None, sent: datetime | None, received: datetime
) -> datetime:
    """When an event happened, corrected for a wrong device clock: received − (sent − original) where both are known.

    Otherwise the time the event states, otherwise the time it was received.
    """
    if original is not None and sent is not None:
        return received - (sent - original)
    return timestamp or original or received


def text_of(event: Mapping[str, Any], path: str) -> str | None:
    """The text at a dotted path of an event; None where nothing, or no text, is there."""
    found: Any = event
    for step in path.split("."):
        if not isinstance(found, dict):
            return None
        found = cast("dict[str, Any]", found).get(step)
    if path in ("userId", "anonymousId", "previousId") and found == "":
        return None  # an empty one counts as absent, as in ingestion
    return found if isinstance(found, str) else None


def envelope_fault(event: Mapping[str, Any]) -> QuarantineReason | None:
    """The first reason for which an event waits whatever its contract says, or None. Null counts as absent."""
    refused = refused_on_arrival(event)
    if refused is not None:
        return refused
    call = event.get("type")
    if not isinstance(call, str) or call not in CALLS:
        return QuarantineReason.UNKNOWN_TYPE
    for name in TEXTS:
        if (value := event.get(name)) is not None and not isinstance(value, str):
            return QuarantineReason.INVALID_ENVELOPE
    for name in OBJECTS:
        if (value := event.get(name)) is not None and not isinstance(value, dict):
            return QuarantineReason.INVALID_ENVELOPE
    if len(event.get("messageId") or "") > MAX_MESSAGE_ID:
        return QuarantineReason.INVALID_ENVELOPE
    if call == Call.TRACK and not event.get("event"):
        return QuarantineReason.MISSING_EVENT_NAME
    if not event.get("userId") and not event.get("anonymousId"):
        return QuarantineReason.NO_IDENTIFIER
    for name in TIMES:
        value = event.get(name)
        if value is not None and (not isinstance(value, str) or read_instant(value) is None):
            return QuarantineReason.INVALID_TIME
    return None


def refused_on_arrival(event: Mapping[str, Any]) -> QuarantineReason | None:
    """Why the collector landed an event to wait, whatever it says. Heard only where the collector speaks first."""
    said = _said_first(event, "refused")
    return next((reason for reason in REFUSED if reason.value == said), None)


def shed_on_arrival(event: Mapping[str, Any]) -> ShedReason | None:
    """Why the collector shed an event, or None; heard only where the collector speaks first."""
    said = _said_first(event, SHED)
    return next((reason for reason in ShedReason if reason.value == said), None)


def _said_first(event: Mapping[str, Any], name: str) -> Any:
    """What the collector says under `name`, where it is the first thing in the line and that the first it says."""
    if next(iter(event), None) != COLLECTOR or not isinstance(event[COLLECTOR], dict):
        return None
    said = cast("dict[str, Any]", event[COLLECTOR])
    return said[name] if next(iter(said), None) == name else None
