"""Imported archives: which files were imported, how far, and which segments their lines landed in.

A segment is written down here before it is sealed: whoever plans a batch reads its provenance here, and whoever comes
after a crash knows which lines it holds, or was to hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.landing import Segment
from activation_dagster.state.bulk import insert_new, select_in
from activation_dagster.state.instants import micros
from activation_dagster.state.tables import archive_objects, archive_segments, batch_segments


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A file of an archive; `has_ended` once its end was reached, or `damage` says why it cannot be."""

    object_id: str
    has_ended: bool
    damage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """So many lines of a file, in one segment; the parts of a file follow one another, `part` counts from 0."""

    object_id: str
    part: int
    segment_id: str
    source: str
    lines: int
    provenance: Provenance
    has_landed: bool = False


def begin(
    connection: Connection, *, object_id: str, source: str, place: str, size_bytes: int, now: datetime
) -> Imported:
    """Write a file down, or find it as somebody began it before."""
    insert_new(
        connection,
        archive_objects,
        ("object_id", "source", "place", "size_bytes", "began_at", "damage"),
        [(object_id, source, place, size_bytes, micros(now), "")],
    )
    query = select(archive_objects.c.ended_at, archive_objects.c.damage)
    ended_at, damage = connection.execute(query.where(archive_objects.c.object_id == object_id)).one()
    return Imported(object_id=object_id, has_ended=ended_at is not None, damage=damage)


def parts_of(connection: Connection, object_id: str) -> list[Part]:
    """The parts of a file that were written down, in order."""
    rows = connection.execute(
        select(archive_segments).where(archive_segments.c.object_id == object_id).order_by(archive_segments.c.part)
    )
    return [
        Part(
            object_id=row.object_id,
            part=row.part,
            segment_id=row.segment_id,
            source=row.source,
            lines=row.lines,
            provenance=Provenance(row.provenance),
            has_landed=row.landed_at is not None,
        )
        for row in rows
    ]


def plan_part(connection: Connection, part: Part) -> None:
    """Write down what the next segment will hold; one that was planned before, and never sealed, is forgotten."""
    connection.execute(
        delete(archive_segments).where(
            archive_segments.c.object_id == part.object_id,
            archive_segments.c.part == part.part,
            archive_segments.c.landed_at.is_(None),
        )
    )
    insert_new(
        connection,
        archive_segments,
        ("object_id", "part", "segment_id", "source", "lines", "provenance"),
        [(part.object_id, part.part, part.segment_id, part.source, part.lines, part.provenance.value)],
    )


def confirm_part(connection: Connection, part: Part, *, now: datetime) -> None:
    """Say that a part's segment stands in landing."""
    connection.execute(
        update(archive_segments)
        .where(
            archive_segments.c.object_id == part.object_id,
            archive_segments.c.part == part.part,
            archive_segments.c.landed_at.is_(None),
        )
        .values(landed_at=micros(now))
    )


def was_taken(connection: Connection, part: Part) -> bool:
    """Whether a batch has taken the part's segment: then it stood in landing, wherever it is now."""
    query = select(batch_segments.c.segment_id).where(
        batch_segments.c.segment_id == part.segment_id, batch_segments.c.source == part.source
    )
    return connection.execute(query).first() is not None


def finish(connection: Connection, object_id: str, *, damage: str, now: datetime) -> None:
    """Say that all there is to land of a file has landed; `damage` where its end was not reached."""
    connection.execute(
        update(archive_objects)
        .where(archive_objects.c.object_id == object_id, archive_objects.c.ended_at.is_(None))
        .values(ended_at=micros(now), damage=damage)
    )


def provenances(connection: Connection, segments: Sequence[Segment]) -> dict[tuple[str, str], Provenance]:
    """The provenance of those segments, by (source, id), that came from an archive."""
    query = select(archive_segments.c.source, archive_segments.c.segment_id, archive_segments.c.provenance)
    wanted = [segment.segment_id for segment in segments]
    return {
        (source, segment_id): Provenance(provenance)
        for source, segment_id, provenance in select_in(connection, query, archive_segments.c.segment_id, wanted)
    }
