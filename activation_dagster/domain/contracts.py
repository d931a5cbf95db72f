"""Event contracts: what is promised about an event, and the readable judge that says how one event breaks it.

The SQL compiled from a contract (`lake/contract_sql.py`) must give the same violations; a property-based test holds the
two together. Strictness: `3.0` is an integer, `"3"` no number, null counts as absent where a property does not say
`nullable`, undeclared properties are kept where a contract does not say otherwise (`domain/admission.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, cast

from activation_dagster.domain.compatibility.changes import Mode
from activation_dagster.domain.formats import FORMAT_PATTERNS, Format
from activation_dagster.domain.lexical import MAX_EXACT_INTEGER
from activation_dagster.domain.times import read_date, read_instant

MAX_LISTED_ITEMS = 10
"""Of each array, the violations of so many broken items are listed, the first ones."""


class Call(StrEnum):
    """The kinds of call of Segment's Tracking API."""

    IDENTIFY = "identify"
    TRACK = "track"
    PAGE = "page"
    SCREEN = "screen"
    GROUP = "group"
    ALIAS = "alias"


class PropertyType(StrEnum):
    """Types a property can be promised to have. A file's `type: enum` is a string with a list of values."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    OBJECT = "object"
    ARRAY = "array"


NUMBERS = (PropertyType.INTEGER, PropertyType.NUMBER)
TEXTS = (PropertyType.STRING, PropertyType.TIMESTAMP, PropertyType.DATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyRule:
    """What is promised about one property (or trait), or about each item of an array (its `name` is empty then).

    `is_nullable`: None where the contract says nothing, and null counts as absent; True where a required property may
    be null as long as it is there; False where it must not be null even if it may be absent. Lengths count Unicode code
    points. `properties` are those promised inside an object; others may stand there. `default` is what a reader may
    take where the property is absent; no judge and no phase fills it in. `identifier` is the kind of identity.yaml that
    the value is one of.
    """

    name: str
    type: PropertyType
    is_required: bool
    enum: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    is_pii: bool = False
    description: str = ""
    format: Format | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    is_nullable: bool | None = None
    properties: tuple[PropertyRule, ...] = ()
    items: PropertyRule | None = None
    default: Any = None
    owner: str = ""
    identifier: str | None = None


class LifecycleState(StrEnum):
    """Where a contract, or one of its versions, is in its life."""

    DRAFT = "draft"
    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """`until`: the last day (UTC, by the time of receipt) on which events of something deprecated are accepted."""

    state: LifecycleState = LifecycleState.ACTIVE
    until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventVersion:
    """One published version of a contract: added, never edited. Its `lifecycle` stands in contract.yaml."""

    version: str
    properties: tuple[PropertyRule, ...]
    lifecycle: Lifecycle = field(default_factory=Lifecycle)


class Criticality(StrEnum):
    """What may be dropped first when there is too much: nothing critical, best effort first."""

    CRITICAL = "critical"
    STANDARD = "standard"
    BEST_EFFORT = "best_effort"


class LateData(StrEnum):
    """What is done with an event that is received long after it happened."""

    ACCEPT = "accept"
    STATE_ONLY = "state_only"
    QUARANTINE = "quarantine"


class Undeclared(StrEnum):
    """What is done with properties that a version does not declare."""

    KEEP = "keep"
    DROP = "drop"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventContract:
    """The promise about one event. `versions` oldest first.

    `name` is the track event's name, or the call's own for the other calls; `section` is where its properties stand
    in an event (`properties` or `traits`). Empty `environments` and `sources` mean all. `pinned` gives the version that
    judges a source's events where they name none. `barred_sources` are those whose own list (sources.yaml) leaves the
    event out. `late_after_hours` goes with `LateData.QUARANTINE`.
    """

    slug: str
    call: Call
    name: str
    owner: str
    criticality: Criticality
    description: str
    versions: tuple[EventVersion, ...]
    consumers: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    barred_sources: tuple[str, ...] = ()
    late_data: LateData = LateData.ACCEPT
    late_after_hours: int | None = None
    undeclared: Undeclared = Undeclared.KEEP
    compatibility: Mode = Mode.FULL
    pinned: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def section(self) -> str:
        return "traits" if self.call in (Call.IDENTIFY, Call.GROUP) else "properties"

    @property
    def newest(self) -> EventVersion:
        return self.versions[-1]

    @property
    def current(self) -> EventVersion:
        """What judges where nothing else says: the newest active version, else the newest deprecated, else the last."""
        for state in (LifecycleState.ACTIVE, LifecycleState.DEPRECATED):
            for version in reversed(self.versions):
                if version.lifecycle.state is state:
                    return version
        return self.newest

    def version(self, name: str | None, source: str | None = None) -> EventVersion | None:
        """The version an event names (`v2`, or `2`); where it names none, its source's, else the current one.

        None when there is no version of the name.
        """
        if name is None:
            name = self.pinned.get(source or "")
        if name is None:
            return self.current
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


def _broken_text(rule: PropertyRule, path: str, value: str) -> list[str]:
    """How a text breaks what is promised of texts."""
    broken: list[str] = []
    if rule.format is not None and re.fullmatch(FORMAT_PATTERNS[rule.format], value) is None:
        broken.append(f"{path}: format {rule.format}")
    if rule.pattern is not None and re.fullmatch(rule.pattern, value) is None:
        broken.append(f"{path}: pattern {rule.pattern}")
    if rule.min_length is not None and len(value) < rule.min_length:
        broken.append(f"{path}: min_length {rule.min_length}")
    if rule.max_length is not None and len(value) > rule.max_length:
        broken.append(f"{path}: max_length {rule.max_length}")
    return broken


def _broken_items(rule: PropertyRule, path: str, values: list[Any]) -> list[str]:
    """How the first broken items of an array break what is promised of each."""
    each = [violations_of(rule, f"{path}[{place}]", value) for place, value in enumerate(values)]
    return [said for broken in [found for found in each if found][:MAX_LISTED_ITEMS] for said in broken]


def violations_of(rule: PropertyRule, path: str, value: Any, *, is_there: bool = True) -> list[str]:
    """How one value breaks one rule: `<path>: <rule> <what was promised>`. Not `is_there`: the value is absent."""
    if value is None:
        if rule.is_nullable is False and is_there:
            return [f"{path}: nullable false"]
        is_missing = rule.is_required and not (rule.is_nullable and is_there)
        return [f"{path}: required"] if is_missing else []
    if not has_type(value, rule.type):
        return [f"{path}: type {rule.type}"]
    broken: list[str] = []
    if rule.enum and value not in rule.enum:
        broken.append(f"{path}: enum {'|'.join(rule.enum)}")
    if rule.type in NUMBERS and rule.minimum is not None and value < rule.minimum:
        broken.append(f"{path}: minimum {rule.minimum:g}")
    if rule.type in NUMBERS and rule.maximum is not None and value > rule.maximum:
        broken.append(f"{path}: maximum {rule.maximum:g}")
    if rule.type is PropertyType.STRING:
        broken += _broken_text(rule, path, value)
    if rule.type is PropertyType.OBJECT:
        broken += _violations(rule.properties, path, cast("dict[str, Any]", value))
    if rule.type is PropertyType.ARRAY and rule.items is not None:
        broken += _broken_items(rule.items, path, cast("list[Any]", value))
    return broken


def _violations(rules: tuple[PropertyRule, ...], path: str, values: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for rule in rules:
        found += violations_of(rule, f"{path}.{rule.name}", values.get(rule.name), is_there=rule.name in values)
    return found


def judge(contract: EventContract, version: EventVersion, values: Mapping[str, Any] | None) -> tuple[str, ...]:
    """All violations of one version by the values of its section, sorted; empty when the promise is kept.

    A violation never holds a value of the event, so it may be shown and logged.
    """
    return tuple(sorted(_violations(version.properties, contract.section, values or {})))
