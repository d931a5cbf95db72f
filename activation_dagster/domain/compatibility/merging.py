"""allOf written out as one schema, where that says the same: what was factored into parts fits what was not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from activation_dagster.domain.compatibility.documents import Body, Document, Schema
from activation_dagster.domain.compatibility.json_values import key_of
from activation_dagster.domain.compatibility.keywords import TYPE_OF

_BY_VALUE: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum"), max),
    **dict.fromkeys(("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum"), min),
    "uniqueItems": lambda one, other: one or other,
    "required": lambda one, other: list(dict.fromkeys([*one, *other])),
    "enum": lambda one, other: [value for value in one if key_of(value) in set(map(key_of, other))],
    "allOf": lambda one, other: [*one, *other],
}
"""How two values of one keyword become one that asserts both."""
_LINKED = (
    frozenset({"prefixItems", "items"}),
    frozenset({"contains", "minContains", "maxContains"}),
    frozenset({"if", "then", "else"}),
)
"""Keywords that speak about one another: what one part says of them cannot stand beside what another says."""
_OBJECT_MODEL = frozenset({"properties", "patternProperties", "additionalProperties"})


def merged(schema: Schema) -> Schema | None:
    """A schema without allOf (of this level) that accepts the same values; None where that cannot be said."""
    document = schema.document
    rest = schema.without("allOf").body
    body: Body = {}
    for part in (rest, *(branch.body for branch in schema.schemas("allOf"))):
        found = _both(document, body, part)
        if found is None:
            return None
        body = found
    return Schema(document, None, body)


def _both(document: Document, one: Body, other: Body) -> Body | None:
    if any(key.startswith("unevaluated") for key in (*one, *other)):
        return None
    for group in _LINKED:
        mine, theirs = group & one.keys(), group & other.keys()
        if mine and theirs and (mine | theirs) != frozenset({"items"}):
            return None
    found = {**one, **other}
    if _OBJECT_MODEL & one.keys() and _OBJECT_MODEL & other.keys():
        if "patternProperties" in found:
            return None
        found |= _keys(document, one, other)
    for key in (one.keys() & other.keys()) - _OBJECT_MODEL:
        if key == "type":
            atoms = Schema(document, None, one).declared_atoms & Schema(document, None, other).declared_atoms
            names = {TYPE_OF.get(atom, atom) for atom in atoms}
            if not names:
                return {"enum": []}
            found[key] = sorted(names - {"integer"} if "number" in names else names)
        elif key == "items":
            found[key] = _all_of(document, one[key], other[key])
        elif key in _BY_VALUE:
            found[key] = _BY_VALUE[key](one[key], other[key])
        elif one[key] != other[key] or type(one[key]) is not type(other[key]):
            return None
    return found


def _keys(document: Document, one: Body, other: Body) -> Body:
    """What two models without patterns say of keys, each of those that only the other declares as well."""
    others = [body.get("additionalProperties", True) for body in (one, other)]
    declared = [body.get("properties", {}) for body in (one, other)]
    found: Body = {
        "properties": {
            name: _all_of(document, declared[0].get(name, others[0]), declared[1].get(name, others[1]))
            for name in {**declared[0], **declared[1]}
        }
    }
    if not all(rest is True for rest in others):
        found["additionalProperties"] = _all_of(document, *others)
    return found


def _all_of(document: Document, one: Any, other: Any) -> Any:
    """What satisfies two schemas as written, as a schema in normal form."""
    if one is False or other is False:
        return False
    if one is True or other is True:
        return other if one is True else one
    return document.keep({"allOf": [document.keep(document.schema(raw).body) for raw in (one, other)]})
