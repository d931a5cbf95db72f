"""A sealed landing segment: its name, the hour it arrived in, and the ids that follow from both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SEGMENT_ID = re.compile(r"(?P<sealed_ms>[0-9]{13})-[a-z0-9]{1,40}")
SEGMENT_PATH = re.compile(
    r"(?P<source>[a-z0-9_][a-z0-9_-]*)/(?P<year>[0-9]{4})/(?P<month>[0-9]{2})/(?P<day>[0-9]{2})/(?P<hour>[0-9]{2})/"
    r"(?P<segment_id>[0-9]{13}-[a-z0-9]{1,40})\.ndjson(?P<gz>\.gz)?"
)
"""Both are to match the whole text: digits are those of ASCII, and nothing may follow, not even a line's end."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Segment:
    """One sealed file of newline-delimited events.

    `path` is relative to `landing/<environment>/`; `arrival_hour` (UTC) is the folder's; `size_bytes` is the file's
    size as stored. Ordering is arrival order: hour first, then the time of sealing, then the name.
    """

    arrival_hour: datetime
    segment_id: str
    source: str
    path: str
    size_bytes: int

    @property
    def sealed_at(self) -> datetime:
        """When the segment was sealed (UTC), read from its name, so that it is the same on every run."""
        return EPOCH + timedelta(milliseconds=int(self.segment_id[:13]))


def segment_from_path(path: str, size_bytes: int) -> Segment | None:
    """The segment that a path relative to `landing/<environment>/` names, or None where it names none."""
    found = SEGMENT_PATH.fullmatch(path)
    if found is None:
        return None
    try:
        hour = datetime(int(found["year"]), int(found["month"]), int(found["day"]), int(found["hour"]), tzinfo=UTC)
    except ValueError:
        return None
    return Segment(
        arrival_hour=hour, segment_id=found["segment_id"], source=found["source"], path=path, size_bytes=size_bytes
    )


def segment_path(*, source: str, sealed_at: datetime, segment_id: str, compressed: bool) -> str:
    """The path, relative to `landing/<environment>/`, of a segment sealed at `sealed_at` (UTC)."""
    return f"{source}/{sealed_at:%Y/%m/%d/%H}/{segment_id}.ndjson{'.gz' if compressed else ''}"


def seen_at(event: str) -> datetime:
    """When an event came (UTC): when its segment was sealed, as its id says."""
    return EPOCH + timedelta(milliseconds=int(event[:13]))


def event_id(segment_id: str, line_no: int) -> str:
    """The id of the event on line `line_no` (from 1) of a segment: where it stands in landing, and nothing else."""
    return f"{segment_id}:{line_no:07d}"
