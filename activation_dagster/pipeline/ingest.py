"""Ingest: landing lines become events with an envelope, and what is no sound JSON text is set aside with its bytes."""

from __future__ import annotations

import mmap
from typing import Any

from activation_dagster.domain.batches import Phase, PhaseReport
from activation_dagster.domain.lexical import MAX_DEPTH, MAX_LINE_BYTES, SUSPECT_PATTERNS, read_event
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.times import INSTANT_PATTERN
from activation_dagster.lake.lines import landed_lines
from activation_dagster.lake.tables import INGESTED
from activation_dagster.pipeline.batch_run import BatchRun


def compute_ingested(run: BatchRun) -> None:
    """Make `ingested_events` (one landing line a row) and `line_faults` from the batch's segments."""
    if run.engine.has("ingested_events"):
        return
    engine = run.engine
    segments = run.batch.segments
    engine.put(
        "segments",
        {"segment_no": "INTEGER", "segment_id": "VARCHAR", "source": "VARCHAR", "landed_at": "VARCHAR"},
        [
            (number, segment.segment_id, segment.source, segment.sealed_at.strftime("%Y-%m-%d %H:%M:%S.%f"))
            for number, segment in enumerate(segments)
        ],
    )
    engine.make("segments", "select segment_no, segment_id, source, landed_at::timestamp as landed_at from segments")
    lines, unreadable = landed_lines([(number, _content(run, number)) for number in range(len(segments))])
    engine.lend("landed_lines", lines)
    faults: list[tuple[int, int, str | None, bytes]] = [
        (found.segment_no, found.line_no, QuarantineReason.NOT_UTF8.value, found.line) for found in unreadable
    ]
    for segment_no, line_no, line in _doubtful_lines(run):
        whole = line.encode()
        if not whole.strip():
            faults.append((segment_no, line_no, None, b""))  # a blank line is no event
            continue
        verdict = read_event(whole.rstrip(b"\r"))
        if isinstance(verdict, QuarantineReason):
            faults.append((segment_no, line_no, verdict.value, whole))
    engine.put(
        "line_faults",
        {"segment_no": "INTEGER", "line_no": "BIGINT", "reason": "VARCHAR", "line": "BLOB"},
        faults,
    )
    engine.compute("ingest/ingested_events", instant_pattern=INSTANT_PATTERN)
    engine.view("ingest/landed_payloads")


def _doubtful_lines(run: BatchRun) -> list[tuple[int, int, str]]:
    """The few lines that are read one by one: (segment, line, text)."""
    engine = run.engine
    engine.compute("ingest/suspect_lines", **lexical_limits())
    found = engine.rows("select segment_no, line_no, line from suspect_lines")
    engine.compute("ingest/line_shapes")  # on its own, or the filter would be moved before the distinct
    engine.compute("ingest/duplicate_key_shapes")
    if engine.one("select count(*) from duplicate_key_shapes")[0]:
        engine.compute("ingest/duplicate_key_lines")
        found += engine.rows("select segment_no, line_no, line from duplicate_key_lines")
        engine.forget("duplicate_key_lines")
    engine.forget("suspect_lines", "line_shapes", "duplicate_key_shapes")
    return found


def lexical_limits() -> dict[str, object]:
    """The parameters of `ingest/suspect_lines`."""
    names = ("escape_pattern", "after_colon_pattern", "after_comma_pattern", "after_bracket_pattern")
    patterns = dict(zip(names, SUSPECT_PATTERNS, strict=True))
    return {**patterns, "max_line_bytes": MAX_LINE_BYTES, "max_depth": MAX_DEPTH}


def _content(run: BatchRun, number: int) -> Any:
    """The bytes of a segment; a plain file is mapped, not read."""
    segment = run.batch.segments[number]
    path = run.places.landing.path_of(segment)
    if path.suffix == ".gz" or segment.size_bytes == 0 or not path.exists():
        return run.places.landing.read(segment)
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def ingest(run: BatchRun) -> PhaseReport:
    """Carry out the phase `ingested`: counts `received`."""
    compute_ingested(run)
    hour, batch = run.hour, run.batch.batch_id
    return run.carry_out(
        Phase.INGESTED,
        copies={
            INGESTED: (
                f"select '{hour}' as arrival_hour, '{batch}' as batch_id, e.event_id, e.source, "
                f"'{run.batch.environment}' as environment, e.event_type, e.event_name, e.message_id, e.user_id, "
                "e.anonymous_id, e.occurred_at, e.received_at, e.fault, p.payload from ingested_events as e "
                "left join landed_payloads as p on p.ordinal = e.ordinal"
            )
        },
        counts=lambda: {"received": run.engine.one("select count(*) from ingested_events")[0]},
    )
