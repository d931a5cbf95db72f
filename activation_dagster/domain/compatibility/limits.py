"""Rules on limits: lengths, sizes and bounds, each added, removed, raised or lowered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from activation_dagster.domain.compatibility.changes import Direction, Finding, Pair, Rule
from activation_dagster.domain.compatibility.documents import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    keyword: str
    stem: str
    atoms: frozenset[str]
    is_upper: bool


_NUMBERS = frozenset({"integer", "fraction"})
_LIMITS = tuple(
    _Limit(keyword=keyword, stem=stem, atoms=atoms, is_upper="MAX" in stem)
    for keyword, stem, atoms in (
        ("minLength", "MIN_LENGTH", frozenset({"string"})),
        ("maxLength", "MAX_LENGTH", frozenset({"string"})),
        ("minimum", "MINIMUM", _NUMBERS),
        ("maximum", "MAXIMUM", _NUMBERS),
        ("exclusiveMinimum", "EXCLUSIVE_MINIMUM", _NUMBERS),
        ("exclusiveMaximum", "EXCLUSIVE_MAXIMUM", _NUMBERS),
        ("minItems", "MIN_ITEMS", frozenset({"array"})),
        ("maxItems", "MAX_ITEMS", frozenset({"array"})),
        ("minProperties", "MIN_PROPERTIES", frozenset({"object"})),
        ("maxProperties", "MAX_PROPERTIES", frozenset({"object"})),
    )
)


def reach(schema: Schema, *, is_upper: bool) -> tuple[float, bool]:
    """The outermost number that a schema may accept on one side, and whether it is itself accepted."""
    far = math.inf if is_upper else -math.inf
    limit = schema.get("maximum" if is_upper else "minimum", far)
    beyond = schema.get("exclusiveMaximum" if is_upper else "exclusiveMinimum", far)
    is_open = beyond <= limit if is_upper else beyond >= limit
    found = beyond if is_open else limit
    if not math.isinf(found) and "fraction" not in schema.atoms:
        # Between whole numbers there is nothing: over 0 is at least 1.
        whole = math.floor(found) if is_upper else math.ceil(found)
        if is_open and whole == found:
            whole += -1 if is_upper else 1
        return whole, True
    return found, not is_open and not math.isinf(found)


def _is_kept(limit: _Limit, writer: Schema, allowed: float) -> bool:
    """Whether everything that the writer accepts stays within the reader's limit."""
    if not limit.atoms & writer.atoms:
        return True
    if limit.atoms == _NUMBERS:
        found, is_itself = reach(writer, is_upper=limit.is_upper)
        is_within = found < allowed if limit.is_upper else found > allowed
        is_exclusive = limit.keyword.startswith("exclusive")
        return is_within or (found == allowed and not (is_exclusive and is_itself))
    if limit.keyword == "minProperties" and len(set(writer.required)) >= allowed:
        return True
    stated = writer.get(limit.keyword, math.inf if limit.is_upper else 0)
    return stated <= allowed if limit.is_upper else stated >= allowed


def _breaks(limit: _Limit, pair: Pair) -> frozenset[Direction]:
    return frozenset(
        direction
        for direction in Direction
        if limit.keyword in pair.reader(direction).body
        and not _is_kept(limit, pair.writer(direction), pair.reader(direction).body[limit.keyword])
    )


def _finder(limit: _Limit, verb: str) -> Callable[[Pair], Iterator[Finding]]:
    def find(pair: Pair) -> Iterator[Finding]:
        old, new = pair.old.get(limit.keyword), pair.new.get(limit.keyword)
        if old is None and new is not None and verb == "ADDED":
            message = f"{limit.keyword} {new:g} is new"
        elif old is not None and new is None and verb == "REMOVED":
            message = f"{limit.keyword} {old:g} is gone"
        elif (
            old is not None
            and new is not None
            and ((new > old and verb == "INCREASED") or (new < old and verb == "DECREASED"))
        ):
            message = f"{limit.keyword} went from {old:g} to {new:g}"
        else:
            return
        yield Finding(message=message, breaks=_breaks(limit, pair), keywords=(limit.keyword,))

    return find


_WHAT_IT_DOES = {
    "ADDED": "A limit that was not there narrows, unless another one was as tight already.",
    "REMOVED": "A limit that is gone widens.",
    "INCREASED": "A higher limit widens at the top and narrows at the bottom.",
    "DECREASED": "A lower limit narrows at the top and widens at the bottom.",
}

RULES = tuple(
    Rule(
        rule_id=f"{limit.stem}_{verb}",
        purpose=f"{limit.keyword}: {purpose}",
        keywords=frozenset({limit.keyword}),
        find=_finder(limit, verb),
    )
    for limit in _LIMITS
    for verb, purpose in _WHAT_IT_DOES.items()
)
