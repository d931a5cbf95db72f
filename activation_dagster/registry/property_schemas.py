"""One property as a JSON Schema (draft-07) and back; what the other side cannot say is returned as a loss.

For us null counts as absent where a property does not say `nullable`. An optional one is then written as nullable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, cast

from activation_dagster.domain.contracts import PropertyRule, PropertyType
from activation_dagster.domain.formats import FORMAT_PATTERNS, Format
from activation_dagster.domain.lexical import MAX_EXACT_INTEGER
from activation_dagster.domain.proposals import Loss, ProposedProperty
from activation_dagster.registry.json_schema import DATE_PATTERN, TIMESTAMP_PATTERN

DRAFT_07 = "http://json-schema.org/draft-07/schema#"
PII = "pii"
"""What stands in `$comment` where a property holds personal data, with `owner=…` and `identifier=…` behind `; `:
JSON Schema has no words for them."""
WHOLE = re.compile(r"\^\(\?:(.*)\)\$", re.DOTALL)
"""How a pattern is written that is held against the whole text, as ours are; any other is a loss."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]*")
NUMBERS = (PropertyType.INTEGER, PropertyType.NUMBER)
TEXTS = (PropertyType.STRING, PropertyType.TIMESTAMP, PropertyType.DATE)
FORMATS = {"date-time": PropertyType.TIMESTAMP, "date": PropertyType.DATE}
PATTERNS = {TIMESTAMP_PATTERN: PropertyType.TIMESTAMP, DATE_PATTERN: PropertyType.DATE}
"""How our own JSON Schemas spell the types that JSON Schema does not have."""

_SAID = {
    "name", "type", "is_required", "enum", "minimum", "maximum", "is_pii", "description", "format", "min_length",
    "max_length", "pattern", "is_nullable", "properties", "items", "default", "owner", "identifier",
}  # fmt: skip


def unsaid(rule: PropertyRule, path: str, *, said: frozenset[str] = frozenset(_SAID)) -> list[Loss]:
    """What of a rule is none of the fields `said`: a format that a contract learns later is not lost in silence."""
    inner = [*rule.properties, *([rule.items] if rule.items else [])]
    return [
        *(loss for one in inner for loss in unsaid(one, f"{path}.{one.name or '[]'}", said=said)),
        *_unsaid(rule, path, said),
    ]


def _unsaid(rule: PropertyRule, path: str, said: frozenset[str]) -> list[Loss]:
    return [
        Loss(path=path, sentence=f"'{field.name}' is not written, because this export has no word for it yet.")
        for field in fields(rule)
        if field.name not in said and field.default is not MISSING and getattr(rule, field.name) != field.default
    ]


def comment_of(rule: PropertyRule) -> str | None:
    """What `$comment` says of a rule; None where there is nothing to say."""
    said = [
        *([PII] if rule.is_pii else []),
        *([f"owner={rule.owner}"] if rule.owner else []),
        *([f"identifier={rule.identifier}"] if rule.identifier else []),
    ]
    return "; ".join(said) or None


def _read_comment(comment: Any) -> dict[str, str] | None:
    """What `comment_of` wrote, `pii` with an empty text; None where it is another's comment."""
    if comment is None:
        return {}
    parts = [part.partition("=") for part in comment.split("; ")] if isinstance(comment, str) else []
    said = {word: value for word, _, value in parts}
    is_ours = bool(parts) and all(
        (word == PII and not sign) or (word in ("owner", "identifier") and value) for word, sign, value in parts
    )
    return said if is_ours and len(said) == len(parts) else None


def schema_of(rule: PropertyRule) -> dict[str, Any]:
    """A rule as a schema of its value, or of each item of an array."""
    plain = next((word for word, kind in FORMATS.items() if kind is rule.type), None)
    kind = "string" if plain else rule.type.value
    is_nullable = rule.is_nullable is True or (rule.is_nullable is None and not rule.is_required)
    is_text = rule.type is PropertyType.STRING
    said = {
        "description": rule.description or None,
        "format": plain or (rule.format.value if rule.format and is_text else None),
        "enum": [*rule.enum, *([None] if is_nullable else [])] if rule.enum else None,
        "minimum": rule.minimum,
        "maximum": rule.maximum,
        "minLength": rule.min_length if is_text else None,
        "maxLength": rule.max_length if is_text else None,
        "pattern": f"^(?:{rule.pattern})$" if rule.pattern is not None and is_text else None,
        "default": rule.default,
        "items": schema_of(rule.items) if rule.items else None,
        "$comment": comment_of(rule),
    }
    written: dict[str, Any] = {"type": [kind, "null"] if is_nullable else kind}
    written |= {word: value for word, value in said.items() if value is not None}
    if rule.properties:
        written |= {
            "properties": {inner.name: schema_of(inner) for inner in rule.properties},
            "required": [inner.name for inner in rule.properties if inner.is_required],
        }
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
    rule, losses = _read(name=name, schema=schema, is_required=is_required, path=path)
    if rule is None:
        return None, losses
    return ProposedProperty(rule=rule, notes=tuple(f"not said: {loss}" for loss in losses)), losses


