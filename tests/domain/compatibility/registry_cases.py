"""What other registries and differs decide, in schemas of our own; and where we decide otherwise, with the reason.

The families are those of Confluent's registry (content models of objects and arrays, combined schemas, references), of
Sentry's json-schema-diff (type sets, ranges, unions, definitions) and of Snowplow's SchemaVer, whose ADDITION is
"compatible with all earlier data" and so our backward. The verdict of each is whether NEW reads all that OLD allowed.
"""

from __future__ import annotations

from typing import Any

Row = tuple[Any, Any, bool]

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": "number"}
_WHOLE: dict[str, Any] = {"type": "integer"}
_TRUTH: dict[str, Any] = {"type": "boolean"}
_MAYBE_TEXT: dict[str, Any] = {"oneOf": [{"type": "null"}, _TEXT]}
_SHUT: dict[str, Any] = {"additionalProperties": False}


def _has(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **more}


def _row(*places: Any, rest: Any = None) -> dict[str, Any]:
    """A tuple in the words of draft-07."""
    return {"type": "array", "items": list(places)} | ({} if rest is None else {"additionalItems": rest})


def _via(target: Any, **more: Any) -> dict[str, Any]:
    return {"definitions": {"money": target}, **more}


_REF = {"$ref": "#/definitions/money"}

