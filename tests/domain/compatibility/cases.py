"""Before, after and verdict of every rule, one row each; and the cases by which other registries are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One change. `breaks` is b (backward), f (forward), bf or empty; `proves` is off where no example can be built."""

    rule: str
    old: Any
    new: Any
    breaks: str
    proves: bool = True


def _case(rule: str, old: Any, new: Any, breaks: str, *, proves: bool = True) -> Case:
    return Case(rule=rule, old=old, new=new, breaks=breaks, proves=proves)


def _text(**more: Any) -> dict[str, Any]:
    return {"type": "string", **more}


def _number(**more: Any) -> dict[str, Any]:
    return {"type": "number", **more}


def _list(**more: Any) -> dict[str, Any]:
    return {"type": "array", **more}


def _object(**more: Any) -> dict[str, Any]:
    return {"type": "object", **more}


def _limit_cases() -> list[Case]:
    made: list[Case] = []
    for keyword, stem, schema in (
        ("Length", "LENGTH", _text),
        ("Items", "ITEMS", _list),
        ("Properties", "PROPERTIES", _object),
    ):
        for side, narrows in (("min", "INCREASED"), ("max", "DECREASED")):
            name, rule = f"{side}{keyword}", f"{side.upper()}_{stem}"
            made += [
                _case(f"{rule}_ADDED", schema(), schema(**{name: 3}), "b"),
                _case(f"{rule}_REMOVED", schema(**{name: 3}), schema(), "f"),
                _case(
                    f"{rule}_INCREASED",
                    schema(**{name: 2}),
                    schema(**{name: 4}),
                    "b" if narrows == "INCREASED" else "f",
                ),
                _case(
                    f"{rule}_DECREASED",
                    schema(**{name: 4}),
                    schema(**{name: 2}),
                    "b" if narrows == "DECREASED" else "f",
                ),
            ]
    for name, rule, narrows in (
        ("minimum", "MINIMUM", "INCREASED"),
        ("maximum", "MAXIMUM", "DECREASED"),
        ("exclusiveMinimum", "EXCLUSIVE_MINIMUM", "INCREASED"),
        ("exclusiveMaximum", "EXCLUSIVE_MAXIMUM", "DECREASED"),
    ):
        made += [
            _case(f"{rule}_ADDED", _number(), _number(**{name: 10}), "b"),
            _case(f"{rule}_REMOVED", _number(**{name: 10}), _number(), "f"),
            _case(f"{rule}_INCREASED", _number(**{name: 10}), _number(**{name: 11.5}), "b" if narrows == "INCREASED" else "f"),
            _case(f"{rule}_DECREASED", _number(**{name: 11.5}), _number(**{name: 10}), "b" if narrows == "DECREASED" else "f"),
        ]  # fmt: skip
    return made


_CLOSED = {"additionalProperties": False}
_PARTLY = {"additionalProperties": {"type": ["string", "null"]}}
_A = {"a": {"type": "string"}}
_B = {"b": {"type": "string"}}

