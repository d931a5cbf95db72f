"""The schema that judges says what domain/contracts.judge says; the one that is compared is sound for our format."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator, meta

from activation_dagster.domain.compatibility.changes import Change, Direction, Policy
from activation_dagster.domain.compatibility.documents import Document
from activation_dagster.domain.compatibility.engine import compare
from activation_dagster.domain.contracts import (
    NUMBERS,
    TEXTS,
    Call,
    Criticality,
    EventContract,
    EventVersion,
    PropertyRule,
    PropertyType,
    judge,
)
from activation_dagster.domain.formats import Format
from activation_dagster.domain.times import read_date, read_instant
from activation_dagster.registry.json_schema import (
    DATE_PATTERN,
    FORMATS,
    TIMESTAMP_PATTERN,
    comparable_schema,
    judging_schema,
    says_null,
)
from activation_dagster.registry.versions import Comparable, alike

CONTRACT = EventContract(
    slug="e", call=Call.TRACK, name="e", owner="o", criticality=Criticality.STANDARD, description="", versions=()
)
REMOVED = "PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL"
TEXT, NUMBER = PropertyType.STRING, PropertyType.NUMBER
OBJECT = PropertyType.OBJECT
NAMES = ["a", "b", "c"]
VALUES: list[Any] = [
    None, True, False, 0, 1, 3.0, 3.5, -1, 7, 2**53 - 1, "", "x", "3", "2025-09-18", "2025-02-29", "2024-02-29",
    "1899-12-31", "2025-09-18T10:12:00Z", "2025-09-18 10:12:00.123456789+0200", "2025-09-18T10:12:00", "2025-09-18\n",
    "2025-02-30T10:12:00Z", {}, {"k": 1}, [], [1],
]  # fmt: skip


@st.composite
def rules(draw: st.DrawFn, name: str, depth: int = 0) -> PropertyRule:
    kind = draw(st.sampled_from(PropertyType))
    bounds = st.sampled_from([None, None, 0, 1, 3.5])
    lengths = st.sampled_from([None, None, 1, 2])
    is_text = kind is TEXT
    inner = [draw(rules(key, depth + 1)) for key in "ab" if draw(st.booleans())] if depth < 2 and kind is OBJECT else []
    return PropertyRule(
        name=name,
        type=kind,
        is_required=bool(name) and draw(st.booleans()),
        enum=tuple(draw(st.sampled_from([[], [], ["x"], ["x", "3"], ["2025-09-18"]]))) if kind in TEXTS else (),
        minimum=draw(bounds) if kind in NUMBERS else None,
        maximum=draw(bounds) if kind in NUMBERS else None,
        format=draw(st.sampled_from([None, None, *Format])) if is_text else None,
        min_length=draw(lengths) if is_text else None,
        max_length=draw(lengths) if is_text else None,
        pattern=draw(st.sampled_from([None, None, "[a-z]*", "x|[0-9]+"])) if is_text else None,
        is_nullable=draw(st.sampled_from([None, None, True, False])),
        properties=tuple(inner),
        items=draw(rules("", depth + 1)) if depth < 2 and kind is PropertyType.ARRAY and draw(st.booleans()) else None,
        default=draw(st.sampled_from([None, None, "x", 0, {}, {"a": 1}, [{}]])),
    )


@st.composite
def event_versions(draw: st.DrawFn) -> EventVersion:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    return EventVersion(version="v1", properties=tuple(draw(rules(name)) for name in names))


@st.composite
def two_versions(draw: st.DrawFn) -> tuple[EventVersion, EventVersion]:
    """The second keeps most of the first, so that many pairs are compatible."""
    old = draw(event_versions())
    kept = [rule for rule in old.properties if draw(st.integers(0, 4))]
    fresh = [draw(rules(name)) for name in NAMES if name not in {rule.name for rule in kept} and draw(st.booleans())]
    return old, EventVersion(version="v2", properties=(*kept, *fresh))


EVENTS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES))


def keeps(version: EventVersion, values: dict[str, Any]) -> bool:
    return judge(CONTRACT, version, values) == ()


def documents(old: EventVersion, new: EventVersion) -> tuple[Document, Document]:
    named = [
        Comparable(name=one.version, document=Document({}), policy=Policy.DECLARED, version=one) for one in (old, new)
    ]
    with_null = says_null([*old.properties, *new.properties])
    plain = [replace(one, document=document(one.version, with_null=False)) for one in named if one.version]
    first, second = alike(plain)
    assert (first.document is plain[0].document) is not with_null
    return first.document, second.document


def document(version: EventVersion, *, with_null: bool) -> Document:
    return Document(comparable_schema(version, with_null=with_null), formats=FORMATS)


def told_of(version: EventVersion, values: dict[str, Any]) -> dict[str, Any]:
    """What a version declares of an event, inside objects too: the rest is nobody's promise."""
    declared = {one.name: one for one in version.properties}
    return {name: _told(declared[name], value) for name, value in values.items() if name in declared}


