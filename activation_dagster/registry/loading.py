"""Loading contracts/: every file is read, every reference followed, every mistake in every file told at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from activation_dagster.domain.consent import Purpose
from activation_dagster.errors import ContractsInvalid
from activation_dagster.registry.audiences import read_audiences
from activation_dagster.registry.consent_rules import read_consent
from activation_dagster.registry.contract_set import ContractSet, fingerprint
from activation_dagster.registry.destinations import read_destinations
from activation_dagster.registry.envelope import read_envelope
from activation_dagster.registry.event_files import read_events
from activation_dagster.registry.failure_modes import read_failure_modes, read_owners
from activation_dagster.registry.identity_rules import read_identity
from activation_dagster.registry.readers import mistakes_of_readers
from activation_dagster.registry.reading import Reading
from activation_dagster.registry.source_terms import with_sources
from activation_dagster.registry.unknown_events import read_unknown_events
from activation_dagster.registry.workflows import read_workflows


def load_contracts(root: Path, *, environment: str, needs_examples: bool = True) -> ContractSet:
    """Read contracts/ for one environment.

    `needs_examples`: examples are looked for and tried too, which is asked of files before they are published; what
    runs, under today's files or those of an earlier batch, needs promises and not examples. Raises ContractsInvalid
    with every fault of every file, sorted.
    """
    reading = Reading(root, environment, needs_examples=needs_examples)
    owners = reading.owners = read_owners(reading)
    identity = read_identity(reading)
    kinds = [kind.name for kind in identity.kinds] if identity else []
    events = with_sources(reading, read_events(reading, kinds=kinds))
    consent, country_from = read_consent(reading, events=events) or (None, ())
    purposes: Mapping[str, Purpose] = consent.purposes if consent else {}
    audiences = read_audiences(reading, events=events, purposes=purposes)
    destinations = read_destinations(reading, kinds=kinds)
    workflows = read_workflows(
        reading, events=events, purposes=purposes, audiences=audiences, destinations=destinations
    )
    failure_modes = read_failure_modes(reading)
    envelope = read_envelope(
        root,
        reading.faults,
        owners=reading.owner_names(),
        kinds=reading.names("identifier kind", kinds),
        needs_examples=needs_examples,
    )
    kept_unknown = read_unknown_events(root, reading.faults, owners=reading.owner_names())
    reading.strays()
    for stem, where, sentence in mistakes_of_readers(
        events=events,
        audiences=audiences,
        workflows=workflows,
        mappings=consent.mappings if consent else (),
        country_from=country_from,
        identity=identity,
    ):
        reading.fault(f"{stem}.yaml", where, sentence)
    if reading.faults or identity is None or consent is None:
        raise ContractsInvalid(reading.faults)
    return ContractSet(
        fingerprint=fingerprint(root, environment),
        environment=environment,
        owners=owners,
        events=events,
        identity=identity,
        consent=consent,
        country_from=country_from,
        audiences=audiences,
        workflows=workflows,
        destinations=destinations,
        failure_modes=failure_modes,
        envelope=envelope,
        kept_unknown=kept_unknown,
    )
