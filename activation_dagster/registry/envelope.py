"""Reading contracts/envelope/: the contract of every event's envelope, in the format of an event's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from activation_dagster.domain.contracts import EventVersion, Lifecycle
from activation_dagster.domain.envelope import ENVELOPE, EnvelopeContract
from activation_dagster.errors import Fault
from activation_dagster.registry import shapes
from activation_dagster.registry.event_versions import Mistake, mistakes_of, version_of
from activation_dagster.registry.examples import ENDING, mistakes_of_envelope_examples
from activation_dagster.registry.files import read_shape, suggestion


def read_envelope(
    root: Path, faults: list[Fault], *, owners: Collection[str], kinds: Collection[str], needs_examples: bool
) -> EnvelopeContract | None:
    """The envelope's contract; None where there is none, or where it cannot be read, which `faults` then tell."""
    folder = root / ENVELOPE
    if not folder.is_dir():
        return None
    about_path = folder / "contract.yaml"
    if not about_path.exists():
        faults.append(Fault(file=ENVELOPE, path="", sentence="has no contract.yaml that names its owner; add one."))
        return None
    about = read_shape(about_path, root, shapes.EnvelopeFile, faults)
    files = [path for path in sorted(folder.glob("*")) if path.suffix in (".yaml", ".json") and path != about_path]
    versions: list[EventVersion] = []
    for path in files:
        if path.stem.endswith(ENDING):
            continue
        shape = read_shape(path, root, shapes.VersionFile, faults)
        if shape is None:
            continue
        for where, sentence in _mistakes_of_version(path, shape, owners=owners, kinds=kinds):
            faults.append(Fault(file=path.relative_to(root).as_posix(), path=where, sentence=sentence))
        life = about.versions.get(shape.version) if about else None
        lifecycle = Lifecycle(state=life.lifecycle, until=life.deprecated_until) if life else None
        versions.append(version_of(shape, lifecycle))
    if not versions:
        faults.append(Fault(file=ENVELOPE, path="", sentence="has no version file that could be read; add v1.yaml."))
    if about is None or not versions:
        return None
    for where, sentence in _mistakes_of_terms(about, [version.version for version in versions], owners=owners):
        faults.append(Fault(file=f"{ENVELOPE}/contract.yaml", path=where, sentence=sentence))
    found = EnvelopeContract(
        owner=about.owner,
        description=about.description,
        consumers=tuple(about.consumers),
        compatibility=about.compatibility,
        pinned=about.pinned,
        versions=tuple(sorted(versions, key=lambda version: int(version.version[1:]))),
    )
    if needs_examples:
        faults += _faults_of_examples(root, found, [path for path in files if path.stem.endswith(ENDING)])
    return found


def _mistakes_of_version(
    path: Path, shape: shapes.VersionFile, *, owners: Collection[str], kinds: Collection[str]
) -> Iterator[Mistake]:
    if path.stem != shape.version:
        yield "version", f"says '{shape.version}', but the file is {path.name}; make them equal."
    if shape.event_name != ENVELOPE:
        yield "event_name", f"must be '{ENVELOPE}', which every event has."
    yield from mistakes_of(shape, owners=owners, kinds=kinds, fills=False)


def _mistakes_of_terms(
    about: shapes.EnvelopeFile, published: Sequence[str], *, owners: Collection[str]
) -> Iterator[Mistake]:
    for key, names in (("owner", [about.owner]), ("consumers", about.consumers)):
        for name in names:
            if name not in owners:
                yield key, f"names '{name}', which is not in owners.yaml.{suggestion(name, sorted(owners))}"
    named = [(f"pinned.{source}", version) for source, version in about.pinned.items()]
    for path, version in [*named, *((f"versions.{version}", version) for version in about.versions)]:
        if version not in published:
            yield path, f"names version '{version}', which has no file.{suggestion(version, list(published))}"


def _faults_of_examples(root: Path, envelope: EnvelopeContract, files: list[Path]) -> Iterator[Fault]:
    by_version = {path.stem.removesuffix(ENDING): path for path in files}
    faults: list[Fault] = []
    for version in envelope.versions:
        path = by_version.pop(version.version, None)
        if path is None:
            advice = f"add {version.version}{ENDING}.yaml with one event that keeps it and one that does not."
            yield Fault(file=f"{ENVELOPE}/{version.version}", path="", sentence=f"has no examples; {advice}")
        elif (shape := read_shape(path, root, shapes.ExamplesFile, faults)) is not None:
            for where, sentence in mistakes_of_envelope_examples(version, shape):
                yield Fault(file=path.relative_to(root).as_posix(), path=where, sentence=sentence)
    yield from faults
    for name, path in by_version.items():
        sentence = f"is of a version '{name}' that does not exist."
        yield Fault(file=path.relative_to(root).as_posix(), path="", sentence=sentence)
