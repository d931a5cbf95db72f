"""Loading contracts/: every file is read, every reference followed, every mistake in every file told at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from activation_dagster.domain.audiences import (
    Audience,
    Comparison,
    Measure,
    MeasureCondition,
    TraitCondition,
)
from activation_dagster.domain.consent import ConsentMapping, ConsentRules, Purpose, Region
from activation_dagster.domain.contracts import Call, EventContract, EventVersion
from activation_dagster.domain.destinations import DestinationContract, Endpoint
from activation_dagster.domain.envelope import ENVELOPE
from activation_dagster.domain.identifiers import IdentityRules
from activation_dagster.domain.sources import Source
from activation_dagster.domain.unknown_events import UNKNOWN_EVENT
from activation_dagster.domain.workflows import EntryTrigger, EventTrigger, Workflow
from activation_dagster.errors import ContractsInvalid, Fault
from activation_dagster.registry import shapes
from activation_dagster.registry.contract_set import REPAIRS, ContractSet, FailureMode, Owner, fingerprint
from activation_dagster.registry.envelope import read_envelope
from activation_dagster.registry.event_terms import lifecycle_of, mistakes_of_terms
from activation_dagster.registry.event_versions import mistakes_of, version_of
from activation_dagster.registry.examples import ENDING, mistakes_of_examples
from activation_dagster.registry.files import Names, S, read_partly, suggestion
from activation_dagster.registry.identity_rules import rules_of
from activation_dagster.registry.readers import mistakes_of_readers
from activation_dagster.registry.source_files import SOURCES_FILE, read_sources
from activation_dagster.registry.trait_rules import mistakes_of_sources
from activation_dagster.registry.unknown_events import read_unknown_events

NAME = re.compile(shapes.NAME)
SINGLE = ("owners", "identity", "consent", "failure_modes", "sources", "unknown_events")
RESERVED = (UNKNOWN_EVENT, ENVELOPE)
"""Words that stand where events' folders are named, for what is no event's contract."""
FOLDERS = ("audiences", "consent_mappings", "destinations", "workflows")
PLACE = re.compile(
    rf"({'|'.join(SINGLE)})\.yaml|(({'|'.join([*FOLDERS, REPAIRS])})|events/[^/]+|{ENVELOPE})/[^/]+\.(yaml|json)"
)
"""Where a contract file stands; a file elsewhere would be a promise that nobody reads."""


_NOBODY = ""
_GIVES = {
    "owners": ("owner",),
    "identity": ("identifier kind",),
    "events": ("event", "property"),
    "consent": ("purpose", "channel", "region"),
    "audiences": ("audience",),
    "destinations": ("destination", "endpoint"),
}
"""What other files name of each file or folder."""


def _stand_ins(path: Path, shape: type[Any]) -> dict[str, Any]:
    """What stands where an event's file says nothing that can be read, so that the rest of it can be looked at."""
    if shape is shapes.EventFile:
        return {"owner": _NOBODY, "criticality": "standard", "description": ""}
    if shape is shapes.VersionFile:
        return {"event_name": _NOBODY, "version": path.stem, "properties": {}}
    return {}


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class _Loading:
    """One reading of the folder: what was understood so far, and the faults."""

    def __init__(self, root: Path, environment: str, *, needs_examples: bool) -> None:
        self.root = root
        self.environment = environment
        self.needs_examples = needs_examples
        self.faults: list[Fault] = []
        self.owners: dict[str, Owner] = {}
        self.events: dict[str, EventContract] = {}
        self.audiences: dict[str, Audience] = {}
        self.destinations: dict[str, DestinationContract] = {}
        self.workflows: dict[str, Workflow] = {}
        self.purposes: dict[str, Purpose] = {}
        self.kinds: set[str] = set()
        self.partly: set[str] = set()
        self.unread: dict[str, str] = {}

    def read(self, path: Path, shape: type[S]) -> S | None:
        """A file in its shape, or what is left of it without its mistakes, so that all else is told at once.

        What other files name may stand in the part that is not there, so its text is kept: nobody is told that a name
        does not exist because the file that gives it has a mistake.
        """
        name = path.relative_to(self.root).as_posix()
        found, is_whole = read_partly(path, self.root, shape, self.faults, stand_ins=_stand_ins(path, shape))
        if not is_whole:
            self.partly.add(name)
            for what in _GIVES.get(name.split("/")[0].removesuffix(".yaml"), ()):
                self.unread[what] = self.unread.get(what, "") + _text_of(path)
        return found

    def names(self, what: str, known: Iterable[str]) -> Names:
        """Names to look references up in."""
        return Names(tuple(known), self.unread.get(what, ""))

    def fault(self, file: str, path: str, sentence: str) -> None:
        self.faults.append(Fault(file=file, path=path, sentence=sentence))

    def known(
        self, file: str, path: str, what: str, name: str, among: dict[str, object] | list[str], where: str
    ) -> bool:
        """Whether a reference leads somewhere; a fault with a suggestion when it does not."""
        if name in among:
            return True
        if name in self.names(what, ()):
            return False
        self.fault(file, path, f"names {what} '{name}', which is not {where}.{suggestion(name, list(among))}")
        return False

    def owner(self, file: str, name: str) -> None:
        if name != _NOBODY:
            self.known(file, "owner", "owner", name, dict(self.owners), "in owners.yaml")

    def files(self, folder: str) -> list[Path]:
        found = sorted(path for path in (self.root / folder).glob("*") if path.suffix in (".yaml", ".json"))
        for path in found:
            if not NAME.match(path.stem):
                self.fault(
                    path.relative_to(self.root).as_posix(),
                    "",
                    "is not named in lower case with underscores; rename it.",
                )
        return found

    def strays(self) -> None:
        """A file that looks like a contract and stands where none is read: a misspelt folder, a .yml."""
        for path in sorted(self.root.rglob("*.*")):
            name = path.relative_to(self.root).as_posix()
            if path.suffix not in (".yaml", ".yml", ".json") or not path.is_file() or PLACE.fullmatch(name):
                continue
            known, first = [*SINGLE, *FOLDERS, "events", ENVELOPE], name.split("/")[0].partition(".")[0]
            near = "" if first in known else suggestion(first, known)
            advice = " Name it .yaml." if path.suffix == ".yml" else near or " Move it, or remove it."
            self.fault(name, "", f"is read by nobody, because no contract stands there.{advice}")

    # -- one kind of file each ------------------------------------------------------------------------------------

    def read_owners(self) -> None:
        shape = self.read(self.root / "owners.yaml", shapes.OwnerFile)
        for slug, owner in shape.owners.items() if shape else ():
            self.owners[slug] = Owner(slug=slug, name=owner.name, contact=owner.contact)

    def read_events(self) -> None:
        for folder in sorted(path for path in (self.root / "events").glob("*") if path.is_dir()):
            name = folder.relative_to(self.root).as_posix()
            if not NAME.match(folder.name):
                self.fault(name, "", "is not named in lower case with underscores; rename it.")
            if folder.name in RESERVED:
                self.fault(name, "", "has a name that means something else here; call it otherwise.")
            about_path = folder / "contract.yaml"
            if not about_path.exists():
                self.fault(name, "", "has no contract.yaml that names its owner; add one.")
                continue
            about = self.read(about_path, shapes.EventFile)
            files = [path for path in sorted(folder.glob("*")) if path.suffix in (".yaml", ".json")]
            promised = [path for path in files if path.name != "contract.yaml" and not path.stem.endswith(ENDING)]
            versions = [
                (path, shape) for path in promised if (shape := self.read(path, shapes.VersionFile)) is not None
            ]
            if about is not None:
                self.owner(f"{name}/contract.yaml", about.owner)
                self.event(folder.name, about, promised, versions)
            self.examples(folder, promised, [path for path in files if path.stem.endswith(ENDING)])

    def event(
        self,
        slug: str,
        about: shapes.EventFile,
        files: list[Path],
        versions: list[tuple[Path, shapes.VersionFile]],
    ) -> None:
        built: list[EventVersion] = []
        names: set[str] = set()
        for path, shape in versions:
            name = path.relative_to(self.root).as_posix()
            if path.stem != shape.version:
                self.fault(name, "version", f"says '{shape.version}', but the file is {path.name}; make them equal.")
            if about.call is not Call.TRACK and shape.event_name != about.call:
                self.fault(name, "event_name", f"must be '{about.call}' for an {about.call} contract.")
            fills = about.call not in (Call.IDENTIFY, Call.GROUP)
            kinds = self.names("identifier kind", self.kinds)
            for where, sentence in mistakes_of(
                shape, owners=self.names("owner", self.owners), kinds=kinds, fills=fills
            ):
                self.fault(name, where, sentence)
            names |= {shape.event_name} - {_NOBODY}
            built.append(version_of(shape, lifecycle_of(about, shape.version)))
        if not files:
            self.fault(f"events/{slug}", "", "has no version file; add v1.yaml.")
        published = [path.stem for path in files]
        for where, sentence in mistakes_of_terms(about, published, owners=self.names("owner", self.owners)):
            self.fault(f"events/{slug}/contract.yaml", where, sentence)
        if not names:
            return
        if len(names) > 1:
            self.fault(f"events/{slug}", "event_name", f"differs between its versions ({', '.join(sorted(names))}).")
        event_name = sorted(names)[0]
        for other in self.events.values():
            if other.call == about.call and other.name == event_name:
                self.fault(f"events/{slug}", "event_name", f"is '{event_name}', as in events/{other.slug}; keep one.")
        self.events[slug] = EventContract(
            slug=slug,
            call=about.call,
            name=event_name,
            owner=about.owner,
            criticality=about.criticality,
            description=about.description,
            versions=tuple(sorted(built, key=lambda version: int(version.version[1:]))),
            consumers=tuple(about.consumers),
            environments=tuple(about.environments),
            sources=tuple(about.sources),
            late_data=about.late_data,
            late_after_hours=about.late_after_hours,
            undeclared=about.undeclared,
            compatibility=about.compatibility,
            pinned=about.pinned,
        )

    def examples(self, folder: Path, versions: list[Path], files: list[Path]) -> None:
        """Each version's examples; that each version has some is asked of today's files only (`load_contracts`).

        Those of a file with mistakes are read and not tried: what it promises is not known.
        """
        if not self.needs_examples:
            return
        contract = self.events.get(folder.name)
        built = {} if contract is None else {version.version: version for version in contract.versions}
        by_version = {path.stem.removesuffix(ENDING): path for path in files}
        for promised in versions:
            name, version = promised.stem, built.get(promised.stem)
            path = by_version.pop(name, None)
            if path is None:
                advice = f"add {name}{ENDING}.yaml with one event that keeps it and one that does not."
                self.fault(f"events/{folder.name}/{name}", "", f"has no examples; {advice}")
                continue
            shape = self.read(path, shapes.ExamplesFile)
            is_known = {at.relative_to(self.root).as_posix() for at in (promised, path)}.isdisjoint(self.partly)
            if shape is not None and contract is not None and version is not None and is_known:
                for where, sentence in mistakes_of_examples(contract, version, shape):
                    self.fault(path.relative_to(self.root).as_posix(), where, sentence)
        for name, path in by_version.items():
            hint = suggestion(name, [promised.stem for promised in versions])
            self.fault(
                path.relative_to(self.root).as_posix(), "", f"is of a version '{name}' that does not exist.{hint}"
            )

    def read_sources(self, identity: IdentityRules | None) -> None:
        """Who may send what: it bars and pins, in the event's own terms, where the environment is theirs."""
        found = read_sources(self.root, self.faults)
        for where, sentence in mistakes_of_sources(identity.traits, found) if identity else ():
            self.fault("identity.yaml", where, sentence)
        for name, source in found.items():
            where = f"sources.{name}"
            self.known(SOURCES_FILE, where, "owner", source.owner, dict(self.owners), "in owners.yaml")
            for slug in [*source.events, *source.pinned]:
                self.known(SOURCES_FILE, where, "event", slug, dict(self.events), "under events/")
            for slug, version in source.pinned.items():
                contract = self.events.get(slug)
                if contract is None:
                    continue
                versions = [known.version for known in contract.versions]
                self.known(SOURCES_FILE, f"{where}.pinned.{slug}", "version", version, versions, f"of events/{slug}")
                if contract.pinned.get(name, version) != version:
                    self.fault(
                        SOURCES_FILE, f"{where}.pinned.{slug}", "is pinned to another in contract.yaml; keep one."
                    )
            if source.environment == self.environment:
                self.events = {slug: _from(contract, source) for slug, contract in self.events.items()}

    def read_identity(self) -> IdentityRules | None:
        shape = self.read(self.root / "identity.yaml", shapes.IdentityFile)
        if shape is None:
            return None
        rules = rules_of(shape, "identity.yaml", self.faults)
        self.kinds = {kind.name for kind in rules.kinds}
        self.owner("identity.yaml", rules.owner)
        for kind in rules.kinds:
            if kind.owner != rules.owner:
                where = f"kinds.{kind.name}.owner"
                self.known("identity.yaml", where, "owner", kind.owner, dict(self.owners), "in owners.yaml")
        return rules

    def read_consent(self) -> tuple[ConsentRules, tuple[str, ...]] | None:
        shape = self.read(self.root / "consent.yaml", shapes.ConsentFile)
        if shape is None:
            return None
        self.owner("consent.yaml", shape.owner)
        self.purposes = {
            name: Purpose(name=name, description=purpose.description, channels=tuple(purpose.channels))
            for name, purpose in shape.purposes.items()
        }
        for name, region in shape.regions.items():
            for purpose in [
                *region.valid_for_days,
                *region.also_requires,
                *(also for others in region.also_requires.values() for also in others),
            ]:
                self.known("consent.yaml", f"regions.{name}", "purpose", purpose, list(self.purposes), "under purposes")
        self.known(
            "consent.yaml", "default_region", "region", shape.default_region, list(shape.regions), "under regions"
        )
        mappings = [
            mapping for path in self.files("consent_mappings") if (mapping := self.consent_mapping(path)) is not None
        ]
        return ConsentRules(
            version=shape.version,
            purposes=self.purposes,
            regions={
                name: Region(
                    name=name,
                    countries=frozenset(region.countries),
                    also_requires={key: tuple(value) for key, value in region.also_requires.items()},
                    valid_for_days=region.valid_for_days,
                )
                for name, region in shape.regions.items()
            },
            default_region=shape.default_region,
            mappings=tuple(mappings),
        ), tuple(shape.country_from)

    def consent_mapping(self, path: Path) -> ConsentMapping | None:
        name = path.relative_to(self.root).as_posix()
        shape = self.read(path, shapes.ConsentMappingFile)
        if shape is None:
            return None
        self.owner(name, shape.owner)
        names = {contract.name: contract for contract in self.events.values()}
        self.known(name, "event", "event", shape.event, list(names), "promised under events/")
        self.purpose_and_channels(name, shape.purpose, shape.channels)
        if shape.environments and self.environment not in shape.environments:
            return None
        return ConsentMapping(
            mapping_id=path.stem,
            owner=shape.owner,
            basis=shape.basis,
            event_type=names[shape.event].call if shape.event in names else None,
            event_name=shape.event,
            path=shape.path,
            purpose=shape.purpose,
            channels=tuple(shape.channels),
        )

    def purpose_and_channels(self, file: str, purpose: str, channels: list[str]) -> None:
        if self.known(file, "purpose", "purpose", purpose, list(self.purposes), "a purpose of consent.yaml"):
            for channel in channels:
                allowed = list(self.purposes[purpose].channels)
                self.known(file, "channel", "channel", channel, allowed, f"a channel of the purpose '{purpose}'")

    def read_audiences(self) -> None:
        for path in self.files("audiences"):
            name = path.relative_to(self.root).as_posix()
            shape = self.read(path, shapes.AudienceFile)
            if shape is None:
                continue
            self.owner(name, shape.owner)
            self.purpose_and_channels(name, shape.purpose, [shape.channel])
            conditions = [
                self.condition(name, f"conditions.{number}", condition)
                for number, condition in enumerate(shape.conditions)
            ]
            self.audiences[path.stem] = Audience(
                audience_id=path.stem,
                owner=shape.owner,
                description=shape.description,
                purpose=shape.purpose,
                channel=shape.channel,
                conditions=tuple(condition for condition in conditions if condition is not None),
            )

    def condition(self, file: str, path: str, shape: shapes.ConditionShape) -> MeasureCondition | TraitCondition | None:
        kinds = [kind for kind in ("count", "sum", "trait") if getattr(shape, kind) is not None]
        if len(kinds) != 1:
            self.fault(file, path, "must hold exactly one of count, sum, trait.")
            return None
        if kinds == ["trait"]:
            return self.trait_condition(file, path, shape)
        event = shape.count if kinds == ["count"] else shape.of
        if kinds == ["sum"] and shape.of is None:
            self.fault(file, path, "sums a property of no event; say which with `of`.")
            return None
        if shape.at_least is None or shape.at_most is not None or shape.is_in is not None:
            self.fault(file, path, "compares a count or a sum, which is done with at_least alone.")
            return None
        if shape.at_least <= 0:
            self.fault(file, path, "asks for at least nothing, which everybody has; ask for more than 0.")
            return None
        contracts = {contract.name: contract for contract in self.events.values()}
        assert event is not None
        if not self.known(file, path, "event", event, list(contracts), "promised under events/"):
            return None
        properties = [rule.name for rule in contracts[event].current.properties]
        for prop in [shape.sum, shape.times]:
            if prop is not None:
                self.known(file, path, "property", prop, properties, f"promised by '{event}'")
        return MeasureCondition(
            measure=Measure(event_name=event, sum_of=shape.sum or "", times=shape.times or ""),
            at_least=shape.at_least,
            within_days=shape.within_days,
        )

    def trait_condition(self, file: str, path: str, shape: shapes.ConditionShape) -> TraitCondition | None:
        given = [name for name in ("is_in", "at_least", "at_most") if getattr(shape, name) is not None]
        if len(given) != 1:
            self.fault(file, path, "must compare its trait with exactly one of is_in, at_least, at_most.")
            return None
        values = shape.is_in if shape.is_in is not None else [getattr(shape, given[0])]
        assert shape.trait is not None
        return TraitCondition(trait=shape.trait, comparison=Comparison(given[0]), values=tuple(values))

    def read_destinations(self) -> None:
        for path in self.files("destinations"):
            name = path.relative_to(self.root).as_posix()
            shape = self.read(path, shapes.DestinationFile)
            if shape is None:
                continue
            self.owner(name, shape.owner)
            self.known(name, "profile_key", "identifier kind", shape.profile_key, list(self.kinds), "in identity.yaml")
            self.destinations[path.stem] = DestinationContract(
                name=path.stem,
                owner=shape.owner,
                kind=shape.kind,
                profile_key=shape.profile_key,
                endpoints={key: _endpoint(key, value) for key, value in shape.endpoints.items()},
                profile_endpoint=_endpoint("profile", shape.profile_endpoint),
            )

    def read_workflows(self) -> None:
        for path in self.files("workflows"):
            name = path.relative_to(self.root).as_posix()
            shape = self.read(path, shapes.WorkflowFile)
            if shape is None:
                continue
            self.owner(name, shape.owner)
            self.purpose_and_channels(name, shape.purpose, [shape.channel])
            self.known(name, "audience", "audience", shape.audience, dict(self.audiences), "under audiences/")
            if self.known(
                name,
                "send.destination",
                "destination",
                shape.send.destination,
                dict(self.destinations),
                "under destinations/",
            ):
                endpoints = dict(self.destinations[shape.send.destination].endpoints)
                self.known(
                    name,
                    "send.endpoint",
                    "endpoint",
                    shape.send.endpoint,
                    dict(endpoints),
                    "an endpoint of that destination",
                )
            trigger = self.trigger(name, shape)
            if trigger is not None:
                self.workflows[path.stem] = _workflow(path.stem, shape, trigger)

    def trigger(self, file: str, shape: shapes.WorkflowFile) -> EventTrigger | EntryTrigger | None:
        if (shape.trigger.event is not None) == shape.trigger.entered_audience:
            self.fault(file, "trigger", "must be either `event: <event>` or `entered_audience: true`.")
            return None
        readable = {"traits"} if shape.trigger.event is None else {"traits", "properties"}
        for field, place in {**shape.data_fields, **shape.profile_fields}.items():
            part, _, rest = place.partition(".")
            if part not in readable or not rest:
                self.fault(
                    file,
                    f"data_fields.{field}",
                    f"reads '{place}', but can read only {' and '.join(sorted(readable))}.",
                )
        if {"audience_id", "validated_at", "consent_checked"} & set(shape.data_fields):
            self.fault(file, "data_fields", "declares a field that every message carries anyway; remove it.")
        if shape.trigger.event is None:
            return EntryTrigger()
        if not self.known(file, "trigger.event", "event", shape.trigger.event, dict(self.events), "under events/"):
            return None
        promised = {rule.name for version in self.events[shape.trigger.event].versions for rule in version.properties}
        for place in [*shape.data_fields.values(), *(f"properties.{prop}" for prop in shape.trigger.where)]:
            if place.startswith("properties."):
                prop = place.removeprefix("properties.")
                self.known(
                    file, "data_fields", "property", prop, sorted(promised), "promised by the trigger's contract"
                )
        return EventTrigger(event=shape.trigger.event, where=shape.trigger.where)

    def read_failure_modes(self) -> dict[str, FailureMode]:
        shape = self.read(self.root / "failure_modes.yaml", shapes.FailureModesFile)
        found: dict[str, FailureMode] = {}
        groups = [name for name in shapes.FailureModesFile.model_fields if name != "quarantine_keep_days"]
        for group in groups if shape else ():
            for code, mode in getattr(shape, group).items():
                if mode.owner not in self.owners:
                    self.owner("failure_modes.yaml", mode.owner)
                keep_days: int | None = None
                if shape is not None and isinstance(mode, shapes.QuarantineModeShape):
                    keep_days = mode.keep_days or shape.quarantine_keep_days
                found[f"{group}.{code}"] = FailureMode(
                    code=code, group=group, owner=mode.owner, response=mode.response, keep_days=keep_days
                )
        return found


