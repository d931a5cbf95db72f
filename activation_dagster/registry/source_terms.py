"""What contracts/sources.yaml says of events, in the events' own terms: which source is barred, and which is pinned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from activation_dagster.domain.contracts import EventContract
from activation_dagster.domain.sources import Source
from activation_dagster.registry.reading import Reading
from activation_dagster.registry.source_files import SOURCES_FILE, read_sources


def with_sources(reading: Reading, events: Mapping[str, EventContract]) -> dict[str, EventContract]:
    """The events with what each source of this environment may send of them; what names nothing is a fault."""
    found = dict(events)
    for name, source in read_sources(reading.root, reading.faults).items():
        where = f"sources.{name}"
        reading.known(SOURCES_FILE, where, "owner", source.owner, reading.owners, "in owners.yaml")
        for slug in [*source.events, *source.pinned]:
            reading.known(SOURCES_FILE, where, "event", slug, found, "under events/")
        for slug, version in source.pinned.items():
            contract = found.get(slug)
            if contract is None:
                continue
            versions = [known.version for known in contract.versions]
            reading.known(SOURCES_FILE, f"{where}.pinned.{slug}", "version", version, versions, f"of events/{slug}")
            if contract.pinned.get(name, version) != version:
                reading.fault(
                    SOURCES_FILE, f"{where}.pinned.{slug}", "is pinned to another in contract.yaml; keep one."
                )
        if source.environment == reading.environment:
            found = {slug: _from(contract, source) for slug, contract in found.items()}
    return found


def _from(contract: EventContract, source: Source) -> EventContract:
    """An event's contract with what one source may send of it, and by which version."""
    if source.events and contract.slug not in source.events:
        contract = replace(contract, barred_sources=tuple(sorted({*contract.barred_sources, source.name})))
    pinned = source.pinned.get(contract.slug)
    return contract if pinned is None else replace(contract, pinned={**contract.pinned, source.name: pinned})