RULE_CASES: tuple[Case, ...] = (
    _case("SCHEMA_CLOSED", {"properties": {"a": {}}}, {"properties": {"a": False}}, "b"),
    _case("SCHEMA_OPENED", {"properties": {"a": False}}, {"properties": {"a": _text()}}, "f"),
    _case("TYPE_EXTENDED", {"type": "integer"}, {"type": "number"}, "f"),
    _case("TYPE_EXTENDED", _text(), {"type": ["string", "null"]}, "f"),
    _case("TYPE_NARROWED", {"type": "number"}, {"type": "integer"}, "b"),
    _case("TYPE_NARROWED", True, _text(), "b"),
    _case("TYPE_CHANGED", _text(), {"type": "integer"}, "bf"),
    _case("TYPE_CHANGED", {"type": ["string", "null"]}, {"type": ["integer", "null"]}, "bf"),
    _case("ENUM_ARRAY_ADDED", _text(), _text(enum=["GBP"]), "b"),
    _case("ENUM_ARRAY_REMOVED", _text(enum=["GBP"]), _text(), "f"),
    _case("ENUM_ARRAY_EXTENDED", _text(enum=["GBP"]), _text(enum=["GBP", "EUR"]), "f"),
    _case("ENUM_ARRAY_NARROWED", _text(enum=["GBP", "EUR"]), _text(enum=["GBP"]), "b"),
    _case("ENUM_ARRAY_CHANGED", _text(enum=["GBP", "EUR"]), _text(enum=["GBP", "USD"]), "bf"),
    _case("ENUM_ARRAY_CHANGED", {"const": "v1"}, {"const": "v2"}, "bf"),
    _case("PATTERN_ADDED", _text(), _text(pattern="^[A-Z]{2}$"), "b"),
    _case("PATTERN_REMOVED", _text(pattern="^[A-Z]{2}$"), _text(), "f"),
    _case("PATTERN_CHANGED", _text(pattern="^[A-Z]{2}$"), _text(pattern="^[0-9]+$"), "bf"),
    _case("FORMAT_ADDED", _text(), _text(format="email"), "b", proves=False),
    _case("FORMAT_REMOVED", _text(format="email"), _text(), "f", proves=False),
    _case("FORMAT_CHANGED", _text(format="email"), _text(format="uuid"), "bf", proves=False),
    _case("FORMAT_CHANGED", _text(format="email"), _text(format="idn-email"), "f", proves=False),
    _case("MULTIPLE_OF_ADDED", _number(), _number(multipleOf=5), "b"),
    _case("MULTIPLE_OF_REMOVED", _number(multipleOf=5), _number(), "f"),
    _case("MULTIPLE_OF_CHANGED", _number(multipleOf=10), _number(multipleOf=5), "f"),
    _case("MULTIPLE_OF_CHANGED", _number(multipleOf=5), _number(multipleOf=10), "b"),
    _case("MULTIPLE_OF_CHANGED", _number(multipleOf=2), _number(multipleOf=3), "bf"),
    _case("ANNOTATION_CHANGED", _text(title="One"), _text(title="Two", description="other", default=""), ""),
    *_limit_cases(),
    _case("PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", _object(properties=_A), _object(properties={**_A, **_B}), "b"),
    _case("PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL", _object(properties={**_A, **_B}), _object(properties=_A), "f"),
    _case("PROPERTY_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL", _object(properties=_A), _object(properties={**_A, "b": {}}), ""),
    _case("PROPERTY_WITH_EMPTY_SCHEMA_REMOVED_FROM_OPEN_CONTENT_MODEL", _object(properties={**_A, "b": True}), _object(properties=_A), ""),
    _case("PROPERTY_ADDED_TO_CLOSED_CONTENT_MODEL", _object(properties=_A, **_CLOSED), _object(properties={**_A, **_B}, **_CLOSED), "f"),
    _case("PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", _object(properties={**_A, **_B}, **_CLOSED), _object(properties=_A, **_CLOSED), "b"),
    _case("PROPERTY_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", _object(properties=_A, **_PARTLY), _object(properties={**_A, "b": {"type": ["string", "null", "integer"]}}, **_PARTLY), "f"),
    _case("PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", _object(properties=_A, **_PARTLY), _object(properties={**_A, "b": {"type": "integer"}}, **_PARTLY), "bf"),
    _case("PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", _object(properties={**_A, **_B}, **_PARTLY), _object(properties=_A, **_PARTLY), "f"),
    _case("PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", _object(properties={**_A, "b": {"type": "integer"}}, **_PARTLY), _object(properties=_A, **_PARTLY), "bf"),
    _case("REQUIRED_ATTRIBUTE_ADDED", _object(properties=_A), _object(properties=_A, required=["a"]), "b"),
    _case("REQUIRED_ATTRIBUTE_WITH_DEFAULT_ADDED", _object(properties={"a": _text(default="x")}), _object(properties={"a": _text(default="x")}, required=["a"]), ""),
    _case("REQUIRED_ATTRIBUTE_REMOVED", _object(properties=_A, required=["a"]), _object(properties=_A), "f"),
    _case("REQUIRED_ATTRIBUTE_WITH_DEFAULT_REMOVED", _object(properties={"a": _text(default="x")}, required=["a"]), _object(properties={"a": _text(default="x")}), ""),
    _case("ADDITIONAL_PROPERTIES_ADDED", _object(properties=_A, **_CLOSED), _object(properties=_A), "f"),
    _case("ADDITIONAL_PROPERTIES_REMOVED", _object(properties=_A), _object(properties=_A, **_CLOSED), "b"),
    _case("ADDITIONAL_PROPERTIES_NARROWED", _object(properties=_A), _object(properties=_A, **_PARTLY), "b"),
    _case("ADDITIONAL_PROPERTIES_EXTENDED", _object(properties=_A, **_PARTLY), _object(properties=_A), "f"),
    _case("PATTERN_PROPERTY_ADDED", _object(), _object(patternProperties={"^x_": _text()}), "b"),
    _case("PATTERN_PROPERTY_REMOVED", _object(patternProperties={"^x_": _text()}), _object(), "f"),
    _case("PATTERN_PROPERTY_UNREADABLE", _object(patternProperties={"^\\p{L}": _text()}), _object(patternProperties={"^\\p{L}": _text()}, properties=_A), "bf", proves=False),
    _case("DEPENDENCY_ARRAY_EXTENDED", _object(), _object(dependentRequired={"card": ["address"]}), "b"),
    _case("DEPENDENCY_ARRAY_NARROWED", _object(dependentRequired={"card": ["address"]}), _object(), "f"),
    _case("DEPENDENCY_SCHEMA_ADDED", _object(), _object(dependentSchemas={"card": {"required": ["address"]}}), "b"),
    _case("DEPENDENCY_SCHEMA_REMOVED", _object(dependentSchemas={"card": {"required": ["address"]}}), _object(), "f"),
    _case("ADDITIONAL_ITEMS_CHANGED", _list(additionalItems=True), _list(additionalItems=False), "b", proves=False),
    _case("UNIQUE_ITEMS_ADDED", _list(), _list(uniqueItems=True), "b"),
    _case("UNIQUE_ITEMS_REMOVED", _list(uniqueItems=True), _list(), "f"),
    _case("CONTAINS_ADDED", _list(), _list(contains={"const": 1}), "b"),
    _case("CONTAINS_REMOVED", _list(contains={"const": 1}), _list(), "f"),
    _case("CONTAINS_CHANGED", _list(contains={"const": 1}), _list(contains={"const": 2}), "bf"),
    _case("CONTAINS_CHANGED", _list(contains={"const": 1}), _list(contains={"const": 1}, minContains=2), "b"),
    _case("SUM_TYPE_EXTENDED", {"oneOf": [_text(), {"type": "null"}]}, {"oneOf": [_text(), {"type": "null"}, {"type": "integer"}]}, "f"),
    _case("SUM_TYPE_NARROWED", {"anyOf": [_text(), {"type": "null"}, {"type": "integer"}]}, {"anyOf": [_text(), {"type": "null"}]}, "b"),
    _case("SUM_TYPE_ADDED", {"type": ["string", "boolean"]}, {"anyOf": [_text(), {"type": "null"}]}, "bf"),
    _case("SUM_TYPE_REMOVED", {"anyOf": [_text(maxLength=3), {"type": "null"}]}, {"type": ["string", "null"]}, "f"),
    _case("SUM_TYPE_OVERLAPS", {"oneOf": [{"type": "integer"}]}, {"oneOf": [{"type": "integer"}, {"type": "number"}]}, "bf"),
    _case("PRODUCT_TYPE_EXTENDED", {"allOf": [_text()]}, {"allOf": [_text(), {"maxLength": 3}]}, "b"),
    _case("PRODUCT_TYPE_NARROWED", {"allOf": [_text(), {"maxLength": 3}]}, {"allOf": [_text()]}, "f"),
    _case("NOT_TYPE_EXTENDED", {"not": _text()}, {"not": {"type": ["string", "integer"]}}, "b"),
    _case("NOT_TYPE_NARROWED", {"not": {"type": ["string", "integer"]}}, {"not": _text()}, "f"),
    _case("NOT_TYPE_CHANGED", {"not": _text()}, {"not": {"type": "integer"}}, "bf"),
    _case("CONDITION_CHANGED", _object(), _object(**{"if": {"required": ["a"]}, "then": {"required": ["b"]}}), "b"),
    _case("UNEVALUATED_CHANGED", {"allOf": [_object(properties=_A)], "unevaluatedProperties": False}, {"allOf": [_object(properties={**_A, **_B})], "unevaluatedProperties": False}, "bf", proves=False),
)  # fmt: skip
"""At least one row for every rule, in the order in which the engine knows them."""


