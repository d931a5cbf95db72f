"""Another Tracking API as the receiver of events: Segment's, or another collector's."""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

LATER = frozenset({408, 425, 429})
GUILTY = frozenset({400, 413})


class Answer(StrEnum):
    """What a call's reply means for its events."""

    TAKEN = "taken"
    REFUSED = "refused"  # for good: at least one of its events is guilty, or there are too many
    LATER = "later"  # nobody can say whether it arrived: the receiver knows messageIds
    STOPPED = "stopped"  # the key or the address is wrong: the next call would be refused too


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """How a call ended; `status` is 0 where there was no reply. Nothing of the reply's body is kept."""

    answer: Answer
    status: int
    retry_after_seconds: float | None = None


class Receiver(Protocol):
    """Takes batches of events."""

    def post(self, events: Sequence[bytes], *, sent_at: str) -> Replied:
        """Send one batch."""
        ...


class TrackingApi:
    """A client of `POST <address>/v1/batch`, as server SDKs call it: gzip, Basic authorization with the write key."""

    def __init__(self, address: str, key: str, *, timeout_seconds: float = 30.0) -> None:
        import httpx

        self._errors = httpx.RequestError
        self._client = httpx.Client(
            base_url=address,
            headers={
                "Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode(),
                "Content-Type": "application/json",
                "Content-Encoding": "gzip",
            },
            timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, 5.0)),
            follow_redirects=False,  # a redirected key is a key given away
        )

    def post(self, events: Sequence[bytes], *, sent_at: str) -> Replied:
        """See Receiver."""
        body = b'{"batch":[' + b",".join(events) + b'],"sentAt":"' + sent_at.encode() + b'"}'
        try:
            reply = self._client.post("/v1/batch", content=gzip.compress(body, 6, mtime=0))
        except self._errors:
            return Replied(answer=Answer.LATER, status=0)
        return Replied(
            answer=_answer(reply.status_code),
            status=reply.status_code,
            retry_after_seconds=_seconds(reply.headers.get("retry-after")),
        )

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()


def _answer(status: int) -> Answer:
    if 200 <= status < 300:
        return Answer.TAKEN
    if status in GUILTY:
        return Answer.REFUSED
    return Answer.LATER if status in LATER or status >= 500 else Answer.STOPPED


def _seconds(value: str | None) -> float | None:
    """Retry-After in seconds; a date, or anything else, says nothing: our own wait is long enough."""
    try:
        found = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) and found >= 0 else None
