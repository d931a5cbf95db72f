"""The verdict on one event as it arrives: the bulk judge's own, one event at a time, under today's contracts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from activation_dagster.domain.admission import admission
from activation_dagster.domain.contracts import Call, Criticality, EventContract, EventVersion
from activation_dagster.domain.events import envelope_fault, occurred_at, shed_on_arrival
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.times import read_instant
from activation_dagster.domain.unknown_events import is_kept
from activation_dagster.registry.boundary import CompiledEnvelopeJudge, CompiledJudge
from activation_dagster.registry.contract_set import ContractSet


class ArrivalJudge:
    """Judges events of one environment, before repeats are looked for. The batch's own judge stays the authority."""

    def __init__(self, contracts: ContractSet) -> None:
        self.contracts = contracts
        self._contracts: dict[tuple[str, str], EventContract] = {
            (contract.call.value, contract.name): contract for contract in contracts.events.values()
        }
        self._judges: dict[tuple[str, str], CompiledJudge] = {}
        self._envelopes: dict[str, CompiledEnvelopeJudge] = {}
        self._speaking = {(mapping.event_type, mapping.event_name) for mapping in contracts.consent.mappings}

    def _of_envelope(self, event: Mapping[str, Any], source: str) -> tuple[str, ...]:
        contract = self.contracts.envelope
        if contract is None:
            return ()
        version = contract.version(source)
        found = self._envelopes.get(version.version)
        if found is None:
            found = self._envelopes[version.version] = CompiledEnvelopeJudge(version)
        return found.violations(event)

    def _judge(self, contract: EventContract, version: EventVersion) -> CompiledJudge:
        # By name: a version is a value whose hash would be counted from all its properties, event by event.
        found = self._judges.get((contract.slug, version.version))
        if found is None:
            found = self._judges[contract.slug, version.version] = CompiledJudge(contract, version)
        return found

    def __call__(self, event: Mapping[str, Any], *, source: str, received_at: datetime) -> str | None:
        """The reason for which a lexically sound event will wait, or was shed; None where it keeps its promise."""
        fault = shed_on_arrival(event) or envelope_fault(event)
        if fault is not None:
            return fault.value
        call = cast("str", event["type"])
        envelope = self._of_envelope(event, source)
        contract = self._contracts.get((call, cast("str", event["event"]) if call == Call.TRACK else call))
        if contract is None:
            environment = self.contracts.environment
            if not is_kept(self.contracts.kept_unknown, call=call, source=source, environment=environment):
                return QuarantineReason.UNKNOWN_EVENT.value
            return QuarantineReason.ENVELOPE_VIOLATION.value if envelope else None
        version = contract.version(_named_version(event), source)
        if version is None:
            return QuarantineReason.UNKNOWN_VERSION.value
        values: Any = event.get(contract.section)
        reason, _ = admission(
            contract,
            version,
            values,
            environment=self.contracts.environment,
            source=source,
            occurred_at=_occurred_at(event, received_at),
            received_at=received_at,
            envelope=envelope,
            violations=self._judge(contract, version).violations(values),
        )
        return None if reason is None else reason.value

    def criticality(self, event: Mapping[str, Any]) -> Criticality | None:
        """How much an event matters, by its contract; None where it must not be shed whatever its contract says.

        That is one which nobody can read or route, because it is to wait with its bytes, and one that may say a *no*.
        What no contract is about is standard: nobody declared that it may be dropped.
        """
        if envelope_fault(event) is not None:
            return None
        call = cast("str", event["type"])
        contract = self._contracts.get((call, cast("str", event["event"]) if call == Call.TRACK else call))
        if contract is None:
            return Criticality.STANDARD
        return None if (contract.call.value, contract.name) in self._speaking else contract.criticality


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
