"""One property as a JSON Schema (draft-07) and back; what the other side cannot say is returned as a loss.

For us null counts as absent. An optional property is therefore written as nullable, and read from either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, cast

from activation_dagster.domain.contracts import PropertyRule, PropertyType
from activation_dagster.domain.lexical import MAX_EXACT_INTEGER
from activation_dagster.domain.proposals import Loss, ProposedProperty
from activation_dagster.registry.json_schema import DATE_PATTERN, TIMESTAMP_PATTERN

DRAFT_07 = "http://json-schema.org/draft-07/schema#"
PII = "pii"
"""What stands in `$comment` where a property holds personal data: JSON Schema has no word for it."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]*")
NUMBERS = (PropertyType.INTEGER, PropertyType.NUMBER)
TEXTS = (PropertyType.STRING, PropertyType.TIMESTAMP, PropertyType.DATE)
FORMATS = {"date-time": PropertyType.TIMESTAMP, "date": PropertyType.DATE}
PATTERNS = {TIMESTAMP_PATTERN: PropertyType.TIMESTAMP, DATE_PATTERN: PropertyType.DATE}
"""How our own JSON Schemas spell the types that JSON Schema does not have."""

_SAID = {"name", "type", "is_required", "enum", "minimum", "maximum", "is_pii", "description"}


def unsaid(rule: PropertyRule, path: str, *, said: frozenset[str] = frozenset(_SAID)) -> list[Loss]:
    """What of a rule is none of the fields `said`: a format that a contract learns later is not lost in silence."""
    return [
        Loss(path=path, sentence=f"'{field.name}' is not written, because this export has no word for it yet.")
        for field in fields(rule)
        if field.name not in said and field.default is not MISSING and getattr(rule, field.name) != field.default
    ]


def schema_of(rule: PropertyRule) -> dict[str, Any]:
    """A rule as a schema of its value."""
    plain = next((word for word, kind in FORMATS.items() if kind is rule.type), None)
    kind = "string" if plain else rule.type.value
    written: dict[str, Any] = {"type": kind if rule.is_required else [kind, "null"]}
    if rule.description:
        written["description"] = rule.description
    if plain:
        written["format"] = plain
    if rule.enum:
        written["enum"] = [*rule.enum, *([] if rule.is_required else [None])]
    if rule.minimum is not None:
        written["minimum"] = rule.minimum
    if rule.maximum is not None:
        written["maximum"] = rule.maximum
    if rule.is_pii:
        written["$comment"] = PII
    return written


def section_schema(rules: Sequence[PropertyRule]) -> dict[str, Any]:
    """The properties of a version as the schema of their section."""
    return {
        "type": "object",
        "properties": {rule.name: schema_of(rule) for rule in rules},
        "required": [rule.name for rule in rules if rule.is_required],
    }


def read_section(schema: Any, path: str) -> tuple[tuple[ProposedProperty, ...], list[Loss]]:
    """The properties that the schema of a section promises, and everything of it that a contract cannot say."""
    losses: list[Loss] = []
    if not isinstance(schema, Mapping):
        if schema is not True:
            losses.append(Loss(path=path, sentence="is no schema of an object; nothing was taken from it."))
        return (), losses
    said = cast("Mapping[str, Any]", schema)
    inner = said.get("properties", {})
    named: Mapping[str, Any] = cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else {}
    required = _names(said.get("required"))
    if said.get("type", "object") != "object":
        losses.append(Loss(path=f"{path}.type", sentence="is not 'object', where a contract's properties stand."))
    losses += [
        Loss(path=f"{path}.{word}", sentence=_lost(word))
        for word in sorted(set(said) - {"type", "properties", "required", "$schema"})
        if (word, said[word]) not in (("additionalProperties", True), ("additionalProperties", {}))
    ]
    found: list[ProposedProperty] = []
    for name, one in named.items():
        proposed, lost = read_property(name, one, is_required=name in required, path=f"{path}.properties.{name}")
        losses += lost
        found += [proposed] if proposed is not None else []
    losses += [
        Loss(path=f"{path}.required", sentence=f"asks for '{name}', of which nothing is said; it was left out.")
        for name in sorted(required - set(named))
    ]
    return tuple(found), losses


