"""What became of one event by its messageId: from landing while it waits, from the lake's closed rows afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
from sqlalchemy import select

from activation_dagster.domain.batches import Phase
from activation_dagster.domain.landing import Segment
from activation_dagster.domain.reasons import ShedReason
from activation_dagster.lake.rule_sql import literal
from activation_dagster.lake.tables import DUPLICATES, INGESTED, QUARANTINED, VALIDATED, LakeTable
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.places import Places
from activation_dagster.sources.lookup import Landed, in_open_files, in_segments
from activation_dagster.state.bulk import select_in
from activation_dagster.state.tables import batch_phases, batch_segments

HOUR = timedelta(hours=1)
RECENT = 48
"""Hours of the lake that are looked through first; all of it only where they do not have the event."""
WAITING = 24 * 7
"""Hours of landing that are looked through for an event that no batch has judged yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReceipt:
    """`status`: pending, accepted, quarantined, duplicate or shed.

    `reason` says why it waits or was shed, or where the first one of a duplicate was seen.

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

_SHED_ROWS = f"fault in ({', '.join(literal(reason.value) for reason in ShedReason)})"


def event_receipt(places: Places, message_id: str, *, source: str) -> EventReceipt | None:
    """What became of an event of a source; None where nothing is known of it.

    Reads what is committed and writes nothing. An event is pending, or shed, from the moment it was acknowledged; one
    that was shed and sent again is what became of the second.
    """
    now = places.clock()
    recent = [now.replace(minute=0, second=0, microsecond=0) - HOUR * back for back in range(-1, RECENT)]
    judged = _judged(places, message_id, source, recent)
    if judged is not None:
        return judged
    landed = _landed(places, message_id, source, now)
    if landed is not None and landed.shed is None:
        return EventReceipt(message_id=message_id, source=source, status="pending")
    # A batch may have closed between the first look into the lake and the look at what is unjudged.
    judged = _judged(places, message_id, source, recent) or _judged(places, message_id, source, None)
    if judged is not None:
        return judged
    if landed is not None and landed.shed is not None:
        return EventReceipt(message_id=message_id, source=source, status="shed", reason=landed.shed.value)
    return _shed(places, message_id, source, recent) or _shed(places, message_id, source, None)


def _judged(places: Places, message_id: str, source: str, hours: list[datetime] | None) -> EventReceipt | None:
    with duckdb.connect(":memory:") as connection:
        for status, table, columns in STATUSES:
            rows = closed_rows(places, table, Phase.VALIDATED, hours=hours)
            found = _told(connection, f"{columns} from {rows}", "true", message_id, source, status=status)
            if found is not None:
                return found
    return None


def _shed(places: Places, message_id: str, source: str, hours: list[datetime] | None) -> EventReceipt | None:
    with duckdb.connect(":memory:") as connection:
        rows = closed_rows(places, INGESTED, Phase.VALIDATED, hours=hours)
        return _told(connection, f"fault, null, null from {rows}", _SHED_ROWS, message_id, source, status="shed")


def _told(
    connection: duckdb.DuckDBPyConnection, what: str, which: str, message_id: str, source: str, *, status: str
) -> EventReceipt | None:
    rows = connection.execute(
        f"select event_id, batch_id, {what} "
        f"where message_id = $message_id and source = $source and {which} order by event_id",
        {"message_id": message_id, "source": source},
    ).fetchall()
    if not rows:
        return None
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


def _landed(places: Places, message_id: str, source: str, now: datetime) -> Landed | None:
    """What stands in landing of an event that no batch has judged."""
    # Open files first: one that is sealed meanwhile is then among the segments.
    found = in_open_files(places.landing, source, message_id)
    if found is not None and found.shed is None:
        return found
    hour = now.replace(minute=0, second=0, microsecond=0)
    mine = [one for one in places.landing.segments(since=hour - HOUR * WAITING) if one.source == source]
    return in_segments(places.landing, reversed(_unjudged(places, mine)), message_id) or found


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
