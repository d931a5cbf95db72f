"""Shedding: what is dropped when there is too much, by the criticality that contracts declare; never what is critical.

A shed event leaves a line in landing that says so, so that it is counted as received and as shed. It takes no
messageId: sent again later, it is an event like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from activation_dagster.domain.contracts import Criticality

SEVERE = 1.5
"""So many times a threshold, and what is declared to be shed second is shed too."""


class Sheddable(StrEnum):
    """How far a source lets its events be shed: up to and with this criticality."""

    NONE = "none"
    BEST_EFFORT = "best_effort"
    STANDARD = "standard"


class Pressure(IntEnum):
    """How much too much there is: from HIGH on best effort is shed, from SEVERE on standard where it is declared."""

    NONE = 0
    HIGH = 1
    SEVERE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PressureLimits:
    """What may wait for the disk before anything is shed: bytes of lines, and seconds that the oldest has waited."""

    waiting_bytes: int = 8 * 1024 * 1024
    waiting_seconds: float = 2.5

    def pressure(self, *, waiting_bytes: int, waiting_seconds: float) -> Pressure:
        """How hard it is pressed; a backlog counts by whichever limit it is nearer to."""
        share = max(waiting_bytes / self.waiting_bytes, waiting_seconds / self.waiting_seconds)
        return Pressure.NONE if share < 1 else Pressure.HIGH if share < SEVERE else Pressure.SEVERE


def turn(criticality: Criticality | None, declared: Sheddable) -> int:
    """When an event of this criticality is shed: 1 first, 2 second, 0 never. None stands for one that must stay."""
    if criticality is Criticality.BEST_EFFORT and declared is not Sheddable.NONE:
        return 1
    return 2 if criticality is Criticality.STANDARD and declared is Sheddable.STANDARD else 0


def is_shed(criticality: Criticality | None, declared: Sheddable, pressure: Pressure) -> bool:
    """Whether an event is shed under this pressure."""
    return 0 < turn(criticality, declared) <= pressure


def over_the_room(criticalities: Sequence[Criticality | None], declared: Sheddable, *, room: int) -> frozenset[int]:
    """The places of the events to shed so that `room` are left, or as near to it as what may be shed allows.

    Of those of one criticality the last ones go.
    """
    turns = [turn(criticality, declared) for criticality in criticalities]
    waiting = sorted((its, -place) for place, its in enumerate(turns) if its)
    return frozenset(-place for _, place in waiting[: max(0, len(criticalities) - room)])
