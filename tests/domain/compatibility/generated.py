"""Schemas and changes of schemas for the property-based tests: small, of every keyword, and often nearly equal."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from(["a", "b", "x1", "xy"])
PATTERNS = st.sampled_from(["^x", "^a", "1$", "b"])
SCALARS: st.SearchStrategy[Any] = st.sampled_from([None, True, False, 0, 1, 2, 1.5, -1, "", "a", "ab", "abc"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
SMALL = st.integers(min_value=0, max_value=3)
BOUNDS = st.sampled_from([-1, 0, 0.5, 1, 2])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A schema of some keywords over inner schemas."""
    single: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(SCALARS, min_size=1, max_size=3, unique_by=repr),
        "const": SCALARS,
        "minLength": SMALL,
        "maxLength": SMALL,
        "pattern": st.sampled_from(["^a", "b$", "^[ab]*$", "a|b", "^(a|b)c?$"]),
        "minimum": BOUNDS,
        "maximum": BOUNDS,
        "exclusiveMinimum": BOUNDS,
        "exclusiveMaximum": BOUNDS,
        "multipleOf": st.sampled_from([0.5, 1, 2, 3]),
        "properties": st.dictionaries(NAMES, inner, max_size=3),
        "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
        "additionalProperties": st.just(False) | inner,
        "required": st.lists(NAMES, max_size=2, unique=True),
        "minProperties": SMALL,
        "maxProperties": SMALL,
        "propertyNames": inner,
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "dependentSchemas": st.dictionaries(NAMES, inner, max_size=1),
        "prefixItems": st.lists(inner, min_size=1, max_size=2),
        "items": st.just(False) | inner,
        "contains": inner,
        "minContains": st.integers(min_value=0, max_value=2),
        "maxContains": st.integers(min_value=0, max_value=2),
        "minItems": SMALL,
        "maxItems": SMALL,
        "uniqueItems": st.booleans(),
        "allOf": st.lists(inner, min_size=1, max_size=2),
        "anyOf": st.lists(inner, min_size=1, max_size=3),
        "oneOf": st.lists(inner, min_size=1, max_size=3),
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "$ref": st.sampled_from(["#/$defs/d", "#/$defs/d", "#/$defs/tree"]),
    }
    families = (
        ("type", "minLength", "maxLength", "pattern", "enum"),
        ("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        ("type", "properties", "patternProperties", "additionalProperties", "required", "dependentRequired"),
        ("properties", "minProperties", "maxProperties", "propertyNames", "dependentSchemas", "required"),
        ("type", "prefixItems", "items", "minItems", "maxItems", "uniqueItems"),
        ("contains", "minContains", "maxContains", "minItems", "items"),
        ("anyOf", "type", "properties"),
        ("oneOf", "type", "properties", "required"),
        ("allOf", "oneOf", "required", "properties"),
        ("type", "anyOf", "items", "contains"),
        ("oneOf", "anyOf", "type"),
        ("not", "type", "enum"),
        ("if", "then", "else", "type"),
        ("$ref", "required"),
        ("const",),
    )
    return st.sampled_from(families).flatmap(
        lambda family: st.fixed_dictionaries({}, optional={key: single[key] for key in family})
    )


SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([True, {}, {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"enum": ["a", 1]}]),
    keywords,
    max_leaves=8,
)


@st.composite
def versions(draw: st.DrawFn) -> tuple[Any, Any]:
    """Two versions of a schema: the second is the first with some parts replaced, or another one altogether."""
    old = draw(keywords(SCHEMAS))
    new = copy.deepcopy(draw(st.one_of(st.just(None), st.just(None), keywords(SCHEMAS))))
    if new is None:
        new = copy.deepcopy(old)
        for _ in range(draw(st.integers(min_value=1, max_value=3))):
            _change(draw, new)
    definitions = [draw(SCHEMAS.filter(lambda one: "$ref" not in repr(one))) for _ in range(2)]
    trees = [_tree(draw, definitions[0]), _tree(draw, definitions[1])]
    is_same, is_same_tree = draw(st.booleans()), draw(st.booleans())
    old = {**old, "$defs": {"d": definitions[0], "tree": trees[0]}}
    new = {**new, "$defs": {"d": definitions[0 if is_same else 1], "tree": trees[0 if is_same_tree else 1]}}
    return old, new


def _tree(draw: st.DrawFn, leaf: Any) -> dict[str, Any]:
    """A schema that refers to itself inside a key or a list, where values end."""
    below = {"$ref": "#/$defs/tree"}
    inside = draw(
        st.sampled_from(({"properties": {"a": below, "b": leaf}}, {"items": below}, {"items": {"items": below}}))
    )
    return {
        **inside,
        **draw(st.sampled_from(({}, {"required": ["b"]}, {"maxItems": 2}, {"type": ["object", "array"]}))),
    }


_IN_DRAFT_07 = {"prefixItems": "items", "items": "additionalItems", "$defs": "definitions"}
_NOT_IN_DRAFT_07 = ("minContains", "maxContains", "dependentRequired", "dependentSchemas")


def in_draft_07(schema: Any) -> Any:
    """The same schema in the words of draft-07, as far as it has them."""
    if isinstance(schema, list):
        return [in_draft_07(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref":
            found[key] = value.replace("$defs", "definitions")
        elif key in ("enum", "const", "required"):
            found[key] = value
        elif key in ("properties", "patternProperties", "$defs"):
            found[_IN_DRAFT_07.get(key, key)] = {name: in_draft_07(one) for name, one in value.items()}
        elif key in ("prefixItems", "items") and "prefixItems" in schema:
            found[_IN_DRAFT_07[key]] = in_draft_07(value)
        elif key not in _NOT_IN_DRAFT_07:
            found[key] = in_draft_07(value)
    needed = {**schema.get("dependentRequired", {}), **schema.get("dependentSchemas", {})}
    if needed:
        found["dependencies"] = {
            name: one if isinstance(one, list) else in_draft_07(one) for name, one in needed.items()
        }
    return found


def _change(draw: st.DrawFn, schema: dict[str, Any]) -> None:
    """Replace, add or remove one keyword somewhere. What is drawn is copied: the strategies share it."""
    places: list[dict[str, Any]] = [schema]
    for place in places:
        for value in place.values():
            if isinstance(value, dict):
                places.append(value)
            elif isinstance(value, list):
                places += [one for one in value if isinstance(one, dict)]
    place = draw(st.sampled_from(places))
    if place and draw(st.booleans()):
        del place[draw(st.sampled_from(sorted(place)))]
    elif place is schema or draw(st.booleans()):
        schema.update(copy.deepcopy(draw(keywords(SCHEMAS))))
    else:
        for key, value in copy.deepcopy(draw(keywords(SCHEMAS))).items():
            if place is schema or key in place:
                place[key] = value
