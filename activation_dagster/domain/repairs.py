"""A repair: which waiting events it takes, and the steps that mend each of them, the same way every time.

No step raises, whatever an event holds: what a step does not fit stays as it is, and the contract says so afterwards.
A step changes the field it names and nothing else.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, cast

from activation_dagster.domain.events import COLLECTOR, refused_on_arrival
from activation_dagster.domain.lexical import MAX_EXACT_INTEGER, read_event
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.times import read_instant

Path = tuple[str, ...]
"""The keys from an event's root to a field; where a list stands on the way, every object in it is meant."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_FROM = 100_000_000_000
"""A number of time from here on counts milliseconds: as seconds it would be the year 5138."""

NOBODY = "none"
"""No batch has this name."""

NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?")
TRUE = frozenset({"true", "yes", "1"})
FALSE = frozenset({"false", "no", "0"})


class CastTo(StrEnum):
    """What a value can be cast to."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recode:
    """Bytes that are no UTF-8 are read as this encoding."""

    encoding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceText:
    """A piece of the line's text, wherever it stands, becomes another."""

    find: str
    replacement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """A key gets another name where it stands; one of that name that stands already wins."""

    field: Path
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A value goes to another place, whose objects are made; what stands there already wins."""

    field: Path
    to: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """A value gets another type where its text says the same; a number cast to a timestamp is Unix time."""

    field: Path
    to: CastTo


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """A value where there is none, or null, in an object that is there."""

    field: Path
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MapValues:
    """Values become others: pairs of (as sent, as meant); the type counts, so 1 is not "1"."""

    field: Path
    values: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A field is taken out."""

    field: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVersion:
    """The event names the contract version that is to judge it."""

    version: str


