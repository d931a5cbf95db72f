"""Proposals: contracts that nobody has promised yet, from traffic or from another tool's file, to be judged."""

from __future__ import annotations

import re
from dataclasses import dataclass

from activation_dagster.domain.contracts import Call, PropertyRule
from activation_dagster.domain.envelope import ENVELOPE
from activation_dagster.domain.unknown_events import UNKNOWN_EVENT

RESERVED = (UNKNOWN_EVENT, ENVELOPE)
"""Words that stand where events' folders are named, for what is no event's contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedProperty:
    """A rule, and what speaks for it or must be known about it; notes never hold a value of an event."""

    rule: PropertyRule
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A contract's first version, or a further one, as it could be written; `notes` stand at its head.

    `owner` and `criticality` are empty where the source of the proposal does not know them. `call` is None where it is
    the contract of every event's envelope.
    """

    slug: str
    call: Call | None
    name: str
    version: str
    properties: tuple[ProposedProperty, ...]
    description: str = ""
    owner: str = ""
    criticality: str = ""
    notes: tuple[str, ...] = ()


def slug_of(name: str) -> str:
    """A folder's name for an event's: `Order Completed` becomes `order_completed`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    found = re.sub(r"[^a-z0-9]+", "_", apart.lower()).strip("_")
    is_free = found[:1].isalpha() and found not in RESERVED
    return (found if is_free else f"event_{found}")[:79].rstrip("_")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Loss:
    """Something that one format says and another cannot: where it stood, and what becomes of it."""

    path: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}: {self.sentence}"
