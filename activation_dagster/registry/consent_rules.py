"""Reading consent.yaml and consent_mappings/: purposes, regions, and how events say what a person chose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from activation_dagster.domain.consent import ConsentMapping, ConsentRules, Purpose, Region
from activation_dagster.domain.contracts import EventContract
from activation_dagster.registry import shapes
from activation_dagster.registry.reading import Reading

FILE = "consent.yaml"


def read_consent(
    reading: Reading, *, events: Mapping[str, EventContract]
) -> tuple[ConsentRules, tuple[str, ...]] | None:
    """The rules of consent, and the traits that a person's country is read from; None where the file is no use."""
    shape = reading.read(reading.root / FILE, shapes.ConsentFile)
    if shape is None:
        return None
    reading.owner(FILE, shape.owner)
    purposes = {
        name: Purpose(name=name, description=purpose.description, channels=tuple(purpose.channels))
        for name, purpose in shape.purposes.items()
    }
    for name, region in shape.regions.items():
        for purpose in [
            *region.valid_for_days,
            *region.also_requires,
            *(also for others in region.also_requires.values() for also in others),
        ]:
            reading.known(FILE, f"regions.{name}", "purpose", purpose, purposes, "under purposes")
    reading.known(FILE, "default_region", "region", shape.default_region, shape.regions, "under regions")
    mappings = [
        mapping
        for path in reading.files("consent_mappings")
        if (mapping := _mapping(reading, path, events=events, purposes=purposes)) is not None
    ]
    return ConsentRules(
        version=shape.version,
        purposes=purposes,
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


def _mapping(
    reading: Reading, path: Path, *, events: Mapping[str, EventContract], purposes: Mapping[str, Purpose]
) -> ConsentMapping | None:
    name = reading.name(path)
    shape = reading.read(path, shapes.ConsentMappingFile)
    if shape is None:
        return None
    reading.owner(name, shape.owner)
    names = {contract.name: contract for contract in events.values()}
    reading.known(name, "event", "event", shape.event, names, "promised under events/")
    look_up_purpose(reading, name, shape.purpose, shape.channels, purposes=purposes)
    if shape.environments and reading.environment not in shape.environments:
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


def look_up_purpose(
    reading: Reading, file: str, purpose: str, channels: list[str], *, purposes: Mapping[str, Purpose]
) -> None:
    """Look up a purpose that a file names, and the channels that it names with it."""
    if reading.known(file, "purpose", "purpose", purpose, purposes, "a purpose of consent.yaml"):
        for channel in channels:
            allowed = purposes[purpose].channels
            reading.known(file, "channel", "channel", channel, allowed, f"a channel of the purpose '{purpose}'")