def _told(one: PropertyRule, value: Any) -> Any:
    if isinstance(value, dict):
        declared = {inner.name: inner for inner in one.properties}
        return {name: _told(declared[name], inner) for name, inner in value.items() if name in declared}
    if isinstance(value, list) and one.items is not None:
        return [_told(one.items, inner) for inner in value]
    return value


@settings(max_examples=300, deadline=None)
@given(event_versions(), EVENTS)
def test_the_judging_schema_gives_the_verdict_of_the_readable_judge(
    version: EventVersion, values: dict[str, Any]
) -> None:
    schema = judging_schema(version)
    meta.validate(schema)
    assert Draft202012Validator(schema).is_valid(values) == keeps(version, values)


def test_the_patterns_of_dates_and_instants_are_the_calendar() -> None:
    pattern = re.compile(DATE_PATTERN)
    for year, month, day in itertools.product((1899, *range(1900, 2200), 2200), range(14), (0, 1, 28, 29, 30, 31, 32)):
        text = f"{year:04d}-{month:02d}-{day:02d}"
        assert (pattern.search(text) is not None) == (read_date(text) is not None), text
    instants = re.compile(TIMESTAMP_PATTERN)
    for day in (date(2023, 12, 31) + timedelta(days=n) for n in range(70)):
        for rest in ("T00:00:00Z", " 23:59:59.9+14:59", "T24:00:00Z", "T10:00:60Z", "T10:00:00", "T10:00:00-1500"):
            text = f"{day}{rest}"
            assert (instants.search(text) is not None) == (read_instant(text) is not None), text


@settings(max_examples=300, deadline=None)
@given(two_versions(), st.lists(EVENTS, max_size=6))
def test_compatible_versions_of_ours_keep_every_event_and_examples_break(
    pair: tuple[EventVersion, EventVersion], events: list[dict[str, Any]]
) -> None:
    old, new = pair
    verdict = compare(*documents(old, new), policy=Policy.DECLARED)
    for direction, (writer, reader) in {Direction.BACKWARD: (old, new), Direction.FORWARD: (new, old)}.items():
        if any(direction in change.breaks for change in verdict.changes):
            continue
        for values in events:
            told = told_of(writer, values)
            assert not keeps(writer, told) or keeps(reader, told)
    for change in verdict.changes:
        assert_proves(old, new, change)


def assert_proves(old: EventVersion, new: EventVersion, change: Change) -> None:
    if change.example is None:
        return
    by_old, by_new = keeps(old, change.example.instance), keeps(new, change.example.instance)
    assert (by_old, by_new) == ((True, False) if change.example.refused_by == "new" else (False, True))


def rule(kind: PropertyType, **more: Any) -> EventVersion:
    plain = PropertyRule(name="a", type=kind, is_required=False)
    return EventVersion(version="v1", properties=(replace(plain, **more),))


@pytest.mark.parametrize(
    ("old", "new", "found", "breaks"),
    [
        (rule(TEXT), rule(PropertyType.TIMESTAMP), "FORMAT_ADDED", {"backward"}),
        (rule(PropertyType.TIMESTAMP), rule(PropertyType.DATE), "FORMAT_CHANGED", {"backward", "forward"}),
        (rule(PropertyType.INTEGER), rule(NUMBER), "TYPE_EXTENDED", {"forward"}),
        (rule(TEXT), rule(TEXT, is_required=True), "REQUIRED_ATTRIBUTE_ADDED", {"backward"}),
        (rule(TEXT, enum=("x",)), rule(TEXT, enum=("x", "y")), "ENUM_ARRAY_EXTENDED", {"forward"}),
        (rule(NUMBER, maximum=5), rule(NUMBER, maximum=4), "MAXIMUM_DECREASED", {"backward"}),
        (rule(TEXT), rule(TEXT, description="new words"), "ANNOTATION_CHANGED", set[str]()),
        (rule(TEXT), rule(TEXT, name="b"), REMOVED, set[str]()),
    ],
)  # fmt: skip
def test_changes_of_our_format_break_what_they_should_and_prove_it(
    old: EventVersion, new: EventVersion, found: str, breaks: set[str]
) -> None:
    verdict = compare(*documents(old, new), policy=Policy.DECLARED)
    change = next(change for change in verdict.changes if change.rule == found)
    assert set(change.breaks) == breaks
    assert (change.example is not None) == bool(breaks)
    assert_proves(old, new, change)
