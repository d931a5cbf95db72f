"""The envelope's contract: what is promised of the fields that every event has, beside what its own contract promises.

`domain/events.envelope_fault` refuses what cannot be read or routed at all; this is what a team asks for on top. The
readable judge is here; `lake/envelope_sql.py` for bulk and `registry/boundary.py` for one event must agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from activation_dagster.domain.compatibility.changes import Mode
from activation_dagster.domain.contracts import EventVersion, current_of, violations_inside

ENVELOPE = "envelope"
"""Its folder under contracts/, and what its version files name as their event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeContract:
    """The promise about every event's envelope. `versions` oldest first; rules are named as an event's own keys.

    An event names no version of it: its source's judges where one is `pinned`, else the current one.
    """

    owner: str
    description: str
    versions: tuple[EventVersion, ...]
    consumers: tuple[str, ...] = ()
    compatibility: Mode = Mode.FULL
    pinned: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def slug(self) -> str:
        return ENVELOPE

    @property
    def name(self) -> str:
        return ENVELOPE

    @property
    def newest(self) -> EventVersion:
        return self.versions[-1]

    @property
    def current(self) -> EventVersion:
        return current_of(self.versions)

    def version(self, source: str | None = None) -> EventVersion:
        """The version that judges the events of a source."""
        named = self.pinned.get(source or "")
        return next((version for version in self.versions if version.version == named), self.current)


def judge_envelope(version: EventVersion, event: Mapping[str, Any]) -> tuple[str, ...]:
    """All violations of the envelope's contract by a whole event (`context.locale: type string`), sorted."""
    return tuple(sorted(violations_inside(version.properties, "", event)))
