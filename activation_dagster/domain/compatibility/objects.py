"""Rules on the keys of objects that one version declares or requires and the other does not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from activation_dagster.domain.compatibility.acceptance import surely_refuses
from activation_dagster.domain.compatibility.changes import NEITHER, Direction, Finding, Pair, Policy, Rule
from activation_dagster.domain.compatibility.documents import Schema
from activation_dagster.domain.compatibility.instances import (
    candidates,
    with_required,
)
from activation_dagster.domain.compatibility.values import is_default_sound

BACKWARD, FORWARD = Direction.BACKWARD, Direction.FORWARD
OBJECT_MODEL = frozenset({"properties", "patternProperties", "additionalProperties"})


def holds_objects(schema: Schema) -> bool:
    return "object" in schema.atoms


def pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


# -- declared keys ----------------------------------------------------------------------------------------------------


def _model(undeclared: Schema, declared: Schema, pair: Pair, *, is_added: bool) -> str:
    """How the side that does not declare a key treats it, in the words that name the rule."""
    if undeclared.is_false:
        return "CLOSED"
    if undeclared.is_true:
        return "EMPTY" if declared.is_true else "OPEN"
    is_covered = pair.includes(undeclared, declared) if is_added else pair.includes(declared, undeclared)
    return "COVERED" if is_covered else "NOT_COVERED"


def _key_breaks(pair: Pair, key: str, *, is_added: bool) -> frozenset[Direction]:
    undeclared_in = pair.old if is_added else pair.new
    if pair.policy is Policy.DECLARED and undeclared_in.undeclared(key).is_true:
        return NEITHER
    return frozenset(
        d
        for d in Direction
        if holds_objects(pair.writer(d))
        and not pair.writer(d).of_key(key).is_false
        and not pair.includes(pair.writer(d).of_key(key), pair.reader(d).of_key(key))
    )


def _with_key(pair: Pair, key: str) -> Callable[[Direction], Iterable[Any]]:
    """Objects that hold a key with what the writer takes there and the reader perhaps not."""

    def proof(direction: Direction) -> Iterator[Any]:
        writer, reader = pair.writer(direction), pair.reader(direction)
        least = with_required(writer)
        mine, other = writer.of_key(key), reader.of_key(key)
        # What refuses everything has no edges of its own to look at.
        edges = (candidates(mine),) if other.is_false else (candidates(other), candidates(mine), ANYTHING)
        for value in itertools.islice(itertools.chain(*edges), 300):
            if surely_refuses(other, value) and not surely_refuses(mine, value):
                yield least | {key: value}

    return proof


ANYTHING: tuple[Any, ...] = ("text", 1, 0.5, True, None, [], {})


def _judge_of(schema: Schema, key: str) -> Schema:
    """The part of a schema that judges the value of one key."""
    if key in schema.properties and "patternProperties" not in schema.body:
        return Schema(schema.document, None, {"properties": {key: schema.properties[key]}})
    return schema.only(*OBJECT_MODEL)


def _key_finder(model: str, *, is_added: bool) -> Callable[[Pair], Iterator[Finding]]:
    def find(pair: Pair) -> Iterator[Finding]:
        mine, other = (pair.new, pair.old) if is_added else (pair.old, pair.new)
        for key in mine.properties:
            if key in other.properties:
                continue
            undeclared, declared = other.undeclared(key), mine.of_key(key)
            if _model(undeclared, declared, pair, is_added=is_added) != model:
                continue
            fragment = {d: _judge_of(pair.reader(d), key) for d in Direction}
            yield Finding(
                message=f"'{key}' is {'declared now' if is_added else 'declared no more'}, and the "
                f"{'old' if is_added else 'new'} version {_MODEL_WORDS[model]}",
                breaks=_key_breaks(pair, key, is_added=is_added),
                refused_by=fragment,
                proof=_with_key(pair, key),
                below=f"/properties/{pointer(key)}",
            )

    return find


_MODEL_WORDS = {
    "OPEN": "took any value there",
    "EMPTY": "takes any value there too",
    "CLOSED": "refuses it",
    "COVERED": "has a schema for such keys that fits",
    "NOT_COVERED": "has a schema for such keys that does not fit",
}
_KEY_RULES = {
    "OPEN": "PROPERTY_{}_OPEN_CONTENT_MODEL",
    "EMPTY": "PROPERTY_WITH_EMPTY_SCHEMA_{}_OPEN_CONTENT_MODEL",
    "CLOSED": "PROPERTY_{}_CLOSED_CONTENT_MODEL",
    "COVERED": "PROPERTY_{}_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
    "NOT_COVERED": "PROPERTY_{}_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
}
_KEY_PURPOSES = {
    "OPEN": "The open side takes the key with any value; the side that declares it does not.",
    "EMPTY": "A key that is declared with any value says nothing new in an open model.",
    "CLOSED": "The closed side refuses the key: only data without it passes both.",
    "COVERED": "The schema for other keys already says what the declaration says, or more.",
    "NOT_COVERED": "The schema for other keys lets values through that the declaration refuses, or the reverse.",
}


def _key_rule_id(model: str, *, is_added: bool) -> str:
    """The name of a rule, in the words of Confluent's registry."""
    verb = "ADDED" if is_added else "REMOVED"
    if "COVERED" not in model:
        verb += "_TO" if is_added else "_FROM"
    return _KEY_RULES[model].format(verb)


# -- required keys ----------------------------------------------------------------------------------------------------


def always_required(schema: Schema) -> set[str]:
    """The keys that a schema is seen to require, its allOf branches included."""
    return set(schema.required).union(*(always_required(branch) for branch in schema.schemas("allOf")))


def _required_finder(verb: str) -> Callable[[Pair], Iterator[Finding]]:
    is_added = verb.endswith("ADDED")
    direction = BACKWARD if is_added else FORWARD

    def find(pair: Pair) -> Iterator[Finding]:
        writer, reader = pair.writer(direction), pair.reader(direction)
        for key in dict.fromkeys(reader.required):
            has_default = is_default_sound(reader, key)
            if key in writer.required or has_default != ("WITH_DEFAULT" in verb):
                continue
            is_broken = not has_default and holds_objects(writer) and key not in always_required(writer)
            state = "is required now" if is_added else "is required no more"
            fills = f", and the {'new' if is_added else 'old'} version fills in its default" if has_default else ""
            yield Finding(
                message=f"'{key}' {state}{fills}",
                breaks=frozenset({direction}) if is_broken else NEITHER,
                refused_by={direction: Schema(reader.document, None, {"required": [key]})},
                below=f"/required/{pointer(key)}",
            )

    return find


RULES = (
    *(
        Rule(
            rule_id=_key_rule_id(model, is_added=is_added),
            purpose=_KEY_PURPOSES[model],
            keywords=OBJECT_MODEL,
            find=_key_finder(model, is_added=is_added),
        )
        for model in _KEY_RULES
        for is_added in (True, False)
    ),
    *(
        Rule(
            rule_id=f"REQUIRED_ATTRIBUTE_{verb}",
            purpose=purpose,
            keywords=frozenset({"required"}),
            find=_required_finder(verb),
        )
        for verb, purpose in {
            "ADDED": "Old data without the key is refused.",
            "WITH_DEFAULT_ADDED": "Old data without the key is read with the default filled in.",
            "REMOVED": "Old readers refuse new data without the key.",
            "WITH_DEFAULT_REMOVED": "Old readers fill in their default.",
        }.items()
    ),
)
