"""The verdict on one line, as reading it once, then its envelope and then its contract have it.

The readable judge, for samples and repairs; batches are judged in SQL, which must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from activation_dagster.domain.contracts import Call, judge
from activation_dagster.domain.events import envelope_fault
from activation_dagster.domain.lexical import read_event
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.registry.contract_set import ContractSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a contract set says of one event: a null reason means that the promise is kept."""

    reason: QuarantineReason | None
    contract: str | None = None
    contract_version: str | None = None
    violations: tuple[str, ...] = ()


def verdict_on(line: bytes, contracts: ContractSet) -> Verdict:
    """The verdict on one landing line (without the line's end)."""
    event = read_event(line)
    if isinstance(event, QuarantineReason):
        return Verdict(reason=event)
    fault = envelope_fault(event)
    if fault is not None:
        return Verdict(reason=fault)
    contract = contracts.contract_for(event["type"], event.get("event") if event["type"] == Call.TRACK else None)
    if contract is None:
        return Verdict(reason=QuarantineReason.UNKNOWN_EVENT)
    version = contract.version(_named_version(event))
    if version is None:
        return Verdict(reason=QuarantineReason.UNKNOWN_VERSION, contract=contract.slug)
    violations = judge(contract, version, event.get(contract.section))
    return Verdict(
        reason=QuarantineReason.CONTRACT_VIOLATION if violations else None,
        contract=contract.slug,
        contract_version=version.version,
        violations=violations,
    )


def _named_version(event: Mapping[str, Any]) -> str | None:
    context: Mapping[str, Any] = event.get("context") or {}
    protocols: Any = context.get("protocols")
    named: Any = cast("Mapping[str, Any]", protocols).get("event_version") if isinstance(protocols, dict) else None
    return None if named is None else str(named)
