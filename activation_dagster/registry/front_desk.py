"""What a door needs of the contracts: which source a key belongs to, and how its events are judged; kept up to date."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from activation_dagster.domain.contracts import Criticality
from activation_dagster.domain.sources import Source, key_sha256
from activation_dagster.errors import ContractsInvalid
from activation_dagster.registry.arrival import ArrivalJudge
from activation_dagster.registry.contract_set import promised_files
from activation_dagster.registry.loading import load_contracts
from activation_dagster.registry.source_files import load_sources

log = logging.getLogger("activation.collector")


class FrontDesk:
    """The sources and judges of all environments, as the contract files said when they were last sound.

    Raises ContractsInvalid at the start; later a mistake in the files leaves what was loaded in force, and `trouble`
    says so. `refresh` may run in another thread than the questions.
    """

    def __init__(self, root: Path) -> None:
        self.trouble = ""
        self._root = root
        self._seen = self._stamp()
        self._judges: dict[str, ArrivalJudge] = {}
        self._load()

    def source_of(self, key: str, now: datetime) -> Source | None:
        """The source that a write key opens at `now`, or None."""
        remembered = self._hashes.get(key)
        if remembered is None:
            remembered = key_sha256(key)
            if remembered in self._by_hash:  # strangers' keys are not remembered: they could be any number
                self._hashes[key] = remembered
        found = self._by_hash.get(remembered)
        if found is None:
            return None
        return next((found for known in found.keys if known.sha256 == remembered and known.opens(now)), None)

    def source_named(self, name: str) -> Source | None:
        """The source of a name, or None; for doors that know it otherwise than by a key."""
        return self._sources.get(name)

    @property
    def environments(self) -> list[str]:
        """The environments that some source belongs to, sorted."""
        return sorted(self._judges)

    def verdict(self, source: Source, event: Mapping[str, Any], received_at: datetime) -> str | None:
        """Why an event of this source will wait, or None."""
        return self._judges[source.environment](event, source=source.name, received_at=received_at)

    def criticality(self, source: Source, event: Mapping[str, Any]) -> Criticality | None:
        """How much an event of this source matters; None where it must not be shed."""
        return self._judges[source.environment].criticality(event)

    def refresh(self) -> bool:
        """Look whether the files have changed, and load them; whether they were taken."""
        seen = self._stamp()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self._load()
        except (ContractsInvalid, OSError) as error:
            first = error.faults[0] if isinstance(error, ContractsInvalid) and error.faults else error
            self.trouble = f"The contracts were changed and are refused; those before stay in force. {first}"
            log.error("contracts_refused", extra={"why": str(first)})
            return False
        self.trouble = ""
        log.info("contracts_loaded", extra={"sources": len({source.name for source in self._by_hash.values()})})
        return True

    def _load(self) -> None:
        sources = load_sources(self._root)
        judges = {
            environment: ArrivalJudge(load_contracts(self._root, environment=environment, needs_examples=False))
            for environment in sorted({source.environment for source in sources.values()})
        }
        self._sources = sources
        # Judges of an environment that is gone stay: a request may be under way that asked for its source before.
        self._judges = {**self._judges, **judges}
        self._by_hash = {key.sha256: source for source in sources.values() for key in source.keys}
        self._hashes: dict[str, str] = {}

    def _stamp(self) -> tuple[tuple[str, int, int], ...]:
        """Names, sizes and times of the files: cheaper than reading them, which a look every second would be."""
        found: list[tuple[str, int, int]] = []
        for path in promised_files(self._root):
            try:
                said = path.stat()
            except FileNotFoundError:
                continue
            found.append((path.as_posix(), said.st_size, said.st_mtime_ns))
        return tuple(found)
