"""Which contracts a batch runs under: today's for a new one, those it was planned under whenever it runs again."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from activation_dagster.domain.batches import Batch
from activation_dagster.errors import ContractsInvalid, Fault, StateUnusable
from activation_dagster.pipeline.places import Places
from activation_dagster.registry.contract_set import ContractSet, fingerprint, promised_files, readers_of_all
from activation_dagster.registry.loading import load_contracts
from activation_dagster.registry.published import PublishedReport, report_against
from activation_dagster.state.batches import kept_contract_set, newest_contract_set

IN_STATE = "state"
"""What stands for the contracts of the newest batch where a git ref could stand."""


@lru_cache(maxsize=8)
def _loaded(root: Path, environment: str, _fingerprint: str) -> ContractSet:
    return load_contracts(root, environment=environment, needs_examples=False)


def contracts_today(places: Places) -> ContractSet:
    """The contracts as the files say now. Raises ContractsInvalid with every fault."""
    return _loaded(places.contracts_root, places.environment, fingerprint(places.contracts_root, places.environment))


def contracts_serving(places: Places) -> ContractSet:
    """Today's contracts, or the newest batch's where today's cannot be read: for what asks about no event's promise.

    Deliveries and answers about people go by it: a new rule of consent holds at once, and files that somebody is in the
    middle of writing stop nobody's messages. Raises ContractsInvalid where nothing good was ever read.
    """
    try:
        return contracts_today(places)
    except ContractsInvalid:
        with places.state.read() as connection:
            last = newest_contract_set(connection)
        if last is None:
            raise
        return _contracts_kept(places, _files_kept(places, last))


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
    return _contracts_kept(places, _files_kept(places, batch.contract_set))


def contracts_named(places: Places, contract_set: str) -> ContractSet:
    """The contracts of a set that state keeps. Raises StateUnusable where it is not kept."""
    return _contracts_kept(places, _files_kept(places, contract_set))


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The contracts that a new batch is planned under, and their files by path.

    `refused`: why today's files are not taken; the last good ones stand here then.
    """

    contracts: ContractSet
    files: Mapping[str, str]
    refused: tuple[Fault, ...] = ()


def contracts_in_force(places: Places) -> InForce:
    """Today's contracts, if they can be read and keep what the newest batch was promised; else that batch's.

    What a batch ran under is published: its versions are never edited or taken away, and a new one fits the version
    before it or declares that it does not. Raises ContractsInvalid where nothing good was ever read.
    """
    with places.state.read() as connection:
        last = newest_contract_set(connection)
    try:
        today = contracts_today(places)
    except ContractsInvalid as invalid:
        if last is None:
            raise
        refused = tuple(invalid.faults)
    else:
        refused = () if last is None or last == today.fingerprint else _refused(places, last, today)
        if not refused:
            return InForce(contracts=today, files=contract_files(places))
    assert last is not None
    files = _files_kept(places, last)
    return InForce(contracts=_contracts_kept(places, files), files=files, refused=refused)


def _refused(places: Places, last: str, today: ContractSet) -> tuple[Fault, ...]:
    return report_against(
        places.contracts_root,
        _published(places, last),
        IN_STATE,
        published="to the newest batch",
        consumers=readers_of_all(today),
        owners=today.owners,
    ).faults


def _published(places: Places, contract_set: str) -> dict[str, bytes]:
    return {name: text.encode() for name, text in _files_kept(places, contract_set).items()}


def check_against_state(
    places: Places, *, consumers: Mapping[str, Collection[str]], owners: Collection[str] | None
) -> PublishedReport:
    """Hold the versions of today's files to those that the newest batch ran under; nothing is published before one.

    `consumers` and `owners` as for `registry.published.check_against`.
    """
    with places.state.read() as connection:
        last = newest_contract_set(connection)
    if last is None:
        return PublishedReport(ref=IN_STATE, published=0, new=(), faults=())
    published = f"to the newest batch of environment {places.environment}"
    return report_against(
        places.contracts_root,
        _published(places, last),
        IN_STATE,
        published=published,
        consumers=consumers,
        owners=owners,
    )


def _files_kept(places: Places, contract_set: str) -> dict[str, str]:
    with places.state.read() as connection:
        files = kept_contract_set(connection, contract_set)
    if files is None:
        raise StateUnusable(
            f"The contract set {contract_set}, which a batch was planned under, is not kept in state. "
            "Restore the state database from its backup."
        )
    return files


def _contracts_kept(places: Places, files: Mapping[str, str]) -> ContractSet:
    return _loaded_files(places.environment, tuple(sorted(files.items())))


@lru_cache(maxsize=8)
def _loaded_files(environment: str, files: tuple[tuple[str, str], ...]) -> ContractSet:
    with tempfile.TemporaryDirectory(prefix="contracts-") as folder:
        for name, text in files:
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return load_contracts(Path(folder), environment=environment, needs_examples=False)
