"""Whom the collector asks: who a key belongs to, how events are judged, and what became of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from activation_dagster.domain.contracts import Criticality
from activation_dagster.domain.sources import Source
from activation_dagster.sources.collector.figures import Forwarded


class Desk(Protocol):
    """Who a key belongs to and how events are judged (registry.front_desk.FrontDesk)."""

    trouble: str

    @property
    def environments(self) -> list[str]: ...

    def source_of(self, key: str, now: datetime, /) -> Source | None: ...

    def source_named(self, name: str, /) -> Source | None: ...

    def verdict(self, source: Source, event: Mapping[str, Any], received_at: datetime, /) -> str | None: ...

    def criticality(self, source: Source, event: Mapping[str, Any], /) -> Criticality | None: ...

    def refresh(self) -> bool: ...


Forwards = Callable[[], Sequence[Forwarded]]
"""Where the forwards of all sources stand. May block, and raises ActivationError where that cannot be read."""

Receipts = Callable[[Source, str], Mapping[str, Any] | None]
"""What became of an event of a source, by its messageId; None where nothing is known of it. May block."""