def _from(contract: EventContract, source: Source) -> EventContract:
    """An event's contract with what one source may send of it, and by which version."""
    if source.events and contract.slug not in source.events:
        contract = replace(contract, barred_sources=tuple(sorted({*contract.barred_sources, source.name})))
    pinned = source.pinned.get(contract.slug)
    return contract if pinned is None else replace(contract, pinned={**contract.pinned, source.name: pinned})


def _endpoint(name: str, shape: shapes.EndpointShape) -> Endpoint:
    return Endpoint(
        name=name,
        path=shape.path,
        is_idempotent=shape.is_idempotent,
        batch_size=shape.batch_size,
        calls_per_second=shape.calls_per_second,
    )


def _workflow(workflow_id: str, shape: shapes.WorkflowFile, trigger: EventTrigger | EntryTrigger) -> Workflow:
    reentry = (
        None
        if shape.reentry_days is None
        else timedelta.max
        if shape.reentry_days == "never_again"
        else timedelta(days=shape.reentry_days)
    )
    return Workflow(
        workflow_id=workflow_id,
        version=shape.version,
        owner=shape.owner,
        description=shape.description,
        trigger=trigger,
        audience_id=shape.audience,
        purpose=shape.purpose,
        channel=shape.channel,
        priority=shape.priority,
        destination=shape.send.destination,
        endpoint=shape.send.endpoint,
        subject=shape.send.subject,
        reentry=reentry,
        expires_after=timedelta(hours=shape.expires_after_hours),
        data_fields=shape.data_fields,
        profile_fields=shape.profile_fields,
    )


