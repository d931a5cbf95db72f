"""What became of one event by its messageId: from landing while it waits, from the lake's closed rows afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
from sqlalchemy import select

from activation_dagster.domain.batches import Phase
from activation_dagster.domain.landing import Segment
from activation_dagster.lake.tables import DUPLICATES, QUARANTINED, VALIDATED, LakeTable
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.places import Places
from activation_dagster.sources.lookup import open_holds, segment_holds
from activation_dagster.state.bulk import select_in
from activation_dagster.state.tables import batch_phases, batch_segments

HOUR = timedelta(hours=1)
RECENT = 48
"""Hours of the lake that are looked through first; all of it only where they do not have the event."""
WAITING = 24 * 7
"""Hours of landing that are looked through for an event that no batch has judged yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReceipt:
    """`status`: pending, accepted, quarantined or duplicate; `reason` of quarantine, or where the first one was seen.

    `events` are the ids of all its arrivals with that status: a messageId may arrive more than once.
    """

    message_id: str
    source: str
    status: str
    reason: str | None = None
    contract: str | None = None
    contract_version: str | None = None
    batch_id: str | None = None
    events: tuple[str, ...] = ()


STATUSES: tuple[tuple[str, LakeTable, str], ...] = (
    ("accepted", VALIDATED, "null, contract, contract_version"),
    ("quarantined", QUARANTINED, "reason, contract, contract_version"),
    ("duplicate", DUPLICATES, "cause, null, null"),
)
"""What is told first: an event that was accepted is accepted, whatever else came under its messageId."""


def event_receipt(places: Places, message_id: str, *, source: str) -> EventReceipt | None:
    """What became of an event of a source; None where nothing is known of it.

    Reads what is committed and writes nothing. An event is pending from the moment it was acknowledged.
    """
    now = places.clock()
    recent = [now.replace(minute=0, second=0, microsecond=0) - HOUR * back for back in range(-1, RECENT)]
    return (
        _judged(places, message_id, source, recent)
        or _pending(places, message_id, source, now)
        or _judged(places, message_id, source, None)
    )


def _judged(places: Places, message_id: str, source: str, hours: list[datetime] | None) -> EventReceipt | None:
    with duckdb.connect(":memory:") as connection:
        for status, table, columns in STATUSES:
            rows = connection.execute(
                f"select event_id, batch_id, {columns} from {closed_rows(places, table, Phase.VALIDATED, hours=hours)} "
                "where message_id = $message_id and source = $source order by event_id",
                {"message_id": message_id, "source": source},
            ).fetchall()
            if rows:
                return EventReceipt(
                    message_id=message_id,
                    source=source,
                    status=status,
                    batch_id=rows[-1][1],
                    reason=rows[-1][2],
                    contract=rows[-1][3],
                    contract_version=rows[-1][4],
                    events=tuple(row[0] for row in rows),
                )
    return None


def _pending(places: Places, message_id: str, source: str, now: datetime) -> EventReceipt | None:
    found = EventReceipt(message_id=message_id, source=source, status="pending")
    # Open files first: one that is sealed meanwhile is then among the segments.
    if open_holds(places.landing, source, message_id):
        return found
    hour = now.replace(minute=0, second=0, microsecond=0)
    mine = [one for one in places.landing.segments(since=hour - HOUR * WAITING) if one.source == source]
    if segment_holds(places.landing, reversed(_unjudged(places, mine)), message_id) is not None:
        return found
    # A batch may have closed between the first look into the lake and the look at what is unjudged.
    return _judged(places, message_id, source, [hour - HOUR * back for back in range(-1, RECENT)])


def _unjudged(places: Places, segments: list[Segment]) -> list[Segment]:
    """Those of the segments that no closed verdict covers, in arrival order."""
    query = (
        select(batch_segments.c.source, batch_segments.c.segment_id)
        .join(batch_phases, batch_phases.c.batch_id == batch_segments.c.batch_id)
        .where(batch_phases.c.phase == Phase.VALIDATED.value, batch_phases.c.closed_at.is_not(None))
    )
    with places.state.read() as connection:
        ids = [segment.segment_id for segment in segments]
        judged = {(row[0], row[1]) for row in select_in(connection, query, batch_segments.c.segment_id, ids)}
    return [segment for segment in segments if (segment.source, segment.segment_id) not in judged]