CONFLUENT: dict[str, Row] = {
    # objects
    "a described model became anything": (_has({"sku": _TEXT}), {}, True),
    "anything became a described model": ({}, {"properties": {"sku": _TEXT}}, False),
    "an object became an array": ({"type": "object"}, {"type": "array"}, False),
    "one key made room for another, open": (_has({"sku": _TEXT}), _has({"ean": _TEXT}), False),
    "one key made room for another, closed": (_has({"sku": _TEXT}, **_SHUT), _has({"ean": _TEXT}, **_SHUT), False),
    "a key joined beside patterns that say less of it": (
        _has({"sku": _TEXT}, patternProperties={"^n_": _WHOLE}, **_SHUT),
        _has({"sku": _TEXT, "n_items": _NUMBER}, patternProperties={"^n_": _WHOLE}, **_SHUT),
        True,
    ),
    "a key joined where others are texts, and is one": (
        _has({"sku": _TEXT}, additionalProperties=_TEXT), _has({"sku": _TEXT, "ean": _TEXT}, additionalProperties=_TEXT), True,
    ),
    "a key joined where others are texts, and is none": (
        _has({"sku": _TEXT}, additionalProperties=_TEXT), _has({"sku": _TEXT, "size": _NUMBER}, additionalProperties=_TEXT), False,
    ),
    "a required key joined where others are texts": (
        _has({"sku": _TEXT}, additionalProperties=_TEXT),
        _has({"sku": _TEXT, "ean": _TEXT}, required=["ean"], additionalProperties=_TEXT), False,
    ),
    "a key fell back to a wider pattern": (
        _has({"sku": _TEXT, "n_items": _WHOLE}, **_SHUT), _has({"sku": _TEXT}, patternProperties={"^n_": _NUMBER}, **_SHUT), True,
    ),
    "a key fell back to a narrower pattern": (
        _has({"sku": _TEXT, "n_items": _NUMBER}, **_SHUT), _has({"sku": _TEXT}, patternProperties={"^n_": _WHOLE}, **_SHUT), False,
    ),
    "a key fell back to the schema of others": (
        _has({"sku": _TEXT, "ean": _TEXT}, **_SHUT), _has({"sku": _TEXT}, additionalProperties=_TEXT), True,
    ),
    "a key fell back to another schema of others": (
        _has({"sku": _TEXT, "size": _NUMBER}, **_SHUT), _has({"sku": _TEXT}, additionalProperties=_TEXT), False,
    ),
    "a key that may be null fell back to texts or null": (
        _has({"sku": _TEXT, "ean": _MAYBE_TEXT}, **_SHUT), _has({"sku": _TEXT}, additionalProperties=_MAYBE_TEXT), True,
    ),
    "a key that may be null fell back to texts": (
        _has({"sku": _TEXT, "ean": _MAYBE_TEXT}, **_SHUT), _has({"sku": _TEXT}, additionalProperties=_TEXT), False,
    ),
    "other keys came to be texts": ({"additionalProperties": True}, {"additionalProperties": _TEXT}, False),
    "other keys came to be anything": ({"additionalProperties": _TEXT}, {"additionalProperties": True}, True),
    "a refused key became an optional one, open": (_has({"sku": False}), _has({"sku": _TEXT}), True),
    "an optional key became a refused one": (_has({"sku": _TEXT}), _has({"sku": False}), False),
    "more keys may stand": ({"maxProperties": 3}, {"maxProperties": 7}, True),
    "fewer keys may stand": ({"maxProperties": 7}, {"maxProperties": 3}, False),
    "more keys must stand": ({"minProperties": 3}, {"minProperties": 7}, False),
    "fewer keys must stand": ({"minProperties": 7}, {"minProperties": 3}, True),
    # arrays
    "items became texts": ({"type": "array"}, {"type": "array", "items": _TEXT}, False),
    "items became anything": ({"type": "array", "items": _TEXT}, {"type": "array"}, True),
    "a tuple became any list": (_row(_TEXT, _NUMBER), {"type": "array"}, True),
    "a place of a tuple changed its type": (_row(_TEXT), _row(_NUMBER), False),
    "a place that takes anything joined an open tuple": (_row(_TEXT, rest=True), _row(_TEXT, True, rest=True), True),
    "a place that takes anything left an open tuple": (_row(_TEXT, True, rest=True), _row(_TEXT, rest=True), True),
    "a refused place joined a closed tuple": (_row(_TEXT, rest=False), _row(_TEXT, False, rest=False), True),
    "a refused place left a closed tuple": (_row(_TEXT, False, rest=False), _row(_TEXT, rest=False), True),
    "a place joined where the rest are texts, and is one": (_row(_NUMBER, rest=_TEXT), _row(_NUMBER, _TEXT, rest=_TEXT), True),
    "a place joined where the rest are texts, and is none": (_row(_NUMBER, rest=_TEXT), _row(_NUMBER, _TRUTH, rest=_TEXT), False),
    "a place left where the rest are texts, and was one": (_row(_NUMBER, _TEXT, rest=_TEXT), _row(_NUMBER, rest=_TEXT), True),
    "a place left where the rest are texts, and was none": (_row(_NUMBER, _TRUTH, rest=_TEXT), _row(_NUMBER, rest=_TEXT), False),
    "a place that may be null left, and so may the rest": (
        _row(_NUMBER, _MAYBE_TEXT, rest=_MAYBE_TEXT), _row(_NUMBER, rest=_MAYBE_TEXT), True,
    ),
    "a closed tuple grew and opened": (_row(_TEXT, rest=False), _row(_TEXT, _TRUTH, rest=True), True),
    "a closed tuple shrank and opened": (_row(_TEXT, _TRUTH, rest=False), _row(_TEXT, rest=True), True),
    "a closed tuple shrank, and the rest are what was there": (_row(_TEXT, _NUMBER, rest=False), _row(_TEXT, rest=_NUMBER), True),
    "a tuple with a rest grew by what the rest was, and opened": (_row(_TEXT, rest=_NUMBER), _row(_TEXT, _NUMBER, rest=True), True),
    "items may repeat": ({"type": "array", "uniqueItems": True}, {"type": "array"}, True),
    "items may not repeat": ({"type": "array"}, {"type": "array", "uniqueItems": True}, False),
    # combined schemas
    "parts of allOf changed places": (
        {"allOf": [{"enum": ["s", "m"]}, _TEXT, {"maxLength": 9}]}, {"allOf": [{"maxLength": 9}, {"enum": ["s", "m"]}, _TEXT]}, True,
    ),
    "a part of allOf became of another type": (
        {"allOf": [{"enum": ["s", "m"]}, _TEXT]}, {"allOf": [{"enum": ["s", "m"]}, _NUMBER]}, False,
    ),
    "a choice inside allOf grew, and the parts changed places": (
        {"allOf": [_TEXT, {"enum": ["s"]}]}, {"allOf": [{"enum": ["s", "m"]}, _TEXT]}, True,
    ),
    "a choice joined allOf": ({"allOf": [_TEXT]}, {"allOf": [{"enum": ["s"]}, _TEXT]}, False),
    "a choice left allOf": ({"allOf": [{"enum": ["s"]}, _TEXT]}, {"allOf": [_TEXT]}, True),
    "a longer and titled branch in a wider oneOf": (
        {"oneOf": [{"type": "string", "maxLength": 4}]},
        {"oneOf": [_TRUTH, _NUMBER, {"type": "string", "maxLength": 9, "title": "code"}]}, True,
    ),
    "a shorter branch in a wider oneOf": (
        {"oneOf": [{"type": "string", "maxLength": 9}]}, {"oneOf": [_NUMBER, {"type": "string", "maxLength": 4}]}, False,
    ),
    "oneOf changed its only branch": ({"oneOf": [_TEXT]}, {"oneOf": [_NUMBER]}, False),
    "an object in oneOf changed a key": ({"oneOf": [_has({"n": _TEXT})]}, {"oneOf": [_has({"n": _NUMBER})]}, False),
    "allOf of one became oneOf with more": ({"allOf": [_TEXT]}, {"oneOf": [_TRUTH, _TEXT]}, True),
    "allOf of one became anyOf with more": ({"allOf": [_TEXT]}, {"anyOf": [_TRUTH, _TEXT]}, True),
    "anyOf of one became allOf of the same": ({"anyOf": [_TEXT]}, {"allOf": [_TEXT]}, True),
    "anyOf of one became allOf with more": ({"anyOf": [_TEXT]}, {"allOf": [_TRUTH, _TEXT]}, False),
    "parts of allOf were written out as one": (
        {"allOf": [_has({"a": _TEXT}), {"$ref": "#/definitions/priced"}], "definitions": {"priced": _has({"n": _WHOLE}, required=["n"])}},
        _has({"a": _TEXT, "n": _NUMBER}, required=["n"]), True,
    ),
    "one model was factored into parts of allOf": (
        _has({"a": _TEXT, "n": _WHOLE}, required=["n"]),
        {"allOf": [_has({"a": _TEXT}), {"$ref": "#/definitions/priced"}], "definitions": {"priced": _has({"n": _NUMBER}, required=["n"])}}, True,
    ),
    "parts of allOf were written out with a tighter bound": (
        {"allOf": [{"type": "integer"}, {"minimum": 1}]}, {"type": "integer", "minimum": 2}, False,
    ),
    "bounds of allOf were written out": (
        {"allOf": [_NUMBER, {"minimum": 1}, {"type": "integer", "minimum": 3}]}, {"type": "integer", "minimum": 3}, True,
    ),
    "a key that two parts of allOf declare was written out": (
        {"allOf": [_has({"n": _NUMBER}), _has({"n": {"minimum": 1}})]}, _has({"n": {"type": "number", "minimum": 1}}), True,
    ),
    "a closed part of allOf was written out": (
        {"allOf": [_has({"a": _TEXT}, **_SHUT), _has({"n": _WHOLE})]}, _has({"a": _TEXT}, **_SHUT), True,
    ),
    "a type became allOf of it": (_TEXT, {"allOf": [_TEXT]}, True),
    "a type became allOf with more": (_TEXT, {"allOf": [_TEXT, {"minLength": 2}]}, False),
    "null became null or a number": ({"type": "null"}, {"oneOf": [_NUMBER, {"type": "null"}]}, True),
    "a choice of types became a list of types": ({"anyOf": [_TEXT, _NUMBER]}, {"type": ["number", "string"]}, True),
    "not refuses fewer numbers": ({"not": _NUMBER}, {"not": _WHOLE}, True),
    "not refuses more numbers": ({"not": _WHOLE}, {"not": _NUMBER}, False),
    # dependencies
    "a schema for objects with a key left": (
        {"dependencies": {"a": {"required": ["b"]}, "c": {"required": ["d"]}}}, {"dependencies": {"a": {"required": ["b"]}}}, True,
    ),
    "a schema for objects with a key moved to another": (
        {"dependencies": {"a": {"required": ["b"]}}}, {"dependencies": {"c": {"required": ["b"]}}}, False,
    ),
    "a schema that no object satisfies changed": ({"dependencies": {"a": _TEXT}}, {"dependencies": {"a": _NUMBER}}, False),
    "a key needs one more": ({"dependencies": {"a": ["b"]}}, {"dependencies": {"a": ["b", "c"]}}, False),
    # references
    "items moved behind a reference": ({"items": _TEXT}, _via(_TEXT, items=_REF), True),
    "items came from behind a reference": (_via(_TEXT, items=_REF), {"items": _TEXT}, True),
    "what items refer to changed": (_via(_TEXT, items=_REF), _via(_NUMBER, items=_REF), False),
    "what an item must be among refers to a narrower one": (
        _via(_NUMBER, type="array", contains=_REF), _via(_WHOLE, type="array", contains=_REF), False,
    ),
    "what not refuses refers to more": (_via(_WHOLE, **{"not": _REF}), _via(_NUMBER, **{"not": _REF}), False),
    "what follows from a condition refers to a narrower one": (
        _via(_NUMBER, **{"if": {"minimum": 5}, "else": _REF}), _via(_WHOLE, **{"if": {"minimum": 5}, "else": _REF}), False,
    ),
    "a key in a branch of oneOf refers to a wider one": (
        _via(_WHOLE, oneOf=[_has({"n": _REF}), _TEXT]), _via(_NUMBER, oneOf=[_has({"n": _REF}), _TEXT]), True,
    ),
    "a key in a branch of oneOf refers to a narrower one": (
        _via(_NUMBER, oneOf=[_has({"n": _REF}), _TEXT]), _via(_WHOLE, oneOf=[_has({"n": _REF}), _TEXT]), False,
    ),
    "a key in a part of allOf refers to a narrower one": (
        _via(_NUMBER, allOf=[_has({"n": _REF})]), _via(_WHOLE, allOf=[_has({"n": _REF})]), False,
    ),
    "a branch of oneOf refers to what overlaps now": (
        _via(_TEXT, oneOf=[_has({"n": _REF}), _has({"n": _WHOLE}, required=["n"])]),
        _via(_NUMBER, oneOf=[_has({"n": _REF}), _has({"n": _WHOLE}, required=["n"])]), False,
    ),
    "a definition that nobody refers to changed": (_via(_TEXT), _via(_NUMBER), True),
    "a whole schema moved behind a reference": (_TEXT, _via(_TEXT, **_REF), True),
}  # fmt: skip
"""Content models, combined schemas, dependencies and references, as Confluent's registry judges them."""

