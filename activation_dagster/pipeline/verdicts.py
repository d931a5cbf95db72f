"""The verdict on one line, as reading it once, then its envelope and then its contracts have it.

The readable judge, for samples and repairs; batches are judged in SQL, which must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from activation_dagster.domain.admission import admission
from activation_dagster.domain.contracts import Call
from activation_dagster.domain.envelope import judge_envelope
from activation_dagster.domain.events import TIMES, envelope_fault, occurred_at
from activation_dagster.domain.lexical import read_event
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.times import read_instant
from activation_dagster.domain.unknown_events import UNKNOWN_EVENT, is_kept
from activation_dagster.registry.contract_set import ContractSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a contract set says of one event: a null reason means that the promise is kept."""

    reason: QuarantineReason | None
    contract: str | None = None
    contract_version: str | None = None
    violations: tuple[str, ...] = ()


def verdict_on(line: bytes, contracts: ContractSet, *, source: str, landed_at: datetime) -> Verdict:
    """The verdict on one landing line (without its end) of a source; `landed_at` counts where it names no receipt."""
    event = read_event(line)
    if isinstance(event, QuarantineReason):
        return Verdict(reason=event)
    fault = envelope_fault(event)
    if fault is not None:
        return Verdict(reason=fault)
    envelope = () if contracts.envelope is None else judge_envelope(contracts.envelope.version(source), event)
    contract = contracts.contract_for(event["type"], event.get("event") if event["type"] == Call.TRACK else None)
    if contract is None:
        environment = contracts.environment
        if not is_kept(contracts.kept_unknown, call=event["type"], source=source, environment=environment):
            return Verdict(reason=QuarantineReason.UNKNOWN_EVENT, violations=envelope)
        reason = QuarantineReason.ENVELOPE_VIOLATION if envelope else None
        return Verdict(reason=reason, contract=UNKNOWN_EVENT, violations=envelope)
    version = contract.version(_named_version(event), source)
    if version is None:
        return Verdict(reason=QuarantineReason.UNKNOWN_VERSION, contract=contract.slug, violations=envelope)
    times = {name: read_instant(event[name]) if event.get(name) else None for name in TIMES}
    received = times["receivedAt"] or landed_at
    happened = occurred_at(
        timestamp=times["timestamp"], original=times["originalTimestamp"], sent=times["sentAt"], received=received
    )
    reason, violations = admission(
        contract,
        version,
        event.get(contract.section),
        environment=contracts.environment,
        source=source,
        occurred_at=happened,
        received_at=received,
        envelope=envelope,
    )
    return Verdict(
        reason=reason, contract=contract.slug, contract_version=version.version, violations=tuple(violations)
    )


def _named_version(event: Mapping[str, Any]) -> str | None:
    context: Mapping[str, Any] = event.get("context") or {}
    protocols: Any = context.get("protocols")
    named: Any = cast("Mapping[str, Any]", protocols).get("event_version") if isinstance(protocols, dict) else None
    return None if named is None else str(named)
