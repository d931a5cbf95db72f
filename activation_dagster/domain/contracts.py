"""Event contracts: what is promised about an event, and the readable judge that says how one event breaks it.

The SQL compiled from a contract (`lake/judging_sql.py`) must give the same violations; a property-based test holds the
two together. Strictness: `3.0` is an integer, `"3"` no number, null counts as absent where a property does not say
`nullable`, undeclared properties are kept where a contract does not say otherwise (`domain/admission.py`). What is
judged is what was said; what is read downstream is `taken`: with defaults, and under `drop` without the undeclared.
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
    points. `properties` are those promised inside an object; others may stand there. `default` is what is read where
    the property is absent (not where it is null); nothing is judged by it. `identifier` is the kind of identity.yaml
    that the value is one of.
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
    default: Any = field(default=None, hash=False)  # an object has no hash
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
    """What is done with an event received long after it happened; STATE_ONLY: it counts and triggers nothing."""

    ACCEPT = "accept"
    STATE_ONLY = "state_only"
    QUARANTINE = "quarantine"


class Undeclared(StrEnum):
    """What is done with properties that a version does not declare; DROP: the event is accepted, nobody reads them."""

    KEEP = "keep"
    DROP = "drop"
    QUARANTINE = "quarantine"


def current_of(versions: tuple[EventVersion, ...]) -> EventVersion:
    """What judges where nothing else says: the newest active version, else the newest deprecated, else the last."""
    for state in (LifecycleState.ACTIVE, LifecycleState.DEPRECATED):
        for version in reversed(versions):
            if version.lifecycle.state is state:
                return version
    return versions[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventContract:
    """The promise about one event. `versions` oldest first.

    `name` is the track event's name, or the call's own for the other calls; `section` is where its properties stand
    in an event (`properties` or `traits`). Empty `environments` and `sources` mean all. `pinned` gives the version that
    judges a source's events where they name none. `barred_sources` are those whose own list (sources.yaml) leaves the
    event out. `late_after_hours` goes with every `late_data` but ACCEPT.
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
        return current_of(self.versions)

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
        broken += violations_inside(rule.properties, path, cast("dict[str, Any]", value))
    if rule.type is PropertyType.ARRAY and rule.items is not None:
        broken += _broken_items(rule.items, path, cast("list[Any]", value))
    return broken


def violations_inside(rules: tuple[PropertyRule, ...], path: str, values: Mapping[str, Any]) -> list[str]:
    """How the values of an object break its properties' rules; an empty path is that of the event itself."""
    found: list[str] = []
    for rule in rules:
        place = f"{path}.{rule.name}" if path else rule.name
        found += violations_of(rule, place, values.get(rule.name), is_there=rule.name in values)
    return found


def judge(contract: EventContract, version: EventVersion, values: Mapping[str, Any] | None) -> tuple[str, ...]:
    """All violations of one version by the values of its section, sorted; empty when the promise is kept.

    A violation never holds a value of the event, so it may be shown and logged.
    """
    return tuple(sorted(violations_inside(version.properties, contract.section, values or {})))


# -- what is read of an accepted event --------------------------------------------------------------------------------


def has_default(rule: PropertyRule) -> bool:
    """Whether a rule, or any inside it, says what is read where nothing was said."""
    inside = (*rule.properties, *(() if rule.items is None else (rule.items,)))
    return rule.default is not None or any(map(has_default, inside))


def with_defaults_inside(rule: PropertyRule, value: Any) -> Any:
    """A value of a property with the defaults of what is absent inside it."""
    if rule.type is PropertyType.OBJECT and isinstance(value, dict):
        return filled(rule.properties, cast("dict[str, Any]", value))
    if rule.type is PropertyType.ARRAY and rule.items is not None and isinstance(value, list):
        return [with_defaults_inside(rule.items, one) for one in cast("list[Any]", value)]
    return value


def filled(rules: tuple[PropertyRule, ...], values: Mapping[str, Any]) -> dict[str, Any]:
    """An object's values with the defaults of what is absent; what is null was said and stays."""
    found = dict(values)
    for rule in rules:
        if rule.name in found or rule.default is not None:
            found[rule.name] = with_defaults_inside(rule, found.get(rule.name, rule.default))
    return found


def kept(contract: EventContract, version: EventVersion, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values of an accepted event's section that count as said: all, or under DROP the declared ones.

    Names inside objects are not looked at, as by the other policies.
    """
    declared = {rule.name for rule in version.properties}
    is_open = contract.undeclared is not Undeclared.DROP
    return {name: value for name, value in (values or {}).items() if is_open or name in declared}


def taken(contract: EventContract, version: EventVersion, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values of an accepted event's section as workflows and audiences read them: `kept`, with defaults."""
    return filled(version.properties, kept(contract, version, values))