SENTRY: dict[str, Row] = {
    "types joined a list of types": ({"type": ["string"]}, {"type": ["string", "boolean", "null"]}, True),
    "no type became one": ({}, _TEXT, False),
    "a type was dropped": (_TEXT, {}, True),
    "a constant became its type": ({"const": "eu"}, _TEXT, True),
    "a type became a constant": (_TEXT, {"const": "eu"}, False),
    "a constant became another of the same type": ({"const": "eu"}, {"const": "us"}, False),
    "a constant became one of another type": ({"const": "1"}, {"const": 1}, False),
    "a whole number became a constant text": (_WHOLE, {"const": "1"}, False),
    "an object became a constant object": ({"type": "object"}, {"const": {"a": 1}}, False),
    "a constant object became its model": ({"const": {"a": 1}}, _has({"a": _WHOLE}, required=["a"], **_SHUT), True),
    "a constant in a union became its type": ({"anyOf": [{"const": "eu"}, _WHOLE]}, {"anyOf": [_TEXT, _WHOLE]}, True),
    "constants in a union became a list": ({"anyOf": [{"const": "eu"}, {"const": "us"}]}, {"enum": ["us", "eu"]}, True),
    "a list became constants in a union": ({"enum": ["eu", "us"]}, {"oneOf": [{"const": "us"}, {"const": "eu"}]}, True),
    "a list of mixed values grew": ({"enum": ["a", 1, None]}, {"enum": ["a", 1, None, True]}, True),
    "a list of numbers shrank": ({"enum": [1, 2.5, 3]}, {"enum": [1, 3]}, False),
    "a bound at the bottom joined": (_WHOLE, {"type": "integer", "minimum": 1}, False),
    "a bound at the bottom left": ({"type": "integer", "minimum": 1}, _WHOLE, True),
    "a bound at the bottom became exclusive": ({"type": "number", "minimum": 1}, {"type": "number", "exclusiveMinimum": 1}, False),
    "an exclusive bound became its own": ({"type": "number", "exclusiveMaximum": 1}, {"type": "number", "maximum": 1}, True),
    "a bound at the bottom became one at the top": ({"type": "number", "minimum": 1}, {"type": "number", "exclusiveMaximum": 1}, False),
    "a bound that says nothing beside another joined": (
        {"type": "number", "minimum": 1}, {"type": "number", "minimum": 1, "exclusiveMinimum": 0}, True,
    ),
    "a bound inside a list of numbers joined": (
        {"items": {"type": "number"}}, {"items": {"type": "number", "minimum": 0}}, False,
    ),
    "a union of objects lost one": (
        {"anyOf": [_has({"a": _TEXT}, required=["a"], **_SHUT), _has({"b": _TEXT}, required=["b"], **_SHUT)]},
        {"anyOf": [_has({"b": _TEXT}, required=["b"], **_SHUT)]}, False,
    ),
    "a union of objects became one that takes both": (
        {"anyOf": [_has({"a": _TEXT}, required=["a"], **_SHUT), _has({"b": _TEXT}, required=["b"], **_SHUT)]},
        _has({"a": _TEXT, "b": _TEXT}, **_SHUT), True,
    ),
    "an equal union with a bound beside": ({"anyOf": [{"type": "integer", "minimum": 1}]}, {"type": "integer", "minimum": 1}, True),
    "a type became a looser union inside a list": ({"items": _WHOLE}, {"items": {"anyOf": [_NUMBER, _TEXT]}}, True),
    "a type became a tighter union": (_TEXT, {"anyOf": [{"type": "string", "maxLength": 3}, _WHOLE]}, False),
    "a key left the objects of a list": (
        {"items": _has({"a": _TEXT, "b": _TEXT}, **_SHUT)}, {"items": _has({"a": _TEXT}, **_SHUT)}, False,
    ),
    "a key joined the objects of a list": (
        {"items": _has({"a": _TEXT}, **_SHUT)}, {"items": _has({"a": _TEXT, "b": _TEXT}, **_SHUT)}, True,
    ),
    "a key joined one of a list of unions": (
        {"items": {"anyOf": [_has({"a": _TEXT}, **_SHUT), _TEXT]}},
        {"items": {"anyOf": [_has({"a": _TEXT, "b": _TEXT}, **_SHUT), _TEXT]}}, True,
    ),
    "definitions were factored out and one changed": (
        _has({"paid": _NUMBER, "due": _NUMBER}),
        _via(_WHOLE, **_has({"paid": _REF, "due": _REF})), False,
    ),
    "a key stopped being required": (_has({"a": _TEXT}, required=["a"]), _has({"a": _TEXT}), True),
}  # fmt: skip
"""Sets of types, constants, ranges, unions and definitions, as Sentry's json-schema-diff judges them."""

