"""Who reads an event: audiences, workflows, consent mappings and identifiers that name it or one of its properties."""

from __future__ import annotations

from dataclasses import dataclass

from activation_dagster.domain.audiences import MeasureCondition
from activation_dagster.domain.contracts import Call, EventContract
from activation_dagster.domain.workflows import EventTrigger
from activation_dagster.registry.contract_set import ContractSet, marked_identifiers


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Use:
    """A reader of an event; `property` is empty where it reads that the event happened."""

    kind: str
    name: str
    property: str


def uses_of(contracts: ContractSet, contract: EventContract) -> tuple[Use, ...]:
    """Every reader of an event, sorted, once a property."""
    promised = {rule.name for version in contract.versions for rule in version.properties}
    found = {
        *_audiences(contracts, contract, promised),
        *_workflows(contracts, contract, promised),
        *_consent_and_identity(contracts, contract, promised),
    }
    return tuple(sorted(found))


def _audiences(contracts: ContractSet, contract: EventContract, promised: set[str]) -> set[Use]:
    found: set[Use] = set()
    for audience in contracts.audiences.values():
        for condition in audience.conditions:
            if isinstance(condition, MeasureCondition):
                measure = condition.measure
                if measure.event_name == contract.name:
                    read = {measure.sum_of, measure.times} - {""} or {""}
                    found |= {Use(kind="audience", name=audience.audience_id, property=name) for name in read}
            elif contract.call is Call.IDENTIFY and condition.trait in promised:
                found.add(Use(kind="audience", name=audience.audience_id, property=condition.trait))
    return found


def _workflows(contracts: ContractSet, contract: EventContract, promised: set[str]) -> set[Use]:
    found: set[Use] = set()
    for workflow in contracts.workflows.values():
        places = (*workflow.data_fields.values(), *workflow.profile_fields.values())
        read: set[str] = set()
        if contract.call is Call.IDENTIFY:
            read |= {place.removeprefix("traits.") for place in places if place.startswith("traits.")} & promised
        if isinstance(workflow.trigger, EventTrigger) and workflow.trigger.event == contract.slug:
            read |= {place.removeprefix("properties.") for place in places if place.startswith("properties.")}
            read |= {"", *workflow.trigger.where}
        found |= {Use(kind="workflow", name=workflow.workflow_id, property=name) for name in read}
    return found


def _consent_and_identity(contracts: ContractSet, contract: EventContract, promised: set[str]) -> set[Use]:
    found: set[Use] = set()
    for mapping in contracts.consent.mappings:
        if mapping.event_name == contract.name:
            section, _, name = mapping.path.partition(".")
            read = name if section == contract.section and name in promised else ""
            found.add(Use(kind="consent", name=mapping.mapping_id, property=read))
    named = [(path, "identity", kind.name) for kind in contracts.identity.kinds for path in kind.paths]
    for version in contract.versions:
        marked = marked_identifiers(contract.section, version.properties)
        named += [(path, "identity", kind) for kind, paths in marked.items() for path in paths]
    named += [(path, "consent", "region of a person") for path in contracts.country_from]
    for path, kind, name in named:
        section, _, read = path.removeprefix("$.").partition(".")
        read = read if read in promised else read.partition(".")[0]  # a property inside an object is the object's use
        if section == contract.section and read in promised:
            found.add(Use(kind=kind, name=name, property=read))
    return found
