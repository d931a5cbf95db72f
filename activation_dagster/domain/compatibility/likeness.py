"""Whether two parts of documents say the same word for word, what they refer to included."""

from __future__ import annotations

from typing import Any, cast

from activation_dagster.domain.compatibility.documents import Document, Schema
from activation_dagster.domain.compatibility.json_values import text_of
from activation_dagster.errors import WrongUse

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def are_alike(one: Schema, other: Schema) -> bool:
    """Whether two schemas, as they were written, say the same."""
    mine, theirs = (side.raw if side.raw is not None else side.body for side in (one, other))
    return say_the_same(one.document, mine, other.document, theirs)


def say_the_same(one: Document, mine: Any, other: Document, theirs: Any) -> bool:
    """Whether two parts are equal texts of which every reference leads to equal texts."""
    text = text_of(mine)
    if text != text_of(theirs):
        return False
    return one is other or '"$' not in text or _followed(one, mine) == _followed(other, theirs)


def _followed(document: Document, raw: Any) -> dict[str, str]:
    """Every reference that leads on from a part of a document, with the text of what it names."""
    found: dict[str, str] = {}
    waiting = [raw]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(cast("list[Any]", value))
        elif isinstance(value, dict):
            held = cast("dict[str, Any]", value)
            waiting.extend(held.values())
            for key in _REFERENCES:
                name = held.get(key)
                if not isinstance(name, str) or name in found:
                    continue
                try:
                    target = document.target(name)
                except WrongUse:
                    target = None  # a value that only looks like a reference, as under const
                found[name] = text_of(target)
                waiting.append(target)
    return found