SCHEMAVER: dict[str, Row] = {
    "an addition: an optional key, the model closed": (_has({"sku": _TEXT}, **_SHUT), _has({"sku": _TEXT, "note": _MAYBE_TEXT}, **_SHUT), True),
    "a revision: an optional key, the model open": (_has({"sku": _TEXT}), _has({"sku": _TEXT, "note": _TEXT}), False),
    "a revision: a key that was open became typed": (_has({"sku": {}}), _has({"sku": _TEXT}), False),
    "a model: a required key": (_has({"sku": _TEXT}, **_SHUT), _has({"sku": _TEXT, "n": _WHOLE}, required=["n"], **_SHUT), False),
    "a model: another type": (_has({"n": _TEXT}, **_SHUT), _has({"n": _WHOLE}, **_SHUT), False),
    "a model: a key is gone": (_has({"sku": _TEXT, "n": _WHOLE}, **_SHUT), _has({"sku": _TEXT}, **_SHUT), False),
    "an addition: a text may be null": (_has({"sku": _TEXT}, **_SHUT), _has({"sku": {"type": ["string", "null"]}}, **_SHUT), True),
    "an addition: a longer text": (
        _has({"sku": {"type": "string", "maxLength": 8}}, **_SHUT), _has({"sku": {"type": "string", "maxLength": 80}}, **_SHUT), True,
    ),
    "a revision: a shorter text": (
        _has({"sku": {"type": "string", "maxLength": 80}}, **_SHUT), _has({"sku": {"type": "string", "maxLength": 8}}, **_SHUT), False,
    ),
    "an addition: a nested object takes one more key": (
        _has({"size": _has({"w": _NUMBER}, **_SHUT)}, **_SHUT), _has({"size": _has({"w": _NUMBER, "h": _NUMBER}, **_SHUT)}, **_SHUT), True,
    ),
    "a model: a nested object requires one more key": (
        _has({"size": _has({"w": _NUMBER}, **_SHUT)}, **_SHUT),
        _has({"size": _has({"w": _NUMBER, "h": _NUMBER}, required=["h"], **_SHUT)}, **_SHUT), False,
    ),
}  # fmt: skip
"""Snowplow's SchemaVer: an ADDITION reads all earlier data, a REVISION may not read some, a MODEL reads none surely."""

