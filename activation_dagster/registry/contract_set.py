"""All contracts of one environment as frozen, cross-checked domain objects, or all their faults at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from activation_dagster.domain.audiences import Audience, Measure, MeasureCondition
from activation_dagster.domain.consent import ConsentRules
from activation_dagster.domain.contracts import Call, EventContract, EventVersion, PropertyRule
from activation_dagster.domain.destinations import DestinationContract
from activation_dagster.domain.envelope import ENVELOPE, EnvelopeContract
from activation_dagster.domain.identifiers import IdentityRules
from activation_dagster.domain.unknown_events import KeptUnknown
from activation_dagster.domain.workflows import Workflow
from activation_dagster.registry.source_files import SOURCES_FILE, without_keys

REPAIRS = "repairs"
"""The folder of repair files: reviewed beside the contracts, and no part of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureMode:
    """Who answers for a reason code, and what they do.

    `keep_days`: how long an event that waits for this reason is kept after its arrival; None without an end.
    """

    code: str
    group: str
    owner: str
    response: str
    keep_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A team that owners in the contracts name; `contact` is `team:<name>` or an address."""

    slug: str
    name: str
    contact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractSet:
    """Everything promised in one environment. `fingerprint` changes when any file does.

    `envelope` is the contract that every event's envelope has, where there is one; `kept_unknown` says whose events are
    accepted though no contract is about them.
    """

    fingerprint: str
    environment: str
    owners: Mapping[str, Owner]
    events: Mapping[str, EventContract]
    identity: IdentityRules
    consent: ConsentRules
    country_from: tuple[str, ...]
    audiences: Mapping[str, Audience]
    workflows: Mapping[str, Workflow]
    destinations: Mapping[str, DestinationContract]
    failure_modes: Mapping[str, FailureMode]
    envelope: EnvelopeContract | None = None
    kept_unknown: Sequence[KeptUnknown] = ()

    def contract_for(self, call: str, name: str | None) -> EventContract | None:
        """The contract that judges an event of this call and (for track) name."""
        wanted = name if call == Call.TRACK else call
        return next((found for found in self.events.values() if found.call == call and found.name == wanted), None)

    def identifier_paths(self, contract: EventContract, version: EventVersion) -> dict[str, tuple[str, ...]]:
        """By kind: where an event of this version is read from; first the identity contract's, then what it marks."""
        marked = marked_identifiers(contract.section, version.properties)
        return {
            kind.name: tuple(dict.fromkeys([*kind.paths, *marked.get(kind.name, ())])) for kind in self.identity.kinds
        }

    def measures(self) -> tuple[Measure, ...]:
        """Every measure that some audience counts, once, sorted."""
        return tuple(
            sorted(
                {
                    condition.measure
                    for audience in self.audiences.values()
                    for condition in audience.conditions
                    if isinstance(condition, MeasureCondition)
                }
            )
        )

    def sums(self, contract: EventContract) -> tuple[Measure, ...]:
        """The measures that sum properties of one event, in the order their amounts are kept."""
        return tuple(measure for measure in self.measures() if measure.sum_of and measure.event_name == contract.name)

    def used_properties(self, contract: EventContract) -> tuple[str, ...]:
        """The properties of one event that anything downstream reads, sorted."""
        used: set[str] = set()
        for measure in self.measures():
            if measure.event_name == contract.name:
                used |= {measure.sum_of, measure.times} - {""}
        for workflow in self.workflows.values():
            if getattr(workflow.trigger, "event", None) == contract.slug:
                used |= set(getattr(workflow.trigger, "where", {}))
                used |= {
                    path.removeprefix("properties.")
                    for path in workflow.data_fields.values()
                    if path.startswith("properties.")
                }
        for mapping in self.consent.mappings:
            if mapping.event_name == contract.name and mapping.path.startswith(f"{contract.section}."):
                used.add(mapping.path.split(".", 1)[1])
        return tuple(sorted(used))

    def reading_owners(self, contract: EventContract) -> tuple[str, ...]:
        """The owners of an event and of its consumers, audiences, workflows and readings of consent, sorted."""
        found = {contract.owner, *contract.consumers}
        for audience in self.audiences.values():
            measured = [one.measure for one in audience.conditions if isinstance(one, MeasureCondition)]
            if any(measure.event_name == contract.name for measure in measured):
                found.add(audience.owner)
        for workflow in self.workflows.values():
            if getattr(workflow.trigger, "event", None) == contract.slug:
                found.add(workflow.owner)
        found |= {mapping.owner for mapping in self.consent.mappings if mapping.event_name == contract.name}
        return tuple(sorted(found))


def marked_identifiers(section: str, rules: Iterable[PropertyRule]) -> dict[str, list[str]]:
    """By kind: the dotted paths of the properties below `section` that an event contract marks `identifier: <kind>`."""
    found: dict[str, list[str]] = {}
    for rule in rules:
        path = f"{section}.{rule.name}"
        if rule.identifier is not None:
            found.setdefault(rule.identifier, []).append(path)
        for kind, paths in marked_identifiers(path, rule.properties).items():
            found.setdefault(kind, []).extend(paths)
    return found


def readers_of_all(contracts: ContractSet) -> dict[str, tuple[str, ...]]:
    """Whom a break must name, by the folder of what breaks: an event's readers, or who reads every envelope."""
    found = {slug: contracts.reading_owners(contract) for slug, contract in contracts.events.items()}
    if contracts.envelope is not None:
        found[ENVELOPE] = tuple(sorted({contracts.envelope.owner, *contracts.envelope.consumers}))
    return found


def promised_files(root: Path) -> list[Path]:
    """Every file that is part of what is promised, sorted; a repair promises nothing, so adding one changes no set."""
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix in (".yaml", ".json") and path.relative_to(root).parts[0] != REPAIRS
    ]


def fingerprint(root: Path, environment: str) -> str:
    """32 hex digits over the bytes of every contract file (sources.yaml: without keys) and the environment."""
    digest = hashlib.sha256(environment.encode())
    for path in promised_files(root):
        digest.update(f"\x1f{path.relative_to(root).as_posix()}\x1f".encode())
        content = path.read_bytes()
        digest.update(without_keys(content) if path.relative_to(root).as_posix() == SOURCES_FILE else content)
    return digest.hexdigest()[:32]
