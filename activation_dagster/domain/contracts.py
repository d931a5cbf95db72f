"""Event contracts: what is promised about an event, and the readable judge that says how one event breaks it.

The SQL compiled from a contract (`lake/contract_sql.py`) must give the same violations; a property-based test holds the
two together. Strictness: `3.0` is an integer, `"3"` no number, null counts as absent, undeclared properties are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from activation_dagster.domain.lexical import MAX_EXACT_INTEGER
from activation_dagster.domain.times import read_date, read_instant


class Call(StrEnum):
    """The kinds of call of Segment's Tracking API."""

    IDENTIFY = "identify"
    TRACK = "track"
    PAGE = "page"
    SCREEN = "screen"
    GROUP = "group"
    ALIAS = "alias"


class PropertyType(StrEnum):
    """Types a property can be promised to have."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    OBJECT = "object"
    ARRAY = "array"


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyRule:
    """What is promised about one property (or trait)."""

    name: str
    type: PropertyType
    is_required: bool
    enum: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    is_pii: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventVersion:
    """One published version of a contract: added, never edited."""

    version: str
    properties: tuple[PropertyRule, ...]


class Criticality(StrEnum):
    """What may be dropped first when there is too much: nothing critical, best effort first."""

    CRITICAL = "critical"
    STANDARD = "standard"
    BEST_EFFORT = "best_effort"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventContract:
    """The promise about one event. `versions` oldest first; an event that names none is judged by the newest.

    `name` is the track event's name, or the call's own for the other calls; `section` is where its properties stand
    in an event (`properties` or `traits`).
    """

    slug: str
    call: Call
    name: str
    owner: str
    criticality: Criticality
    description: str
    versions: tuple[EventVersion, ...]

    @property
    def section(self) -> str:
        return "traits" if self.call in (Call.IDENTIFY, Call.GROUP) else "properties"

    @property
    def newest(self) -> EventVersion:
        return self.versions[-1]

    def version(self, name: str | None) -> EventVersion | None:
        """The version an event names (`v2`, or `2`), the newest when it names none, None when there is no such one."""
        if name is None:
            return self.newest
        return next((version for version in self.versions if version.version in (name, f"v{name}")), None)


def has_type(value: Any, wanted: PropertyType) -> bool:
    """Whether a parsed JSON value is of a promised type."""
    match wanted:
        case PropertyType.STRING:
            return isinstance(value, str)
        case PropertyType.BOOLEAN:
            return isinstance(value, bool)
        case PropertyType.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case PropertyType.INTEGER:
            return (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and float(value).is_integer()
                and abs(value) <= MAX_EXACT_INTEGER
            )
        case PropertyType.TIMESTAMP:
            return isinstance(value, str) and read_instant(value) is not None
        case PropertyType.DATE:
            return isinstance(value, str) and read_date(value) is not None
        case PropertyType.OBJECT:
            return isinstance(value, dict)
        case PropertyType.ARRAY:
            return isinstance(value, list)


def violations_of(rule: PropertyRule, section: str, value: Any) -> list[str]:
    """How one value (None when absent) breaks one rule: `<path>: <rule> <what was promised>`."""
    path = f"{section}.{rule.name}"
    if value is None:
        return [f"{path}: required"] if rule.is_required else []
    if not has_type(value, rule.type):
        return [f"{path}: type {rule.type}"]
    broken: list[str] = []
    if rule.enum and value not in rule.enum:
        broken.append(f"{path}: enum {'|'.join(rule.enum)}")
    is_number = rule.type in (PropertyType.INTEGER, PropertyType.NUMBER)
    if is_number and rule.minimum is not None and value < rule.minimum:
        broken.append(f"{path}: minimum {rule.minimum:g}")
    if is_number and rule.maximum is not None and value > rule.maximum:
        broken.append(f"{path}: maximum {rule.maximum:g}")
    return broken


def judge(contract: EventContract, version: EventVersion, values: Mapping[str, Any] | None) -> tuple[str, ...]:
    """All violations of one version by the values of its section, sorted; empty when the promise is kept.

    A violation never holds a value of the event, so it may be shown and logged.
    """
    found: list[str] = []
    for rule in version.properties:
        found.extend(violations_of(rule, contract.section, (values or {}).get(rule.name)))
    return tuple(sorted(found))
