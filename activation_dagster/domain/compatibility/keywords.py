"""The keywords of JSON Schema: what stands under each, which values each judges, and which say nothing."""

from __future__ import annotations

from typing import Any, cast

IDLE_ITEMS = "additionalItems"
"""Beside no tuple it judges nothing by the text of JSON Schema, and other items for some validators."""
COMBINERS = ("allOf", "anyOf", "oneOf", "not", "if", "dependentSchemas")
ASSERTING = frozenset(
    {
        "type", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum",
        "exclusiveMaximum", "multipleOf", "properties", "patternProperties", "additionalProperties", "propertyNames",
        "required", "minProperties", "maxProperties", "dependentRequired", "dependentSchemas", "prefixItems", "items",
        "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "allOf", "anyOf", "oneOf",
        "not", "if", "then", "else", "unevaluatedProperties", "unevaluatedItems",
    }
)  # fmt: skip
TYPE_OF = {"fraction": "number"}
_LISTS_OF_TEXTS = ("type", "required")
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), (int, float)),
    **dict.fromkeys(("minContains", "maxContains", "minimum", "maximum", "multipleOf"), (int, float)),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), (int, float, bool)),
    **dict.fromkeys(("properties", "patternProperties", "dependentSchemas", "dependentRequired"), (dict,)),
    **dict.fromkeys(("enum", "required", "allOf", "anyOf", "oneOf", "prefixItems"), (list,)),
    "type": (str, list), "dependencies": (dict,), "pattern": (str,), "uniqueItems": (bool,),
}  # fmt: skip
"""What stands under a keyword; schemas are looked at where they are used."""
JUDGES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("format", "pattern", "minLength", "maxLength"), ("string",)),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), ("integer", "fraction")
    ),
    **dict.fromkeys(
        (
            "properties", "patternProperties", "additionalProperties", "propertyNames", "required", "minProperties",
            "maxProperties", "dependentRequired", "unevaluatedProperties",
        ),
        ("object",),
    ),
    **dict.fromkeys(
        ("prefixItems", "items", "minItems", "maxItems", "uniqueItems", "contains", "unevaluatedItems"), ("array",)
    ),
}  # fmt: skip
"""The types whose values a keyword judges; all others pass it."""
NOTHING_ASSERTED: dict[str, tuple[Any, ...]] = {
    "minLength": (0,), "minItems": (0,), "minProperties": (0,), "uniqueItems": (False,), "required": ([],),
    "properties": ({},), "patternProperties": ({},), "additionalProperties": (True, {}), "items": (True, {}),
    "prefixItems": ([],), "propertyNames": (True, {}), "dependentRequired": ({},), "dependentSchemas": ({},),
    "allOf": ([],), "unevaluatedProperties": (True, {}), "unevaluatedItems": (True, {}), "not": (False,),
}  # fmt: skip


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in cast("list[Any]", value))


def is_sound(keyword: str, value: Any) -> bool:
    """Whether what stands under a keyword is of the kind that JSON Schema gives it; yes for a keyword not known."""
    kinds = _KINDS.get(keyword)
    if kinds is None:
        return True
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return False
    match keyword:
        case "type":
            return isinstance(value, str) or _are_texts(value)
        case "required":
            return _are_texts(value)
        case "dependentRequired":
            return all(_are_texts(one) for one in cast("dict[str, Any]", value).values())
        case "multipleOf":
            return 0 < cast("float", value) < float("inf")
        case _:
            return True