def load_contracts(root: Path, *, environment: str, needs_examples: bool = True) -> ContractSet:
    """Read contracts/ for one environment.

    `needs_examples`: examples are looked for and tried too, which is asked of files before they are published; what
    runs, under today's files or those of an earlier batch, needs promises and not examples. Raises ContractsInvalid
    with every fault of every file, sorted.
    """
    loading = _Loading(root, environment, needs_examples=needs_examples)
    loading.read_owners()
    identity = loading.read_identity()
    loading.read_events()
    loading.read_sources(identity)
    consent = loading.read_consent()
    loading.read_audiences()
    loading.read_destinations()
    loading.read_workflows()
    failure_modes = loading.read_failure_modes()
    envelope = read_envelope(
        root,
        loading.faults,
        owners=loading.names("owner", loading.owners),
        kinds=loading.names("identifier kind", loading.kinds),
        needs_examples=needs_examples,
    )
    kept_unknown = read_unknown_events(root, loading.faults, owners=loading.names("owner", loading.owners))
    loading.strays()
    for stem, where, sentence in mistakes_of_readers(
        events=loading.events,
        audiences=loading.audiences,
        workflows=loading.workflows,
        mappings=consent[0].mappings if consent else (),
        country_from=consent[1] if consent else (),
        identity=identity,
    ):
        loading.fault(f"{stem}.yaml", where, sentence)
    if loading.faults or identity is None or consent is None:
        raise ContractsInvalid(loading.faults)
    return ContractSet(
        fingerprint=fingerprint(root, environment),
        environment=environment,
        owners=loading.owners,
        events=loading.events,
        identity=identity,
        consent=consent[0],
        country_from=consent[1],
        audiences=loading.audiences,
        workflows=loading.workflows,
        destinations=loading.destinations,
        failure_modes=failure_modes,
        envelope=envelope,
        kept_unknown=kept_unknown,
    )
