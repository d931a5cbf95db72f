"""The quick test that nearly every event passes: SQL that is true only where nothing is broken, and not always there.

What does not pass it is judged rule by rule (`rule_sql.breaches`), so a test here may be false for a sound value that
is seldom met, and never true for a broken one. A test of a value's text often tells its type too, which saves a step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil, floor

from activation_dagster.domain.contracts import NUMBERS, PropertyRule, PropertyType
from activation_dagster.domain.formats import FORMAT_PATTERNS
from activation_dagster.domain.lexical import MAX_EXACT_INTEGER
from activation_dagster.domain.times import DATE_PATTERN, INSTANT_PATTERN
from activation_dagster.lake.rule_sql import (
    Inside,
    Place,
    breaches,
    extractions,
    has_type,
    is_there,
    literal,
    matches,
    name,
    violations,
)

SURE_DAY = "(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
"""A day that every year has: whether a year has a 29 February is left to the full judge."""
ANY_DAY = "-[0-9]{2}-[0-9]{2}"


def _number(rule: PropertyRule, leaf: str) -> list[str]:
    # No text but a number's is cast to one: others begin with a quote, a bracket or a letter. Each cast is made anew.
    least, most = rule.minimum, rule.maximum
    if rule.type is PropertyType.INTEGER:
        low = -MAX_EXACT_INTEGER if least is None else ceil(min(max(least, -MAX_EXACT_INTEGER), MAX_EXACT_INTEGER + 1))
        high = MAX_EXACT_INTEGER if most is None else floor(max(min(most, MAX_EXACT_INTEGER), -MAX_EXACT_INTEGER - 1))
        value = f"try_cast({leaf} as bigint)"
        # Written as read: what has a point or an exponent is left to the full judge.
        return [f"{value} between {low} and {high}", f"{value}::varchar = {leaf}"]
    value = f"try_cast({leaf} as double)"
    if least is not None and most is not None:
        return [f"{value} between {least!r} and {most!r}"]
    if least is not None:
        return [f"{value} >= {least!r}"]
    return [f"{value} <= {most!r}"] if most is not None else [has_type(leaf, rule.type)]


def _time(rule: PropertyRule, leaf: str) -> list[str]:
    pattern = INSTANT_PATTERN if rule.type is PropertyType.TIMESTAMP else DATE_PATTERN
    assert pattern.count(ANY_DAY) == 1
    return [matches(leaf, pattern.replace(ANY_DAY, f"-{SURE_DAY}"))]


def _one_of(rule: PropertyRule, leaf: str) -> str:
    return f"{leaf} in ({', '.join(literal(json.dumps(value, ensure_ascii=False)) for value in rule.enum)})"


def _text(rule: PropertyRule, leaf: str) -> list[str]:
    """An escape is written longer than it reads, and a letter may take four bytes: both are left to the full judge."""
    found: list[str] = []
    if rule.enum:
        found.append(_one_of(rule, leaf))
    if rule.format is not None:
        found.append(matches(leaf, FORMAT_PATTERNS[rule.format]))
    if rule.pattern is not None:
        found.append(matches(leaf, rule.pattern))
    if not found:
        found.append(has_type(leaf, rule.type))
    if rule.max_length is not None:
        found.append(f"strlen({leaf}) <= {rule.max_length + 2}")
    if rule.min_length == 1:
        found.append(f"{leaf} <> '\"\"'")
    elif rule.min_length:
        found.append(f"length({leaf}) >= {rule.min_length + 2}")
    if rule.pattern is not None or (rule.min_length or 0) > 1:
        found.append(f"not contains({leaf}, '\\')")
    return found


def _items(rule: PropertyRule, leaf: str, place: Place) -> list[str]:
    """Every item of an array is sound; items whose own parts have parts are judged in full."""
    depth, members = len(place.path), rule.properties
    given = f"s{depth}"
    is_flat = all(not member.properties and member.items is None for member in members)
    is_told = any(member.is_required and member.is_nullable is None for member in members)  # so no object, not sound
    if rule.type is not PropertyType.OBJECT and rule.items is None:
        structure, sound = '["JSON"]', is_sound(rule, f"{given}::varchar", place.item("0"))
    elif members and is_flat and is_told and len(extractions([member.name for member in members])) == 1:
        structure = json.dumps([{member.name: "JSON" for member in members}], ensure_ascii=False)
        tests = [
            is_sound(member, f"{given}.{name(member.name)}::varchar", place.item("0").inside(member.name, "null"))
            for member in members
            if member.is_nullable is None
        ]
        is_asked = any(member.is_nullable is not None for member in members)
        sound = "false" if is_asked else " and ".join(tests)
    else:
        found = violations(
            breaches(PropertyRule(name="", type=PropertyType.ARRAY, is_required=False, items=rule), leaf, place)
        )
        return [f"({found}) is null"]
    each = f"json_transform({leaf}, {literal(structure)})"
    return [f"len(list_filter({each}, lambda {given}: not coalesce({sound}, false))) = 0"]


def is_sound(rule: PropertyRule, leaf: str, place: Place, *, inside: Inside = lambda _: None) -> str:
    """SQL that is true only where the JSON text `leaf` breaks nothing; false or null where it does or may."""
    if rule.type in NUMBERS:
        tests = _number(rule, leaf)
    elif rule.type is PropertyType.STRING:
        tests = _text(rule, leaf)
    elif rule.type in (PropertyType.TIMESTAMP, PropertyType.DATE):
        tests = _time(rule, leaf)
    else:
        tests = [has_type(leaf, rule.type)]
    if rule.enum and rule.type is not PropertyType.STRING:
        tests.append(_one_of(rule, leaf))
    if rule.type is PropertyType.ARRAY and rule.items is not None:
        tests += _items(rule.items, leaf, place)
    if rule.type is PropertyType.OBJECT and rule.properties:
        leaves = inside(leaf)
        if leaves is None:
            tests += [f"({violations(breaches(rule, leaf, place))}) is null"]
        else:
            tests += [
                is_sound(member, leaves[member.name], place.inside(member.name, leaf), inside=inside)
                for member in rule.properties
            ]
    sound = " and ".join(tests)
    is_item = not rule.name
    if is_item or rule.is_nullable is None:
        is_fine = rule.is_nullable is not False if is_item else not rule.is_required
        return f"({leaf} is null or ({sound}))" if is_fine else f"({sound})"
    missing = [f"({leaf} is null and not {is_there(rule, place)})"] if not rule.is_required else []
    if rule.is_nullable:
        missing = [f"({leaf} is null and {is_there(rule, place)})"] if rule.is_required else [f"{leaf} is null"]
    return f"({' or '.join([*missing, f'({sound})'])})"


def judged(rules: Sequence[PropertyRule], leaves: dict[str, str], top: Place, *, inside: Inside) -> str:
    """SQL for all violations of an object's properties, one a line, or null where there is none."""
    if not rules:
        return "null::varchar"
    sound = [is_sound(rule, leaves[rule.name], top.inside(rule.name, top.holder), inside=inside) for rule in rules]
    found = [
        breach
        for rule in rules
        for breach in breaches(rule, leaves[rule.name], top.inside(rule.name, top.holder), inside=inside)
    ]
    return f"case when {' and '.join(sound)} then null else {violations(found)} end"
