"""Contracts compiled to SQL: one typed extraction an event, every rule judged on it, all violations at once.

`domain/contracts.judge` is the readable meaning; a property-based test holds the two to the same violations.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from activation_dagster.domain.admission import MAX_LISTED_UNDECLARED, SHOWN_NAME, ends_at
from activation_dagster.domain.audiences import Measure
from activation_dagster.domain.contracts import (
    NUMBERS,
    Call,
    EventContract,
    EventVersion,
    LateData,
    LifecycleState,
    PropertyRule,
    PropertyType,
    Undeclared,
)
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.unknown_events import KeptUnknown
from activation_dagster.lake.rule_sql import (
    Place,
    extractions,
    has_type,
    literal,
    name,
    structure,
)
from activation_dagster.lake.soundness_sql import judged
from activation_dagster.lake.taken_sql import taken_leaves


def _amount(measure: Measure, leaves: Mapping[str, str], numbers: Collection[str]) -> str:
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


def _object(leaves: Mapping[str, str]) -> str:
    """SQL for a JSON object of JSON texts: they are written already, and only strung together."""
    members = [
        f"{literal(json.dumps(one, ensure_ascii=False) + ':')}, coalesce({leaf}, 'null')"
        for one, leaf in leaves.items()
    ]
    between = ", ',', "
    return f"concat('{{', {between.join(members)}, '}}')"


class _Leaves:
    """SQL for every value that is looked at, each extracted once: an object's members from the object's own text.

    `levels` are the extractions, those of a level from what the level before has extracted.
    """

    def __init__(self, section: str, names: Sequence[str], rules: Sequence[PropertyRule]) -> None:
        self.levels: list[list[str]] = []
        self._inside: dict[str, dict[str, str]] = {}
        self.top = self._extract(0, f"e.{section}", names)
        self._descend(1, self.top, rules)

    def _extract(self, level: int, text: str, names: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        if len(self.levels) == level:
            self.levels.append([])
        for part in extractions(names):
            column = f"leaves_{level}_{len(self.levels[level])}"
            self.levels[level].append(f"json_transform({text}, {structure(part)}) as {column}")
            found |= {one: f"{column}.{name(one)}::varchar" for one in part}
        return found

    def _descend(self, level: int, leaves: Mapping[str, str], rules: Sequence[PropertyRule]) -> None:
        for rule in rules:
            if rule.type is PropertyType.OBJECT and rule.properties:
                leaf = leaves[rule.name]
                found = self._extract(level, leaf, [member.name for member in rule.properties])
                self._inside[leaf] = found
                self._descend(level + 1, found, rule.properties)

    def inside(self, leaf: str) -> dict[str, str] | None:
        """The leaves of the members of the object whose own leaf is given."""
        return self._inside.get(leaf)

    def source(self, where: str, columns: str) -> str:
        """A relation of the events `where` a condition is true: some of their columns, and all that is extracted."""
        # Events of many contracts come mixed, and a filter leaves few of each in a vector: gathered, they fill it.
        found = (
            f"(with mine as materialized (select {columns} from ingested_events as e where {where}) select * from mine)"
        )
        for level in self.levels:
            extracted = "".join(f", {column}" for column in level)
            found = f"(select e.*{extracted} from {found} as e)"
        return found


BASE = (
    "e.ordinal, e.event_id, e.source, e.landed_at, e.event_type, e.event_name, e.message_id, e.occurred_at, "
    "e.received_at"
)
"""What every verdict carries on from `ingested_events`, so that nothing has to be joined to it again."""

READ = ("e.properties", "e.traits", "e.context", "e.user_id", "e.anonymous_id")
"""What rules and identifiers are read from."""


def selector(contract: EventContract, version: EventVersion) -> str:
    """SQL over `ingested_events as e` for the events a version judges: they name it, or name none and it is theirs.

    Theirs is the version that their source is pinned to, else the contract's current one.
    """
    named = version.version
    chosen = f"e.event_version in ({literal(named)}, {literal(named.removeprefix('v'))})"
    pinned = [literal(source) for source, to in sorted(contract.pinned.items()) if to == named]
    theirs = [f"e.source in ({', '.join(pinned)})"] if pinned else []
    if version == contract.current:
        others = ", ".join(literal(source) for source in sorted(contract.pinned))
        theirs.append(f"coalesce(e.source not in ({others}), true)" if others else "true")
    if theirs:
        chosen = f"((e.event_version is null and ({' or '.join(theirs)})) or {chosen})"
    event = f"e.event_type = {literal(contract.call.value)}"
    if contract.call is Call.TRACK:
        event += f" and e.event_name = {literal(contract.name)}"
    return f"e.fault is null and {event} and {chosen}"


def _barred(contract: EventContract, version: EventVersion, environment: str) -> str:
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


def _undeclared(contract: EventContract, version: EventVersion) -> str:
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


def _is_late(contract: EventContract, policy: LateData) -> str:
    """SQL that is true where a contract of this policy allows no event so late (`domain/admission.is_late`)."""
    if contract.late_data is not policy or contract.late_after_hours is None:
        return "false"
    return f"coalesce(e.received_at > e.occurred_at + interval {contract.late_after_hours} hours, false)"


def judgement(
    contract: EventContract,
    version: EventVersion,
    *,
    environment: str = "",
    used: Sequence[str] = (),
    sums: Sequence[Measure] = (),
    identifiers: Mapping[str, str] | None = None,
) -> str:
    """A SELECT over `ingested_events` that judges the events of one version.

    Gives the columns of `BASE`, `contract`, `contract_version`, `violations` and `undeclared` (one a line, sorted
    later; null when none), `barred` (a reason or null), `is_late`, `is_state_only`, `used_properties` (JSON or null),
    `measured` (what the event adds to each of `sums`, in millionths, or null), and a column `id_<kind>` for each of
    `identifiers` (kind → SQL over `e`).
    """
    summed = {one for measure in sums for one in (measure.sum_of, measure.times) if one}
    names = sorted({rule.name for rule in version.properties} | set(used) | summed)
    leaves = _Leaves(contract.section, names, version.properties)
    top = Place(path=(contract.section,), holder=f"e.{contract.section}")
    found = judged(version.properties, leaves.top, top, inside=leaves.inside)
    read = taken_leaves(contract, version, leaves.top, top)
    packed = _object({one: read[one] for one in used}) if used else "null::varchar"
    numbers = {rule.name for rule in version.properties if rule.type in NUMBERS}
    amounts = ", ".join(_amount(measure, read, numbers) for measure in sums)
    measured = f"[{amounts}]" if sums else "null::bigint[]"
    named = "".join(f", {sql} as id_{kind}" for kind, sql in (identifiers or {}).items())
    kept = [column for column in READ if column == top.holder or column in named]
    lateness = [
        f"{_is_late(contract, LateData.QUARANTINE)} as is_late",
        f"{_is_late(contract, LateData.STATE_ONLY)} as is_state_only",
    ]
    return (
        f"select {BASE}, {literal(contract.slug)} as contract, {literal(version.version)} as contract_version, "
        f"{found} as violations, {_undeclared(contract, version)} as undeclared, "
        f"{_barred(contract, version, environment)} as barred, {', '.join(lateness)}, "
        f"{packed} as used_properties, {measured} as measured{named}\n"
        f"from {leaves.source(selector(contract, version), ', '.join([BASE, *kept]))} as e"
    )


def _is_kept(kept: Sequence[KeptUnknown], environment: str) -> str:
    """SQL that is true where an event would be accepted if no contract is about it (`domain/unknown_events`)."""
    found: list[str] = []
    for one in kept:
        if not one.environments or environment in one.environments:
            sources = ", ".join(map(literal, one.sources))
            calls = ", ".join(literal(call) for call in one.calls)
            found.append(f"(e.source in ({sources}){f' and e.event_type in ({calls})' if calls else ''})")
    return f"coalesce(e.fault is null and ({' or '.join(found)}), false)" if found else "false"


def unjudged(
    versions: Sequence[tuple[EventContract, EventVersion]],
    identifiers: Mapping[str, str] | None = None,
    *,
    kept: Sequence[KeptUnknown] = (),
    environment: str = "",
) -> str:
    """A SELECT over `ingested_events` of the events that no version judges, with the columns of `judgement`, empty.

    Beside them `fault` and `is_kept`: whether the event is accepted if no contract is about it.
    """
    taken = " or ".join(f"coalesce({selector(*pair)}, false)" for pair in versions) or "false"
    named = "".join(f", {sql if kept else 'null::varchar'} as id_{kind}" for kind, sql in (identifiers or {}).items())
    return (
        f"select {BASE}, null::varchar as contract, null::varchar as contract_version, null::varchar as violations, "
        f"null::varchar as undeclared, null::varchar as barred, false as is_late, false as is_state_only, "
        f"null::varchar as used_properties, null::bigint[] as measured{named}, e.fault, "
        f"{_is_kept(kept, environment)} as is_kept\n"
        f"from ingested_events as e where not ({taken})"
    )
