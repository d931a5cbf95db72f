"""Examples of a version: events that keep its promise and events that break it, each tried on the readable judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from activation_dagster.domain.admission import undeclared_in
from activation_dagster.domain.contracts import EventContract, EventVersion, judge
from activation_dagster.registry.event_versions import Mistake, is_json
from activation_dagster.registry.files import suggestion
from activation_dagster.registry.shapes import ExamplesFile

ENDING = ".examples"


def _values(contract: EventContract, event: Mapping[str, Any], path: str) -> tuple[Mapping[str, Any], list[Mistake]]:
    """What an example says in the section that is judged, and what keeps it from being an example."""
    if not is_json(event):
        return {}, [(path, "holds what JSON cannot say (a date, say); write it in quotes.")]
    if contract.section not in event:
        hint = suggestion(contract.section, list(event))
        return {}, [(path, f"has no `{contract.section}`, which are what is judged; add them.{hint}")]
    said = event[contract.section]
    if said is not None and not isinstance(said, dict):
        return {}, [(f"{path}.{contract.section}", "is no object; write names and values.")]
    return cast("dict[str, Any]", said or {}), []


def mistakes_of_examples(contract: EventContract, version: EventVersion, shape: ExamplesFile) -> Iterator[Mistake]:
    """Every example that is not what it says it is; a version that promises nothing has none that is invalid."""
    if not shape.invalid and version.properties:
        yield "invalid", "is empty; add one event that breaks the promise, with what it violates."
    for number, event in enumerate(shape.valid):
        path = f"valid.{number}"
        values, faults = _values(contract, event, path)
        found = faults or [(path, f"breaks its promise ({said}).") for said in _judged(contract, version, values)]
        yield from found
    for number, example in enumerate(shape.invalid):
        path = f"invalid.{number}"
        values, faults = _values(contract, example.event, f"{path}.event")
        if faults:
            yield from faults
            continue
        said, found = set(example.violates), set(_judged(contract, version, values))
        for text in sorted(said - found):
            yield f"{path}.violates", f"names '{text}', which it does not violate.{suggestion(text, sorted(found))}"
        for text in sorted(found - said):
            yield f"{path}.violates", f"does not name '{text}', which it violates; add it."


def _judged(contract: EventContract, version: EventVersion, values: Mapping[str, Any]) -> tuple[str, ...]:
    return (*judge(contract, version, values), *undeclared_in(contract, version, values))
