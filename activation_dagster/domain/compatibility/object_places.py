"""The places inside objects that two versions are compared at, and how a value there becomes a value of the whole."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, cast

from activation_dagster.domain.compatibility.changes import Child, Pair
from activation_dagster.domain.compatibility.documents import Schema, conjunction
from activation_dagster.domain.compatibility.instances import (
    fresh_keys,
    matching_keys,
    sample,
    with_required,
)
from activation_dagster.domain.compatibility.objects import pointer
from activation_dagster.domain.compatibility.other_keys import additional_verb


def _at(key: str) -> Callable[[Schema, Any], Iterator[Any]]:
    def lift(parent: Schema, value: Any) -> Iterator[Any]:
        yield with_required(parent) | {key: value}
        for full in sample(parent):
            if isinstance(full, dict):
                yield cast("dict[str, Any]", full) | {key: value}

    return lift


def _at_fresh(old: Schema, new: Schema) -> Callable[[Schema, Any], Iterator[Any]]:
    def lift(parent: Schema, value: Any) -> Iterator[Any]:
        for key in itertools.islice(fresh_keys([old, new]), 3):
            yield with_required(parent) | {key: value}

    return lift


def _at_matching(pattern: str) -> Callable[[Schema, Any], Iterator[Any]]:
    def lift(parent: Schema, value: Any) -> Iterator[Any]:
        for key in itertools.islice(matching_keys(pattern), 3):
            yield with_required(parent) | {key: value}

    return lift


def _as_key(parent: Schema, value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        for inner in sample(parent.of_key(value)):
            yield with_required(parent) | {value: inner}


def _as_it_is(parent: Schema, value: Any) -> Iterator[Any]:
    for full in sample(parent):
        if isinstance(full, dict) and isinstance(value, dict):
            yield cast("dict[str, Any]", full) | cast("dict[str, Any]", value)
    yield value


def children(pair: Pair) -> Iterator[Child]:
    """The places inside an object that both versions speak about."""
    old, new = pair.old, pair.new
    for key in old.properties:
        if key in new.properties:
            yield Child(
                within="object",
                path=f"/properties/{pointer(key)}",
                old=old.of(old.properties[key]),
                new=new.of(new.properties[key]),
                lift=_at(key),
            )
    patterns = new.get("patternProperties", {})
    for pattern, raw in old.get("patternProperties", {}).items():
        if pattern in patterns:
            yield Child(
                within="object",
                path=f"/patternProperties/{pointer(pattern)}",
                old=old.of(raw),
                new=new.of(patterns[pattern]),
                lift=_at_matching(pattern),
            )
    others = old.keyword("additionalProperties"), new.keyword("additionalProperties")
    if not additional_verb(*others):
        yield Child(
            within="object", path="/additionalProperties", old=others[0], new=others[1], lift=_at_fresh(old, new)
        )
    if "propertyNames" in old.body or "propertyNames" in new.body:
        text = Schema(old.document, None, {"type": ["string"]})
        names = [conjunction(side.document, [text, side.keyword("propertyNames")]) for side in (old, new)]
        yield Child(within="object", path="/propertyNames", old=names[0], new=names[1], lift=_as_key)
    schemas = new.get("dependentSchemas", {})
    for key, raw in old.get("dependentSchemas", {}).items():
        if key in schemas:
            yield Child(
                within="object",
                path=f"/dependentSchemas/{pointer(key)}",
                old=old.of(raw),
                new=new.of(schemas[key]),
                lift=_as_it_is,
            )
