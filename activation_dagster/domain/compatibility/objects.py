"""Rules on objects: which keys are declared, required or taken, and what those that depend on others need."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from activation_dagster.domain.compatibility.acceptance import surely_refuses
from activation_dagster.domain.compatibility.changes import NEITHER, Child, Direction, Finding, Pair, Policy, Rule
from activation_dagster.domain.compatibility.documents import Schema, conjunction, is_readable, may_match, text_of
from activation_dagster.domain.compatibility.instances import (
    candidates,
    fresh_keys,
    matching_keys,
    sample,
    with_required,
)
from activation_dagster.domain.compatibility.values import is_default_sound

BACKWARD, FORWARD = Direction.BACKWARD, Direction.FORWARD
_OBJECT = frozenset({"properties", "patternProperties", "additionalProperties"})


def _holds_objects(schema: Schema) -> bool:
    return "object" in schema.atoms


def _pointer(key: str) -> str:
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
        if _holds_objects(pair.writer(d))
        and not pair.writer(d).of_key(key).is_false
        and not pair.includes(pair.writer(d).of_key(key), pair.reader(d).of_key(key))
    )


def _with_key(pair: Pair, key: str) -> Callable[[Direction], Iterable[Any]]:
    """Objects that hold a key with what the writer takes there and the reader perhaps not."""

    def proof(direction: Direction) -> Iterator[Any]:
        writer, reader = pair.writer(direction), pair.reader(direction)
        least = with_required(writer)
        mine, other = writer.of_key(key), reader.of_key(key)
        for value in itertools.islice(itertools.chain(candidates(other), candidates(mine), _ANY), 300):
            if surely_refuses(other, value) and not surely_refuses(mine, value):
                yield least | {key: value}

    return proof


_ANY: tuple[Any, ...] = ("text", 1, 0.5, True, None, [], {})


def _key_finder(model: str, *, is_added: bool) -> Callable[[Pair], Iterator[Finding]]:
    def find(pair: Pair) -> Iterator[Finding]:
        mine, other = (pair.new, pair.old) if is_added else (pair.old, pair.new)
        for key in mine.properties:
            if key in other.properties:
                continue
            undeclared, declared = other.undeclared(key), mine.of_key(key)
            if _model(undeclared, declared, pair, is_added=is_added) != model:
                continue
            fragment = {
                d: pair.reader(d).only("properties", "patternProperties", "additionalProperties") for d in Direction
            }
            yield Finding(
                message=f"'{key}' is {'declared now' if is_added else 'declared no more'}, and the "
                f"{'old' if is_added else 'new'} version {_MODEL_WORDS[model]}",
                breaks=_key_breaks(pair, key, is_added=is_added),
                refused_by=fragment,
                proof=_with_key(pair, key),
                below=f"/properties/{_pointer(key)}",
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


def _always(schema: Schema) -> set[str]:
    """The keys that a schema is seen to require, its allOf branches included."""
    return set(schema.required).union(*(_always(branch) for branch in schema.schemas("allOf")))


def _required_finder(verb: str) -> Callable[[Pair], Iterator[Finding]]:
    is_added = verb.endswith("ADDED")
    direction = BACKWARD if is_added else FORWARD

    def find(pair: Pair) -> Iterator[Finding]:
        writer, reader = pair.writer(direction), pair.reader(direction)
        for key in dict.fromkeys(reader.required):
            has_default = is_default_sound(reader, key)
            if key in writer.required or has_default != ("WITH_DEFAULT" in verb):
                continue
            is_broken = not has_default and _holds_objects(writer) and key not in _always(writer)
            state = "is required now" if is_added else "is required no more"
            fills = f", and the {'new' if is_added else 'old'} version fills in its default" if has_default else ""
            yield Finding(
                message=f"'{key}' {state}{fills}",
                breaks=frozenset({direction}) if is_broken else NEITHER,
                refused_by={direction: Schema(reader.document, None, {"required": [key]})},
                below=f"/required/{_pointer(key)}",
            )

    return find


# -- other keys -------------------------------------------------------------------------------------------------------


def _additional_verb(old: Schema, new: Schema) -> str:
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
        if _additional_verb(old, new) != verb:
            return
        pairs = {BACKWARD: (old, new), FORWARD: (new, old)}

        def proof(direction: Direction) -> Iterator[Any]:
            writer = pair.writer(direction)
            mine, other = pairs[direction]
            for key in itertools.islice(fresh_keys([pair.old, pair.new]), 6):
                for value in itertools.islice(itertools.chain(_ANY, candidates(mine), candidates(other)), 80):
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
                if _holds_objects(pair.writer(d)) and not pair.includes(mine, other)
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
            if _holds_objects(other) and not all(pair.includes(source, wanted) for source in _sources(other, pattern)):
                breaks.add(narrows)
            if _holds_objects(mine) and not pair.includes(wanted, other.keyword("additionalProperties")):
                breaks.add(widens)

            def proof(direction: Direction, pattern: str = pattern) -> Iterator[Any]:
                writer, reader = pair.writer(direction), pair.reader(direction)
                for key in itertools.islice(matching_keys(pattern), 8):
                    for value in itertools.islice(itertools.chain(candidates(writer.of_key(key)), _ANY), 80):
                        if surely_refuses(reader.of_key(key), value):
                            yield with_required(writer) | {key: value}

            yield Finding(
                message=f"keys like '{pattern}' have {'a schema' if is_added else 'no schema'} of their own now",
                breaks=frozenset(breaks),
                refused_by={
                    d: pair.reader(d).only("properties", "patternProperties", "additionalProperties") for d in Direction
                },
                proof=proof,
                below=f"/patternProperties/{_pointer(pattern)}",
            )

    return find


def _unreadable(pair: Pair) -> Iterator[Finding]:
    patterns = {**pair.old.get("patternProperties", {}), **pair.new.get("patternProperties", {})}
    strange = [pattern for pattern in patterns if not is_readable(pattern)]
    if strange and any(text_of(pair.old.get(key)) != text_of(pair.new.get(key)) for key in _OBJECT):
        yield Finding(
            message=f"which keys '{strange[0]}' matches cannot be told, so nothing beside it is known to fit",
            breaks=frozenset(Direction),
            below=f"/patternProperties/{_pointer(strange[0])}",
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
            is_broken = _holds_objects(writer) and not set(more) <= _always(writer) and not writer.of_key(key).is_false
            state = "needs" if verb == "EXTENDED" else "no longer needs"
            yield Finding(
                message=f"'{key}' {state} {', '.join(map(repr, more))} beside it",
                breaks=frozenset({direction}) if is_broken else NEITHER,
                refused_by={direction: Schema(reader.document, None, {"dependentRequired": {key: more}})},
                proof=lambda d, key=key: (
                    with_required(pair.writer(d)) | {key: value} for value in sample(pair.writer(d).of_key(key))
                ),
                below=f"/dependentRequired/{_pointer(key)}",
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
            may_hold = _holds_objects(writer) and not writer.of_key(key).is_false
            is_broken = may_hold and not pair.includes(writer, needed)
            yield Finding(
                message=f"an object with '{key}' {'must' if verb == 'ADDED' else 'need not'} satisfy one more schema",
                breaks=frozenset({direction}) if is_broken else NEITHER,
                refused_by={direction: Schema(reader.document, None, {"dependentSchemas": {key: raw}})},
                proof=lambda d, key=key: (
                    with_required(pair.writer(d)) | {key: value} for value in sample(pair.writer(d).of_key(key))
                ),
                below=f"/dependentSchemas/{_pointer(key)}",
                is_provable=_is_read_by_all(reader),
            )

    return find


RULES = (
    *(
        Rule(
            rule_id=_key_rule_id(model, is_added=is_added),
            purpose=_KEY_PURPOSES[model],
            keywords=_OBJECT,
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


# -- places below -----------------------------------------------------------------------------------------------------


def _at(key: str) -> Callable[[Schema, Any], Iterator[Any]]:
    def lift(parent: Schema, value: Any) -> Iterator[Any]:
        yield with_required(parent) | {key: value}
        for full in sample(parent):
            if isinstance(full, dict):
                yield cast("dict[str, Any]", full) | {key: value}

    return lift


def _at_fresh(old: Schema, new: Schema) -> Callable[[Schema, Any], Iterator[Any]]:
    def lift(parent: Schema, value: Any) -> Iterator[Any]:
        for key in itertools.islice(fresh_keys([old, new]), 3):
            yield with_required(parent) | {key: value}

    return lift


def _at_matching(pattern: str) -> Callable[[Schema, Any], Iterator[Any]]:
    def lift(parent: Schema, value: Any) -> Iterator[Any]:
        for key in itertools.islice(matching_keys(pattern), 3):
            yield with_required(parent) | {key: value}

    return lift


def _as_key(parent: Schema, value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        for inner in sample(parent.of_key(value)):
            yield with_required(parent) | {value: inner}


def _as_it_is(parent: Schema, value: Any) -> Iterator[Any]:
    for full in sample(parent):
        if isinstance(full, dict) and isinstance(value, dict):
            yield cast("dict[str, Any]", full) | cast("dict[str, Any]", value)
    yield value


def children(pair: Pair) -> Iterator[Child]:
    """The places inside an object that both versions speak about."""
    old, new = pair.old, pair.new
    for key in old.properties:
        if key in new.properties:
            yield Child(
                path=f"/properties/{_pointer(key)}",
                old=old.of(old.properties[key]),
                new=new.of(new.properties[key]),
                lift=_at(key),
            )
    patterns = new.get("patternProperties", {})
    for pattern, raw in old.get("patternProperties", {}).items():
        if pattern in patterns:
            yield Child(
                path=f"/patternProperties/{_pointer(pattern)}",
                old=old.of(raw),
                new=new.of(patterns[pattern]),
                lift=_at_matching(pattern),
            )
    others = old.keyword("additionalProperties"), new.keyword("additionalProperties")
    if not _additional_verb(*others):
        yield Child(path="/additionalProperties", old=others[0], new=others[1], lift=_at_fresh(old, new))
    if "propertyNames" in old.body or "propertyNames" in new.body:
        text = Schema(old.document, None, {"type": ["string"]})
        names = [conjunction(side.document, [text, side.keyword("propertyNames")]) for side in (old, new)]
        yield Child(path="/propertyNames", old=names[0], new=names[1], lift=_as_key)
    schemas = new.get("dependentSchemas", {})
    for key, raw in old.get("dependentSchemas", {}).items():
        if key in schemas:
            yield Child(
                path=f"/dependentSchemas/{_pointer(key)}", old=old.of(raw), new=new.of(schemas[key]), lift=_as_it_is
            )
