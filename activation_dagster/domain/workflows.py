"""Workflows: which trigger makes which message a candidate, and who wins when several compete for one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrigger:
    """An event of this contract, optionally only where properties have these values (all of them, compared as JSON)."""

    event: str
    where: Mapping[str, str | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryTrigger:
    """A profile's entry into the workflow's audience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """`contracts/workflows/<workflow_id>.yaml`.

    `priority`: the higher wins. `reentry`: how long a person who has the message may not get it again (None: no rule,
    timedelta.max: never again). `data_fields` and `profile_fields` map the name sent to where it is read
    (`properties.x`, `traits.x` or `identifiers.x`); nothing else is sent. `expires_after`: a trigger older than this is
    not worth a message any more.
    """

    workflow_id: str
    version: str
    owner: str
    description: str
    trigger: EventTrigger | EntryTrigger
    audience_id: str
    purpose: str
    channel: str
    priority: int
    destination: str
    endpoint: str
    subject: str
    reentry: timedelta | None
    expires_after: timedelta
    data_fields: Mapping[str, str]
    profile_fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """An eligible candidate: workflows compete where profile, channel and trigger are the same."""

    workflow_id: str
    priority: int


def winner(contenders: Sequence[Contender]) -> Contender:
    """Who is sent: the highest priority, and of equals the first by name."""
    return min(contenders, key=lambda contender: (-contender.priority, contender.workflow_id))
