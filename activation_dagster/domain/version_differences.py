"""What differs between two versions of a contract, property by property, in words; nothing is judged here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from enum import Enum, StrEnum
from typing import Any

from activation_dagster.domain.contracts import EventVersion, PropertyRule


class Difference(StrEnum):
    """What happened to a property between two versions."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyDifference:
    """One property that is not as it was, and in what."""

    property: str
    difference: Difference
    sentence: str


WORDS = {
    "is_required": "required",
    "is_pii": "personal data",
    "is_nullable": "nullable",
    "min_length": "at least this long",
    "max_length": "at most this long",
}


def differences(old: EventVersion, new: EventVersion) -> tuple[PropertyDifference, ...]:
    """Every property that was added, removed or changed, as `new` orders them; removed ones last."""
    before = {rule.name: rule for rule in old.properties}
    after = {rule.name: rule for rule in new.properties}
    found: list[PropertyDifference] = []
    for name, rule in after.items():
        if name not in before:
            sentence = f"{rule.type.value}, {'required' if rule.is_required else 'optional'}"
            found.append(PropertyDifference(property=name, difference=Difference.ADDED, sentence=sentence))
        elif rule != before[name]:
            sentence = "; ".join(_changes(before[name], rule))
            found.append(PropertyDifference(property=name, difference=Difference.CHANGED, sentence=sentence))
    found += [
        PropertyDifference(property=name, difference=Difference.REMOVED, sentence=f"was {rule.type.value}")
        for name, rule in before.items()
        if name not in after
    ]
    return tuple(found)


def _changes(old: PropertyRule, new: PropertyRule) -> list[str]:
    """Each field of the rule that changed; a field that rules learn later is told as well."""
    return [
        f"{WORDS.get(field.name, field.name)}: {_said(getattr(old, field.name))} → {_said(getattr(new, field.name))}"
        for field in fields(new)
        if getattr(old, field.name) != getattr(new, field.name)
    ]


def further_rules(rule: PropertyRule) -> tuple[str, ...]:
    """What a rule asks for beyond type and presence, as `word: value`; each field that is not at its default."""
    known = {"name", "type", "is_required", "is_pii", "description"}
    return tuple(
        f"{WORDS.get(field.name, field.name)}: {_said(getattr(rule, field.name))}"
        for field in fields(rule)
        if field.name not in known and (field.default is MISSING or getattr(rule, field.name) != field.default)
    )


def _said(value: Any) -> str:
    """A rule's value in words."""
    match value:
        case None | () | "":
            return "none"
        case bool():
            return "yes" if value else "no"
        case Enum():
            return str(value.value)
        case float():
            return f"{value:g}"
        case PropertyRule():
            presence = ", required" if value.is_required and value.name else ""
            further = "".join(f", {said}" for said in further_rules(value))
            return f"{value.name} ({value.type.value}{presence}{further})".strip()
        case str():
            return value
        case Sequence():
            return " | ".join(_said(one) for one in value)  # pyright: ignore[reportUnknownVariableType]
        case _:
            return str(value)
