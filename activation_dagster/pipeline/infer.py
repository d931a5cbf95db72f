"""Infer: what traffic looks like, counted in SQL, and the contracts that it speaks for."""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activation_dagster.domain.batches import Phase
from activation_dagster.domain.contracts import Call
from activation_dagster.domain.formats import FORMAT_PATTERNS
from activation_dagster.domain.inference import (
    MOST_ENUM_VALUES,
    MOST_PROPERTIES,
    PERSONAL_PATTERN,
    EventEvidence,
    InnerEvidence,
    PropertyEvidence,
    RepeatedText,
    is_shown_event,
    is_shown_name,
)
from activation_dagster.domain.lexical import MAX_EXACT_INTEGER
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.times import DATE_PATTERN, INSTANT_PATTERN
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.lines import landed_lines
from activation_dagster.lake.rule_sql import literal
from activation_dagster.lake.tables import QUARANTINED
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.places import Places

LANDING_BYTES = 512 * 1024 * 1024
"""So much of landing is read, the newest segments first."""
MOST_DEPTH = 3
"""So many levels of objects inside objects are looked at below the properties."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What was looked at: `lines` of which `calls` are calls of Segment's, and the evidence, the busiest event first.

    `unshown` counts events whose name looks like data and is therefore not repeated.
    """

    lines: int
    calls: int
    unshown: int
    events: tuple[EventEvidence, ...]


def patterns() -> dict[str, object]:
    """The parameters of the models under sql/infer/ that do not depend on the caller."""
    return {
        "instant_pattern": INSTANT_PATTERN,
        "date_pattern": DATE_PATTERN,
        "personal_pattern": PERSONAL_PATTERN,
        **{f"{form.value}_pattern": pattern for form, pattern in FORMAT_PATTERNS.items()},
        "max_integer": MAX_EXACT_INTEGER,
        "most_properties": MOST_PROPERTIES,
        "most_texts": 2 * MOST_ENUM_VALUES,  # the count of different texts is an estimate
    }


def traffic_of_file(sql_root: Path, file: Path, *, event: str | None, sample: int) -> Traffic:
    """Evidence from NDJSON, plain or .gz."""
    stored = file.read_bytes()
    content = gzip.decompress(stored) if file.suffix == ".gz" else stored
    return _evidence_of_lines(sql_root, [content], event=event, sample=sample)


def traffic_of_landing(places: Places, *, source: str | None, event: str | None, sample: int) -> Traffic:
    """Evidence from the newest segments of landing, of one source where given."""
    contents: list[bytes] = []
    read = 0
    for segment in reversed(places.landing.segments()):
        if source is not None and segment.source != source:
            continue
        if contents and read + segment.size_bytes > LANDING_BYTES:
            break
        contents.append(places.landing.read(segment))
        read += segment.size_bytes
    return _evidence_of_lines(places.sql_root, contents, event=event, sample=sample)


def traffic_of_quarantine(places: Places, *, source: str | None, event: str | None, sample: int) -> Traffic:
    """Evidence from the events that wait because nobody has promised them."""
    waiting = closed_rows(places, QUARANTINED, Phase.VALIDATED)
    of_source = "" if source is None else f" and source = {literal(source)}"
    engine = Engine.in_memory(places.sql_root)
    try:
        engine.make(
            "traffic_lines",
            f"select row_number() over (order by event_id) as ordinal, decode(payload) as line from {waiting} as q "
            f"where reason = {literal(QuarantineReason.UNKNOWN_EVENT.value)}{of_source}",
        )
        return _evidence(engine, event=event, sample=sample)
    finally:
        engine.close()


def _evidence_of_lines(sql_root: Path, contents: Sequence[bytes], *, event: str | None, sample: int) -> Traffic:
    engine = Engine.in_memory(sql_root)
    try:
        lines, _ = landed_lines(list(enumerate(contents)))
        engine.lend("landed_lines", lines)
        engine.make(
            "traffic_lines",
            "select segment_no * 4294967296 + line_no as ordinal, line from landed_lines where line <> ''",
        )
        return _evidence(engine, event=event, sample=sample)
    finally:
        engine.close()


