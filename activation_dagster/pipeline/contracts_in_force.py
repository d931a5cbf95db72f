"""Which contracts a batch runs under: today's for a new one, those it was planned under whenever it runs again."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from activation_dagster.domain.batches import Batch
from activation_dagster.errors import StateUnusable
from activation_dagster.pipeline.places import Places
from activation_dagster.registry.contract_set import ContractSet, fingerprint, promised_files
from activation_dagster.registry.loading import load_contracts
from activation_dagster.state.batches import kept_contract_set


@lru_cache(maxsize=8)
def _loaded(root: Path, environment: str, _fingerprint: str) -> ContractSet:
    return load_contracts(root, environment=environment, needs_examples=False)


def contracts_today(places: Places) -> ContractSet:
    """The contracts as the files say now. Raises ContractsInvalid with every fault."""
    return _loaded(places.contracts_root, places.environment, fingerprint(places.contracts_root, places.environment))


def contract_files(places: Places) -> dict[str, str]:
    """Every contract file as text, by its path under contracts/."""
    return {
        path.relative_to(places.contracts_root).as_posix(): path.read_text(encoding="utf-8")
        for path in promised_files(places.contracts_root)
    }


def contracts_of(places: Places, batch: Batch) -> ContractSet:
    """The contracts that a batch was planned under, whatever the files say now."""
    if batch.contract_set == fingerprint(places.contracts_root, places.environment):
        return contracts_today(places)
    with places.state.read() as connection:
        files = kept_contract_set(connection, batch.contract_set)
    if files is None:
        raise StateUnusable(
            f"The contracts of batch {batch.batch_id} ({batch.contract_set}) are not kept in state. "
            "Restore the state database from its backup."
        )
    with tempfile.TemporaryDirectory(prefix="contracts-") as folder:
        for name, text in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return load_contracts(Path(folder), environment=places.environment, needs_examples=False)
