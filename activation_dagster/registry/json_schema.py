"""Contract → JSON Schema: one that judges an event's values exactly as domain/contracts.py does, and one to compare.

One entry a type, one line a constraint: what the format learns next is added there. A `default` is not written: no
judge fills it in, so requiring a property breaks whether it has one or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from activation_dagster.domain.contracts import NUMBERS, EventVersion, PropertyRule, PropertyType
from activation_dagster.domain.formats import FORMAT_PATTERNS
from activation_dagster.domain.lexical import MAX_EXACT_INTEGER
from activation_dagster.domain.times import read_date, read_instant

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TIMESTAMP, DATE = "timestamp", "calendar-date"


def _is_instant(text: str) -> bool:
    return read_instant(text) is not None


def _matcher(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


def _is_date(text: str) -> bool:
    return read_date(text) is not None


FORMATS: dict[str, Callable[[str], bool]] = {
    TIMESTAMP: _is_instant,
    DATE: _is_date,
    **{name.value: _matcher(pattern) for name, pattern in FORMAT_PATTERNS.items()},
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

_TYPES: dict[PropertyType, dict[str, Any]] = {
    PropertyType.STRING: {"type": "string"},
    PropertyType.INTEGER: {"type": "integer"},
    PropertyType.NUMBER: {"type": "number"},
    PropertyType.BOOLEAN: {"type": "boolean"},
    PropertyType.TIMESTAMP: {"type": "string"},
    PropertyType.DATE: {"type": "string"},
    PropertyType.OBJECT: {"type": "object"},
    PropertyType.ARRAY: {"type": "array"},
}
_PATTERNS = {PropertyType.TIMESTAMP: TIMESTAMP_PATTERN, PropertyType.DATE: DATE_PATTERN}
_NAMES = {PropertyType.TIMESTAMP: TIMESTAMP, PropertyType.DATE: DATE}


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


def may_be_null(rule: PropertyRule) -> bool:
    """Whether null may stand where the property is; where the contract says nothing, null is absence."""
    return not rule.is_required if rule.is_nullable is None else rule.is_nullable


def _with_limits(schema: dict[str, Any], rule: PropertyRule) -> dict[str, Any]:
    """What both schemas say alike: description, values, bounds and lengths."""
    found = dict(schema)
    if rule.description:
        found["description"] = rule.description
    if rule.enum:
        found["enum"] = list(rule.enum)
    if rule.type in NUMBERS:
        if rule.minimum is not None:
            found["minimum"] = rule.minimum
        if rule.maximum is not None:
            found["maximum"] = rule.maximum
    if rule.type is PropertyType.STRING:
        if rule.min_length is not None:
            found["minLength"] = rule.min_length
        if rule.max_length is not None:
            found["maxLength"] = rule.max_length
    return found


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    found = {**schema, "type": [schema["type"], "null"]}
    if "enum" in found:
        found["enum"] = [*found["enum"], None]
    return found


def judging_property(rule: PropertyRule) -> dict[str, Any]:
    """What one property's value must satisfy, where it is there."""
    found = _with_limits(_TYPES[rule.type], rule)
    if rule.type is PropertyType.INTEGER:
        found["minimum"] = max(found.get("minimum", -MAX_EXACT_INTEGER), -MAX_EXACT_INTEGER)
        found["maximum"] = min(found.get("maximum", MAX_EXACT_INTEGER), MAX_EXACT_INTEGER)
    patterns = [_PATTERNS[rule.type]] if rule.type in _PATTERNS else []
    if rule.type is PropertyType.STRING:
        patterns += [_whole(FORMAT_PATTERNS[rule.format])] if rule.format is not None else []
        patterns += [_whole(rule.pattern)] if rule.pattern is not None else []
    if len(patterns) == 1:
        found["pattern"] = patterns[0]
    elif patterns:
        found["allOf"] = [{"pattern": pattern} for pattern in patterns]
    if rule.type is PropertyType.OBJECT and rule.properties:
        found |= _object(rule.properties, judging_property)
    if rule.type is PropertyType.ARRAY and rule.items is not None:
        found["items"] = judging_property(rule.items)
    return _with_null(found) if may_be_null(rule) else found


def comparable_property(rule: PropertyRule, *, with_null: bool) -> dict[str, Any]:
    """The same promise for comparing: formats by their names, and null only where it says more than absence."""
    found = _with_limits(_TYPES[rule.type], rule)
    if rule.type in _NAMES:
        found["format"] = _NAMES[rule.type]
    if rule.type is PropertyType.STRING:
        if rule.format is not None:
            found["format"] = rule.format.value
        if rule.pattern is not None:
            found["pattern"] = _whole(rule.pattern)

    def inside(inner: PropertyRule) -> dict[str, Any]:
        return comparable_property(inner, with_null=with_null)

    if rule.type is PropertyType.OBJECT and rule.properties:
        found |= _object(rule.properties, inside)
    if rule.type is PropertyType.ARRAY and rule.items is not None:
        found["items"] = inside(rule.items)
    return _with_null(found) if with_null and may_be_null(rule) else found


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
    return _object(version.properties, judging_property) | {"$schema": DIALECT}


def comparable_schema(version: EventVersion, *, with_null: bool = False) -> dict[str, Any]:
    """A JSON Schema of what a version promises, for the compatibility engine (`Policy.DECLARED`, with `FORMATS`).

    `with_null` must be set where one of the compared versions `says_null`.
    """
    return _object(version.properties, lambda rule: comparable_property(rule, with_null=with_null))


def _object(rules: tuple[PropertyRule, ...], compiled: Callable[[PropertyRule], dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {rule.name: compiled(rule) for rule in rules},
        "required": [rule.name for rule in rules if rule.is_required],
    }
