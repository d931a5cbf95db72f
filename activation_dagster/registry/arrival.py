"""The verdict on one event as it arrives: the bulk judge's own, one event at a time, under today's contracts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from activation_dagster.domain.admission import admission
from activation_dagster.domain.contracts import Call, EventContract
from activation_dagster.domain.events import envelope_fault, occurred_at
from activation_dagster.domain.times import read_instant
from activation_dagster.registry.boundary import judged_at_boundary
from activation_dagster.registry.contract_set import ContractSet


class ArrivalJudge:
    """Judges events of one environment, before repeats are looked for. The batch's own judge stays the authority."""

    def __init__(self, contracts: ContractSet) -> None:
        self.contracts = contracts
        self._contracts: dict[tuple[str, str], EventContract] = {
            (contract.call.value, contract.name): contract for contract in contracts.events.values()
        }

    def __call__(self, event: Mapping[str, Any], *, source: str, received_at: datetime) -> str | None:
        """The reason for which a lexically sound event will wait, or None where it keeps its promise."""
        fault = envelope_fault(event)
        if fault is not None:
            return fault.value
        call = cast("str", event["type"])
        contract = self._contracts.get((call, cast("str", event["event"]) if call == Call.TRACK else call))
        if contract is None:
            return "unknown_event"
        version = contract.version(_named_version(event), source)
        if version is None:
            return "unknown_version"
        values: Any = event.get(contract.section)
        reason, _ = admission(
            contract,
            version,
            values,
            environment=self.contracts.environment,
            source=source,
            occurred_at=_occurred_at(event, received_at),
            received_at=received_at,
            violations=judged_at_boundary(contract, version, values),
        )
        return None if reason is None else reason.value


def _occurred_at(event: Mapping[str, Any], received_at: datetime) -> datetime:
    def at(name: str) -> datetime | None:
        said = event.get(name)
        return None if said is None else read_instant(said)

    return occurred_at(
        timestamp=at("timestamp"), original=at("originalTimestamp"), sent=at("sentAt"), received=received_at
    )


def _named_version(event: Mapping[str, Any]) -> str | None:
    context: Mapping[str, Any] = event.get("context") or {}
    protocols: Any = context.get("protocols")
    named: Any = cast("Mapping[str, Any]", protocols).get("event_version") if isinstance(protocols, dict) else None
    return None if named is None else str(named)
