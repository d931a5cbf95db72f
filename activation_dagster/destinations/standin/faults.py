"""Faults that a test orders from the stand-in: connections cut before or after the effect, error statuses, delays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from activation_dagster.destinations.standin.rules import JsonObject


class FaultMode(StrEnum):
    """Where a call goes wrong."""

    DROP_BEFORE = "drop_before"  # connection closed, nothing kept
    DROP_AFTER = "drop_after"  # effect committed, connection closed without an answer
    STATUS = "status"  # answered with a status, nothing kept
    STATUS_AFTER = "status_after"  # effect committed, answered with a status all the same
    DELAY = "delay"  # answered as usual, later


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One ordered fault. `text` is a body that is not JSON; `reply` a JSON body; both only for the status modes."""

    endpoint: str
    mode: FaultMode
    status: int = 500
    seconds: float = 0.0
    times: int = 1
    text: str | None = None
    reply: JsonObject | None = None
    retry_after: str | None = None


class FaultQueue:
    """Ordered faults, taken first in, first out for each endpoint."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Fault]] = {}

    def order(self, fault: Fault) -> None:
        """The next `times` calls of the endpoint go wrong."""
        self._waiting.setdefault(fault.endpoint, []).extend([fault] * fault.times)

    def take(self, endpoint: str) -> Fault | None:
        """The fault that the call at hand must suffer, if any."""
        waiting = self._waiting.get(endpoint)
        return waiting.pop(0) if waiting else None

    def clear(self) -> None:
        """Forgets every fault not yet taken."""
        self._waiting.clear()
