"""What is promised of one property as SQL: what is true where its JSON text breaks a rule, and what is said of it.

`domain/contracts.violations_of` is the readable meaning. A leaf is SQL for the JSON text of one value, null where the
value is absent or null; texts in it are written as DuckDB writes them, with no more escapes than JSON asks for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from activation_dagster.domain.contracts import MAX_LISTED_ITEMS, NUMBERS, PropertyRule, PropertyType
from activation_dagster.domain.formats import FORMAT_PATTERNS
from activation_dagster.domain.lexical import MAX_EXACT_INTEGER
from activation_dagster.domain.times import DATE_PATTERN, INSTANT_PATTERN


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def name(text: str) -> str:
    """A SQL name."""
    return '"' + text.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """How a value can break a rule: SQL that is true where it may, and SQL for the violations, one a line, or null."""

    condition: str
    violation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value stands: its path, of words and SQL for numbers, and SQL for the JSON object that holds it."""

    path: tuple[str | int, ...]
    holder: str
    numbers: tuple[str, ...] = ()
    """SQL for each number in `path`, which holds only its position here."""

    def says(self, rest: str) -> str:
        """SQL for `<path>: <rest>`."""
        parts: list[str] = []
        words = ""
        for step in (*self.path, f": {rest}"):
            if isinstance(step, str):
                words += step
                continue
            parts += [literal(words), f"({self.numbers[step]})::varchar"]
            words = ""
        parts.append(literal(words))
        return parts[0] if len(parts) == 1 else f"concat({', '.join(parts)})"

    def inside(self, step: str, holder: str) -> Place:
        """The place of a property of the object that stands here; `holder` is that object's leaf."""
        return replace(self, path=(*self.path, f".{step}" if self.path else step), holder=holder)

    def item(self, number: str) -> Place:
        """The place of an item of the array that stands here; `number` is SQL that counts from 0."""
        return replace(self, path=(*self.path, "[", len(self.numbers), "]"), numbers=(*self.numbers, number))


Inside = Callable[[str], dict[str, str] | None]
"""Gives, for an object's leaf, those of its properties where they were extracted beforehand, else None."""


def matches(leaf: str, pattern: str) -> str:
    """SQL: the JSON text of a string that has no escapes, quotes included, matches a pattern that takes none."""
    quoted = '"(?:' + pattern + ')"'
    return f"regexp_full_match({leaf}, {literal(quoted)})"


def has_type(leaf: str, wanted: PropertyType) -> str:
    """SQL that is true where the JSON text `leaf` is of a promised type; never null for a leaf that is not null."""
    # Of all JSON texts only a number begins with a character from '-' to '9': a comparison, where a pattern would cost.
    number = f"({leaf} >= '-' and {leaf} < ':')"
    match wanted:
        case PropertyType.STRING:
            return f"starts_with({leaf}, '\"')"
        case PropertyType.BOOLEAN:
            return f"({leaf} in ('true', 'false'))"
        case PropertyType.NUMBER:
            return number
        case PropertyType.INTEGER:
            value = f"try_cast({leaf} as double)"
            return f"({number} and {value} = trunc({value}) and abs({value}) <= {MAX_EXACT_INTEGER})"
        case PropertyType.TIMESTAMP:
            day = f"try_cast(substr({leaf}, 2, 10) as date) is not null"
            return f"({matches(leaf, INSTANT_PATTERN)} and {day})"
        case PropertyType.DATE:
            day = f"try_cast(substr({leaf}, 2, 10) as date) is not null"
            return f"({matches(leaf, DATE_PATTERN)} and {day})"
        case PropertyType.OBJECT:
            return f"starts_with({leaf}, '{{')"
        case PropertyType.ARRAY:
            return f"starts_with({leaf}, '[')"


def structure(names: Sequence[str]) -> str:
    """SQL for the structure of `json_transform` that extracts some members of an object as JSON texts."""
    return literal(json.dumps(dict.fromkeys(names, "JSON"), ensure_ascii=False))


def extractions(names: Sequence[str]) -> list[list[str]]:
    """The names each typed extraction reads: one takes all, unless two differ in case only, as no struct may have."""
    parts: list[list[str]] = []
    for one in names:
        free = (part for part in parts if one.lower() not in {taken.lower() for taken in part})
        part = next(free, None)
        if part is None:
            parts.append([one])
        else:
            part.append(one)
    return parts


def _broken_text(rule: PropertyRule, leaf: str, place: Place) -> list[tuple[str, str]]:
    """How a string can break what is promised of strings. Only one with an escape is read before it is looked at."""
    has_escape, read = f"contains({leaf}, '\\')", f"(({leaf})::json->>'$')"
    found: list[tuple[str, str]] = []
    if rule.format is not None:
        found.append((f"not {matches(leaf, FORMAT_PATTERNS[rule.format])}", place.says(f"format {rule.format}")))
    if rule.pattern is not None:
        escaped = f"regexp_full_match({read}, {literal(rule.pattern)})"
        fits = f"case when {has_escape} then {escaped} else {matches(leaf, rule.pattern)} end"
        found.append((f"not {fits}", place.says(f"pattern {rule.pattern}")))
    length = f"case when {has_escape} then length({read}) else length({leaf}) - 2 end"
    for bound, sign, word in ((rule.min_length, "<", "min_length"), (rule.max_length, ">", "max_length")):
        if bound is not None:
            found.append((f"{length} {sign} {bound}", place.says(f"{word} {bound}")))
    return found


