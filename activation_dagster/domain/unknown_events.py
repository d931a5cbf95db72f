"""Unknown events: what no contract is about waits, unless somebody declared to keep what their source sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from activation_dagster.domain.contracts import Call

UNKNOWN_EVENT = "unknown_event"
"""What stands as the contract of an accepted event that no contract is about; no folder may be called so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptUnknown:
    """Sources whose unknown events are accepted: resolved to a profile, read by nobody, triggering nothing.

    Empty `calls` and `environments` mean all. `why` is for those who review it.
    """

    sources: tuple[str, ...]
    why: str
    calls: tuple[Call, ...] = ()
    environments: tuple[str, ...] = ()

    def keeps(self, *, call: str, source: str, environment: str) -> bool:
        return (
            source in self.sources
            and (not self.calls or call in self.calls)
            and (not self.environments or environment in self.environments)
        )


def is_kept(declared: Sequence[KeptUnknown], *, call: str, source: str, environment: str) -> bool:
    """Whether an unknown event is accepted."""
    return any(one.keeps(call=call, source=source, environment=environment) for one in declared)
