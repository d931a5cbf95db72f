"""What one version file of an event promises: from its shape to rules, and every promise in it that cannot be kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from math import isfinite
from typing import Any

from activation_dagster.domain.contracts import (
    NUMBERS,
    TEXTS,
    EventVersion,
    Lifecycle,
    PropertyRule,
    PropertyType,
    violations_of,
)
from activation_dagster.domain.lexical import MAX_DEPTH
from activation_dagster.domain.patterns import fault_of_pattern
from activation_dagster.registry.files import suggestion
from activation_dagster.registry.shapes import PropertyShape, VersionFile

PROPERTY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]*")

Mistake = tuple[str, str]
"""A path inside the file, and a sentence saying what to do."""

_BELONGS = {
    "enum": TEXTS,
    "minimum": NUMBERS,
    "maximum": NUMBERS,
    "format": (PropertyType.STRING,),
    "pattern": (PropertyType.STRING,),
    "min_length": (PropertyType.STRING,),
    "max_length": (PropertyType.STRING,),
    "properties": (PropertyType.OBJECT,),
    "required": (PropertyType.OBJECT,),
    "items": (PropertyType.ARRAY,),
}
"""The types that a constraint says something about; on another it would promise nothing."""


def rule_of(name: str, shape: PropertyShape, *, is_required: bool) -> PropertyRule:
    """What a property of a file promises."""
    return PropertyRule(
        name=name,
        type=shape.type,
        is_required=is_required,
        enum=tuple(shape.enum),
        minimum=shape.minimum,
        maximum=shape.maximum,
        is_pii=shape.pii,
        description=shape.description,
        format=shape.format,
        min_length=shape.min_length,
        max_length=shape.max_length,
        pattern=shape.pattern,
        is_nullable=shape.nullable,
        properties=_rules(shape.properties, shape.required),
        items=None if shape.items is None else rule_of("", shape.items, is_required=False),
        default=shape.default,
        owner=shape.owner,
        identifier=shape.identifier,
    )


def _rules(properties: dict[str, PropertyShape], required: list[str]) -> tuple[PropertyRule, ...]:
    return tuple(rule_of(name, shape, is_required=name in required) for name, shape in properties.items())


def version_of(shape: VersionFile, lifecycle: Lifecycle | None = None) -> EventVersion:
    """What a version file promises; `lifecycle` stands in contract.yaml."""
    return EventVersion(
        version=shape.version,
        properties=_rules(shape.properties, shape.required),
        lifecycle=lifecycle or Lifecycle(),
    )


def mistakes_of(
    shape: VersionFile, *, owners: Collection[str], kinds: Collection[str], fills: bool = True
) -> Iterator[Mistake]:
    """Every promise of a version file that cannot be kept, or that nobody would judge or carry out.

    Not `fills`: the version is of traits, where silence says nothing, or of the envelope, which stays as it came.
    """
    yield from _mistakes_inside("", shape.properties, shape.required, owners, kinds)
    if not fills:
        for path in _defaults_in("", shape.properties):
            yield (
                path,
                "is a default that nobody fills in: what traits or an envelope leave out was not said; take it out.",
            )


def _defaults_in(path: str, properties: dict[str, PropertyShape]) -> Iterator[str]:
    for name, shape in properties.items():
        place = f"{path}properties.{name}"
        if shape.default is not None:
            yield f"{place}.default"
        yield from _defaults_in(f"{place}.", shape.properties)
        while shape.items is not None:
            shape, place = shape.items, f"{place}.items"
            yield from _defaults_in(f"{place}.", shape.properties)


def _mistakes_inside(
    path: str,
    properties: dict[str, PropertyShape],
    required: list[str],
    owners: Collection[str],
    kinds: Collection[str],
) -> Iterator[Mistake]:
    for name in dict.fromkeys(required):
        if name not in properties:
            hint = suggestion(name, list(properties))
            yield f"{path}required", f"names property '{name}', which is not among its properties.{hint}"
    for name, shape in properties.items():
        here = f"{path}properties.{name}"
        if shape.default is not None and name in required:
            yield f"{here}.default", "would never be taken, because the property is required; take one of the two out."
        if not PROPERTY_NAME.fullmatch(name):
            yield here, "has a name with characters other than letters, digits, _ and -."
        yield from _mistakes(here, shape, owners, kinds)


def _mistakes(path: str, shape: PropertyShape, owners: Collection[str], kinds: Collection[str]) -> Iterator[Mistake]:
    """The mistakes of one property and of all inside it."""
    if path.count("properties.") + path.count(".items") >= MAX_DEPTH:
        yield path, f"is nested deeper than the {MAX_DEPTH} levels that any event may have; promise less."
        return
    for key, types in _BELONGS.items():
        if getattr(shape, key) not in (None, [], {}) and shape.type not in types:
            yield f"{path}.{key}", f"is promised of a property of type {shape.type}, and is for {' and '.join(types)}."
    if shape.values:
        yield f"{path}.values", "is for `type: enum`; write `enum` beside another type."
    if any(character < " " for value in shape.enum for character in value):
        yield f"{path}.enum", "holds a value with a control character; leave it out."
    for low, high in (("minimum", "maximum"), ("min_length", "max_length")):
        least, most = getattr(shape, low), getattr(shape, high)
        if least is not None and most is not None and least > most:
            yield f"{path}.{low}", f"is above {high}, so that nothing could be right; change one of them."
    fault = None if shape.pattern is None else fault_of_pattern(shape.pattern)
    if fault is not None:
        yield f"{path}.pattern", f"'{shape.pattern}' cannot be a pattern: {fault}."
    for key, name, among, where in (
        ("owner", shape.owner, owners, "owners.yaml"),
        ("identifier", shape.identifier, kinds, "identity.yaml"),
    ):
        if name and name not in among:
            yield f"{path}.{key}", f"names {key} '{name}', which is not in {where}.{suggestion(name, sorted(among))}"
    if shape.identifier is not None:
        if shape.type is not PropertyType.STRING:
            yield f"{path}.identifier", f"marks a property of type {shape.type}; only a string can be an identifier."
        elif ".items" in path:
            yield f"{path}.identifier", "marks what stands in an array, of which an event may have several; remove it."
    if shape.default is not None and fault is None:
        yield from _mistakes_of_default(path, shape)
    if shape.default is not None and shape.identifier:
        yield f"{path}.default", "would name everybody who leaves it out as one person; take it out."
    if shape.items is not None and shape.items.default is not None:
        yield f"{path}.items.default", "would never be taken, because an item is always there; take it out."
    yield from _mistakes_inside(f"{path}.", shape.properties, shape.required, owners, kinds)
    if shape.items is not None:
        yield from _mistakes(f"{path}.items", shape.items, owners, kinds)


def _mistakes_of_default(path: str, shape: PropertyShape) -> Iterator[Mistake]:
    if not is_json(shape.default):
        yield f"{path}.default", "holds what JSON cannot say (.nan, say); write it in quotes."
    elif violations_of(rule_of("", shape, is_required=False), path, shape.default):
        yield f"{path}.default", "breaks what its own property promises; change one of them."


def is_json(value: Any) -> bool:
    """Whether a value read from YAML is one that JSON could have said too."""
    match value:
        case dict():
            return all(isinstance(key, str) and is_json(inside) for key, inside in value.items())  # pyright: ignore[reportUnknownVariableType] - a file's content
        case list():
            return all(is_json(inside) for inside in value)  # pyright: ignore[reportUnknownVariableType] - a file's content
        case _:
            return (
                value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and isfinite(value))
            )