def is_there(rule: PropertyRule, place: Place) -> str:
    """SQL that tells whether a property is there at all, null or not; never null."""
    member = f'"{rule.name}"'
    mentions = f"contains({place.holder}::varchar, {literal(member)})"
    return f"coalesce({mentions} and json_exists({place.holder}, {literal('$.' + member)}), false)"


def _absences(rule: PropertyRule, leaf: str, place: Place) -> list[Breach]:
    """How a value that is absent or null can break a rule; which of the two it is, is asked only where it matters."""
    is_null = f"{leaf} is null"
    if not place.path or place.path[-1] == "]":  # an item is there, though it may be null
        broken = rule.is_nullable is False
        return [Breach(condition=is_null, violation=place.says("nullable false"))] if broken else []
    required = place.says("required")
    if rule.is_nullable is None or (rule.is_nullable and not rule.is_required):
        return [Breach(condition=is_null, violation=required)] if rule.is_required else []
    there = is_there(rule, place)
    found: list[Breach] = []
    if rule.is_required:
        found.append(Breach(condition=f"({is_null} and not {there})", violation=required))
    if not rule.is_nullable:
        found.append(Breach(condition=f"({is_null} and {there})", violation=place.says("nullable false")))
    return found


def breaches(rule: PropertyRule, leaf: str, place: Place, *, inside: Inside = lambda _: None) -> list[Breach]:
    """Every way in which the JSON text `leaf` can break a rule, or a rule inside it."""
    typed = has_type(leaf, rule.type)
    broken: list[tuple[str, str]] = []
    if rule.enum:
        allowed = ", ".join(literal(json.dumps(value, ensure_ascii=False)) for value in rule.enum)
        broken.append((f"{leaf} not in ({allowed})", place.says(f"enum {'|'.join(rule.enum)}")))
    for bound, sign, word in ((rule.minimum, "<", "minimum"), (rule.maximum, ">", "maximum")):
        if bound is not None and rule.type in NUMBERS:
            broken.append((f"try_cast({leaf} as double) {sign} {bound!r}", place.says(f"{word} {bound:g}")))
    if rule.type is PropertyType.STRING:
        broken += _broken_text(rule, leaf, place)
    if rule.type is PropertyType.ARRAY and rule.items is not None:
        broken.append(("true", _broken_items(rule.items, leaf, place)))
    if rule.type is PropertyType.OBJECT and rule.properties:
        broken += _broken_members(rule, leaf, place, inside)
    return [
        *_absences(rule, leaf, place),
        Breach(condition=f"({leaf} is not null and not {typed})", violation=place.says(f"type {rule.type}")),
        *(Breach(condition=f"({leaf} is not null and {typed} and {said})", violation=text) for said, text in broken),
    ]


def _broken_members(rule: PropertyRule, leaf: str, place: Place, inside: Inside) -> list[tuple[str, str]]:
    """How an object's properties can break what is promised of them."""
    leaves = inside(leaf)
    if leaves is not None:
        found = [
            breach
            for member in rule.properties
            for breach in breaches(member, leaves[member.name], place.inside(member.name, leaf), inside=inside)
        ]
        return [(breach.condition, breach.violation) for breach in found]
    # Inside a lambda nothing can be extracted beforehand: a list of one gives the extracted object a name.
    broken: list[tuple[str, str]] = []
    for number, part in enumerate(extractions([member.name for member in rule.properties])):
        given = f"o{len(place.path)}_{number}"
        members = [member for member in rule.properties if member.name in part]
        said = violations(
            [
                breach
                for member in members
                for breach in breaches(member, f"{given}.{name(member.name)}::varchar", place.inside(member.name, leaf))
            ]
        )
        text = f"list_transform([json_transform({leaf}, {structure(part)})], lambda {given}: {said})[1]"
        broken.append(("true", text))
    return broken


def _broken_items(rule: PropertyRule, leaf: str, place: Place) -> str:
    """SQL for the violations of the first broken items of an array, or null."""
    depth = len(place.path)
    given, number, said = f"x{depth}", f"n{depth}", f"v{depth}"
    broken = violations(breaches(rule, f"{given}::varchar", place.item(f"{number} - 1")))
    each = f"list_transform(json_transform({leaf}, '[\"JSON\"]'), lambda {given}, {number}: {broken})"
    first = f"list_filter({each}, lambda {said}: {said} is not null)[1:{MAX_LISTED_ITEMS}]"
    return f"nullif(array_to_string({first}, chr(10)), '')"


def violations(found: Sequence[Breach]) -> str:
    """SQL for all violations, one a line, or null."""
    if not found:
        return "null::varchar"
    texts = ", ".join(f"case when {breach.condition} then {breach.violation} end" for breach in found)
    return f"nullif(concat_ws(chr(10), {texts}), '')"