def _evidence(engine: Engine, *, event: str | None, sample: int) -> Traffic:
    (lines,) = engine.one("select count(*) from traffic_lines")
    engine.compute("infer/observed_events")
    (calls,) = engine.one("select count(*) from observed_events")
    if event is not None:
        engine.make("observed_events", f"select * from observed_events where event_name = {literal(event)}")
    for model in ("sampled_events", "observed_values", "property_evidence", "repeated_texts"):
        engine.compute(f"infer/{model}", sample=sample, **patterns())
    seen = engine.rows(
        "select call, event_name, count(*) as events from observed_events group by call, event_name "
        "order by events desc, call, event_name"
    )
    shown = [row for row in seen if is_shown_event(row[1])]
    properties = _properties(engine)
    texts = _texts(engine)
    inner = _inner(engine, sample)
    return Traffic(
        lines=lines,
        calls=calls,
        unshown=len(seen) - len(shown),
        events=tuple(
            EventEvidence(
                call=Call(call),
                name=name,
                seen=count,
                events=min(count, sample),
                properties=properties[call, name],
                texts=texts[call, name],
                inner=inner[call, name],
            )
            for call, name, count in shown
        ),
    )


def _properties(engine: Engine) -> dict[tuple[str, str], list[PropertyEvidence]]:
    columns = [name for name in PropertyEvidence.__slots__ if name != "name"]  # the model's columns have these names
    found: dict[tuple[str, str], list[PropertyEvidence]] = defaultdict(list)
    for call, event, property_name, *counts in engine.rows(
        f"select call, event_name, property, {', '.join(columns)} from property_evidence "
        "order by present desc, property"
    ):
        numbers: Any = dict(zip(columns, counts, strict=True))
        found[call, event].append(PropertyEvidence(name=property_name, **numbers))
    return found


def _texts(engine: Engine) -> dict[tuple[str, str], dict[str, list[RepeatedText]]]:
    found: dict[tuple[str, str], dict[str, list[RepeatedText]]] = defaultdict(dict)
    for call, event, property_name, text, events, speakers in engine.rows(
        "select call, event_name, property, text, events, speakers from repeated_texts order by events desc, text"
    ):
        found[call, event].setdefault(property_name, []).append(
            RepeatedText(text=text, events=events, speakers=speakers)
        )
    return found


def _inner(engine: Engine, sample: int) -> dict[tuple[str, str], list[InnerEvidence]]:
    """What stands inside objects, level by level; each level takes the place of the one above.

    A path is followed where at least half of the objects above have it: a rarer key may itself be data.
    """
    shown: dict[tuple[str, str], int] = {}
    found: dict[tuple[str, str], list[InnerEvidence]] = defaultdict(list)
    for _ in range(MOST_DEPTH):
        engine.compute("infer/inner_objects")
        engine.compute("infer/array_items")
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for call, place, count in engine.rows(
            "select call, event_name, count(*) from inner_objects group by call, event_name order by call, event_name"
        ):
            counts[call, place] = count
        items = _inside(engine, "array_items", sample)
        properties = _inside(engine, "inner_objects", sample)
        for call, place in sorted({*counts, *items}):
            event, *path = place.split(chr(31))
            above = place.rpartition(chr(31))[0]
            item = next(iter(items[call, place]), None)
            count = counts[call, place]
            size = count if item is None else item.present
            is_followed = len(path) == 1 or size * 2 >= shown.get((call, above), 2 * size + 1)
            if is_followed and is_shown_name(path[-1].removesuffix("[]")):
                shown[call, place] = count
                inside = properties[call, place]
                found[call, event].append(
                    InnerEvidence(path=".".join(path), objects=count, properties=inside, item=item)
                )
        if not counts:
            break
    return found


def _inside(engine: Engine, relation: str, sample: int) -> dict[tuple[str, str], list[PropertyEvidence]]:
    """The evidence of what a relation of one level says; the next level is looked for in what was read last."""
    engine.make("sampled_events", f"select call, event_name, speaker, said from {relation}")
    for model in ("observed_values", "property_evidence"):
        engine.compute(f"infer/{model}", sample=sample, **patterns())
    return _properties(engine)
