"""Reading contracts/events/: each event's terms, versions and examples, and what contradicts among them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from activation_dagster.domain.contracts import Call, EventContract, EventVersion
from activation_dagster.domain.envelope import ENVELOPE
from activation_dagster.domain.unknown_events import UNKNOWN_EVENT
from activation_dagster.registry import shapes
from activation_dagster.registry.event_terms import lifecycle_of, mistakes_of_terms
from activation_dagster.registry.event_versions import mistakes_of, version_of
from activation_dagster.registry.examples import ENDING, mistakes_of_examples
from activation_dagster.registry.files import suggestion
from activation_dagster.registry.reading import NAME, NOBODY, Reading

RESERVED = (UNKNOWN_EVENT, ENVELOPE)
"""Words that stand where events' folders are named, for what is no event's contract."""


def read_events(reading: Reading, *, kinds: Collection[str]) -> dict[str, EventContract]:
    """Every event's contract by its folder, sorted; `kinds` are the identifier kinds that a property may be marked."""
    events: dict[str, EventContract] = {}
    for folder in sorted(path for path in (reading.root / "events").glob("*") if path.is_dir()):
        name = reading.name(folder)
        if not NAME.match(folder.name):
            reading.fault(name, "", "is not named in lower case with underscores; rename it.")
        if folder.name in RESERVED:
            reading.fault(name, "", "has a name that means something else here; call it otherwise.")
        about_path = folder / "contract.yaml"
        if not about_path.exists():
            reading.fault(name, "", "has no contract.yaml that names its owner; add one.")
            continue
        about = reading.read(about_path, shapes.EventFile)
        files = [path for path in sorted(folder.glob("*")) if path.suffix in (".yaml", ".json")]
        promised = [path for path in files if path.name != "contract.yaml" and not path.stem.endswith(ENDING)]
        versions = [(path, shape) for path in promised if (shape := reading.read(path, shapes.VersionFile)) is not None]
        contract: EventContract | None = None
        if about is not None:
            reading.owner(f"{name}/contract.yaml", about.owner)
            contract = _event(reading, folder.name, about, promised, versions, before=events, kinds=kinds)
        if contract is not None:
            events[folder.name] = contract
        if reading.needs_examples:
            _read_examples(reading, contract, folder, promised, [path for path in files if path.stem.endswith(ENDING)])
    return events


def _event(
    reading: Reading,
    slug: str,
    about: shapes.EventFile,
    files: list[Path],
    versions: list[tuple[Path, shapes.VersionFile]],
    *,
    before: Mapping[str, EventContract],
    kinds: Collection[str],
) -> EventContract | None:
    built: list[EventVersion] = []
    names: set[str] = set()
    for path, shape in versions:
        name = reading.name(path)
        if path.stem != shape.version:
            reading.fault(name, "version", f"says '{shape.version}', but the file is {path.name}; make them equal.")
        if about.call is not Call.TRACK and shape.event_name != about.call:
            reading.fault(name, "event_name", f"must be '{about.call}' for an {about.call} contract.")
        fills = about.call not in (Call.IDENTIFY, Call.GROUP)
        known_kinds = reading.names("identifier kind", kinds)
        for where, sentence in mistakes_of(shape, owners=reading.owner_names(), kinds=known_kinds, fills=fills):
            reading.fault(name, where, sentence)
        names |= {shape.event_name} - {NOBODY}
        built.append(version_of(shape, lifecycle_of(about, shape.version)))
    if not files:
        reading.fault(f"events/{slug}", "", "has no version file; add v1.yaml.")
    published = [path.stem for path in files]
    for where, sentence in mistakes_of_terms(about, published, owners=reading.owner_names()):
        reading.fault(f"events/{slug}/contract.yaml", where, sentence)
    if not names:
        return None
    if len(names) > 1:
        reading.fault(f"events/{slug}", "event_name", f"differs between its versions ({', '.join(sorted(names))}).")
    event_name = sorted(names)[0]
    for other in before.values():
        if other.call == about.call and other.name == event_name:
            reading.fault(f"events/{slug}", "event_name", f"is '{event_name}', as in events/{other.slug}; keep one.")
    return EventContract(
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


def _read_examples(
    reading: Reading, contract: EventContract | None, folder: Path, versions: list[Path], files: list[Path]
) -> None:
    """Each version's examples; those of a file with mistakes are read and not tried: what it promises is not known."""
    built = {} if contract is None else {version.version: version for version in contract.versions}
    by_version = {path.stem.removesuffix(ENDING): path for path in files}
    for promised in versions:
        name, version = promised.stem, built.get(promised.stem)
        path = by_version.pop(name, None)
        if path is None:
            advice = f"add {name}{ENDING}.yaml with one event that keeps it and one that does not."
            reading.fault(f"events/{folder.name}/{name}", "", f"has no examples; {advice}")
            continue
        shape = reading.read(path, shapes.ExamplesFile)
        is_known = {reading.name(at) for at in (promised, path)}.isdisjoint(reading.partly)
        if shape is not None and contract is not None and version is not None and is_known:
            for where, sentence in mistakes_of_examples(contract, version, shape):
                reading.fault(reading.name(path), where, sentence)
    for name, path in by_version.items():
        hint = suggestion(name, [promised.stem for promised in versions])
        reading.fault(reading.name(path), "", f"is of a version '{name}' that does not exist.{hint}")
