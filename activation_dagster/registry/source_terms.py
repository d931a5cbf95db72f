"""What contracts/sources.yaml says of events, in the events' own terms: which source is barred, and which is pinned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from activation_dagster.domain.consent import Purpose
from activation_dagster.domain.contracts import EventContract
from activation_dagster.domain.identifiers import IdentityRules
from activation_dagster.domain.sources import Source
from activation_dagster.registry.identity_rules import FILE as IDENTITY_FILE
from activation_dagster.registry.reading import Reading
from activation_dagster.registry.shapes import SourcesFile
from activation_dagster.registry.source_files import SOURCES_FILE, sources_of
from activation_dagster.registry.trait_rules import mistakes_of_sources


def read_sources(reading: Reading) -> dict[str, Source]:
    """The sources by name, of every environment; none where there is no such file."""
    path = reading.root / SOURCES_FILE
    shape = reading.read(path, SourcesFile) if path.exists() else None
    return {} if shape is None else sources_of(shape, reading.faults)


def with_sources(
    reading: Reading,
    sources: Mapping[str, Source],
    events: Mapping[str, EventContract],
    *,
    identity: IdentityRules | None,
) -> dict[str, EventContract]:
    """The events with what each source of this environment may send of them; what names nothing is a fault.

    So are sources that policies of traits name and that look like one misspelt.
    """
    found = dict(events)
    for where, sentence in mistakes_of_sources(identity.traits, sources) if identity else ():
        reading.fault(IDENTITY_FILE, where, sentence)
    for name, source in sources.items():
        where = f"sources.{name}"
        reading.owner(SOURCES_FILE, source.owner, f"{where}.owner")
        for key, slugs in (("events", source.events), ("pinned", source.pinned)):
            for slug in slugs:
                reading.known(SOURCES_FILE, f"{where}.{key}", "event", slug, found, "under events/")
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


def look_at_forwards(reading: Reading, sources: Mapping[str, Source], purposes: Mapping[str, Purpose]) -> None:
    """Whether the purpose and channel that a source is sent on for are ones that people are asked about."""
    for name, source in sources.items():
        forward, where = source.forward, f"sources.{name}.forward"
        if forward is None or (forward.purpose is None and forward.channel is None):
            continue
        if forward.purpose is None:
            reading.fault(SOURCES_FILE, where, "names a channel and no purpose; name both, or neither.")
        elif reading.known(SOURCES_FILE, where, "purpose", forward.purpose, purposes, "in consent.yaml"):
            channels = purposes[forward.purpose].channels
            if forward.channel is not None:
                among = f"one of purpose '{forward.purpose}' in consent.yaml"
                reading.known(SOURCES_FILE, where, "channel", forward.channel, channels, among)


def _from(contract: EventContract, source: Source) -> EventContract:
    """An event's contract with what one source may send of it, and by which version."""
    if source.events and contract.slug not in source.events:
        contract = replace(contract, barred_sources=tuple(sorted({*contract.barred_sources, source.name})))
    pinned = source.pinned.get(contract.slug)
    return contract if pinned is None else replace(contract, pinned={**contract.pinned, source.name: pinned})
