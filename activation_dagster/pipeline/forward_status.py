"""Where a target of forwarding stands: what waits for it, how far behind it is, and whether anybody looks after it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.landing import Segment
from activation_dagster.pipeline.places import Places
from activation_dagster.state import archives, forwards

STALE_SECONDS = 120.0
"""So long may nobody look after a target for which something waits; whoever sends on looks every half minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the events of a source go: the base address of a Tracking API, and for which purpose, if one is named."""

    source: str
    address: str
    purpose: str | None = None
    channel: str | None = None

    @property
    def target_id(self) -> str:
        """Another address is another target, which begins anew; another purpose is not."""
        return hashlib.sha256(f"{self.source}\x1f{self.address}".encode()).hexdigest()[:32]

    @property
    def work(self) -> str:
        """The name of sending on to it, for who does that: one process at a time."""
        return f"forward-{self.target_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardStatus:
    """Where a target stands: `lag_seconds` is the age of the oldest segment that is not done, 0 where all are.

    `begun` is False where nobody has ever sent anything on to it. Events are counted since then. `looked_at`: when
    somebody last looked after it (UTC). `is_stale`: something waits and nobody has looked for two minutes, so that
    `activation forward` does not run.
    """

    source: str
    address: str
    purpose: str | None
    channel: str | None
    begun: bool
    waiting_segments: int
    lag_seconds: float
    sent: int
    withheld: int
    withheld_by_reason: Mapping[str, int]
    refused: int
    looked_at: datetime | None
    is_stale: bool


def forward_status(places: Places, target: Target) -> ForwardStatus:
    """Where a target stands, by state and landing; its own watermark, whoever sends on to it."""
    with places.state.read() as connection:
        began = forwards.since_of(connection, target.target_id)
        sent, withheld, refused = forwards.counts_of(connection, target.target_id)
        reasons = forwards.withheld_of(connection, target.target_id)
    waiting = (
        [] if began is None else [segment for segment, _ in waiting_for(places, target, began=began, look_from=began)]
    )
    oldest = min((segment.sealed_at for segment in waiting), default=None)
    looked_at, now = places.landing.noted(target.work), places.clock()
    is_left = looked_at is None or (now - looked_at).total_seconds() > STALE_SECONDS
    return ForwardStatus(
        source=target.source,
        address=target.address,
        purpose=target.purpose,
        channel=target.channel,
        begun=began is not None,
        waiting_segments=len(waiting),
        lag_seconds=0.0 if oldest is None else max(0.0, (now - oldest).total_seconds()),
        sent=sent,
        withheld=withheld,
        withheld_by_reason=reasons,
        refused=refused,
        looked_at=looked_at,
        is_stale=bool(waiting) and is_left,
    )


def waiting_for(places: Places, target: Target, *, began: datetime, look_from: datetime) -> list[tuple[Segment, int]]:
    """Segments that are not done, in arrival order, each with the lines that are."""
    hour = look_from.replace(minute=0, second=0, microsecond=0)
    found = [
        segment
        for segment in places.landing.segments(since=hour)
        if segment.source == target.source and segment.sealed_at >= began - timedelta(milliseconds=1)
    ]
    with places.state.read() as connection:
        progress = forwards.progress_of(connection, target.target_id, [segment.segment_id for segment in found])
        told = archives.provenances(connection, found)
    return [
        (segment, progress.get(segment.segment_id, (0, False))[0])
        for segment in found
        if not progress.get(segment.segment_id, (0, False))[1]
        and told.get((segment.source, segment.segment_id)) is not Provenance.BACKFILL
    ]