def _read(*, name: str, schema: Any, is_required: bool, path: str) -> tuple[PropertyRule | None, list[Loss]]:
    if name and not NAME.fullmatch(name):
        return None, [
            Loss(path=path, sentence="has a name that a contract cannot hold (letters, digits, _ and -); left out.")
        ]
    if not isinstance(schema, Mapping):
        return None, [Loss(path=path, sentence="says nothing of its type, which a contract must; left out.")]
    said = dict(cast("Mapping[str, Any]", schema))
    losses: list[Loss] = []
    kind, is_nullable = _type(said, losses, path)
    if kind is None:
        return None, losses
    enum = _enum(said, kind, losses, path)
    bounds = {word: _bound(said, word, kind, losses, path) for word in ("minimum", "maximum")}
    form = _format(said, kind)
    lengths = {word: _length(said, word, kind, losses, path) for word in ("minLength", "maxLength")}
    pattern = WHOLE.fullmatch(said["pattern"]) if isinstance(said.get("pattern"), str) else None
    if pattern is not None and kind is PropertyType.STRING:
        del said["pattern"]
    properties = _inner_properties(said, kind, losses, path)
    items: PropertyRule | None = None
    if kind is PropertyType.ARRAY and "items" in said:
        inner, lost = _read(name="", schema=said.pop("items"), is_required=True, path=f"{path}.items")
        losses += lost
        items = inner
    comment = _read_comment(said.pop("$comment", None))
    if comment is None:
        losses.append(Loss(path=f"{path}.$comment", sentence=_lost("$comment")))
    description = said.pop("description", "")
    if not isinstance(description, str):
        losses.append(Loss(path=f"{path}.description", sentence="is no text; left out."))
        description = ""
    losses += [Loss(path=f"{path}.{word}", sentence=_lost(word)) for word in sorted(set(said) - {"default"})]
    rule = PropertyRule(
        name=name,
        type=kind,
        is_required=is_required,
        enum=enum,
        minimum=bounds["minimum"],
        maximum=bounds["maximum"],
        is_pii=PII in (comment or {}),
        owner=(comment or {}).get("owner", ""),
        identifier=(comment or {}).get("identifier"),
        description=description,
        format=form,
        min_length=lengths["minLength"],
        max_length=lengths["maxLength"],
        pattern=pattern[1] if pattern is not None and kind is PropertyType.STRING else None,
        # Null counts as absent where nothing is said: only what differs from that is.
        is_nullable=None if is_nullable is not is_required else is_nullable,
        properties=properties,
        items=items,
        default=said.pop("default", None),
    )
    return rule, losses


def _inner_properties(
    said: dict[str, Any], kind: PropertyType, losses: list[Loss], path: str
) -> tuple[PropertyRule, ...]:
    """The properties promised inside an object; takes them and what is required of them out of what was said."""
    if kind is not PropertyType.OBJECT or not ({"properties", "required"} & set(said)):
        return ()
    inner = {word: said.pop(word) for word in ("properties", "required") if word in said}
    found, lost = read_section(inner, path)
    losses += lost
    return tuple(proposed.rule for proposed in found)


def _format(said: dict[str, Any], kind: PropertyType) -> Format | None:
    """A format by its name, or by the pattern that our own JSON Schemas spell it with."""
    if kind is not PropertyType.STRING:
        return None
    if said.get("format") in list(Format):
        return Format(said.pop("format"))
    spelt = next((form for form, pattern in FORMAT_PATTERNS.items() if said.get("allOf") == [_spelt(pattern)]), None)
    if spelt is not None:
        del said["allOf"]
    return spelt


def _spelt(pattern: str) -> dict[str, str]:
    return {"pattern": f"^(?:{pattern})$"}


def _length(said: dict[str, Any], word: str, kind: PropertyType, losses: list[Loss], path: str) -> int | None:
    if word not in said:
        return None
    length = said.pop(word)
    if kind is not PropertyType.STRING or isinstance(length, bool) or not isinstance(length, int) or length < 0:
        losses.append(Loss(path=f"{path}.{word}", sentence="measures what is no string; left out."))
        return None
    return length


def _lost(word: str) -> str:
    return f"'{word}' cannot be said in a contract; left out."


def _names(value: Any) -> set[str]:
    return {name for name in cast("list[Any]", value) if isinstance(name, str)} if isinstance(value, list) else set()


def _type(said: dict[str, Any], losses: list[Loss], path: str) -> tuple[PropertyType | None, bool]:
    """The type of a property and whether it may be null; takes `type` and formats that are types out of `said`."""
    stated = said.pop("type", None)
    kinds: list[Any] = cast("list[Any]", stated) if isinstance(stated, list) else [stated]
    is_nullable = "null" in kinds
    kinds = [kind for kind in kinds if kind != "null"]
    if kinds == [None] and _all_texts(said.get("enum")):
        kinds, is_nullable = ["string"], None in said["enum"]
    known = {kind.value for kind in PropertyType if kind not in FORMATS.values()}
    if len(kinds) != 1 or kinds[0] not in known:
        what = "no type" if kinds in ([None], []) else "more than one type, or one that no contract knows"
        losses.append(Loss(path=f"{path}.type", sentence=f"there is {what}; the property was left out."))
        return None, False
    kind = PropertyType(kinds[0])
    if kind is PropertyType.STRING and isinstance(said.get("format"), str) and said["format"] in FORMATS:
        kind = FORMATS[said.pop("format")]
    elif kind is PropertyType.STRING and isinstance(said.get("pattern"), str) and said["pattern"] in PATTERNS:
        kind = PATTERNS[said.pop("pattern")]
    elif kind is PropertyType.INTEGER:  # which every integer keeps anyway
        for word, bound in (("minimum", -MAX_EXACT_INTEGER), ("maximum", MAX_EXACT_INTEGER)):
            if said.get(word) == bound:
                del said[word]
    return kind, is_nullable


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