def _ref(definition: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"buyer": {"$ref": "#/definitions/person"}}, "definitions": {"person": definition}, **more}  # fmt: skip


_CARD = {"properties": {"kind": {"const": "card"}, "number": {"type": "string"}}, "required": ["kind", "number"]}
_CASH = {"properties": {"kind": {"const": "cash"}}, "required": ["kind"]}
_VOUCHER = {"properties": {"kind": {"const": "voucher"}}, "required": ["kind"]}

KNOWN_CASES: dict[str, tuple[Any, Any, bool]] = {
    # What users of Confluent's registry know, in words and schemas of our own: is NEW backward compatible with OLD?
    "nothing changed": (_object(properties=_A), _object(properties=_A), True),
    "another title, description and id": (_text(title="a"), _text(title="b", description="c", **{"$id": "x"}), True),
    "a type changed": (_text(), {"type": "boolean"}, False),
    "an integer became a number": ({"type": "integer"}, {"type": "number"}, True),
    "a number became an integer": ({"type": "number"}, {"type": "integer"}, False),
    "null was added to a type": (_text(), {"type": ["string", "null"]}, True),
    "null was taken out of a type": ({"type": ["string", "null"]}, _text(), False),
    "a type became oneOf with it": (_text(), {"oneOf": [_text(), {"type": "null"}]}, True),
    "oneOf became one of its types": ({"oneOf": [_text(), {"type": "null"}]}, _text(), False),
    "oneOf became anyOf": ({"oneOf": [_text(), {"type": "null"}]}, {"anyOf": [_text(), {"type": "null"}]}, True),
    "anyOf became allOf": ({"anyOf": [_text(), {"maxLength": 3}]}, {"allOf": [_text(), {"maxLength": 3}]}, False),
    "allOf became anyOf": ({"allOf": [_text(), {"maxLength": 3}]}, {"anyOf": [_text(), {"maxLength": 3}]}, True),
    "a branch of allOf was taken out": ({"allOf": [_text(), {"maxLength": 3}]}, {"allOf": [_text()]}, True),
    "branches changed places": ({"oneOf": [_text(), {"type": "null"}]}, {"oneOf": [{"type": "null"}, _text()]}, True),
    "a branch of oneOf widened": ({"oneOf": [{"type": "integer"}, _text()]}, {"oneOf": [{"type": "number"}, _text()]}, True),
    "a branch of oneOf narrowed": ({"oneOf": [{"type": "number"}, _text()]}, {"oneOf": [{"type": "integer"}, _text()]}, False),
    "a further kind of payment": ({"oneOf": [_CARD, _CASH]}, {"oneOf": [_CARD, _CASH, _VOUCHER]}, True),
    "a further kind of payment, objects only": (
        {"oneOf": [{"type": "object", **one} for one in (_CARD, _CASH)]},
        {"oneOf": [{"type": "object", **one} for one in (_CARD, _CASH, _VOUCHER)]},
        True,
    ),
    "an optional property joined an open model": (_object(), _object(properties=_A), False),
    "a property of any value joined an open model": (_object(), _object(properties={"a": True}), True),
    "an optional property joined a closed model": (_object(**_CLOSED), _object(properties=_A, **_CLOSED), True),
    "a required property joined a closed model": (_object(**_CLOSED), _object(properties=_A, required=["a"], **_CLOSED), False),
    "a required property with a default joined a closed model": (
        _object(**_CLOSED), _object(properties={"a": _text(default="")}, required=["a"], **_CLOSED), True,
    ),
    "a required property with a default joined an open model": (
        _object(), _object(properties={"a": _text(default="")}, required=["a"]), False,
    ),
    "a default that its own schema refuses fills nothing in": (
        _object(properties={"a": _text(default=1)}), _object(properties={"a": _text(default=1)}, required=["a"]), False,
    ),
    "a property left an open model": (_object(properties=_A), _object(), True),
    "a property left a closed model": (_object(properties=_A, **_CLOSED), _object(**_CLOSED), False),
    "a property that patterns cover joined": (
        _object(patternProperties={"^a": _text()}, **_CLOSED),
        _object(patternProperties={"^a": _text()}, properties={"a1": _text()}, **_CLOSED), True,
    ),
    "a property that patterns do not cover joined": (
        _object(patternProperties={"^a": _text()}, **_CLOSED),
        _object(patternProperties={"^a": _text()}, properties={"a1": {"type": "integer"}}, **_CLOSED), False,
    ),
    "a model opened": (_object(properties=_A, **_CLOSED), _object(properties=_A), True),
    "a model closed": (_object(properties=_A), _object(properties=_A, **_CLOSED), False),
    "the schema for other keys widened": (_object(additionalProperties={"type": "integer"}), _object(additionalProperties=_number()), True),
    "the schema for other keys narrowed": (_object(additionalProperties=_number()), _object(additionalProperties={"type": "integer"}), False),
    "a dependency in the words of draft-07 was added": (_object(), _object(dependencies={"a": ["b"]}), False),
    "a dependency in the words of draft-07 was taken out": (_object(dependencies={"a": ["b"]}), _object(), True),
    "a dependency on a schema was taken out": (_object(dependencies={"a": {"required": ["b"]}}), _object(), True),
    "items widened": (_list(items={"type": "integer"}), _list(items=_number()), True),
    "items narrowed": (_list(items=_number()), _list(items={"type": "integer"}), False),
    "a place joined an open tuple": (_list(prefixItems=[_text()]), _list(prefixItems=[_text(), _text()]), False),
    "a place joined a closed tuple": (_list(prefixItems=[_text()], items=False), _list(prefixItems=[_text(), _text()], items=False), True),
    "a place left a closed tuple": (_list(prefixItems=[_text(), _text()], items=False), _list(prefixItems=[_text()], items=False), False),
    "a place left an open tuple": (_list(prefixItems=[_text(), _text()]), _list(prefixItems=[_text()]), True),
    "a tuple in the words of draft-07 closed": (_list(items=[_text()]), _list(items=[_text()], additionalItems=False), False),
    "a tuple in the words of draft-07 opened": (_list(items=[_text()], additionalItems=False), _list(items=[_text()]), True),
    "a choice grew": ({"enum": ["a"]}, {"enum": ["a", "b"]}, True),
    "a choice shrank": ({"enum": ["a", "b"]}, {"enum": ["a"]}, False),
    "a choice changed its order": ({"enum": ["a", "b"]}, {"enum": ["b", "a"]}, True),
    "a choice became its type": ({"enum": ["a", "b"]}, _text(), True),
    "a definition that is referred to widened": (_ref({"type": "integer"}), _ref({"type": "number"}), True),
    "a definition that is referred to narrowed": (_ref({"type": "number"}), _ref({"type": "integer"}), False),
    "a definition moved": (
        _ref(_text()),
        {"type": "object", "properties": {"buyer": {"$ref": "#/$defs/human"}}, "$defs": {"human": _text()}}, True,
    ),
    "a reference was written out": (_ref(_text()), _object(properties={"buyer": _text()}), True),
    "a tree that refers to itself widened": (
        {"properties": {"value": {"type": "integer"}, "next": {"$ref": "#"}}},
        {"properties": {"value": {"type": "number"}, "next": {"$ref": "#"}}}, True,
    ),
    "a tree that refers to itself narrowed": (
        {"properties": {"value": {"type": "number"}, "next": {"$ref": "#"}}},
        {"properties": {"value": {"type": "integer"}, "next": {"$ref": "#"}}}, False,
    ),
    "an exclusive bound became an equal whole one": (
        {"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}, True,
    ),
    "a bound in the words of draft-04": (
        {"type": "number", "maximum": 5, "exclusiveMaximum": True}, {"type": "number", "maximum": 5}, True,
    ),
    "a limit on texts where only numbers stand": ({"type": "integer"}, {"type": "integer", "maxLength": 3}, True),
    "not grew": ({"not": {"type": "null"}}, {"not": {"type": ["null", "string"]}}, False),
    "not of what cannot be there": (_text(), _text(**{"not": {"type": "null"}}), True),
    "a text must be longer": (_text(minLength=1), _text(minLength=2), False),
    "a condition's consequence widened": (
        {"if": {"required": ["a"]}, "then": {"properties": {"b": {"type": "integer"}}}},
        {"if": {"required": ["a"]}, "then": {"properties": {"b": {"type": "number"}}}}, True,
    ),
    "a condition's consequence narrowed": (
        {"if": {"required": ["a"]}, "then": {"properties": {"b": {"type": "number"}}}},
        {"if": {"required": ["a"]}, "then": {"properties": {"b": {"type": "integer"}}}}, False,
    ),
    "keys may be named more freely": (_object(propertyNames={"maxLength": 3}), _object(propertyNames={"maxLength": 5}), True),
    "keys may be named less freely": (_object(propertyNames={"maxLength": 5}), _object(propertyNames={"maxLength": 3}), False),
    "a constant became a choice with it": ({"const": 1}, {"enum": [1, 2]}, True),
    # Confluent's registry looks at required keys that are declared only; {"a": "text"} proves that this breaks.
    "a key that nobody declares is required instead": (_object(properties=_A, required=["a"]), _object(properties=_A, required=["b"]), False),
    "allOf repeats a branch": ({"allOf": [_text()]}, {"allOf": [_text(), _text()]}, True),
    "a branch of allOf came to list other values": (
        {"allOf": [_text(), {"enum": ["a"]}]}, {"allOf": [_text(), {"enum": ["b"]}]}, False,
    ),
    "anyOf of one became oneOf of two": ({"anyOf": [_text()]}, {"oneOf": [{"type": "number"}, _text()]}, True),
    "anyOf of two became oneOf of one": ({"anyOf": [{"type": "number"}, _text()]}, {"oneOf": [_text()]}, False),
    "oneOf became allOf of the same": ({"oneOf": [_text()]}, {"allOf": [_text()]}, True),
    "oneOf became allOf with one more": ({"oneOf": [_text()]}, {"allOf": [{"type": "number"}, _text()]}, False),
    "a longer text joined oneOf": (_text(maxLength=3), {"oneOf": [{"type": "number"}, _text()]}, True),
    "a dependency turned round": (_object(dependencies={"a": ["b"]}), _object(dependencies={"b": ["a"]}), False),
    "a refused key joined a closed model": (_object(**_CLOSED), _object(properties={"a": False}, **_CLOSED), True),
    "a refused key left a closed model": (_object(properties={"a": False}, **_CLOSED), _object(**_CLOSED), True),
    "a property left a closed model for the schema of others": (
        _object(properties=_A, **_CLOSED), _object(additionalProperties={"oneOf": [_text(), {"type": "null"}]}), True,
    ),
    "a place left a closed tuple for the schema of others": (
        _list(prefixItems=[_text(), _number()], items=False), _list(prefixItems=[_text()], items=_number()), True,
    ),
    "anything became nothing in particular": (_object(properties={}), True, True),
    "true is not one": ({"const": True}, {"const": 1}, False),
    "one is one, however written": ({"const": 1}, {"const": 1.0}, True),
}  # fmt: skip
