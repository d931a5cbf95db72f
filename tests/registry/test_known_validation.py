"""The families of cases by which JSON Schema validators are known, as far as our format has the keyword.

Where our format is stricter on purpose (a format is asserted, a pattern must match the whole text), the case stands
here with our verdict; the table of strictness in DECISIONS.md says why.
"""

from __future__ import annotations

from typing import Any

import pytest

from activation_dagster.domain.contracts import Call, Criticality, EventContract, EventVersion, judge
from activation_dagster.registry.boundary import judged_at_boundary
from activation_dagster.registry.event_versions import rule_of
from activation_dagster.registry.shapes import PropertyShape

ANY: list[Any] = [None, True, 0, 1.5, "", "text", [], {}]
CASES: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    # a rule as it is written, values that keep it, values that break it
    "integer": ({"type": "integer"}, [1, 0, -7, 1.0, 2**53 - 1], [1.1, "1", "text", {}, [], True, False]),
    "number": ({"type": "number"}, [1, 1.0, -0.5, 1e300, 5e-324], ["1", "1.1", {}, [], True]),
    "string": ({"type": "string"}, ["", "1", "é", "\U0001f600"], [1, 1.0, {}, [], True]),
    "boolean": ({"type": "boolean"}, [True, False], [0, 1, "true", "", "False", {}, []]),
    "object": ({"type": "object"}, [{}, {"a": None}], [1, "text", [], True]),
    "array": ({"type": "array"}, [[], [1, "a", None]], [1, "text", {}, True]),
    "minimum": ({"type": "number", "minimum": 1.1}, [1.1, 2.6], [0.6, -5]),
    "minimum below zero": ({"type": "integer", "minimum": -2}, [-2, -2.0, -1, 0], [-3, -2.0001]),
    "maximum": ({"type": "number", "maximum": 3.0}, [3, 3.0, 2.6], [3.5]),
    "maximum of a large number": (
        {"type": "number", "maximum": 972783798187987123879878123.18878137},
        [972783798187987123879878123.188781371],
        [1e40],
    ),
    "min_length": ({"type": "string", "min_length": 2}, ["fo", "foo", "\U0001f4a9\U0001f4a9"], ["f", "", "\U0001f4a9"]),
    "max_length": ({"type": "string", "max_length": 2}, ["f", "fo", "", "\U0001f4a9\U0001f4a9"], ["foo", "a\u0301b"]),
    "pattern, of the whole text": ({"type": "string", "pattern": "a*"}, ["", "aaa"], ["xaay", "b", "a\n"]),
    "enum": ({"type": "enum", "values": ["foo", "1", "true"]}, ["foo", "1", "true"], ["Foo", "foo ", 1, True, ["foo"]]),
    "properties": (
        {"type": "object", "properties": {"foo": {"type": "integer"}, "bar": {"type": "string"}}},
        [{"foo": 1, "bar": "baz"}, {}, {"quux": []}],
        [{"foo": "x", "bar": "y"}, {"foo": 1, "bar": {}}, {"foo": [], "bar": {}}],
    ),
    "properties named as what objects have": (
        {"type": "object", "properties": {"__proto__": {"type": "number"}, "toString": {"type": "string"}}},
        [{}, {"__proto__": 1, "toString": "foo"}],
        [{"__proto__": "foo"}, {"toString": 37}],
    ),
    "required": (
        {"type": "object", "properties": {"foo": {"type": "string"}}, "required": ["foo"]},
        [{"foo": "x"}, {"foo": ""}],
        [{}, {"bar": 1}, {"foo": None}, {"foo": 1}],
    ),
    "required and nullable": (
        {"type": "object", "properties": {"foo": {"type": "string", "nullable": True}}, "required": ["foo"]},
        [{"foo": None}, {"foo": "x"}],
        [{}],
    ),
    "items": ({"type": "array", "items": {"type": "integer"}}, [[], [1, 2, 3], [1.0]], [[1, "x"], [1.5], [[1]]]),
    "items inside items": (
        {
            "type": "array",
            "items": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        },
        [[[]], [[{"n": 1}], [{}, {"n": 2}]]],
        [[{"n": 1}], [[{"n": "1"}]], [[[]]]],
    ),
    "email": (
        {"type": "string", "format": "email"},
        ["joe.bloggs@example.com", "te~st@example.com"],
        ["2962", "joe@", "@example.com", "joe bloggs@example.com", ".@.", 12],
    ),
    "uuid": (
        {"type": "string", "format": "uuid"},
        ["2EB8AA08-AA98-11EA-B4AA-73B441D16380", "2eb8aa08-aa98-11ea-b4aa-73b441d16380"],
        [
            "2eb8aa08-aa98-11ea-b4aa-73b441d1638",
            "2eb8aa08aa9811eab4aa73b441d16380",
            "2eb8aa08-aa98-11ea-b4ga-73b441d16380",
        ],
    ),
    "uri": (
        {"type": "string", "format": "uri"},
        ["http://foo.bar/?baz=qux#quux", "https://example.com:8080/a%20b"],
        ["//foo.bar/?baz", "/abc", "\\\\WINDOWS\\fileshare", "abc", "http:// shouldfail.com"],
    ),
    "date": (
        {"type": "date"},
        ["1963-06-19", "2020-02-29", "2000-02-29"],
        ["2021-02-29", "2020-04-31", "2020-13-01", "06/19/1963", "1963-6-19", "1963-06-1\u09ea", "20230328"],
    ),
    "timestamp": (
        {"type": "timestamp"},
        [
            "1963-06-19T08:30:06.283185Z",
            "1963-06-19T08:30:06Z",
            "1990-12-31T15:59:50.123-08:00",
            "1963-06-19 08:30:06Z",
        ],
        [
            "1990-02-31T15:59:59.123-08:00",
            "1990-12-31T15:59:59-24:00",
            "1963-06-19T08:30:06.28123+01:00Z",
            "06/19/1963 08:30:06 PST",
            "2013-350T01:01:01",
            "1998-12-31T23:59:60Z",
            "1963-06-19T08:30:06",
            "1963-06-1\u09eaT00:00:00Z",
        ],
    ),
}

CONTRACT = EventContract(
    slug="e", call=Call.TRACK, name="e", owner="o", criticality=Criticality.STANDARD, description="", versions=()
)


@pytest.mark.parametrize("name", CASES)
def test_each_value_has_the_known_verdict_with_both_judges(name: str) -> None:
    said, kept, broken = CASES[name]
    rule = rule_of("x", PropertyShape.model_validate(said), is_required=True)
    version = EventVersion(version="v1", properties=(rule,))
    for value, is_kept in [*((value, True) for value in kept), *((value, False) for value in broken)]:
        found = judge(CONTRACT, version, {"x": value})
        assert (found == ()) is is_kept, (value, found)
        assert judged_at_boundary(CONTRACT, version, {"x": value}) == found


@pytest.mark.parametrize("value", ANY)
def test_what_is_promised_of_nothing_is_judged_by_nothing(value: Any) -> None:
    assert judge(CONTRACT, EventVersion(version="v1", properties=()), {"x": value}) == ()
