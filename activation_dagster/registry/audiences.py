"""Reading audiences/: each audience with its conditions, whose events and properties must be promised."""

from __future__ import annotations

from collections.abc import Mapping

from activation_dagster.domain.audiences import (
    Audience,
    Comparison,
    Measure,
    MeasureCondition,
    TraitCondition,
)
from activation_dagster.domain.consent import Purpose
from activation_dagster.domain.contracts import EventContract
from activation_dagster.registry import shapes
from activation_dagster.registry.consent_rules import look_up_purpose
from activation_dagster.registry.reading import Reading


def read_audiences(
    reading: Reading, *, events: Mapping[str, EventContract], purposes: Mapping[str, Purpose]
) -> dict[str, Audience]:
    """The audiences by their file's name, sorted."""
    found: dict[str, Audience] = {}
    contracts = {contract.name: contract for contract in events.values()}
    for path in reading.files("audiences"):
        name = reading.name(path)
        shape = reading.read(path, shapes.AudienceFile)
        if shape is None:
            continue
        reading.owner(name, shape.owner)
        look_up_purpose(reading, name, shape.purpose, [shape.channel], purposes=purposes)
        conditions = [
            _condition(reading, name, f"conditions.{number}", condition, contracts=contracts)
            for number, condition in enumerate(shape.conditions)
        ]
        found[path.stem] = Audience(
            audience_id=path.stem,
            owner=shape.owner,
            description=shape.description,
            purpose=shape.purpose,
            channel=shape.channel,
            conditions=tuple(condition for condition in conditions if condition is not None),
        )
    return found


def _condition(
    reading: Reading, file: str, path: str, shape: shapes.ConditionShape, *, contracts: Mapping[str, EventContract]
) -> MeasureCondition | TraitCondition | None:
    """One condition; `contracts` by the name of their event."""
    kinds = [kind for kind in ("count", "sum", "trait") if getattr(shape, kind) is not None]
    if len(kinds) != 1:
        reading.fault(file, path, "must hold exactly one of count, sum, trait.")
        return None
    if kinds == ["trait"]:
        return _trait_condition(reading, file, path, shape)
    event = shape.count if kinds == ["count"] else shape.of
    if kinds == ["sum"] and shape.of is None:
        reading.fault(file, path, "sums a property of no event; say which with `of`.")
        return None
    if shape.at_least is None or shape.at_most is not None or shape.is_in is not None:
        reading.fault(file, path, "compares a count or a sum, which is done with at_least alone.")
        return None
    if shape.at_least <= 0:
        reading.fault(file, path, "asks for at least nothing, which everybody has; ask for more than 0.")
        return None
    assert event is not None
    if not reading.known(file, path, "event", event, contracts, "promised under events/"):
        return None
    properties = [rule.name for rule in contracts[event].current.properties]
    for prop in [shape.sum, shape.times]:
        if prop is not None:
            reading.known(file, path, "property", prop, properties, f"promised by '{event}'")
    return MeasureCondition(
        measure=Measure(event_name=event, sum_of=shape.sum or "", times=shape.times or ""),
        at_least=shape.at_least,
        within_days=shape.within_days,
    )


def _trait_condition(reading: Reading, file: str, path: str, shape: shapes.ConditionShape) -> TraitCondition | None:
    given = [name for name in ("is_in", "at_least", "at_most") if getattr(shape, name) is not None]
    if len(given) != 1:
        reading.fault(file, path, "must compare its trait with exactly one of is_in, at_least, at_most.")
        return None
    values = shape.is_in if shape.is_in is not None else [getattr(shape, given[0])]
    assert shape.trait is not None
    return TraitCondition(trait=shape.trait, comparison=Comparison(given[0]), values=tuple(values))
