"""Rules on the keys of objects that are not declared by name, and on those that need others beside them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from activation_dagster.domain.compatibility.acceptance import surely_refuses
from activation_dagster.domain.compatibility.changes import NEITHER, Direction, Finding, Pair, Rule
from activation_dagster.domain.compatibility.documents import Schema
from activation_dagster.domain.compatibility.instances import (
    candidates,
    fresh_keys,
    matching_keys,
    sample,
    with_required,
)
from activation_dagster.domain.compatibility.json_values import is_readable, may_match
from activation_dagster.domain.compatibility.likeness import say_the_same
from activation_dagster.domain.compatibility.objects import (
    ANYTHING,
    BACKWARD,
    FORWARD,
    OBJECT_MODEL,
    always_required,
    holds_objects,
    pointer,
)

# -- other keys -------------------------------------------------------------------------------------------------------


def additional_verb(old: Schema, new: Schema) -> str:
    if old.is_false and not new.is_false:
        return "ADDED"
    if new.is_false and not old.is_false:
        return "REMOVED"
    if old.is_true and not new.is_true:
        return "NARROWED"
    return "EXTENDED" if new.is_true and not old.is_true else ""


def _additional_finder(verb: str) -> Callable[[Pair], Iterator[Finding]]:
    def find(pair: Pair) -> Iterator[Finding]:
        old, new = pair.old.keyword("additionalProperties"), pair.new.keyword("additionalProperties")
        if additional_verb(old, new) != verb:
            return
        pairs = {BACKWARD: (old, new), FORWARD: (new, old)}

        def proof(direction: Direction) -> Iterator[Any]:
            writer = pair.writer(direction)
            mine, other = pairs[direction]
            for key in itertools.islice(fresh_keys([pair.old, pair.new]), 6):
                for value in itertools.islice(itertools.chain(ANYTHING, candidates(mine), candidates(other)), 80):
                    if not surely_refuses(mine, value) and surely_refuses(other, value):
                        yield with_required(writer) | {key: value}
                        break

        yield Finding(
            message={
                "ADDED": "undeclared keys are taken now",
                "REMOVED": "undeclared keys are refused now",
                "NARROWED": "undeclared keys must satisfy a schema now",
                "EXTENDED": "undeclared keys may hold anything now",
            }[verb],
            breaks=frozenset(
                d
                for d, (mine, other) in pairs.items()
                if holds_objects(pair.writer(d)) and not pair.includes(mine, other)
            ),
            refused_by={
                d: pair.reader(d).only("properties", "patternProperties", "additionalProperties") for d in Direction
            },
            proof=proof,
            below="/additionalProperties",
        )

    return find


def _sources(schema: Schema, pattern: str) -> Iterator[Schema]:
    """Everything that may be said of a key that matches a pattern by a side that does not have the pattern."""
    for key in schema.properties:
        if may_match(pattern, key):
            yield schema.of_key(key)
    yield from (schema.of(raw) for raw in schema.get("patternProperties", {}).values())
    yield schema.keyword("additionalProperties")


def _pattern_finder(*, is_added: bool) -> Callable[[Pair], Iterator[Finding]]:
    def find(pair: Pair) -> Iterator[Finding]:
        mine, other = (pair.new, pair.old) if is_added else (pair.old, pair.new)
        narrows, widens = (BACKWARD, FORWARD) if is_added else (FORWARD, BACKWARD)
        for pattern, raw in mine.get("patternProperties", {}).items():
            if pattern in other.get("patternProperties", {}):
                continue
            wanted = mine.of(raw)
            breaks: set[Direction] = set()
            if holds_objects(other) and not all(pair.includes(source, wanted) for source in _sources(other, pattern)):
                breaks.add(narrows)
            if holds_objects(mine) and not pair.includes(wanted, other.keyword("additionalProperties")):
                breaks.add(widens)

            def proof(direction: Direction, pattern: str = pattern) -> Iterator[Any]:
                writer, reader = pair.writer(direction), pair.reader(direction)
                for key in itertools.islice(matching_keys(pattern), 8):
                    for value in itertools.islice(itertools.chain(candidates(writer.of_key(key)), ANYTHING), 80):
                        if surely_refuses(reader.of_key(key), value):
                            yield with_required(writer) | {key: value}

            yield Finding(
                message=f"keys like '{pattern}' have {'a schema' if is_added else 'no schema'} of their own now",
                breaks=frozenset(breaks),
                refused_by={
                    d: pair.reader(d).only("properties", "patternProperties", "additionalProperties") for d in Direction
                },
                proof=proof,
                below=f"/patternProperties/{pointer(pattern)}",
            )

    return find


def _unreadable(pair: Pair) -> Iterator[Finding]:
    patterns = {**pair.old.get("patternProperties", {}), **pair.new.get("patternProperties", {})}
    strange = [pattern for pattern in patterns if not is_readable(pattern)]
    old, new = ({key: side.get(key) for key in OBJECT_MODEL} for side in (pair.old, pair.new))
    if strange and not say_the_same(pair.old.document, old, pair.new.document, new):
        yield Finding(
            message=f"which keys '{strange[0]}' matches cannot be told, so nothing beside it is known to fit",
            breaks=frozenset(Direction),
            below=f"/patternProperties/{pointer(strange[0])}",
        )


# -- keys that need others --------------------------------------------------------------------------------------------


def _is_read_by_all(schema: Schema) -> bool:
    """Whether every validator reads what it says of dependencies: the older keyword needs a `$schema` that has it."""
    return "dependencies" not in schema.written or schema.document.is_old_draft


def _needs_finder(verb: str) -> Callable[[Pair], Iterator[Finding]]:
    direction = BACKWARD if verb == "EXTENDED" else FORWARD

    def find(pair: Pair) -> Iterator[Finding]:
        writer, reader = pair.writer(direction), pair.reader(direction)
        for key, needed in reader.get("dependentRequired", {}).items():
            more = [other for other in needed if other not in writer.get("dependentRequired", {}).get(key, ())]
            if not more:
                continue
            is_broken = (
                holds_objects(writer) and not set(more) <= always_required(writer) and not writer.of_key(key).is_false
            )
            state = "needs" if verb == "EXTENDED" else "no longer needs"
            yield Finding(
                message=f"'{key}' {state} {', '.join(map(repr, more))} beside it",
                breaks=frozenset({direction}) if is_broken else NEITHER,
                refused_by={direction: Schema(reader.document, None, {"dependentRequired": {key: more}})},
                proof=lambda d, key=key: (
                    with_required(pair.writer(d)) | {key: value} for value in sample(pair.writer(d).of_key(key))
                ),
                below=f"/dependentRequired/{pointer(key)}",
                is_provable=_is_read_by_all(reader),
            )

    return find


def _schema_needs_finder(verb: str) -> Callable[[Pair], Iterator[Finding]]:
    direction = BACKWARD if verb == "ADDED" else FORWARD

    def find(pair: Pair) -> Iterator[Finding]:
        writer, reader = pair.writer(direction), pair.reader(direction)
        for key, raw in reader.get("dependentSchemas", {}).items():
            if key in writer.get("dependentSchemas", {}):
                continue
            needed = reader.of(raw)
            may_hold = holds_objects(writer) and not writer.of_key(key).is_false
            is_broken = may_hold and not pair.includes(writer, needed)
            yield Finding(
                message=f"an object with '{key}' {'must' if verb == 'ADDED' else 'need not'} satisfy one more schema",
                breaks=frozenset({direction}) if is_broken else NEITHER,
                refused_by={direction: Schema(reader.document, None, {"dependentSchemas": {key: raw}})},
                proof=lambda d, key=key: (
                    with_required(pair.writer(d)) | {key: value} for value in sample(pair.writer(d).of_key(key))
                ),
                below=f"/dependentSchemas/{pointer(key)}",
                is_provable=_is_read_by_all(reader),
            )

    return find


RULES = (
    *(
        Rule(
            rule_id=f"ADDITIONAL_PROPERTIES_{verb}",
            purpose=purpose,
            keywords=frozenset({"additionalProperties"}),
            find=_additional_finder(verb),
        )
        for verb, purpose in {
            "ADDED": "A closed model opens: old readers refuse the new keys.",
            "REMOVED": "A model closes: old data with other keys is refused.",
            "NARROWED": "An open model says what other keys may hold.",
            "EXTENDED": "Other keys may hold anything.",
        }.items()
    ),
    *(
        Rule(
            rule_id=f"PATTERN_PROPERTY_{'ADDED' if is_added else 'REMOVED'}",
            purpose=purpose,
            keywords=frozenset({"patternProperties"}),
            find=_pattern_finder(is_added=is_added),
        )
        for is_added, purpose in {
            True: "Keys of a kind have a schema of their own, which what stood there must satisfy.",
            False: "Keys of a kind fall back to what holds for all other keys.",
        }.items()
    ),
    Rule(
        rule_id="PATTERN_PROPERTY_UNREADABLE",
        purpose="A pattern for keys in a dialect that is not read here: any change beside it breaks.",
        keywords=frozenset({"patternProperties"}),
        find=_unreadable,
    ),
    *(
        Rule(
            rule_id=f"DEPENDENCY_ARRAY_{verb}",
            purpose=purpose,
            keywords=frozenset({"dependentRequired", "dependencies"}),
            find=_needs_finder(verb),
        )
        for verb, purpose in {
            "EXTENDED": "A key needs more keys beside it: old data without them is refused.",
            "NARROWED": "A key needs fewer keys beside it: old readers refuse data without them.",
        }.items()
    ),
    *(
        Rule(
            rule_id=f"DEPENDENCY_SCHEMA_{verb}",
            purpose=purpose,
            keywords=frozenset({"dependentSchemas", "dependencies"}),
            find=_schema_needs_finder(verb),
        )
        for verb, purpose in {
            "ADDED": "An object with a key must satisfy more.",
            "REMOVED": "An object with a key must satisfy less.",
        }.items()
    ),
)
