"""Reading contracts/envelope/: the contract of every event's envelope, in the format of an event's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from activation_dagster.domain.contracts import EventVersion, Lifecycle, LifecycleState
from activation_dagster.domain.envelope import ENVELOPE, EnvelopeContract
from activation_dagster.registry import shapes
from activation_dagster.registry.event_terms import FOLDER_NAME
from activation_dagster.registry.event_versions import Mistake, mistakes_of, version_of
from activation_dagster.registry.examples import ENDING, mistakes_of_envelope_examples
from activation_dagster.registry.files import suggestion
from activation_dagster.registry.reading import NOBODY, Reading


def read_envelope(reading: Reading, *, kinds: Collection[str]) -> EnvelopeContract | None:
    """The envelope's contract; None where there is none, or where nothing of it can be read."""
    folder = reading.root / ENVELOPE
    if not folder.is_dir():
        return None
    files = [path for path in sorted(folder.glob("*")) if path.suffix in (".yaml", ".json")]
    about_path = folder / "contract.yaml"
    about = reading.read(about_path, shapes.EnvelopeFile) if about_path in files else None
    if about_path not in files:
        reading.fault(ENVELOPE, "", "has no contract.yaml that names its owner; add one.")
    promised = [path for path in files if path != about_path and not path.stem.endswith(ENDING)]
    if not promised:
        reading.fault(ENVELOPE, "", "has no version file; add v1.yaml.")
    versions: dict[str, EventVersion] = {}
    for path in promised:
        shape = reading.read(path, shapes.VersionFile)
        if shape is None:
            continue
        known_kinds = reading.names("identifier kind", kinds)
        for where, sentence in _mistakes_of_version(path, shape, owners=reading.owner_names(), kinds=known_kinds):
            reading.fault(reading.name(path), where, sentence)
        life = about.versions.get(shape.version) if about else None
        lifecycle = Lifecycle(state=life.lifecycle, until=life.deprecated_until) if life else None
        versions[path.stem] = version_of(shape, lifecycle)
    if about is not None:
        _look_up_terms(reading, about, [path.stem for path in promised])
    if reading.needs_examples:
        _read_examples(reading, promised, versions, [path for path in files if path.stem.endswith(ENDING)])
    if about is None or not versions:
        return None
    return EnvelopeContract(
        owner=about.owner,
        description=about.description,
        consumers=tuple(about.consumers),
        compatibility=about.compatibility,
        pinned=about.pinned,
        versions=tuple(sorted(versions.values(), key=lambda version: int(version.version[1:]))),
    )


def _mistakes_of_version(
    path: Path, shape: shapes.VersionFile, *, owners: Collection[str], kinds: Collection[str]
) -> Iterator[Mistake]:
    if path.stem != shape.version:
        yield "version", f"says '{shape.version}', but the file is {path.name}; make them equal."
    if shape.event_name not in (ENVELOPE, NOBODY):
        yield "event_name", f"must be '{ENVELOPE}', which every event has."
    yield from mistakes_of(shape, owners=owners, kinds=kinds, fills=False)


def _look_up_terms(reading: Reading, about: shapes.EnvelopeFile, published: Sequence[str]) -> None:
    file = f"{ENVELOPE}/contract.yaml"
    reading.owner(file, about.owner)
    for name in about.consumers:
        reading.owner(file, name, "consumers")
    for source in about.pinned:
        if not FOLDER_NAME.fullmatch(source):
            sentence = f"names '{source}', which no folder of landing could be called; use lower case, digits, _ and -."
            reading.fault(file, f"pinned.{source}", sentence)
    named = [(f"pinned.{source}", version) for source, version in about.pinned.items()]
    for path, version in [*named, *((f"versions.{version}", version) for version in about.versions)]:
        if version not in published:
            hint = suggestion(version, list(published))
            reading.fault(file, path, f"names version '{version}', which has no file.{hint}")
    for version, life in about.versions.items():
        if (life.lifecycle is LifecycleState.DEPRECATED) != (life.deprecated_until is not None):
            sentence = "goes with `lifecycle: deprecated`, and only with it; write both or neither."
            reading.fault(file, f"versions.{version}.deprecated_until", sentence)


def _read_examples(
    reading: Reading, promised: list[Path], versions: Mapping[str, EventVersion], files: list[Path]
) -> None:
    """Each version's examples; those of a file with mistakes are read and not tried: what it promises is not known."""
    by_version = {path.stem.removesuffix(ENDING): path for path in files}
    for version_file in promised:
        name = version_file.stem
        path = by_version.pop(name, None)
        if path is None:
            advice = f"add {name}{ENDING}.yaml with one event that keeps it and one that does not."
            reading.fault(f"{ENVELOPE}/{name}", "", f"has no examples; {advice}")
            continue
        shape = reading.read(path, shapes.ExamplesFile)
        is_whole = {reading.name(at) for at in (version_file, path)}.isdisjoint(reading.partly)
        if shape is not None and is_whole and name in versions:
            for where, sentence in mistakes_of_envelope_examples(versions[name], shape):
                reading.fault(reading.name(path), where, sentence)
    for name, path in by_version.items():
        hint = suggestion(name, [version_file.stem for version_file in promised])
        reading.fault(reading.name(path), "", f"is of a version '{name}' that does not exist.{hint}")
