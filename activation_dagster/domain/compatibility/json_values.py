"""JSON values and the texts of patterns: equality, types and matching as JSON Schema has them, not as Python does."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, cast

ATOMS = frozenset({"null", "boolean", "object", "array", "string", "integer", "fraction"})
"""The types that share no value; `number` is `integer` and `fraction`."""


def text_of(value: Any) -> str:
    """One text for one JSON value; `true` and `1` differ, as they must and do not in Python."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def atom_of(value: Any) -> str:
    """The type of a parsed JSON value, as one of ATOMS."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "fraction"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def key_of(value: Any) -> Any:
    """Something hashable that is equal for equal JSON values: `1` equals `1.0` and differs from `true`."""
    match value:
        case bool() | None | str():
            return (atom_of(value), value)
        case int() | float():
            return ("number", value)
        case list():
            return ("array", tuple(key_of(inner) for inner in cast("list[Any]", value)))
        case _:
            pairs = cast("dict[str, Any]", value).items()
            return ("object", frozenset((key, key_of(inner)) for key, inner in pairs))


class Undecided(Exception):
    """A pattern of another dialect, or a keyword, that this module cannot decide; never leaves the engine."""


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    # `$` ends the text in JSON Schema; Python's also stands before a last line feed.
    text = pattern[:-1] + r"\Z" if pattern.endswith("$") and not pattern.endswith("\\$") else pattern
    try:
        return re.compile(text)
    except (re.error, OverflowError):
        return None


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text. Raises Undecided for one that Python cannot read."""
    found = _compiled(pattern)
    if found is None:
        raise Undecided
    return found.search(text) is not None


def may_match(pattern: str, text: str) -> bool:
    """Whether a pattern could be found in a text; yes where that cannot be told."""
    found = _compiled(pattern)
    return found is None or found.search(text) is not None


def is_readable(pattern: str) -> bool:
    """Whether Python reads a pattern as JSON Schema's dialect does."""
    return _compiled(pattern) is not None
