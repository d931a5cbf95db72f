"""Whether a schema accepts one value: the judge by which the engine proves every example that it gives."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from activation_dagster.domain.compatibility.documents import Schema
from activation_dagster.domain.compatibility.json_values import Undecided, atom_of, key_of, matches

_COMBINED = frozenset({"allOf", "anyOf", "oneOf", "not", "if"})
_TYPE_OF_ATOM = {"integer": ("integer", "number"), "fraction": ("number",)}


def accepts(schema: Schema, value: Any) -> bool:
    """Whether a parsed JSON value satisfies a schema. Raises Undecided where this module cannot tell."""
    body = schema.body
    if not body:
        return True
    atom = atom_of(value)
    if "type" in body and not any(name in body["type"] for name in _TYPE_OF_ATOM.get(atom, (atom,))):
        return False
    if "enum" in body and key_of(value) not in map(key_of, body["enum"]):
        return False
    match atom:
        case "string":
            fits = _text(schema, value)
        case "integer" | "fraction":
            fits = _number(schema, value)
        case "object":
            fits = _object(schema, value)
        case "array":
            fits = _array(schema, value)
        case _:
            fits = True
    return fits and (_COMBINED.isdisjoint(body) or _branches(schema, value))


def _text(schema: Schema, value: str) -> bool:
    body = schema.body
    if not body.get("minLength", 0) <= len(value) <= body.get("maxLength", len(value)):
        return False
    if "pattern" in body and not matches(body["pattern"], value):
        return False
    asserted = schema.document.formats.get(str(body.get("format")))
    return asserted is None or asserted(value)


def _number(schema: Schema, value: float) -> bool:
    body = schema.body
    if ("minimum" in body and value < body["minimum"]) or ("maximum" in body and value > body["maximum"]):
        return False
    if "exclusiveMinimum" in body and value <= body["exclusiveMinimum"]:
        return False
    if "exclusiveMaximum" in body and value >= body["exclusiveMaximum"]:
        return False
    return "multipleOf" not in body or is_multiple(value, body["multipleOf"])


def is_multiple(value: float, of: float) -> bool:
    """Whether a number is a whole multiple of another, as written in decimals."""
    return of != 0 and Decimal(repr(value)) % Decimal(repr(of)) == 0


def _object(schema: Schema, value: dict[str, Any]) -> bool:
    body = schema.body
    if not body.get("minProperties", 0) <= len(value) <= body.get("maxProperties", len(value)):
        return False
    if not schema.needed <= value.keys():
        return False
    for key, needed in body.get("dependentRequired", {}).items():
        if key in value and any(other not in value for other in needed):
            return False
    for key, raw in body.get("dependentSchemas", {}).items():
        if key in value and not accepts(schema.of(raw), value):
            return False
    if "propertyNames" in body and not all(accepts(schema.keyword("propertyNames"), key) for key in value):
        return False
    if "unevaluatedProperties" in body:
        raise Undecided
    patterns = body.get("patternProperties", {})
    members = schema.members
    for key, inner in value.items():
        is_named = key in members
        if is_named:
            # The same values are looked at again and again, for they are mostly those of the example before.
            known = members[key].judged.get(id(inner))
            if not (_remembered(members[key], inner) if known is None else known[1]):
                return False
        for pattern, raw in patterns.items():
            if matches(pattern, key):
                is_named = True
                if not accepts(schema.of(raw), inner):
                    return False
        if (
            not is_named
            and "additionalProperties" in body
            and not accepts(schema.keyword("additionalProperties"), inner)
        ):
            return False
    return True


def _remembered(schema: Schema, value: Any) -> bool:
    """Whether a schema accepts a value, kept beside it."""
    found = accepts(schema, value)
    schema.judged[id(value)] = (value, found)
    return found


def _array(schema: Schema, value: list[Any]) -> bool:
    body = schema.body
    if not body.get("minItems", 0) <= len(value) <= body.get("maxItems", len(value)):
        return False
    if body.get("uniqueItems") and len({key_of(inner) for inner in value}) < len(value):
        return False
    if "unevaluatedItems" in body:
        raise Undecided
    if not all(accepts(schema.of_item(place), inner) for place, inner in enumerate(value)):
        return False
    if "contains" not in body:
        return True
    found = sum(accepts(schema.keyword("contains"), inner) for inner in value)
    return body.get("minContains", 1) <= found <= body.get("maxContains", found)


def _branches(schema: Schema, value: Any) -> bool:
    body = schema.body
    if not all(accepts(branch, value) for branch in schema.schemas("allOf")):
        return False
    if "anyOf" in body and not any(accepts(branch, value) for branch in schema.schemas("anyOf")):
        return False
    if "oneOf" in body and sum(accepts(branch, value) for branch in schema.schemas("oneOf")) != 1:
        return False
    if "not" in body and accepts(schema.keyword("not"), value):
        return False
    if "if" in body:
        return accepts(schema.keyword("then" if accepts(schema.keyword("if"), value) else "else"), value)
    return True


def surely_accepts(schema: Schema, value: Any) -> bool:
    """Whether a schema accepts a value beyond doubt."""
    try:
        return accepts(schema, value)
    except Undecided:
        return False


def surely_refuses(schema: Schema, value: Any) -> bool:
    """Whether a schema refuses a value beyond doubt."""
    try:
        return not accepts(schema, value)
    except Undecided:
        return False


def values_of(schema: Schema) -> list[Any] | None:
    """All values that a schema can accept where it lists them (and perhaps some that it refuses), else None."""
    if "enum" in schema.body:
        return cast("list[Any]", schema.body["enum"])
    for branch in schema.schemas("allOf"):
        found = values_of(branch)
        if found is not None:
            return found
    return [None, True, False][: 1 if schema.atoms <= {"null"} else 3] if schema.atoms <= {"null", "boolean"} else None
