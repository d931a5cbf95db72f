"""What a contract says beyond its rules, and what is read of an accepted event, as SQL over one event `e`.

`domain/admission.py` and `domain/unknown_events.py` are the readable meaning.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from activation_dagster.domain.admission import MAX_LISTED_UNDECLARED, SHOWN_NAME, ends_at
from activation_dagster.domain.audiences import Measure
from activation_dagster.domain.contracts import (
    EventContract,
    EventVersion,
    LateData,
    LifecycleState,
    PropertyType,
    Undeclared,
)
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.unknown_events import KeptUnknown
from activation_dagster.lake.rule_sql import has_type, literal


def amount(measure: Measure, leaves: Mapping[str, str], numbers: Collection[str]) -> str:
    """What one event adds to a sum, in millionths; nothing where a property is absent or no number.

    `numbers` are promised to be numbers, so that an accepted event has nothing else there and the test is spared:
    JSON's true and "5" would be cast to numbers.
    """
    factors = [
        f"try_cast({leaves[one]} as double)"
        if one in numbers
        else f"case when {has_type(leaves[one], PropertyType.NUMBER)} then try_cast({leaves[one]} as double) end"
        for one in (measure.sum_of, measure.times)
        if one
    ]
    return f"coalesce(try_cast(round({' * '.join(factors)} * 1000000) as bigint), 0)"


def packed(leaves: Mapping[str, str]) -> str:
    """SQL for a JSON object of JSON texts: they are written already, and only strung together."""
    members = [
        f"{literal(json.dumps(one, ensure_ascii=False) + ':')}, coalesce({leaf}, 'null')"
        for one, leaf in leaves.items()
    ]
    between = ", ',', "
    return f"concat('{{', {between.join(members)}, '}}')"


def barred(contract: EventContract, version: EventVersion, environment: str) -> str:
    """SQL for the reason for which an event may not come at all, or null (`domain/admission.barred`)."""
    end = ends_at(version.lifecycle)
    bars: list[tuple[str, QuarantineReason]] = []
    if version.lifecycle.state in (LifecycleState.DRAFT, LifecycleState.RETIRED):
        bars.append(("true", QuarantineReason.CONTRACT_NOT_ACTIVE))
    elif end is not None:
        over = f"e.received_at >= timestamp '{end:%Y-%m-%d %H:%M:%S}'"
        bars.append((over, QuarantineReason.CONTRACT_NOT_ACTIVE))
    if contract.environments and environment not in contract.environments:
        bars.append(("true", QuarantineReason.WRONG_ENVIRONMENT))
    if contract.sources:
        allowed = ", ".join(map(literal, contract.sources))
        bars.append((f"coalesce(e.source not in ({allowed}), true)", QuarantineReason.SOURCE_NOT_ALLOWED))
    if contract.barred_sources:
        barred = ", ".join(map(literal, contract.barred_sources))
        bars.append((f"coalesce(e.source in ({barred}), false)", QuarantineReason.SOURCE_NOT_ALLOWED))
    if not bars:
        return "null::varchar"
    return f"case {' '.join(f'when {condition} then {literal(reason)}' for condition, reason in bars)} end"


def undeclared(contract: EventContract, version: EventVersion) -> str:
    """SQL for the undeclared properties, one a line, or null (`domain/admission.undeclared_in`)."""
    if contract.undeclared is not Undeclared.QUARANTINE:
        return "null::varchar"
    declared = ", ".join(literal(rule.name) for rule in version.properties)
    names = f"json_keys(e.{contract.section})"
    if declared:
        names = f"list_filter({names}, lambda k: k not in ({declared}))"
    shown = f"case when regexp_full_match(k, {literal(SHOWN_NAME)}) then k else '?' end"
    first = f"list_sort(list_distinct(list_transform({names}, lambda k: {shown})))[1:{MAX_LISTED_UNDECLARED}]"
    said = f"list_transform({first}, lambda k: concat({literal(contract.section + '.')}, k, ': undeclared'))"
    return f"nullif(array_to_string({said}, chr(10)), '')"


def is_late(contract: EventContract, policy: LateData) -> str:
    """SQL that is true where a contract of this policy allows no event so late (`domain/admission.is_late`)."""
    if contract.late_data is not policy or contract.late_after_hours is None:
        return "false"
    return f"coalesce(e.received_at > e.occurred_at + interval {contract.late_after_hours} hours, false)"


def is_kept(kept: Sequence[KeptUnknown], environment: str) -> str:
    """SQL that is true where an event would be accepted if no contract is about it (`domain/unknown_events`)."""
    found: list[str] = []
    for one in kept:
        if not one.environments or environment in one.environments:
            sources = ", ".join(map(literal, one.sources))
            calls = ", ".join(literal(call) for call in one.calls)
            found.append(f"(e.source in ({sources}){f' and e.event_type in ({calls})' if calls else ''})")
    return f"coalesce(e.fault is null and ({' or '.join(found)}), false)" if found else "false"
