"""Readers that would never find anything: of what a contract does not declare and takes out, or lets wait for it.

Under `undeclared: keep` a trait that nobody declares may be read; what workflows and audiences read of a track event
must be declared under every policy, because a misspelt name would be read for ever (told where these are read).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from activation_dagster.domain.audiences import Audience, TraitCondition
from activation_dagster.domain.consent import ConsentMapping
from activation_dagster.domain.contracts import Call, EventContract, Undeclared
from activation_dagster.domain.identifiers import IdentityRules
from activation_dagster.domain.workflows import Workflow
from activation_dagster.registry.files import suggestion

WHY = {Undeclared.DROP: "takes it out", Undeclared.QUARANTINE: "lets such events wait"}

Finding = tuple[str, str, str]
"""A file without its ending, a path inside it, and a sentence saying what to do."""


def unread(contract: EventContract, place: str) -> str | None:
    """What is wrong with reading a place (`traits.plan`) of an event, or None where something may stand there."""
    section, _, rest = place.partition(".")
    name = rest.split(".")[0]
    declared = {rule.name for version in contract.versions for rule in version.properties}
    if contract.undeclared is Undeclared.KEEP or section != contract.section or name in declared:
        return None
    return (
        f"reads '{place}', which '{contract.name}' does not declare, and `undeclared: {contract.undeclared}` "
        f"{WHY[contract.undeclared]}; declare it in a new version.{suggestion(name, sorted(declared))}"
    )


def mistakes_of_readers(
    *,
    events: Mapping[str, EventContract],
    audiences: Mapping[str, Audience],
    workflows: Mapping[str, Workflow],
    mappings: Iterable[ConsentMapping],
    country_from: Iterable[str],
    identity: IdentityRules | None,
) -> Iterator[Finding]:
    """Every reader of a trait, a choice or an identifier that no accepted event can have."""
    places: list[tuple[str, str, str]] = [("consent", "country_from", place) for place in country_from]
    for kind in identity.kinds if identity else ():
        places += [("identity", f"kinds.{kind.name}.paths", place) for place in kind.paths]
    for name, audience in audiences.items():
        places += [
            (f"audiences/{name}", f"conditions.{number}", f"traits.{condition.trait}")
            for number, condition in enumerate(audience.conditions)
            if isinstance(condition, TraitCondition)
        ]
    for name, workflow in workflows.items():
        for key, fields in (("data_fields", workflow.data_fields), ("profile_fields", workflow.profile_fields)):
            places += [
                (f"workflows/{name}", f"{key}.{field}", place)
                for field, place in fields.items()
                if place.startswith("traits.")
            ]
    for contract in events.values():
        if contract.call is Call.IDENTIFY:
            yield from ((file, path, said) for file, path, place in places if (said := unread(contract, place)))
    for mapping in mappings:
        for contract in events.values():
            if contract.name == mapping.event_name and contract.call == mapping.event_type:
                yield from _mistakes_of_choice(contract, mapping)


def _mistakes_of_choice(contract: EventContract, mapping: ConsentMapping) -> Iterator[Finding]:
    file = f"consent_mappings/{mapping.mapping_id}"
    said = unread(contract, mapping.path)
    if said is not None:
        yield file, "path", said
    section, _, name = mapping.path.partition(".")
    for version in contract.versions:
        for rule in version.properties:
            if section == contract.section and rule.name == name and rule.default is not None:
                sentence = f"has a default in {version.version}, and a choice that nobody made is none; take it out."
                yield file, "path", f"reads '{mapping.path}', which {sentence}"
