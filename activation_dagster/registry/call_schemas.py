"""A call, or every event's envelope, as one JSON Schema: written from a contract, and read into a proposal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from activation_dagster.domain.contracts import Call, EventContract, EventVersion, PropertyRule
from activation_dagster.domain.envelope import ENVELOPE, EnvelopeContract
from activation_dagster.domain.proposals import Loss, Proposal, ProposedProperty, slug_of
from activation_dagster.errors import WrongUse
from activation_dagster.registry.json_schema import judging_schema
from activation_dagster.registry.property_schemas import comment_of, read_section


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def call_schema(contract: EventContract | EnvelopeContract, version: EventVersion) -> dict[str, Any]:
    """The JSON Schema (2020-12) by which a version judges, with names to read.

    An event's judges its properties or traits; the envelope's, whose title is `envelope`, judges whole events.
    """
    schema = judging_schema(version)
    for rule in version.properties:
        _annotate(schema["properties"][rule.name], rule)
    return {"$schema": schema.pop("$schema"), "title": contract.name, "description": contract.description, **schema}


def _annotate(schema: dict[str, Any], rule: PropertyRule) -> None:
    """Say in a schema which values are personal data, whose they are, and whom they name."""
    comment = comment_of(rule)
    if comment is not None:
        schema["$comment"] = comment
    for inner in rule.properties:
        _annotate(schema["properties"][inner.name], inner)
    if rule.items is not None:
        _annotate(schema["items"], rule.items)


def read_call(schema: dict[str, Any], section: str, path: str) -> tuple[tuple[ProposedProperty, ...], list[Loss]]:
    """The promised properties of the event's section; anything said of the rest of the event is a loss."""
    sections = dict(_mapping(schema.get("properties", {})))
    found, losses = read_section(sections.pop(section, {}), f"{path}.properties.{section}")
    losses += [
        Loss(path=f"{path}.properties.{other}", sentence="is outside what this contract promises; left out.")
        for other, said in sorted(sections.items())
        if said not in ({}, True, {"type": "object"}, {"type": "object", "properties": {}})
    ]
    required = schema.get("required", [])
    for name in sorted(map(str, cast("list[Any]", required) if isinstance(required, list) else [])):
        if name != section or not any(one.rule.is_required for one in found):
            losses.append(
                Loss(path=f"{path}.required", sentence=f"asks for '{name}' itself, which no contract can; left out.")
            )
    losses += [
        Loss(path=f"{path}.{word}", sentence=f"'{word}' cannot be said in a contract; left out.")
        for word in sorted(set(schema) - {"$schema", "type", "properties", "required", "description"})
        if schema[word] not in (None, {}, [], "")
    ]
    return found, losses


def read_json_schema(document: Any, *, event: str, version: str = "v1") -> tuple[Proposal, list[Loss]]:
    """A proposal for one track event from a JSON Schema of the whole call, or of its properties alone.

    `event` names it; empty: the schema's `title`. The name `envelope` is that of every event's envelope, of which the
    schema is then read as a whole. Raises WrongUse where there is neither, or no object.
    """
    if not isinstance(document, Mapping):
        raise WrongUse("The file holds no JSON Schema of an object. Name a file whose schema has `properties`.")
    schema = dict(cast("Mapping[str, Any]", document))
    title = schema.pop("title", "")
    name = event or (title if isinstance(title, str) else "")
    if not name:
        raise WrongUse("The schema has no `title` that could name the event, at its top. Name it with --event.")
    description = schema.pop("description", "")
    inner = _mapping(_mapping(schema.get("properties", {})).get("properties"))
    if name != ENVELOPE and ("properties" in inner or inner.get("type") == "object"):
        found, losses = read_call(schema, "properties", "$")
    else:
        found, losses = read_section(schema, "$")
    if event and title and title != event:
        losses.append(Loss(path="$.title", sentence="is another name than the one asked for; left out."))
    return Proposal(
        slug=ENVELOPE if name == ENVELOPE else slug_of(name),
        call=None if name == ENVELOPE else Call.TRACK,
        name=name,
        version=version,
        properties=found,
        description=description if isinstance(description, str) else "",
    ), losses
