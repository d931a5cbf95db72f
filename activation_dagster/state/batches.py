"""Batches and their phases: the recovery log that says what was done, and what is to be done again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, or_, select, true, update

from activation_dagster.domain.batches import Batch, Phase, Provenance, TableCopy
from activation_dagster.domain.landing import Segment
from activation_dagster.state.bulk import insert_new, select_in
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.sequence import next_seq
from activation_dagster.state.tables import batch_phases, batch_segments, batches, contract_sets, releases


def unclaimed(connection: Connection, segments: Sequence[Segment]) -> list[Segment]:
    """Those of `segments` that no batch has taken, in arrival order."""
    taken = {
        (source, segment_id)
        for source, segment_id in select_in(
            connection,
            select(batch_segments.c.source, batch_segments.c.segment_id),
            batch_segments.c.segment_id,
            [segment.segment_id for segment in segments],
        )
    }
    return sorted(segment for segment in segments if (segment.source, segment.segment_id) not in taken)


def insert_batch(connection: Connection, batch: Batch, *, planned_at: datetime) -> Batch | None:
    """Write a new batch and take its segments; None where another planner was first with any of them."""
    if unclaimed(connection, batch.segments) != sorted(batch.segments):
        return None
    number = connection.execute(select(func.coalesce(func.max(batches.c.batch_no), 0) + 1)).scalar_one()
    row = (
        batch.batch_id,
        number,
        batch.environment,
        micros(batch.arrival_hour),
        batch.provenance.value,
        micros(batch.as_of),
        batch.contract_set,
        micros(planned_at),
    )
    columns = (
        "batch_id",
        "batch_no",
        "environment",
        "arrival_hour",
        "provenance",
        "as_of",
        "contract_set",
        "planned_at",
    )
    if insert_new(connection, batches, columns, [row]) == 0:
        return None
    insert_new(
        connection,
        batch_segments,
        ("segment_id", "source", "batch_id", "arrival_hour", "path", "size_bytes"),
        [
            (s.segment_id, s.source, batch.batch_id, micros(s.arrival_hour), s.path, s.size_bytes)
            for s in batch.segments
        ],
    )
    return load_batch(connection, batch.batch_id)


def load_batch(connection: Connection, batch_id: str) -> Batch | None:
    """A batch with its segments, or None."""
    return next(iter(load_batches(connection, [batch_id])), None)


def load_batches(connection: Connection, batch_ids: Iterable[str]) -> list[Batch]:
    """Batches with their segments, in the order they were planned."""
    wanted = list(batch_ids)
    segments: dict[str, list[Segment]] = {}
    for row in select_in(connection, select(*_SEGMENT), batch_segments.c.batch_id, wanted):
        segments.setdefault(row[0], []).append(
            Segment(arrival_hour=instant(row[1]), segment_id=row[2], source=row[3], path=row[4], size_bytes=row[5])
        )
    found = [
        Batch(
            batch_id=row[0],
            batch_no=row[1],
            environment=row[2],
            arrival_hour=instant(row[3]),
            provenance=Provenance(row[4]),
            as_of=instant(row[5]),
            contract_set=row[6],
            position=row[7],
            segments=tuple(sorted(segments.get(row[0], []))),
        )
        for row in select_in(connection, select(*_BATCH), batches.c.batch_id, wanted)
    ]
    return sorted(found, key=lambda batch: batch.batch_no)


_BATCH = (
    batches.c.batch_id,
    batches.c.batch_no,
    batches.c.environment,
    batches.c.arrival_hour,
    batches.c.provenance,
    batches.c.as_of,
    batches.c.contract_set,
    batches.c.position,
)
_SEGMENT = (
    batch_segments.c.batch_id,
    batch_segments.c.arrival_hour,
    batch_segments.c.segment_id,
    batch_segments.c.source,
    batch_segments.c.path,
    batch_segments.c.size_bytes,
)


def unfinished(connection: Connection) -> list[str]:
    """Batches whose last phase is not closed: those that hold a position first, then in the order planned."""
    rows = connection.execute(
        select(batches.c.batch_id)
        .where(batches.c.closed_at.is_(None))
        .order_by(batches.c.position.is_(None), batches.c.position, batches.c.batch_no)
    )
    return [row[0] for row in rows]


def finished_in(connection: Connection, hours: Sequence[datetime]) -> list[str]:
    """Closed batches of some arrival hours, in the order of their positions."""
    rows = connection.execute(
        select(batches.c.batch_id)
        .where(batches.c.arrival_hour.in_([micros(hour) for hour in hours]), batches.c.closed_at.is_not(None))
        .order_by(batches.c.position)
    )
    return [row[0] for row in rows]


def hours_since(
    connection: Connection, since: datetime, *, window: timedelta, before: datetime | None
) -> list[datetime]:
    """Arrival hours of the batches planned since an instant, and of all a window before it or later; in order.

    None from the hour `before` on, where one is given. A late copy of an old hour is planned when it comes, whatever
    its hour; so both count.
    """
    earliest = since - window - timedelta(hours=1)  # an hour's folder also holds what came at its end
    rows = connection.execute(
        select(batches.c.arrival_hour)
        .where(
            true() if before is None else batches.c.arrival_hour < micros(before),
            or_(batches.c.arrival_hour >= micros(earliest), batches.c.planned_at >= micros(since)),
        )
        .distinct()
        .order_by(batches.c.arrival_hour)
    )
    return [instant(row[0]) for row in rows]


def all_finished(connection: Connection) -> list[str]:
    """Every closed batch, in the order of their positions."""
    rows = connection.execute(
        select(batches.c.batch_id).where(batches.c.closed_at.is_not(None)).order_by(batches.c.position)
    )
    return [row[0] for row in rows]


def take_position(connection: Connection, batch: Batch) -> int | None:
    """The batch's position, given now when it has none.

    None while another batch that holds a position is not finished: what it will write stands before ours, so we must
    see all of it.
    """
    if batch.position is not None:
        return batch.position
    ahead = connection.execute(
        select(func.count())
        .select_from(batches)
        .where(batches.c.position.is_not(None), batches.c.closed_at.is_(None), batches.c.batch_id != batch.batch_id)
    ).scalar_one()
    if ahead:
        return None
    position = next_seq(connection)
    connection.execute(
        update(batches)
        .where(batches.c.batch_id == batch.batch_id, batches.c.position.is_(None))
        .values(position=position)
    )
    return position


def looked_at_until(connection: Connection, batch: Batch) -> datetime | None:
    """The newest `as_of` of the batches positioned before this one: what was due by then has been reviewed."""
    found = connection.execute(
        select(func.max(batches.c.as_of)).where(batches.c.position.is_not(None), batches.c.position < batch.position)
    ).scalar_one()
    return None if found is None else instant(found)


# -- phases -------------------------------------------------------------------------------------------------------


def open_phase(connection: Connection, batch_id: str, phase: Phase, *, fence: int, now: datetime) -> bool:
    """Note that a phase is being worked on; True where it was closed before."""
    insert_new(
        connection,
        batch_phases,
        ("batch_id", "phase", "fence", "opened_at", "counts", "tables"),
        [(batch_id, phase.value, fence, micros(now), "{}", "{}")],
    )
    connection.execute(
        update(batch_phases)
        .where(batch_phases.c.batch_id == batch_id, batch_phases.c.phase == phase.value)
        .values(fence=fence)
    )
    return closed_phase(connection, batch_id, phase) is not None


def was_opened(connection: Connection, batch_id: str, phase: Phase) -> bool:
    """Whether anybody ever began this phase, so that rows of it may stand somewhere."""
    return (
        connection.execute(
            select(func.count())
            .select_from(batch_phases)
            .where(batch_phases.c.batch_id == batch_id, batch_phases.c.phase == phase.value)
        ).scalar_one()
        > 0
    )


def close_phase(
    connection: Connection,
    batch_id: str,
    phase: Phase,
    *,
    counts: Mapping[str, int],
    tables: Mapping[str, TableCopy],
    now: datetime,
) -> None:
    """Close a phase; of the last one also the batch. Closing again updates what the copies in the lake are."""
    connection.execute(
        update(batch_phases)
        .where(batch_phases.c.batch_id == batch_id, batch_phases.c.phase == phase.value)
        .values(
            closed_at=func.coalesce(batch_phases.c.closed_at, micros(now)),
            counts=json.dumps(dict(counts), sort_keys=True),
            tables=json.dumps(
                {name: [copy.version, copy.rows, copy.checksum] for name, copy in tables.items()}, sort_keys=True
            ),
        )
    )
    if phase is Phase.INTENDED:
        connection.execute(
            update(batches)
            .where(batches.c.batch_id == batch_id, batches.c.closed_at.is_(None))
            .values(closed_at=micros(now))
        )


def change_copy(connection: Connection, batch_id: str, phase: Phase, table: str, copy: TableCopy) -> None:
    """Say anew what the lake holds of a closed phase in one table; its counts stay what they were."""
    this = (batch_phases.c.batch_id == batch_id, batch_phases.c.phase == phase.value)
    copies = json.loads(connection.execute(select(batch_phases.c.tables).where(*this)).scalar_one())
    copies[table] = [copy.version, copy.rows, copy.checksum]
    connection.execute(update(batch_phases).where(*this).values(tables=json.dumps(copies, sort_keys=True)))


def closed_phase(
    connection: Connection, batch_id: str, phase: Phase
) -> tuple[dict[str, int], dict[str, TableCopy]] | None:
    """Counts and copies of a closed phase, or None where it is not closed."""
    row = connection.execute(
        select(batch_phases.c.counts, batch_phases.c.tables).where(
            batch_phases.c.batch_id == batch_id,
            batch_phases.c.phase == phase.value,
            batch_phases.c.closed_at.is_not(None),
        )
    ).one_or_none()
    return None if row is None else (json.loads(row[0]), _copies(row[1]))


def closed_phases(connection: Connection) -> list[tuple[str, datetime, Phase, dict[str, int], dict[str, TableCopy]]]:
    """Every closed phase: batch, arrival hour, phase, counts, copies; in the order the batches were planned."""
    rows = connection.execute(
        select(
            batch_phases.c.batch_id,
            batches.c.arrival_hour,
            batch_phases.c.phase,
            batch_phases.c.counts,
            batch_phases.c.tables,
        )
        .join_from(batch_phases, batches, batches.c.batch_id == batch_phases.c.batch_id)
        .where(batch_phases.c.closed_at.is_not(None))
        .order_by(batches.c.batch_no)
    )
    return [(row[0], instant(row[1]), Phase(row[2]), json.loads(row[3]), _copies(row[4])) for row in rows]


def _copies(text: str) -> dict[str, TableCopy]:
    return {
        name: TableCopy(version=version, rows=rows, checksum=checksum)
        for name, (version, rows, checksum) in json.loads(text).items()
    }


# -- what was promised, and what was released -----------------------------------------------------------------------


def keep_contract_set(connection: Connection, fingerprint: str, files: Mapping[str, str], *, now: datetime) -> None:
    """Keep the files of a contract set under its fingerprint."""
    insert_new(
        connection,
        contract_sets,
        ("fingerprint", "first_used_at", "files"),
        [(fingerprint, micros(now), json.dumps(dict(files), sort_keys=True))],
    )


def kept_contract_set(connection: Connection, fingerprint: str) -> dict[str, str] | None:
    """The files of a contract set, or None where it was never used."""
    found = connection.execute(
        select(contract_sets.c.files).where(contract_sets.c.fingerprint == fingerprint)
    ).scalar_one_or_none()
    return None if found is None else json.loads(found)


def newest_provenance(connection: Connection) -> Provenance | None:
    """The provenance of the batch that was planned last, or None where there is none."""
    found = connection.execute(select(batches.c.provenance).order_by(batches.c.batch_no.desc()).limit(1))
    value = found.scalar_one_or_none()
    return None if value is None else Provenance(value)


def newest_contract_set(connection: Connection) -> str | None:
    """The contract set of the batch that was planned last, or None where there is none yet."""
    return connection.execute(
        select(batches.c.contract_set).order_by(batches.c.batch_no.desc()).limit(1)
    ).scalar_one_or_none()


def release_batch(connection: Connection, batch_id: str, *, checks: Sequence[str], now: datetime) -> None:
    """Say that the gate let this batch through; only the intended phase of a live, new, sound batch says so."""
    insert_new(
        connection,
        releases,
        ("batch_id", "released_at", "detail"),
        [(batch_id, micros(now), json.dumps({"checks": sorted(checks)}))],
    )


def is_released(connection: Connection, batch_id: str) -> bool:
    """Whether a batch was released."""
    return (
        connection.execute(
            select(func.count()).select_from(releases).where(releases.c.batch_id == batch_id)
        ).scalar_one()
        > 0
    )
