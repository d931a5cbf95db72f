"""Contracts as Open Data Contract Standard v3.1 documents, one an event and one of the envelope: what judges today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from activation_dagster.domain.contracts import EventContract, EventVersion, PropertyRule, PropertyType
from activation_dagster.domain.envelope import EnvelopeContract
from activation_dagster.domain.proposals import Loss
from activation_dagster.registry.contract_set import Owner
from activation_dagster.registry.property_schemas import unsaid

SAID = frozenset(
    {"name", "type", "is_required", "enum", "minimum", "maximum", "is_pii", "description", "format", "min_length"}
    | {"max_length", "pattern", "properties", "items", "is_nullable", "default", "owner", "identifier"}
)
"""The fields of a rule that a document says."""
API_VERSION = "v3.1.0"
LOGICAL_TYPES = {kind: kind.value for kind in PropertyType}
PHYSICAL_TYPES = {PropertyType.TIMESTAMP: "string", PropertyType.DATE: "string"}
"""In the event, which is JSON, an instant is a text."""


def data_contract(contract: EventContract, owner: Owner) -> tuple[dict[str, Any], list[Loss]]:
    """The current version of an event's contract as an ODCS document, and what it cannot say."""
    terms: dict[str, Any] = {
        "call": contract.call.value,
        "criticality": contract.criticality.value,
        "consumers": list(contract.consumers),
        "environments": list(contract.environments),
        "sources": list(contract.sources),
        "pinned": dict(contract.pinned),
        "late_data": contract.late_data.value,
        "late_after_hours": contract.late_after_hours,
        "undeclared": contract.undeclared.value,
        "compatibility": contract.compatibility.value,
    }
    grain = f"one {contract.call.value} call; its {contract.section}"
    return _document(contract, contract.current, owner, grain=grain, terms=terms)


def envelope_contract(envelope: EnvelopeContract, owner: Owner) -> tuple[dict[str, Any], list[Loss]]:
    """The current version of the envelope's contract as an ODCS document, and what it cannot say."""
    terms: dict[str, Any] = {
        "consumers": list(envelope.consumers),
        "pinned": dict(envelope.pinned),
        "compatibility": envelope.compatibility.value,
    }
    return _document(envelope, envelope.current, owner, grain="one call of any kind; its envelope", terms=terms)


def _document(
    contract: EventContract | EnvelopeContract,
    version: EventVersion,
    owner: Owner,
    *,
    grain: str,
    terms: Mapping[str, Any],
) -> tuple[dict[str, Any], list[Loss]]:
    """Quality is left to those who know what it is read for; terms are custom properties, where there are any."""
    path = f"{contract.slug}.{version.version}"
    losses = [loss for rule in version.properties for loss in unsaid(rule, f"{path}.{rule.name}", said=SAID)]
    document = {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": contract.slug,
        "name": contract.name,
        "version": version.version,
        "status": version.lifecycle.state.value,
        "description": {"purpose": contract.description},
        "schema": [
            {
                "name": contract.name,
                "logicalType": "object",
                "physicalType": "event",
                "description": contract.description,
                "dataGranularityDescription": grain,
                "properties": [_property(rule) for rule in version.properties],
                "quality": [],
            }
        ],
        "team": {"name": owner.slug, "description": f"{owner.name}, {owner.contact}"},
        "customProperties": [
            {"property": name, "value": value} for name, value in terms.items() if value not in (None, [], {})
        ],
    }
    return document, losses


def _property(rule: PropertyRule) -> dict[str, Any]:
    written: dict[str, Any] = {
        "name": rule.name,
        "logicalType": LOGICAL_TYPES[rule.type],
        "physicalType": PHYSICAL_TYPES.get(rule.type, rule.type.value),
        "required": rule.is_required,
    }
    if rule.description:
        written["description"] = rule.description
    stated = {
        "minimum": rule.minimum,
        "maximum": rule.maximum,
        "minLength": rule.min_length,
        "maxLength": rule.max_length,
        "pattern": rule.pattern,
        "format": rule.format.value if rule.format else None,
    }
    options = {word: option for word, option in stated.items() if option is not None}
    if options:
        written["logicalTypeOptions"] = options
    if rule.is_pii:
        written["classification"] = "personal"
    if rule.properties:
        written["properties"] = [_property(inner) for inner in rule.properties]
    if rule.items is not None:
        written["items"] = {
            word: said for word, said in _property(rule.items).items() if word not in ("name", "required")
        }
    # What the standard has no words for.
    custom: dict[str, Any] = {
        "enum": list(rule.enum) or None,
        "nullable": rule.is_nullable,
        "default": rule.default,
        "owner": rule.owner or None,
        "identifier": rule.identifier,
    }
    told = [{"property": name, "value": value} for name, value in custom.items() if value is not None]
    return written | ({"customProperties": told} if told else {})
