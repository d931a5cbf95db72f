"""A source of events: who may send what from where, and by which keys it is known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from activation_dagster.domain.shedding import Sheddable


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKey:
    """One write key, known by its SHA-256 alone; `until` is the first instant at which it is taken no more."""

    sha256: str
    made_at: datetime
    until: datetime | None = None

    def opens(self, now: datetime) -> bool:
        """Whether the key is taken at `now`."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Segment sends to this source by its webhook destination; `secret` names the environment variable that holds it.

    Segment signs of a batch its first event only; `trusts_first_event` takes that.
    """

    secret: str
    trusts_first_event: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Where all events of a source are sent on: a Tracking API, such as https://api.segment.io, or another collector.

    `key` names the environment variable that holds the write key there. With a `purpose`, only events of people go who
    allow it now: over `channel` where one is named, else over one of its channels and with a *no* to none.
    """

    to: str
    key: str
    purpose: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where events come from. Its name is its folder in the landing of its one environment.

    Empty `events` (slugs of event contracts) mean all. `pinned` gives the version that judges an event
    which names none. Beyond `events_per_second` (None: no limit) what may be shed is shed, and where
    that is not enough a request is refused (429). `shed` says how far events of this source may be shed at all.
    """

    name: str
    owner: str
    environment: str
    description: str = ""
    events: tuple[str, ...] = ()
    pinned: Mapping[str, str] = field(default_factory=dict[str, str])
    events_per_second: float | None = None
    shed: Sheddable = Sheddable.BEST_EFFORT
    keys: tuple[SourceKey, ...] = ()
    webhook: Webhook | None = None
    forward: Forward | None = None


def key_sha256(key: str) -> str:
    """How a key is known: keys are long and random, so one round without salt tells nobody anything."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