def read_property(
    name: str, schema: Any, *, is_required: bool, path: str
) -> tuple[ProposedProperty | None, list[Loss]]:
    """The rule that a schema comes closest to, or None where the property must be left out; and what is lost."""
    if not NAME.fullmatch(name):
        return None, [
            Loss(path=path, sentence="has a name that a contract cannot hold (letters, digits, _ and -); left out.")
        ]
    if not isinstance(schema, Mapping):
        return None, [Loss(path=path, sentence="says nothing of its type, which a contract must; left out.")]
    said = dict(cast("Mapping[str, Any]", schema))
    losses: list[Loss] = []
    kind = _type(said, losses, path, is_required=is_required)
    if kind is None:
        return None, losses
    enum = _enum(said, kind, losses, path)
    bounds = {word: _bound(said, word, kind, losses, path) for word in ("minimum", "maximum")}
    comment = said.pop("$comment", None)
    if comment not in (None, PII):
        losses.append(Loss(path=f"{path}.$comment", sentence=_lost("$comment")))
    description = said.pop("description", "")
    if not isinstance(description, str):
        losses.append(Loss(path=f"{path}.description", sentence="is no text; left out."))
        description = ""
    losses += [Loss(path=f"{path}.{word}", sentence=_lost(word)) for word in sorted(said)]
    rule = PropertyRule(
        name=name,
        type=kind,
        is_required=is_required,
        enum=enum,
        minimum=bounds["minimum"],
        maximum=bounds["maximum"],
        is_pii=comment == PII,
        description=description,
    )
    return ProposedProperty(rule=rule, notes=tuple(f"not said: {loss}" for loss in losses)), losses


def _lost(word: str) -> str:
    return f"'{word}' cannot be said in a contract; left out."


def _names(value: Any) -> set[str]:
    return {name for name in cast("list[Any]", value) if isinstance(name, str)} if isinstance(value, list) else set()


def _type(said: dict[str, Any], losses: list[Loss], path: str, *, is_required: bool) -> PropertyType | None:
    """The type of a property; takes `type` and the formats that are types out of what was said."""
    stated = said.pop("type", None)
    kinds: list[Any] = cast("list[Any]", stated) if isinstance(stated, list) else [stated]
    if "null" in kinds:
        kinds = [kind for kind in kinds if kind != "null"]
        if is_required:
            losses.append(
                Loss(path=f"{path}.type", sentence="allows null, and the property is required; null would wait.")
            )
    if kinds == [None] and _all_texts(said.get("enum")):
        kinds = ["string"]
    known = {kind.value for kind in PropertyType if kind not in FORMATS.values()}
    if len(kinds) != 1 or kinds[0] not in known:
        what = "no type" if kinds in ([None], []) else "more than one type, or one that no contract knows"
        losses.append(Loss(path=f"{path}.type", sentence=f"there is {what}; the property was left out."))
        return None
    kind = PropertyType(kinds[0])
    if kind is PropertyType.STRING and isinstance(said.get("format"), str) and said["format"] in FORMATS:
        kind = FORMATS[said.pop("format")]
    elif kind is PropertyType.STRING and isinstance(said.get("pattern"), str) and said["pattern"] in PATTERNS:
        kind = PATTERNS[said.pop("pattern")]
    elif kind is PropertyType.INTEGER:  # which every integer keeps anyway
        for word, bound in (("minimum", -MAX_EXACT_INTEGER), ("maximum", MAX_EXACT_INTEGER)):
            if said.get(word) == bound:
                del said[word]
    return kind


def _all_texts(values: Any) -> bool:
    if not isinstance(values, list):
        return False
    listed = cast("list[Any]", values)
    return bool(listed) and all(value is None or isinstance(value, str) for value in listed)


def _enum(said: dict[str, Any], kind: PropertyType, losses: list[Loss], path: str) -> tuple[str, ...]:
    if "enum" not in said:
        return ()
    values = said.pop("enum")
    if kind not in TEXTS or not _all_texts(values):
        losses.append(Loss(path=f"{path}.enum", sentence="holds values that are no text; left out."))
        return ()
    return tuple(value for value in cast("list[str | None]", values) if value is not None)


def _bound(said: dict[str, Any], word: str, kind: PropertyType, losses: list[Loss], path: str) -> float | None:
    if word not in said:
        return None
    bound = said.pop(word)
    if kind not in NUMBERS or isinstance(bound, bool) or not isinstance(bound, int | float):
        losses.append(Loss(path=f"{path}.{word}", sentence="bounds what is no number; left out."))
        return None
    return bound
