"""The steps of a repair: what each does, that it does nothing else, and that nothing makes it raise."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.lexical import read_event
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.repairs import (
    Cast,
    CastTo,
    Default,
    Drop,
    MapValues,
    Move,
    Recode,
    Rename,
    ReplaceText,
    SetVersion,
    Step,
    changes,
    mended,
    mended_event,
    reentering,
)

AGE = ("properties", "age")


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "track", "messageId": "m-1", "userId": "ann", "properties": properties}


CASES: dict[str, tuple[Step, dict[str, Any], dict[str, Any]]] = {
    "rename": (Rename(field=AGE, to="years"), of(age=3), of(years=3)),
    "rename: what stands wins": (Rename(field=AGE, to="years"), of(age=3, years=4), of(age=3, years=4)),
    "rename: null makes room": (Rename(field=AGE, to="years"), of(age=3, years=None), of(years=3)),
    "rename: itself": (Rename(field=AGE, to="age"), of(age=3), of(age=3)),
    "rename: in every item": (
        Rename(field=("properties", "items", "a"), to="b"),
        of(items=[{"a": 1}, 7, {"a": 2}]),
        of(items=[{"b": 1}, 7, {"b": 2}]),
    ),
    "move": (Move(field=AGE, to=("traits", "said", "age")), of(age=3), of() | {"traits": {"said": {"age": 3}}}),
    "move: what stands wins": (
        Move(field=AGE, to=("userId",)), of(age=3), of(age=3)
    ),
    "move: text on the way": (Move(field=AGE, to=("type", "age")), of(age=3), of(age=3)),
    "move: into itself": (Move(field=("properties",), to=("properties", "age")), of(age=3), of(age=3)),
    "move: up": (Move(field=("properties", "groupId"), to=("groupId",)), of(groupId="g"), of() | {"groupId": "g"}),
    "map values": (MapValues(field=AGE, values=(("GONE", None), ("one", 1))), of(age="GONE"), of(age=None)),
    "map values: by type": (MapValues(field=AGE, values=((1, "one"),)), of(age=True), of(age=True)),
    "map values: in a list": (MapValues(field=AGE, values=((1, 2),)), of(age=[1, 3]), of(age=[2, 3])),
    "map values: absent": (MapValues(field=AGE, values=((1, 2),)), of(), of()),
    "default": (Default(field=AGE, value=0), of(), of(age=0)),
    "default: null": (Default(field=AGE, value=0), of(age=None), of(age=0)),
    "default: what stands wins": (Default(field=AGE, value=0), of(age=False), of(age=False)),
    "default: no object there": (Default(field=("traits", "a"), value=0), of(), of()),
    "drop": (Drop(field=AGE), of(age=3, a=1), of(a=1)),
    "drop: absent": (Drop(field=("a", "b", "c")), of(), of()),
    "set version": (
        SetVersion(version="v2"), of(), of() | {"context": {"protocols": {"event_version": "v2"}}}
    ),
    "set version: context is text": (SetVersion(version="v2"), of() | {"context": "x"}, of() | {"context": "x"}),
}  # fmt: skip


@pytest.mark.parametrize(("step", "before", "after"), CASES.values(), ids=CASES)
def test_a_step_does_what_it_says_and_leaves_the_original(
    step: Step, before: dict[str, Any], after: dict[str, Any]
) -> None:
    kept = copy.deepcopy(before)
    assert mended_event(before, [step]) == after
    assert before == kept


@pytest.mark.parametrize(
    ("value", "to", "meant"),
    [
        (7, "string", "7"),
        (True, "string", "true"),
        (None, "string", None),
        ({"a": 1}, "string", {"a": 1}),
        (" 12 ", "integer", 12),
        (12.0, "integer", 12),
        (12.5, "integer", 12.5),
        ("1e3", "integer", 1000),
        ("012", "integer", "012"),
        ("12 years", "integer", "12 years"),
        ("99999999999999999", "integer", "99999999999999999"),
        ("-0.5", "number", -0.5),
        ("1e99", "number", "1e99"),
        ("NaN", "number", "NaN"),
        (True, "number", True),
        ("Yes", "boolean", True),
        (0, "boolean", False),
        (2, "boolean", 2),
        ("maybe", "boolean", "maybe"),
        (1758190320, "timestamp", "2025-09-18T10:12:00.000Z"),
        (1758190320123, "timestamp", "2025-09-18T10:12:00.123Z"),
        ("1758190320.5", "timestamp", "2025-09-18T10:12:00.500Z"),
        ("yesterday", "timestamp", "yesterday"),
        (9e15, "timestamp", 9e15),
        (-(2**53), "timestamp", -(2**53)),
    ],
)
def test_a_cast_says_the_same_or_leaves_the_value(value: Any, to: str, meant: Any) -> None:
    found = mended_event(of(age=value), [Cast(field=AGE, to=CastTo(to))])["properties"]["age"]
    assert (found, type(found)) == (meant, type(meant))


KEYS = st.sampled_from(["type", "messageId", "userId", "anonymousId", "properties", "context", "protocols", "a", "b"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=2), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS | st.text(max_size=2), JSON, max_size=6)
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(tuple)


def steps(paths: st.SearchStrategy[tuple[str, ...]]) -> st.SearchStrategy[Step]:
    """Any step on a field below the paths."""
    return st.one_of(
        st.builds(Rename, field=paths, to=KEYS),
        st.builds(Move, field=paths, to=paths),
        st.builds(Cast, field=paths, to=st.sampled_from(CastTo)),
        st.builds(Default, field=paths, value=JSON),
        st.builds(MapValues, field=paths, values=st.lists(st.tuples(JSON, JSON), max_size=3).map(tuple)),
        st.builds(Drop, field=paths),
        st.builds(SetVersion, version=st.sampled_from(["v1", "v2"])),
    )


@given(event=OBJECTS, chosen=st.lists(steps(PATHS), max_size=6))
def test_steps_never_raise_and_do_the_same_every_time(event: dict[str, Any], chosen: list[Step]) -> None:
    kept = copy.deepcopy(event)
    first = mended_event(event, chosen)
    assert event == kept
    assert json.dumps(mended_event(event, chosen)) == json.dumps(first)
    json.dumps(first, allow_nan=True)
    assert isinstance(reentering(first, event_id="1758190320000-web:0000001", landed_at=datetime.now(UTC)), bytes)


@given(event=OBJECTS, chosen=st.lists(steps(PATHS.map(lambda path: ("properties", *path))), max_size=6))
def test_steps_touch_only_what_they_name(event: dict[str, Any], chosen: list[Step]) -> None:
    found = mended_event(event, chosen)
    ours = {"properties", "context"}
    assert {key: found[key] for key in found if key not in ours} == {
        key: event[key] for key in event if key not in ours
    }


@given(event=OBJECTS, other=OBJECTS)
def test_changes_are_empty_only_where_nothing_differs(event: dict[str, Any], other: dict[str, Any]) -> None:
    assert changes(event, copy.deepcopy(event)) == ()
    if json.dumps(event, sort_keys=True) == json.dumps(other, sort_keys=True):
        assert changes(event, other) == ()
    elif event != other:
        assert changes(event, other) != ()


@given(
    line=st.binary(max_size=60),
    step=st.sampled_from([Recode(encoding="latin-1"), ReplaceText(find="a", replacement="")]),
)
def test_any_bytes_can_be_tried(line: bytes, step: Step) -> None:
    assert isinstance(mended(line, [step]), dict | QuarantineReason)


def test_who_enters_again_keeps_its_id_and_says_when_it_was_received() -> None:
    landed = datetime(2025, 9, 18, 10, 12, 0, 123_000, tzinfo=UTC)
    entered = read_event(reentering(of(), event_id="1758190320123-web:0000007", landed_at=landed))
    assert entered == of() | {"receivedAt": "2025-09-18T10:12:00.123Z"}
    nameless = {"type": "page", "messageId": "", "receivedAt": "2025-09-17T00:00:00Z"}
    assert read_event(reentering(nameless, event_id="1758190320123-web:0000007", landed_at=landed)) == nameless | {
        "messageId": "line:1758190320123-web:0000007"
    }
