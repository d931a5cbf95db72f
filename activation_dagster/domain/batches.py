"""A batch: the segments it takes, where it came from, and the phases it goes through."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from activation_dagster.domain.landing import Segment


class Provenance(StrEnum):
    """Where a batch came from: a column of its row, never inferred from tags or from what was selected."""

    LIVE = "live"
    BACKFILL = "backfill"
    REPLAY = "replay"
    REPAIR = "repair"


class Phase(StrEnum):
    """What has been done with a batch, in order; each phase closes once and is the next one's ground."""

    PLANNED = "planned"
    INGESTED = "ingested"
    VALIDATED = "validated"
    RESOLVED = "resolved"
    CONSENTED = "consented"
    DECIDED = "decided"
    INTENDED = "intended"


PHASES = tuple(Phase)

ONE_AT_A_TIME = frozenset({Phase.RESOLVED, Phase.CONSENTED, Phase.DECIDED, Phase.INTENDED})
"""Phases that read what earlier batches left in state: one batch at a time in an environment, in order of position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One micro-batch as its row in state fixes it; reused unchanged whenever it runs again.

    `batch_no` numbers batches in the order they were planned. `as_of` (UTC) is the instant all its rules use.
    `position` is the state sequence at which its effects stand, given when it first begins to resolve: what it may
    see is what stands at or before it.
    """

    batch_id: str
    batch_no: int
    environment: str
    arrival_hour: datetime
    provenance: Provenance
    as_of: datetime
    contract_set: str
    segments: tuple[Segment, ...]
    position: int | None = None


def batch_id(environment: str, segments: Sequence[Segment]) -> str:
    """`b` and 24 hex digits derived from the names of the segments a batch takes."""
    names = "\n".join(sorted(f"{segment.source}/{segment.segment_id}" for segment in segments))
    return "b" + hashlib.sha256(f"{environment}\n{names}".encode()).hexdigest()[:24]


def coalesce(segments: Sequence[Segment], max_bytes: int) -> tuple[Segment, ...]:
    """The segments of the next batch: one arrival hour, the oldest, up to `max_bytes` but at least one segment."""
    chosen: list[Segment] = []
    total = 0
    for segment in sorted(segments):
        if chosen and (segment.arrival_hour != chosen[0].arrival_hour or total + segment.size_bytes > max_bytes):
            break
        chosen.append(segment)
        total += segment.size_bytes
    return tuple(chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCopy:
    """What a closed phase says of its rows in one lake table: enough to find out later that they are gone."""

    version: int
    rows: int
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseReport:
    """What one phase of one batch did: its counts by name, and its copies in the lake by table."""

    batch_id: str
    phase: Phase
    counts: Mapping[str, int]
    tables: Mapping[str, TableCopy]
    ran_before: bool
