"""Contract → JSON Schema: one that judges an event's values exactly as domain/contracts.py does, and one to compare.

One entry a type, one line a constraint: what the format learns next (formats, lengths, nested objects) is added there.
"""

from __future__ import annotations

from typing import Any

from activation_dagster.domain.contracts import EventVersion, PropertyRule, PropertyType
from activation_dagster.domain.lexical import MAX_EXACT_INTEGER
from activation_dagster.domain.times import read_date, read_instant

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TIMESTAMP, DATE = "timestamp", "calendar-date"


def _is_instant(text: str) -> bool:
    return read_instant(text) is not None


def _is_date(text: str) -> bool:
    return read_date(text) is not None


FORMATS = {TIMESTAMP: _is_instant, DATE: _is_date}
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


def _with_constraints(schema: dict[str, Any], rule: PropertyRule) -> dict[str, Any]:
    found = dict(schema)
    if rule.description:
        found["description"] = rule.description
    if rule.enum:
        found["enum"] = list(rule.enum)
    if rule.type in (PropertyType.INTEGER, PropertyType.NUMBER):
        if rule.minimum is not None:
            found["minimum"] = max(rule.minimum, found.get("minimum", rule.minimum))
        if rule.maximum is not None:
            found["maximum"] = min(rule.maximum, found.get("maximum", rule.maximum))
    return found


def judging_property(rule: PropertyRule) -> dict[str, Any]:
    """What one property's value must satisfy; null counts as absent, so a property that may be absent may be null."""
    found = _with_constraints(_JUDGED[rule.type], rule)
    if not rule.is_required:
        found["type"] = [found["type"], "null"]
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
    return found


def comparable_property(rule: PropertyRule) -> dict[str, Any]:
    """The same promise for comparing: without null, which says nothing that absence does not say."""
    return _with_constraints(_COMPARED[rule.type], rule)


def judging_schema(version: EventVersion) -> dict[str, Any]:
    """A JSON Schema (2020-12) that accepts the properties (or traits) of an event exactly if `judge` finds no fault."""
    return _object(version, {rule.name: judging_property(rule) for rule in version.properties}) | {"$schema": DIALECT}


def comparable_schema(version: EventVersion) -> dict[str, Any]:
    """A JSON Schema of what a version promises, for the compatibility engine (`Policy.DECLARED`, with `FORMATS`)."""
    return _object(version, {rule.name: comparable_property(rule) for rule in version.properties})


def _object(version: EventVersion, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [rule.name for rule in version.properties if rule.is_required],
    }
