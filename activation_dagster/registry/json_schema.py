"""Contract → JSON Schema: one that judges an event's values exactly as domain/contracts.py does, and one to compare.

One entry a type, one line a constraint: what the format learns next is added there. A `default` is written where it is
read, at the boundary, and not where versions are compared: nothing is judged by it, so it changes no verdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from activation_dagster.domain.contracts import NUMBERS, EventVersion, PropertyRule, PropertyType
from activation_dagster.domain.formats import FORMAT_PATTERNS, Format
from activation_dagster.domain.lexical import MAX_EXACT_INTEGER
from activation_dagster.domain.times import read_date, read_instant

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TIMESTAMP, DATE = "timestamp", "calendar-date"


def _is_instant(text: str) -> bool:
    return read_instant(text) is not None


def _is_date(text: str) -> bool:
    return read_date(text) is not None


def _is_of(wanted: Format) -> Callable[[str], bool]:
    pattern = re.compile(FORMAT_PATTERNS[wanted])
    return lambda text: pattern.fullmatch(text) is not None


FORMATS: dict[str, Callable[[str], bool]] = {
    TIMESTAMP: _is_instant,
    DATE: _is_date,
    **{wanted.value: _is_of(wanted) for wanted in Format},
}
"""The formats of a comparable schema, which the compatibility engine asserts."""

_LEAP = r"(19(0[48]|[2468][048]|[13579][26])|20([02468][048]|[13579][26])|21(0[48]|[2468][048]|[13579][26]))"
_DAY = (
    r"((19|20|21)[0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    rf"|02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
DATE_PATTERN = f"^{_DAY}$"
"""domain/times.read_date as one pattern of JSON Schema: the calendar from 1900 to 2199, leap years included."""
TIMESTAMP_PATTERN = (
    rf"^{_DAY}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{{1,9}})?(Z|[+-](0[0-9]|1[0-4]):?[0-5][0-9])$"
)
"""domain/times.read_instant as one pattern of JSON Schema."""

_JUDGED: dict[PropertyType, dict[str, Any]] = {
    PropertyType.STRING: {"type": "string"},
    PropertyType.INTEGER: {"type": "integer", "minimum": -MAX_EXACT_INTEGER, "maximum": MAX_EXACT_INTEGER},
    PropertyType.NUMBER: {"type": "number"},
    PropertyType.BOOLEAN: {"type": "boolean"},
    PropertyType.TIMESTAMP: {"type": "string", "pattern": TIMESTAMP_PATTERN},
    PropertyType.DATE: {"type": "string", "pattern": DATE_PATTERN},
    PropertyType.OBJECT: {"type": "object"},
    PropertyType.ARRAY: {"type": "array"},
}
_COMPARED: dict[PropertyType, dict[str, Any]] = {
    **_JUDGED,
    # Beyond that no number passes the lexical rules, so for a comparison the limit says nothing.
    PropertyType.INTEGER: {"type": "integer"},
    PropertyType.TIMESTAMP: {"type": "string", "format": TIMESTAMP},
    PropertyType.DATE: {"type": "string", "format": DATE},
}


def _whole(pattern: str) -> str:
    """A pattern that is held against the whole text, as JSON Schema must be told."""
    return f"^(?:{pattern})$"


def _with_constraints(schema: dict[str, Any], rule: PropertyRule) -> dict[str, Any]:
    found = dict(schema)
    if rule.description:
        found["description"] = rule.description
    if rule.enum:
        found["enum"] = list(rule.enum)
    if rule.type in NUMBERS:
        if rule.minimum is not None:
            found["minimum"] = max(rule.minimum, found.get("minimum", rule.minimum))
        if rule.maximum is not None:
            found["maximum"] = min(rule.maximum, found.get("maximum", rule.maximum))
    if rule.type is PropertyType.STRING:
        if rule.min_length is not None:
            found["minLength"] = rule.min_length
        if rule.max_length is not None:
            found["maxLength"] = rule.max_length
        if rule.pattern is not None:
            found["pattern"] = _whole(rule.pattern)
    return found


def _may_be_null(rule: PropertyRule) -> bool:
    """Whether null may stand there: it counts as absent unless the contract says otherwise."""
    return rule.is_nullable is True or (not rule.is_required and rule.is_nullable is None)


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    found = {**schema, "type": [schema["type"], "null"]}
    if "enum" in found:
        found["enum"] = [*found["enum"], None]
    return found


def judging_property(rule: PropertyRule) -> dict[str, Any]:
    """What one property's value, or an array's item, must satisfy exactly if `violations_of` finds no fault in it."""
    found = _with_constraints(_JUDGED[rule.type], rule)
    if rule.type is PropertyType.STRING and rule.format is not None:
        found["allOf"] = [{"pattern": _whole(FORMAT_PATTERNS[rule.format])}]
    if rule.type is PropertyType.OBJECT and rule.properties:
        found |= _members(rule.properties, judging_property)
    if rule.type is PropertyType.ARRAY and rule.items is not None:
        found["items"] = judging_property(rule.items)
    if rule.default is not None:
        found["default"] = rule.default
    return _or_null(found) if _may_be_null(rule) else found


def comparable_property(rule: PropertyRule, *, with_null: bool = False) -> dict[str, Any]:
    """The same promise for comparing: formats by their names, and null only where it says more than absence."""

    def inside(inner: PropertyRule) -> dict[str, Any]:
        return comparable_property(inner, with_null=with_null)

    found = _with_constraints(_COMPARED[rule.type], rule)
    if rule.type is PropertyType.STRING and rule.format is not None:
        found["format"] = rule.format.value
    if rule.type is PropertyType.OBJECT and rule.properties:
        found |= _members(rule.properties, inside)
    if rule.type is PropertyType.ARRAY and rule.items is not None:
        found["items"] = inside(rule.items)
    return _or_null(found) if with_null and _may_be_null(rule) else found


def says_null(rules: Iterable[PropertyRule]) -> bool:
    """Whether any of the rules, or any inside them, says what null means; else null is absence everywhere."""
    return any(
        rule.is_nullable is not None
        or says_null(rule.properties)
        or (rule.items is not None and says_null((rule.items,)))
        for rule in rules
    )


def judging_schema(version: EventVersion) -> dict[str, Any]:
    """A JSON Schema (2020-12) that accepts the properties (or traits) of an event exactly if `judge` finds no fault."""
    return {"type": "object", **_members(version.properties, judging_property), "$schema": DIALECT}


def comparable_schema(version: EventVersion, *, with_null: bool = False) -> dict[str, Any]:
    """A JSON Schema of what a version promises, for the compatibility engine (`Policy.DECLARED`, with `FORMATS`).

    `with_null` must be set where one of the compared versions `says_null`.
    """

    def schema_of(rule: PropertyRule) -> dict[str, Any]:
        return comparable_property(rule, with_null=with_null)

    return {"type": "object", **_members(version.properties, schema_of)}


def _members(rules: tuple[PropertyRule, ...], schema_of: Callable[[PropertyRule], dict[str, Any]]) -> dict[str, Any]:
    return {
        "properties": {rule.name: schema_of(rule) for rule in rules},
        "required": [rule.name for rule in rules if rule.is_required],
    }
