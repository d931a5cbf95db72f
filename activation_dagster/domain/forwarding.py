"""What of a landing line is sent on to another Tracking API: the event as it was meant, under its own messageId."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from activation_dagster.domain.events import COLLECTOR, occurred_at
from activation_dagster.domain.times import read_instant

MAX_EVENT_BYTES = 32 * 1024
MAX_BATCH_BYTES = 475_000
"""Segment takes 500 KB; the rest is for what stands around the events."""
MAX_BATCH_EVENTS = 2_500

_NOT_SENT_ON = frozenset({COLLECTOR, "receivedAt", "sentAt", "originalTimestamp", "writeKey", "_metadata"})
"""What belongs to one journey of an event: the next receiver says it anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One event ready to be sent on, and where it stands in landing."""

    event_id: str
    body: bytes


def outgoing(event: Mapping[str, Any], *, event_id: str, received_at: datetime) -> Outgoing:
    """An event that was read, as the next receiver is to see it.

    Its time is what we know of it, corrected for its device's clock: a receiver that corrects again, by our `sentAt`,
    finds the same. An event without a messageId gets one that follows from where it stands, so that it is sent on
    under one id however often.
    """
    times = {name: _instant(event.get(name)) for name in ("timestamp", "originalTimestamp", "sentAt")}
    happened = occurred_at(
        timestamp=times["timestamp"],
        original=times["originalTimestamp"],
        sent=times["sentAt"],
        received=received_at,
    )
    kept = {name: value for name, value in event.items() if name not in _NOT_SENT_ON}
    kept["messageId"] = event.get("messageId") or f"landed-{event_id.replace(':', '-')}"
    kept["timestamp"] = said(happened)
    return Outgoing(event_id=event_id, body=orjson.dumps(kept))


def in_batches(events: Iterable[Outgoing], *, max_bytes: int, max_events: int) -> Iterator[list[Outgoing]]:
    """The events in their order, in as few batches as the limits allow; one larger than a batch goes alone."""
    batch: list[Outgoing] = []
    size = 0
    for event in events:
        if batch and (size + len(event.body) + 1 > max_bytes or len(batch) >= max_events):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event.body) + 1
    if batch:
        yield batch


def said(instant: datetime) -> str:
    """An instant as SDKs write it: RFC 3339 in UTC with milliseconds."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def back_off(attempt: int, *, jitter: float, retry_after: float | None) -> timedelta:
    """How long to wait before try `attempt` + 1 (from 1): 0.5 s doubling to 5 min, half of it `jitter` (0 to 1).

    What the receiver asks for is waited at least, up to an hour.
    """
    longest = min(300.0, 0.5 * 2.0 ** min(attempt - 1, 20))
    own = longest * (0.5 + 0.5 * jitter)
    return timedelta(seconds=max(own, min(retry_after or 0.0, 3600.0)))


def _instant(value: object) -> datetime | None:
    return read_instant(value) if isinstance(value, str) else None
