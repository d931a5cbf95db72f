"""Whether two schemas surely share no value, which `oneOf` and `not` depend on; "no" also where it cannot be told."""

from __future__ import annotations

from activation_dagster.domain.compatibility.acceptance import surely_refuses, values_of
from activation_dagster.domain.compatibility.documents import Schema
from activation_dagster.domain.compatibility.limits import reach

_DEPTH = 8


def are_disjoint(one: Schema, other: Schema, depth: int = 0) -> bool:
    """Whether no value satisfies both, beyond doubt."""
    if depth > _DEPTH:
        return False
    shared = one.atoms & other.atoms
    if one.is_false or other.is_false or not shared:
        return True
    for mine, theirs in ((one, other), (other, one)):
        values = values_of(mine)
        if values is not None and all(surely_refuses(mine, v) or surely_refuses(theirs, v) for v in values):
            return True
        for keyword in ("anyOf", "oneOf"):
            if keyword in mine.body and all(are_disjoint(part, theirs, depth + 1) for part in mine.schemas(keyword)):
                return True
        if any(are_disjoint(part, theirs, depth + 1) for part in mine.schemas("allOf")):
            return True
    return all(_are_apart(one, other, atom, depth) for atom in shared)


def _are_apart(one: Schema, other: Schema, atom: str, depth: int) -> bool:
    """Whether two schemas share no value of one type."""
    if atom in ("integer", "fraction"):
        for low, high in ((one, other), (other, one)):
            top, is_top = reach(low, is_upper=True)
            bottom, is_bottom = reach(high, is_upper=False)
            if top < bottom or (top == bottom and not (is_top and is_bottom)):
                return True
        return False
    sizes = {
        "string": ("minLength", "maxLength"),
        "array": ("minItems", "maxItems"),
        "object": ("minProperties", "maxProperties"),
    }
    if atom in sizes:
        least, most = sizes[atom]
        for short, long in ((one, other), (other, one)):
            if short.get(most, float("inf")) < long.get(least, 0):
                return True
    if atom == "object":
        needed = dict.fromkeys([*one.required, *other.required])
        return any(are_disjoint(one.of_key(key), other.of_key(key), depth + 1) for key in needed)
    if atom == "array":
        places = range(int(max(one.get("minItems", 0), other.get("minItems", 0), 0)))[:20]
        return any(are_disjoint(one.of_item(place), other.of_item(place), depth + 1) for place in places)
    return False
