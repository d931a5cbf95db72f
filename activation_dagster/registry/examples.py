"""Examples of a version: events that keep its promise and events that break it, each tried on the readable judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from activation_dagster.domain.admission import undeclared_in
from activation_dagster.domain.contracts import EventContract, EventVersion, judge
from activation_dagster.domain.envelope import judge_envelope
from activation_dagster.registry.event_versions import Mistake, is_json
from activation_dagster.registry.files import suggestion
from activation_dagster.registry.shapes import ExamplesFile

ENDING = ".examples"


def _values(contract: EventContract, event: Mapping[str, Any], path: str) -> tuple[Mapping[str, Any], list[Mistake]]:
    """What an example says in the section that is judged, and what keeps it from being an example."""
    if not is_json(event):
        return {}, [(path, "holds what JSON cannot say (.nan, say); write it in quotes.")]
    if contract.section not in event:
        hint = suggestion(contract.section, list(event))
        return {}, [(path, f"has no `{contract.section}`, which are what is judged; add them.{hint}")]
    said = event[contract.section]
    if said is not None and not isinstance(said, dict):
        return {}, [(f"{path}.{contract.section}", "is no object; write names and values.")]
    return cast("dict[str, Any]", said or {}), []


Tried = Callable[[Mapping[str, Any], str], tuple[tuple[str, ...], list[Mistake]]]
"""Gives, for an example and its path in the file, all that it violates, and what keeps it from being an example."""


def mistakes_of_examples(contract: EventContract, version: EventVersion, shape: ExamplesFile) -> Iterator[Mistake]:
    """Every example that is not what it says it is; a version that promises nothing has none that is invalid."""

    def tried(event: Mapping[str, Any], path: str) -> tuple[tuple[str, ...], list[Mistake]]:
        values, faults = _values(contract, event, path)
        return (*judge(contract, version, values), *undeclared_in(contract, version, values)), faults

    yield from _mistakes(version, shape, tried)


def mistakes_of_envelope_examples(version: EventVersion, shape: ExamplesFile) -> Iterator[Mistake]:
    """The same of a version of the envelope's contract, whose examples are whole events."""

    def tried(event: Mapping[str, Any], path: str) -> tuple[tuple[str, ...], list[Mistake]]:
        if not is_json(event):
            return (), [(path, "holds what JSON cannot say (.nan, say); write it in quotes.")]
        return judge_envelope(version, event), []

    yield from _mistakes(version, shape, tried)


def _mistakes(version: EventVersion, shape: ExamplesFile, tried: Tried) -> Iterator[Mistake]:
    if not shape.invalid and version.properties:
        yield "invalid", "is empty; add one event that breaks the promise, with what it violates."
    for number, event in enumerate(shape.valid):
        path = f"valid.{number}"
        broken, faults = tried(event, path)
        yield from faults or [(path, f"breaks its promise ({said}).") for said in broken]
    for number, example in enumerate(shape.invalid):
        path = f"invalid.{number}"
        broken, faults = tried(example.event, f"{path}.event")
        if faults:
            yield from faults
            continue
        said, found = set(example.violates), set(broken)
        for text in sorted(said - found):
            yield f"{path}.violates", f"names '{text}', which it does not violate.{suggestion(text, sorted(found))}"
        for text in sorted(found - said):
            yield f"{path}.violates", f"does not name '{text}', which it violates; add it."
