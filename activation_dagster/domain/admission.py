"""Whether a judged event is admitted: what a contract says beyond its versions, each rule with its own reason.

The plain reference; `lake/contract_sql.py` with `sql/validate/event_verdicts.sql` must agree with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from activation_dagster.domain.contracts import (
    EventContract,
    EventVersion,
    LateData,
    Lifecycle,
    LifecycleState,
    Undeclared,
    judge,
)
from activation_dagster.domain.reasons import QuarantineReason

MAX_LISTED_UNDECLARED = 10
SHOWN_NAME = "[A-Za-z_][A-Za-z0-9_]{0,39}"
"""An undeclared name is shown only if it looks like a property's: another may hold an address or a person's name."""


def ends_at(lifecycle: Lifecycle) -> datetime | None:
    """The instant from which something deprecated accepts no more events."""
    if lifecycle.state is not LifecycleState.DEPRECATED or lifecycle.until is None:
        return None
    return datetime.combine(lifecycle.until, time(), tzinfo=UTC) + timedelta(days=1)


def is_over(lifecycle: Lifecycle, received_at: datetime) -> bool:
    """Whether a version takes no events: a draft not yet, a retired one no more, a deprecated one after its end."""
    end = ends_at(lifecycle)
    return lifecycle.state in (LifecycleState.DRAFT, LifecycleState.RETIRED) or (end is not None and received_at >= end)


def undeclared_in(contract: EventContract, version: EventVersion, values: Mapping[str, Any] | None) -> tuple[str, ...]:
    """`<section>.<name>: undeclared` for the first names that the version does not declare, where that is refused.

    Names inside objects are not looked at. The names are sorted, then cut, so that all judges list the same.
    """
    if contract.undeclared is not Undeclared.QUARANTINE:
        return ()
    declared = {rule.name for rule in version.properties}
    shown = {name if re.fullmatch(SHOWN_NAME, name) else "?" for name in (values or {}) if name not in declared}
    return tuple(f"{contract.section}.{name}: undeclared" for name in sorted(shown)[:MAX_LISTED_UNDECLARED])


def barred(
    contract: EventContract, version: EventVersion, *, environment: str, source: str, received_at: datetime
) -> QuarantineReason | None:
    """Why an event may not come at all, whatever it says."""
    if is_over(version.lifecycle, received_at):
        return QuarantineReason.CONTRACT_NOT_ACTIVE
    if contract.environments and environment not in contract.environments:
        return QuarantineReason.WRONG_ENVIRONMENT
    if (contract.sources and source not in contract.sources) or source in contract.barred_sources:
        return QuarantineReason.SOURCE_NOT_ALLOWED
    return None


def is_late(contract: EventContract, *, occurred_at: datetime, received_at: datetime) -> bool:
    """Whether an event was received more hours after it happened than its contract allows."""
    if contract.late_data is LateData.ACCEPT or contract.late_after_hours is None:
        return False
    return received_at - occurred_at > timedelta(hours=contract.late_after_hours)


def is_state_only(contract: EventContract, *, occurred_at: datetime, received_at: datetime) -> bool:
    """Whether an accepted event counts for its profile and triggers nothing, because it came late."""
    return contract.late_data is LateData.STATE_ONLY and is_late(
        contract, occurred_at=occurred_at, received_at=received_at
    )


def admission(
    contract: EventContract,
    version: EventVersion,
    values: Mapping[str, Any] | None,
    *,
    environment: str,
    source: str,
    occurred_at: datetime,
    received_at: datetime,
    envelope: Sequence[str] = (),
    violations: Sequence[str] | None = None,
) -> tuple[QuarantineReason | None, Sequence[str]]:
    """The first reason for which an event waits (None when it is admitted), and all its violations, sorted.

    `envelope` are its violations of the contract that every envelope has; `violations` what the version says of the
    values, where another judge has said it already.
    """
    broken = judge(contract, version, values) if violations is None else violations
    undeclared = undeclared_in(contract, version, values)
    said = sorted([*broken, *undeclared, *envelope])
    reason = barred(contract, version, environment=environment, source=source, received_at=received_at)
    if reason is not None:
        return reason, said
    if broken:
        return QuarantineReason.CONTRACT_VIOLATION, said
    if envelope:
        return QuarantineReason.ENVELOPE_VIOLATION, said
    if undeclared:
        return QuarantineReason.UNDECLARED_PROPERTY, said
    if contract.late_data is LateData.QUARANTINE and is_late(
        contract, occurred_at=occurred_at, received_at=received_at
    ):
        return QuarantineReason.TOO_LATE, said
    return None, said