OTHERWISE: dict[str, tuple[Any, Any, bool, str]] = {
    "a branch that overlaps joined oneOf": (
        {"oneOf": [_WHOLE]}, {"oneOf": [_WHOLE, _NUMBER]}, False,
        "Confluent lets it pass as SUM_TYPE_EXTENDED; 1 satisfies both branches now, and oneOf refuses it.",
    ),
    "a key that nobody declares is required instead of another": (
        _has({"a": _TEXT}, required=["a"]), _has({"a": _TEXT}, required=["b"]), False,
        "Confluent looks at required keys that are declared only; an object with a alone is refused now.",
    ),
    "a format joined": (
        _TEXT, {"type": "string", "format": "email"}, False,
        "Confluent passes over formats; validators that assert them refuse old texts, so we warn (without an example).",
    ),
    "the only branch of oneOf became the only part of allOf": (
        {"oneOf": [_TEXT]}, {"allOf": [_TEXT]}, True,
        "Confluent's examples hold both verdicts for this; both schemas take texts and nothing else.",
    ),
    "a constraint that says nothing for the type joined": (
        _WHOLE, {"type": "integer", "pattern": "^[0-9]+$"}, True,
        "Differs that compare keyword by keyword tell a break; no number is looked at by pattern.",
    ),
    "a key became required that allOf requires already": (
        {"allOf": [{"required": ["a"]}], **_has({"a": _TEXT})}, {"allOf": [{"required": ["a"]}], **_has({"a": _TEXT}, required=["a"])}, True,
        "Differs that compare keyword by keyword tell a break; the key was required before.",
    ),
}  # fmt: skip
"""OLD, NEW, our verdict and why it is not that of another registry."""
