"""Rules on what a single value may be: its type, listed values, pattern, format and step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from activation_dagster.domain.compatibility.acceptance import surely_accepts, surely_refuses
from activation_dagster.domain.compatibility.changes import NEITHER, Direction, Finding, Pair, Rule
from activation_dagster.domain.compatibility.documents import Schema
from activation_dagster.domain.compatibility.json_values import key_of, text_of
from activation_dagster.domain.compatibility.keywords import COMBINERS

Verb = str
_WIDER_FORMATS = {
    "email": {"idn-email"},
    "hostname": {"idn-hostname"},
    "uri": {"uri-reference", "iri", "iri-reference"},
    "uri-reference": {"iri-reference"},
    "iri": {"iri-reference"},
}
"""Formats of which every text is also of those formats."""


def _broken(pair: Pair, is_broken: Callable[[Schema, Schema], bool]) -> frozenset[Direction]:
    """The directions in which a writer and a reader do not fit."""
    return frozenset(d for d in Direction if is_broken(pair.writer(d), pair.reader(d)))


# -- type -------------------------------------------------------------------------------------------------------------


def _type_verb(pair: Pair) -> Verb:
    old, new = pair.old.declared_atoms, pair.new.declared_atoms
    if old == new:
        return ""
    return "EXTENDED" if old < new else "NARROWED" if new < old else "CHANGED"


def _types(schema: Schema) -> str:
    """The types that a schema says, or the words that say something of it instead."""
    words = [word for word in ("allOf", "anyOf", "oneOf", "not", "enum", "const") if schema.get(word) is not None]
    return " or ".join(schema.get("type", [])) or (f"said by {' and '.join(words)}" if words else "anything")


def _type_finder(verb: Verb) -> Callable[[Pair], Iterator[Finding]]:
    def find(pair: Pair) -> Iterator[Finding]:
        if _type_verb(pair) == verb:
            yield Finding(
                message=f"the type was {_types(pair.old)} and is {_types(pair.new)}",
                breaks=_broken(pair, lambda writer, reader: not writer.atoms <= reader.declared_atoms),
                keywords=("type",),
            )

    return find


# -- enum and const ---------------------------------------------------------------------------------------------------


def _listed(pair: Pair) -> tuple[list[Any], list[Any]]:
    """The values that only the old, and that only the new list has."""
    old, new = pair.old.get("enum", []), pair.new.get("enum", [])
    olds, news = set(map(key_of, old)), set(map(key_of, new))
    return [v for v in old if key_of(v) not in news], [v for v in new if key_of(v) not in olds]


def _enum_is_broken(writer: Schema, reader: Schema) -> bool:
    if "enum" not in reader.body:
        return False
    if "enum" not in writer.body:
        return True
    allowed = set(map(key_of, reader.body["enum"]))
    return any(key_of(value) not in allowed and not surely_refuses(writer, value) for value in writer.body["enum"])


def _names(values: list[Any]) -> str:
    shown = ", ".join(text_of(value) for value in values[:5])
    return f"{shown} and {len(values) - 5} more" if len(values) > 5 else shown


def _enum_finder(verb: Verb) -> Callable[[Pair], Iterator[Finding]]:
    def find(pair: Pair) -> Iterator[Finding]:
        had, has = "enum" in pair.old.body, "enum" in pair.new.body
        gone, fresh = _listed(pair)
        if not had and has:
            found, message = "ADDED", f"only {_names(fresh)} may stand there now"
        elif had and not has:
            found, message = "REMOVED", f"other values than {_names(gone)} may stand there now"
        elif gone and fresh:
            found, message = "CHANGED", f"{_names(gone)} may stand there no more, and {_names(fresh)} may now"
        elif gone:
            found, message = "NARROWED", f"{_names(gone)} may stand there no more"
        elif fresh:
            found, message = "EXTENDED", f"{_names(fresh)} may stand there now"
        else:
            return
        if found == verb:
            yield Finding(message=message, breaks=_broken(pair, _enum_is_broken), keywords=("enum",))

    return find


# -- pattern, format, multipleOf --------------------------------------------------------------------------------------


def _pattern_is_broken(writer: Schema, reader: Schema) -> bool:
    wanted = reader.get("pattern")
    return wanted is not None and wanted != writer.get("pattern") and "string" in writer.atoms


def _format_is_broken(writer: Schema, reader: Schema) -> bool:
    wanted, given = reader.get("format"), writer.get("format")
    return (
        wanted is not None
        and wanted != given
        and wanted not in _WIDER_FORMATS.get(str(given), ())
        and "string" in writer.atoms
    )


def _multiple_is_broken(writer: Schema, reader: Schema) -> bool:
    wanted, given = reader.get("multipleOf"), writer.get("multipleOf")
    if wanted is None or not writer.atoms & {"integer", "fraction"}:
        return False
    if "fraction" not in writer.atoms and Decimal(1) % Decimal(repr(wanted)) == 0:
        return False
    return given is None or Decimal(repr(given)) % Decimal(repr(wanted)) != 0


def _verb(old: Any, new: Any) -> Verb:
    if old == new:
        return ""
    return "ADDED" if old is None else "REMOVED" if new is None else "CHANGED"


def _finder(
    keyword: str, verb: Verb, is_broken: Callable[[Schema, Schema], bool]
) -> Callable[[Pair], Iterator[Finding]]:
    def find(pair: Pair) -> Iterator[Finding]:
        old, new = pair.old.get(keyword), pair.new.get(keyword)
        if _verb(old, new) != verb:
            return
        message = {
            "ADDED": f"{keyword} {text_of(new)} is new",
            "REMOVED": f"{keyword} {text_of(old)} is gone",
            "CHANGED": f"{keyword} was {text_of(old)} and is {text_of(new)}",
        }[verb]
        yield Finding(message=message, breaks=_broken(pair, is_broken), keywords=(keyword,))

    return find


# -- what asserts nothing ---------------------------------------------------------------------------------------------

ANNOTATIONS = ("title", "description", "default", "$id", "examples", "deprecated", "readOnly", "writeOnly")


def _annotation(pair: Pair) -> Iterator[Finding]:
    for key in ANNOTATIONS:
        old, new = pair.old.written.get(key), pair.new.written.get(key)
        if text_of(old) != text_of(new):
            yield Finding(message=f"{key} changed; nothing is judged by it", breaks=NEITHER)


# -- nothing and something --------------------------------------------------------------------------------------------


def _closed(pair: Pair) -> Iterator[Finding]:
    if pair.new.is_false and not pair.old.is_false:
        yield Finding(message="nothing may stand there any more", breaks=frozenset({Direction.BACKWARD}))


def _opened(pair: Pair) -> Iterator[Finding]:
    if pair.old.is_false and not pair.new.is_false:
        yield Finding(message="something may stand there now", breaks=frozenset({Direction.FORWARD}))


CLOSING_RULES = (
    Rule(
        rule_id="SCHEMA_CLOSED",
        purpose="A schema that accepts nothing refuses all old data.",
        keywords=frozenset(),
        find=_closed,
    ),
    Rule(
        rule_id="SCHEMA_OPENED",
        purpose="What was never allowed is allowed now: old readers refuse it.",
        keywords=frozenset(),
        find=_opened,
    ),
)
"""Looked at first: beside a schema that accepts nothing no other rule has anything to say."""

_PURPOSES = {
    ("type", "EXTENDED"): "More types may stand there (integer to number among them): old readers refuse the new ones.",
    ("type", "NARROWED"): "Fewer types may stand there: old data of the others is refused.",
    ("type", "CHANGED"): "Other types may stand there: both sides refuse each other.",
    ("enum", "ADDED"): "A free value became a choice.",
    ("enum", "REMOVED"): "A choice became a free value.",
    ("enum", "EXTENDED"): "More values to choose from: old readers refuse them.",
    ("enum", "NARROWED"): "Fewer values to choose from: old data with the others is refused.",
    ("enum", "CHANGED"): "Other values to choose from; a changed const is one of these.",
    ("pattern", "ADDED"): "A text must now look a certain way.",
    ("pattern", "REMOVED"): "A text need not look a certain way any more.",
    ("pattern", "CHANGED"): "Whether one pattern implies another is not decided: a changed pattern breaks both ways.",
    ("format", "ADDED"): "A text must now be of a format, for validators that assert formats.",
    ("format", "REMOVED"): "A text need not be of a format any more.",
    ("format", "CHANGED"): "Another format, unless each text of the one is also of the other.",
    ("multipleOf", "ADDED"): "A number must now be a multiple.",
    ("multipleOf", "REMOVED"): "A number need not be a multiple any more.",
    ("multipleOf", "CHANGED"): "A divisor of the old step widens, a multiple of it narrows, another one does both.",
}
_STEMS = {"type": "TYPE", "enum": "ENUM_ARRAY", "pattern": "PATTERN", "format": "FORMAT", "multipleOf": "MULTIPLE_OF"}
_BROKEN = {"pattern": _pattern_is_broken, "format": _format_is_broken, "multipleOf": _multiple_is_broken}


def _find_for(keyword: str, verb: Verb) -> Callable[[Pair], Iterator[Finding]]:
    if keyword == "type":
        return _type_finder(verb)
    return _enum_finder(verb) if keyword == "enum" else _finder(keyword, verb, _BROKEN[keyword])


RULES = (
    *(
        Rule(
            rule_id=f"{_STEMS[keyword]}_{verb}",
            purpose=purpose,
            keywords=frozenset({keyword}),
            find=_find_for(keyword, verb),
        )
        for (keyword, verb), purpose in _PURPOSES.items()
    ),
    Rule(
        rule_id="ANNOTATION_CHANGED",
        purpose="Titles, descriptions, defaults and identifiers judge nothing.",
        keywords=frozenset(ANNOTATIONS),
        find=_annotation,
    ),
)


_MOVED_BY_A_KEY = frozenset({"maxProperties", "propertyNames", "dependentRequired", *COMBINERS})
"""Keywords that may accept an object without a key and refuse it with the key filled in."""


def is_default_sound(schema: Schema, key: str) -> bool:
    """Whether a reader fills in a missing key by a default that it accepts itself, whatever else is there."""
    raw = schema.properties.get(key)
    if not isinstance(raw, dict) or "default" not in raw or not _MOVED_BY_A_KEY.isdisjoint(schema.body):
        return False
    return surely_accepts(schema.of_key(key), raw["default"])
