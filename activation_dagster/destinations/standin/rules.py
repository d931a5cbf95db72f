"""What Iterable's API accepts, as pure rules: request types, identifiers and field types fixed by their first value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

from activation_dagster.domain.sends import Json

JsonObject: TypeAlias = dict[str, Json]
FieldType: TypeAlias = Literal["string", "integer", "boolean", "object", "array"]

MAX_BODY_BYTES = 4_000_000
MAX_USER_ID_CHARACTERS = 52
MAX_EVENT_ID_BYTES = 512
MAX_CREATED_AT = 10**11
"""Epoch seconds; a greater number is milliseconds sent by mistake."""

_EXPECTED: Mapping[FieldType, str] = {
    "string": "String value expected",
    "integer": "Number value expected",
    "boolean": "Boolean value expected",
    "object": "Object value expected",
    "array": "Array value expected",
}
_EMAIL = re.compile(r"[^@\s,;<>\"]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_USER_ID = re.compile(r"[\x20-\x7e]*[\x21-\x7e]")
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}"
    r"( \d{2}:\d{2}:\d{2}( [+-]\d{2}:?\d{2})?"
    r"|T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The Swagger types of one request object; a field not listed is ignored, null counts as absent."""

    fields: Mapping[str, FieldType]
    required: frozenset[str] = frozenset()


_IDENTITY: Mapping[str, FieldType] = {"email": "string", "userId": "string"}
TRACK = Shape(
    fields={
        **_IDENTITY,
        "campaignId": "integer",
        "createNewFields": "boolean",
        "createdAt": "integer",
        "dataFields": "object",
        "eventName": "string",
        "id": "string",
        "templateId": "integer",
    },
    required=frozenset({"eventName"}),
)
USER = Shape(
    fields={
        **_IDENTITY,
        "createNewFields": "boolean",
        "dataFields": "object",
        "mergeNestedObjects": "boolean",
        "preferUserId": "boolean",
    }
)
TRIGGER_WORKFLOW = Shape(
    fields={**_IDENTITY, "dataFields": "object", "listId": "integer", "workflowId": "integer"},
    required=frozenset({"workflowId"}),
)
TRACK_BULK = Shape(fields={"events": "array"}, required=frozenset({"events"}))
BULK_UPDATE = Shape(fields={"users": "array", "createNewFields": "boolean"}, required=frozenset({"users"}))


def is_of_type(value: Json, expected: FieldType) -> bool:
    """Whether a value is of a Swagger type; a boolean is no number, and a decimal is no integer."""
    match expected:
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)


def type_faults(value: Json, shape: Shape, path: str = "obj") -> dict[str, str]:
    """Every field of the wrong type or missing, as Iterable's `params`: {"obj.createdAt": "Number value expected"}."""
    if not isinstance(value, dict):
        return {path: _EXPECTED["object"]}
    faults: dict[str, str] = {}
    for name, item in value.items():
        expected = shape.fields.get(name)
        if expected is not None and item is not None and not is_of_type(item, expected):
            faults[f"{path}.{name}"] = _EXPECTED[expected]
    for name in shape.required:
        if value.get(name) is None:
            faults[f"{path}.{name}"] = "Field is required"
    return faults


def bulk_type_faults(body: Json, outer: Shape, list_name: str, inner: Shape) -> dict[str, str]:
    """The type faults of a bulk request and of each of its items: {"obj.events[1].createdAt": …}."""
    faults = type_faults(body, outer)
    if faults:
        return faults
    items = cast("list[Json]", cast(JsonObject, body)[list_name])
    for index, item in enumerate(items):
        faults.update(type_faults(item, inner, f"obj.{list_name}[{index}]"))
    return faults


def is_user_id(value: str) -> bool:
    """1 to 52 printable ASCII characters that do not end in a space."""
    return len(value) <= MAX_USER_ID_CHARACTERS and _USER_ID.fullmatch(value) is not None


def is_email(value: str) -> bool:
    """An address that looks deliverable; Iterable checks no more than its form."""
    return len(value) <= 254 and _EMAIL.fullmatch(value) is not None


def incoming_types(name: str, value: Json) -> tuple[str, ...]:
    """The field types that a value may be stored as, the most specific first; () for null, which fixes nothing."""
    match value:
        case None:
            return ()
        case bool():
            return ("boolean",)
        case int():
            return ("long", "double")
        case float():
            return ("double",)
        case str():
            return ("date", "string", "keyword") if _DATE.fullmatch(value) else ("string", "keyword")
        case list():
            return ("nested",)
        case dict():
            if name.endswith("_geo_location") and {"lat", "lon"} <= value.keys():
                return ("geo_location",)
            return ("object",)


def typed_values(fields: JsonObject, prefix: str = "") -> Iterator[tuple[str, tuple[str, ...], Json]]:
    """Each stored field with its dotted path, possible types and value; arrays are of the type of their elements."""
    for name, value in fields.items():
        path = f"{prefix}{name}"
        if isinstance(value, list):
            for element in value:
                if isinstance(element, dict):
                    yield path, ("nested",), element
                    yield from typed_values(element, f"{path}.")
                elif types := incoming_types(name, element):
                    yield path, types, element
            continue
        types = incoming_types(name, value)
        if types:
            yield path, types, value
        if isinstance(value, dict) and types != ("geo_location",):
            yield from typed_values(value, f"{path}.")


@dataclass(slots=True, kw_only=True)
class FieldReading:
    """What one call says about field types: which mismatch, and which it would fix for the first time.

    `known` maps a scope ("user", or "event:" and the event's name) to the types of its fields; it is only read.
    """

    project_id: int
    known: Mapping[str, Mapping[str, str]]
    mismatches: JsonObject = field(default_factory=dict[str, Json])
    proposed: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    filtered_out: set[str] = field(default_factory=set[str])

    def read(self, scope: str, fields: JsonObject, *, may_create: bool) -> JsonObject:
        """Judges one item's fields and gives those that would be stored (all, unless new fields are unwelcome)."""
        known = self.known.get(scope, {})
        if not may_create:
            unknown = fields.keys() - known.keys()
            self.filtered_out |= unknown
            fields = {name: value for name, value in fields.items() if name not in unknown}
        proposed = self.proposed.setdefault(scope, {})
        for path, types, value in typed_values(fields):
            expected = known.get(path) or proposed.setdefault(path, types[0])
            if expected not in types:
                self.mismatches[f"{self.project_id}:::{path}"] = {
                    "incomingTypes": list(types),
                    "expectedType": expected,
                    "category": "user" if scope == "user" else "custom event",
                    "offendingValue": value,
                    "_type": "UnexpectedType",
                }
        return fields

    def created(self, scope: str, fields: JsonObject) -> dict[str, str]:
        """The types that storing `fields` fixes for the first time."""
        proposed = self.proposed.get(scope)
        if not proposed:
            return {}
        return {path: proposed[path] for path, _, _ in typed_values(fields) if path in proposed}


def merged(stored: JsonObject, incoming: JsonObject, *, nested: bool) -> JsonObject:
    """A profile after an update: fields not sent stay, null removes, objects merge one level deep if `nested`."""
    result = dict(stored)
    for name, value in incoming.items():
        before = result.get(name)
        if value is None:
            result.pop(name, None)
        elif nested and isinstance(value, dict) and isinstance(before, dict):
            result[name] = {**before, **value}
        else:
            result[name] = value
    return result
