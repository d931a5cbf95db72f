"""The two sums that must hold: of events received, and of decisions made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSum:
    """received = accepted + duplicate + quarantined + shed."""

    received: int
    accepted: int
    duplicate: int
    quarantined: int
    shed: int = 0

    @property
    def holds(self) -> bool:
        return self.received == self.accepted + self.duplicate + self.quarantined + self.shed


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSum:
    """decisions = sent + refused + pending; rejected and expired are refused; held, claimed, unknown are pending."""

    decisions: int
    sent: int
    refused: int
    pending: int

    @property
    def holds(self) -> bool:
        return self.decisions == self.sent + self.refused + self.pending


def event_sum(counts: Mapping[str, int]) -> EventSum:
    """The first sum from a batch's counts (or the counts of many batches added up)."""
    return EventSum(
        received=counts.get("received", 0),
        accepted=counts.get("accepted", 0),
        duplicate=counts.get("duplicate", 0),
        quarantined=counts.get("quarantined", 0),
        shed=counts.get("shed", 0),
    )