TextStep = Recode | ReplaceText
FieldStep = Rename | Move | Cast | Default | MapValues | Drop | SetVersion
Step = TextStep | FieldStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which waiting events: all that is named must fit.

    `event`, `reason` and `field` are as `quarantine list` has them. Seen at or after `seen_from`, before `seen_before`
    (UTC; when their segments were sealed).
    """

    event: str | None = None
    reason: str | None = None
    field: str | None = None
    seen_from: datetime | None = None
    seen_before: datetime | None = None
    batches: tuple[str, ...] = ()
    event_ids: tuple[str, ...] = ()


def narrowed(select: Selection, only: Selection) -> Selection:
    """What both select. `select` is a repair file's and names no event ids, `only` no event, reason or field."""
    starts = [start for start in (select.seen_from, only.seen_from) if start is not None]
    ends = [end for end in (select.seen_before, only.seen_before) if end is not None]
    return replace(
        select,
        seen_from=max(starts, default=None),
        seen_before=min(ends, default=None),
        batches=_both(select.batches, only.batches),
        event_ids=only.event_ids or select.event_ids,
    )


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """An empty list names everything, so two lists that share nothing give one that names nobody."""
    if not one or not other:
        return one or other
    return tuple(name for name in one if name in other) or (NOBODY,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A reviewed file: who answers for it, why, which events, and what is done to each. Text steps come first."""

    repair_id: str
    owner: str
    reason_for: str
    select: Selection
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field that a repair changed; `has_before` and `has_after` tell an absent field from null."""

    path: str
    before: Any
    after: Any
    has_before: bool
    has_after: bool


# -- the steps --------------------------------------------------------------------------------------------------------


def mended(line: bytes, steps: Sequence[Step]) -> dict[str, Any] | QuarantineReason:
    """The event on a line after all steps, or the lexical reason for which it still cannot be read."""
    for step in steps:
        if isinstance(step, TextStep):
            line = _mend_text(line, step)
    event = read_event(line)
    return event if isinstance(event, QuarantineReason) else mended_event(event, steps)


def mended_event(event: Mapping[str, Any], steps: Sequence[Step]) -> dict[str, Any]:
    """A copy of an event after all steps but those on its text."""
    found = copy.deepcopy(dict(event))
    for step in steps:
        if not isinstance(step, TextStep):
            _mend(found, step)
    return found


def _mend_text(line: bytes, step: TextStep) -> bytes:
    if isinstance(step, ReplaceText):
        return line.replace(step.find.encode(), step.replacement.encode())
    try:
        line.decode()
    except UnicodeDecodeError:
        return line.decode(step.encoding, errors="replace").encode()
    return line


def _mend(event: dict[str, Any], step: FieldStep) -> None:
    match step:
        case SetVersion(version=version):
            context = _object_at(event, ("context", "protocols"))
            if context is not None:
                context["event_version"] = version
        case Move(field=path, to=to):
            _move(event, path, to)
        case Rename(field=path, to=name):
            for parent in _parents(event, path[:-1]):
                if path[-1] in parent and parent.get(name) is None and path[-1] != name:
                    parent[name] = parent.pop(path[-1])
        case Default(field=path, value=value):
            for parent in _parents(event, path[:-1]):
                if parent.get(path[-1]) is None:
                    parent[path[-1]] = copy.deepcopy(value)
        case Drop(field=path):
            for parent in _parents(event, path[:-1]):
                parent.pop(path[-1], None)
        case Cast(field=path, to=wanted):
            for parent in _parents(event, path[:-1]):
                if path[-1] in parent:
                    parent[path[-1]] = cast_value(parent[path[-1]], wanted)
        case MapValues(field=path, values=values):
            for parent in _parents(event, path[:-1]):
                if path[-1] in parent:
                    parent[path[-1]] = _mapped(parent[path[-1]], values)


def _parents(value: Any, keys: Path) -> Iterator[dict[str, Any]]:
    """Every object that the keys lead to."""
    if isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _parents(inner, keys)
    elif isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        if keys:
            yield from _parents(found.get(keys[0]), keys[1:])
        else:
            yield found


def _object_at(event: dict[str, Any], keys: Path) -> dict[str, Any] | None:
    """The object at the keys, made where nothing stands; None where something else stands on the way."""
    found = event
    for key in keys:
        if found.get(key) is None:
            found[key] = {}
        inner = found[key]
        if not isinstance(inner, dict):
            return None
        found = cast("dict[str, Any]", inner)
    return found


def _move(event: dict[str, Any], path: Path, to: Path) -> None:
    parent: Any = event
    for key in path[:-1]:
        parent = cast("dict[str, Any]", parent).get(key) if isinstance(parent, dict) else None
    if not isinstance(parent, dict) or path[-1] not in parent or to[: len(path)] == path:
        return  # nothing to move, or to be moved into itself
    there: Any = event
    for place, key in enumerate(to):
        if not isinstance(there, dict):
            return
        there = cast("dict[str, Any]", there).get(key)
        if there is None:
            break
        if place == len(to) - 1:
            return
    value = cast("dict[str, Any]", parent).pop(path[-1])
    target = _object_at(event, to[:-1])
    if target is None:  # cannot be: every object on the way was looked at
        cast("dict[str, Any]", parent)[path[-1]] = value
        return
    target[to[-1]] = value


def _mapped(value: Any, values: tuple[tuple[Any, Any], ...]) -> Any:
    if isinstance(value, list):
        return [_mapped(inner, values) for inner in cast("list[Any]", value)]
    for sent, meant in values:
        if type(value) is type(sent) and value == sent:
            return copy.deepcopy(meant)
    return value


def cast_value(value: Any, wanted: CastTo) -> Any:
    """A JSON value as another type where it says the same, else as it is. Null stays null."""
    if value is None or isinstance(value, dict | list):
        return cast("Any", value)
    match wanted:
        case CastTo.STRING:
            return value if isinstance(value, str) else json.dumps(value)
        case CastTo.BOOLEAN:
            said = value.strip().lower() if isinstance(value, str) else json.dumps(value)
            return True if said in TRUE else False if said in FALSE else value
        case CastTo.NUMBER:
            return value if isinstance(value, bool) else _number(value)
        case CastTo.INTEGER:
            number = value if isinstance(value, bool) else _number(value)
            is_whole = isinstance(number, float) and number.is_integer() and abs(number) <= MAX_EXACT_INTEGER
            if is_whole or (isinstance(number, int) and not isinstance(number, bool)):
                return int(number)
            return value
        case CastTo.TIMESTAMP:
            return _instant(value)


def _number(value: Any) -> Any:
    """A text that is a JSON number as that number, unless doubles cannot hold it; all else as it is."""
    if not isinstance(value, str) or NUMBER.fullmatch(value.strip()) is None:
        return value
    number = json.loads(value.strip())
    if abs(number) > MAX_EXACT_INTEGER:
        return value
    return number


def _instant(value: Any) -> Any:
    """Unix time, in seconds or milliseconds, as RFC 3339 in UTC."""
    number = value if isinstance(value, bool) else _number(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or abs(number) > MAX_EXACT_INTEGER:
        return value
    milliseconds = round(number if abs(number) >= MILLISECONDS_FROM else number * 1000)
    try:
        text = instant_text(EPOCH + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return value
    return value if read_instant(text) is None else text


# -- entering again ---------------------------------------------------------------------------------------------------


def instant_text(instant: datetime) -> str:
    """An instant (UTC) to the millisecond, as events state theirs."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


def reentering(event: Mapping[str, Any], *, event_id: str, landed_at: datetime) -> bytes:
    """The landing line with which a waiting event enters again.

    It keeps the messageId that it had, or was known by where it had none, and says when it was first received, so that
    it happened when it happened and is as late as it is.
    """
    found: dict[str, Any] = dict(event)
    if refused_on_arrival(found) is not None:  # a person lets it in now
        found[COLLECTOR] = {key: value for key, value in found[COLLECTOR].items() if key != "refused"}
    if found.get("messageId") in (None, ""):
        found["messageId"] = f"line:{event_id}"
    if found.get("receivedAt") is None:
        found["receivedAt"] = instant_text(landed_at)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def changes(before: Mapping[str, Any], after: Mapping[str, Any], *, under: str = "") -> tuple[Change, ...]:
    """Every field that differs, sorted by its path; objects are looked into, all else is compared whole."""
    found: list[Change] = []
    for key in sorted({*before, *after}):
        path = f"{under}{key}"
        old: Any = before.get(key)
        new: Any = after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found.extend(changes(cast("dict[str, Any]", old), cast("dict[str, Any]", new), under=f"{path}."))
        elif key not in before or key not in after or not _is_same(old, new):
            found.append(Change(path=path, before=old, after=new, has_before=key in before, has_after=key in after))
    return tuple(found)


def _is_same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and old == new
