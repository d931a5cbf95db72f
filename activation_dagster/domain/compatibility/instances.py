"""Values on the edges of a schema, few and telling: among them are its samples and the examples that prove a change."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, cast

from activation_dagster.domain.compatibility.acceptance import surely_accepts
from activation_dagster.domain.compatibility.documents import Schema
from activation_dagster.domain.compatibility.json_values import may_match
from activation_dagster.domain.compatibility.pattern_texts import texts_like

_TEXTS = (
    "a", "", "A", "1", "ab", "abc", "a1", "A1", "AB", "123", "12345", "a-b", "a_b", "hello world", "a@shop.example",
    "2025-09-18", "2025-09-18T10:12:00Z", "10:12:00Z", "https://shop.example/a", "8c5e9f5e-3b5a-4c56-9d5a-2f4b8f4d1a11",
    "+491701234567", "DE", "EUR", "127.0.0.1", "#a0b1c2", "x-a", "^", "é",
)  # fmt: skip
_FRESH_KEYS = ("another_key", "z", "a", "x", "1", "A", "abc", "a1", "x_a", "x-a", "ab", "a_b", "anything")
_MOST_CHARACTERS = 20_000
_MOST_ITEMS = 300
_DEPTH = 6
_ABOUT_KEYS = frozenset(
    {
        "properties", "patternProperties", "additionalProperties", "propertyNames", "minProperties", "maxProperties",
        "dependentRequired", "dependentSchemas",
    }
)  # fmt: skip


def sample(schema: Schema, depth: int = 0) -> Iterator[Any]:
    """One value that the schema surely accepts, or none where none was found."""
    if schema.sampled is None:
        found = (value for value in itertools.islice(candidates(schema, depth), 400) if surely_accepts(schema, value))
        sampled = tuple(itertools.islice(found, 1))
        if not sampled and depth:
            return  # nothing was found so deep; from further up there may be something
        schema.sampled = sampled
    yield from schema.sampled


def candidates(schema: Schema, depth: int = 0) -> Iterator[Any]:
    """Values around the edges of a schema, on both sides, in one order."""
    if depth > _DEPTH:
        return
    body = schema.body
    raw = schema.written
    yield from body.get("enum", ())
    if "default" in raw:
        yield raw["default"]
    if isinstance(raw.get("examples"), list):
        yield from raw["examples"]
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in body:
            yield from _of_branches(schema, keyword, depth)
    for keyword in ("if", "then", "else", "not"):
        if keyword in body:
            yield from itertools.islice(candidates(schema.keyword(keyword), depth + 1), 60)
    atoms = schema.atoms
    if "object" in atoms:
        yield from _objects(schema, depth)
    if "string" in atoms:
        yield from _texts(schema)
    if atoms & {"integer", "fraction"}:
        yield from _numbers(schema)
    if "boolean" in atoms:
        yield from (True, False)
    if "array" in atoms:
        yield from _arrays(schema, depth)
    if "null" in atoms:
        yield None


def _of_branches(schema: Schema, keyword: str, depth: int) -> Iterator[Any]:
    found = [list(itertools.islice(candidates(branch, depth + 1), 60)) for branch in schema.schemas(keyword)]
    if keyword == "allOf":
        # What satisfies all is, for objects, often the keys of a sample of each together.
        samples = [next(sample(part, depth + 1), None) for part in [schema.without("allOf"), *schema.schemas("allOf")]]
        joined: dict[str, Any] = {}
        for value in samples:
            if isinstance(value, dict):
                joined |= cast("dict[str, Any]", value)
        if joined:
            yield joined
    rest = next(sample(schema.without(keyword), depth + 1), None) if "object" in schema.atoms else None
    for value in itertools.chain.from_iterable(found):
        if isinstance(value, dict) and isinstance(rest, dict):
            yield cast("dict[str, Any]", rest) | cast("dict[str, Any]", value)
        yield value


def _texts(schema: Schema) -> Iterator[str]:
    body = schema.body
    lengths = {body[key] + more for key in ("minLength", "maxLength") if key in body for more in (-1, 0, 1)}
    if "pattern" in body:
        yield from texts_like(body["pattern"])
    yield from ("a" * int(length) for length in sorted(lengths) if 0 <= length <= _MOST_CHARACTERS)
    yield from _TEXTS


def _numbers(schema: Schema) -> Iterator[float]:
    body = schema.body
    limits = [body[key] for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if key in body]
    if body.get("multipleOf"):
        step = body["multipleOf"]
        yield from (step * times for times in (1, 0, 2, 3, -1, 10))
        yield from (step * times for limit in limits for times in (math.ceil(limit / step), math.floor(limit / step)))
    for limit in limits:
        yield from (limit, limit + 1, limit - 1, limit + 0.5, limit - 0.5)
        yield from (math.floor(limit), math.ceil(limit))
    if len(limits) > 1:
        yield (min(limits) + max(limits)) / 2
    yield from (1, 0, -1, 0.5, 2, 3, 5, 7, 100, 1_000_000, -1_000_000, 0.001)


def fresh_keys(schemas: Iterable[Schema]) -> Iterator[str]:
    """Keys that none of the schemas names, first those that no pattern of theirs matches."""
    given = list(schemas)
    free = [key for key in _FRESH_KEYS if not any(key in schema.properties for schema in given)]
    patterns = [pattern for schema in given for pattern in schema.get("patternProperties", {})]
    yield from sorted(free, key=lambda key: any(may_match(pattern, key) for pattern in patterns))


def matching_keys(pattern: str) -> Iterator[str]:
    """Keys that a pattern may match; its own plain beginning is tried as well."""
    plain = pattern.removeprefix("^").split("[")[0].split("(")[0].rstrip("$*+.?\\")
    yield from (key for key in texts_like(pattern) if may_match(pattern, key))
    yield from (
        key for key in (plain, f"{plain}a", f"{plain}1", f"a{plain}", *_FRESH_KEYS, *_TEXTS) if may_match(pattern, key)
    )


def with_required(schema: Schema, depth: int = 0) -> dict[str, Any]:
    """The keys that a schema requires, each with a sample where one is known."""
    if schema.least is not None:
        return dict(schema.least)
    found = {key: value for key in schema.required for value in sample(schema.of_key(key), depth + 1)}
    if not depth:
        schema.least = found
    return dict(found)


def _objects(schema: Schema, depth: int) -> Iterator[dict[str, Any]]:
    body = schema.body
    least = with_required(schema, depth)
    yield least
    if _ABOUT_KEYS.isdisjoint(body):
        return
    full = dict(least)
    for key in itertools.islice(schema.properties, 60):
        for value in sample(schema.of_key(key), depth + 2):
            full[key] = value
            yield least | {key: value}
    yield full
    for wanted in sorted(
        {int(body[key]) + more for key in ("minProperties", "maxProperties") if key in body for more in (-1, 0, 1)}
    ):
        if 0 <= wanted <= _MOST_ITEMS:
            yield _of_size(schema, least, full, wanted, depth)
    for key in {**body.get("dependentRequired", {}), **body.get("dependentSchemas", {})}:
        for value in sample(schema.of_key(key), depth + 1):
            needed = {other: inner for other in body.get("dependentRequired", {}).get(key, ())
                      for inner in sample(schema.of_key(other), depth + 1)}  # fmt: skip
            yield least | {key: value} | needed
            yield least | {key: value}
    for key in itertools.islice(itertools.chain(fresh_keys([schema]), _TEXTS), 8):
        for value in sample(schema.of_key(key), depth + 2):
            yield least | {key: value}


def _of_size(schema: Schema, least: dict[str, Any], full: dict[str, Any], wanted: int, depth: int) -> dict[str, Any]:
    found = dict(least)
    more = itertools.chain(full, fresh_keys([schema]), (f"key_{number}" for number in range(wanted)))
    for key in more:
        if len(found) >= wanted:
            break
        for value in sample(schema.of_key(key), depth + 2):
            found.setdefault(key, value)
    return found


def _arrays(schema: Schema, depth: int) -> Iterator[list[Any]]:
    body = schema.body
    yield []
    lengths = {int(body[key]) + more for key in ("minItems", "maxItems") if key in body for more in (-1, 0, 1)}
    first = len(body.get("prefixItems", []))
    lengths |= {1, 2, first, first + 1}
    kept = [
        value for value in itertools.islice(candidates(schema.keyword("items"), depth + 2), 40)
        if surely_accepts(schema.keyword("items"), value)
    ]  # fmt: skip
    for length in sorted(length for length in lengths if 0 < length <= _MOST_ITEMS):
        made = items(schema, length, kept, depth)
        if made is not None:
            yield made
            if "contains" in body:
                for value in sample(schema.keyword("contains"), depth + 1):
                    yield [value, *made[1:]]
                    yield [value] * length
            if length > 1 and length > first:
                yield [*made[:-1], made[0]]
    for value in kept[:12]:
        if not first:
            yield [value]


def items(schema: Schema, length: int, kept: list[Any], depth: int) -> list[Any] | None:
    """So many items, different ones where there are enough; None where a place takes none."""
    made: list[Any] = []
    for place in range(length):
        if place < len(schema.get("prefixItems", [])):
            value = next(sample(schema.of_item(place), depth + 1), _NONE)
        elif kept:
            value = kept[place % len(kept)]
            if place >= len(kept) and isinstance(value, int) and not isinstance(value, bool):
                value = value + 1000 * place
            elif place >= len(kept) and isinstance(value, str):
                value = f"{value}{place}"
        else:
            value = _NONE
        if value is _NONE:
            return None
        made.append(value)
    return made


_NONE = object()
