"""Contracts compiled to SQL: one typed extraction an event, every rule judged on it, all violations at once.

`domain/contracts.judge` is the readable meaning; a property-based test holds the two to the same violations.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from activation_dagster.domain.audiences import Measure
from activation_dagster.domain.contracts import Call, EventContract, EventVersion, PropertyRule, PropertyType
from activation_dagster.domain.lexical import MAX_EXACT_INTEGER
from activation_dagster.domain.times import DATE_PATTERN, INSTANT_PATTERN

NUMBERS = (PropertyType.INTEGER, PropertyType.NUMBER)


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _text(leaf: str) -> str:
    return f"substr({leaf}, 2, length({leaf}) - 2)"


def _has_type(leaf: str, wanted: PropertyType) -> str:
    """SQL that is true where the JSON text `leaf` is of a promised type; never null for a leaf that is not null."""
    # Of all JSON texts only a number begins with a character from '-' to '9': a comparison, where a pattern would cost.
    number = f"({leaf} >= '-' and {leaf} < ':')"
    match wanted:
        case PropertyType.STRING:
            return f"starts_with({leaf}, '\"')"
        case PropertyType.BOOLEAN:
            return f"({leaf} in ('true', 'false'))"
        case PropertyType.NUMBER:
            return number
        case PropertyType.INTEGER:
            value = f"try_cast({leaf} as double)"
            return f"({number} and {value} = trunc({value}) and abs({value}) <= {MAX_EXACT_INTEGER})"
        case PropertyType.TIMESTAMP:
            text = _text(leaf)
            return (
                f"(starts_with({leaf}, '\"') and regexp_full_match({text}, {literal(INSTANT_PATTERN)})"
                f" and try_cast(substr({text}, 1, 10) as date) is not null)"
            )
        case PropertyType.DATE:
            text = _text(leaf)
            return (
                f"(starts_with({leaf}, '\"') and regexp_full_match({text}, {literal(DATE_PATTERN)})"
                f" and try_cast({text} as date) is not null)"
            )
        case PropertyType.OBJECT:
            return f"starts_with({leaf}, '{{')"
        case PropertyType.ARRAY:
            return f"starts_with({leaf}, '[')"


def _breaches(rule: PropertyRule, section: str, leaf: str) -> list[tuple[str, str]]:
    """How the JSON text `leaf` can break a rule: SQL that is true where it does, never null, and what is said of it."""
    path = f"{section}.{rule.name}"
    typed = _has_type(leaf, rule.type)
    found: list[tuple[str, str]] = []
    if rule.is_required:
        found.append((f"{leaf} is null", f"{path}: required"))
    found.append((f"({leaf} is not null and not {typed})", f"{path}: type {rule.type}"))
    if rule.enum:
        allowed = ", ".join(literal(json.dumps(value, ensure_ascii=False)) for value in rule.enum)
        found.append(
            (f"({leaf} is not null and {typed} and {leaf} not in ({allowed}))", f"{path}: enum {'|'.join(rule.enum)}")
        )
    is_number = rule.type in NUMBERS
    for bound, sign, word in ((rule.minimum, "<", "minimum"), (rule.maximum, ">", "maximum")):
        if bound is not None and is_number:
            broken = f"({leaf} is not null and {typed} and try_cast({leaf} as double) {sign} {bound!r})"
            found.append((broken, f"{path}: {word} {bound:g}"))
    return found


def _violations(breaches: Sequence[tuple[str, str]]) -> str:
    """SQL for all violations, one a line, or null; their texts are put together for the few events that have any."""
    if not breaches:
        return "null::varchar"
    any_of = " or ".join(condition for condition, _ in breaches)
    texts = ", ".join(f"case when {condition} then {literal(text)} end" for condition, text in breaches)
    return f"case when {any_of} then concat_ws(chr(10), {texts}) end"


def _amount(measure: Measure, leaves: Mapping[str, str], numbers: Collection[str]) -> str:
    """What one event adds to a sum, in millionths; nothing where a property is absent or no number.

    `numbers` are promised to be numbers, so that an accepted event has nothing else there and the test is spared:
    JSON's true and "5" would be cast to numbers.
    """
    factors = [
        f"try_cast({leaves[name]} as double)"
        if name in numbers
        else f"case when {_has_type(leaves[name], PropertyType.NUMBER)} then try_cast({leaves[name]} as double) end"
        for name in (measure.sum_of, measure.times)
        if name
    ]
    return f"coalesce(try_cast(round({' * '.join(factors)} * 1000000) as bigint), 0)"


def _object(leaves: Mapping[str, str]) -> str:
    """SQL for a JSON object of JSON texts: they are written already, and only strung together."""
    members = [
        f"{literal(json.dumps(name, ensure_ascii=False) + ':')}, coalesce({leaf}, 'null')"
        for name, leaf in leaves.items()
    ]
    between = ", ',', "
    return f"concat('{{', {between.join(members)}, '}}')"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _extractions(names: Sequence[str]) -> list[list[str]]:
    """The names each typed extraction reads: one takes all, unless two differ in case only, as no struct may have."""
    parts: list[list[str]] = []
    for name in names:
        free = (part for part in parts if name.lower() not in {taken.lower() for taken in part})
        part = next(free, None)
        if part is None:
            parts.append([name])
        else:
            part.append(name)
    return parts


BASE = (
    "e.ordinal, e.event_id, e.source, e.landed_at, e.event_type, e.event_name, e.message_id, e.occurred_at, "
    "e.received_at"
)
"""What every verdict carries on from `ingested_events`, so that nothing has to be joined to it again."""


def selector(contract: EventContract, version: EventVersion) -> str:
    """SQL over `ingested_events as e` for the events a version judges: they name it, or none and it is the newest."""
    named = version.version
    versions = f"e.event_version in ({literal(named)}, {literal(named.removeprefix('v'))})"
    chosen = f"(e.event_version is null or {versions})" if version == contract.newest else versions
    event = f"e.event_type = {literal(contract.call.value)}"
    if contract.call is Call.TRACK:
        event += f" and e.event_name = {literal(contract.name)}"
    return f"e.fault is null and {event} and {chosen}"


def judgement(
    contract: EventContract,
    version: EventVersion,
    *,
    used: Sequence[str] = (),
    sums: Sequence[Measure] = (),
    identifiers: Mapping[str, str] | None = None,
) -> str:
    """A SELECT over `ingested_events` that judges the events of one version.

    Gives the columns of `BASE`, `contract`, `contract_version`, `violations` (one a line, sorted later; null when
    none), `used_properties` (JSON or null), `measured` (what the event adds to each of `sums`, in millionths, or null),
    and a column `id_<kind>` for each of `identifiers` (kind → SQL over `e`).
    """
    summed = {name for measure in sums for name in (measure.sum_of, measure.times) if name}
    names = sorted({rule.name for rule in version.properties} | set(used) | summed)
    parts = _extractions(names)
    leaves = {name: f"leaves_{place}.{_name(name)}::varchar" for place, part in enumerate(parts) for name in part}
    structures = [literal(json.dumps(dict.fromkeys(part, "JSON"), ensure_ascii=False)) for part in parts]
    extracted = "".join(
        f", json_transform(e.{contract.section}, {structure}) as leaves_{place}"
        for place, structure in enumerate(structures)
    )
    violations = _violations(
        [breach for rule in version.properties for breach in _breaches(rule, contract.section, leaves[rule.name])]
    )
    packed = _object({name: leaves[name] for name in used}) if used else "null::varchar"
    numbers = {rule.name for rule in version.properties if rule.type in NUMBERS}
    amounts = ", ".join(_amount(measure, leaves, numbers) for measure in sums)
    measured = f"[{amounts}]" if sums else "null::bigint[]"
    named = "".join(f", {sql} as id_{kind}" for kind, sql in (identifiers or {}).items())
    return (
        f"select {BASE}, {literal(contract.slug)} as contract, {literal(version.version)} as contract_version, "
        f"{violations} as violations, {packed} as used_properties, {measured} as measured{named}\n"
        f"from (select e.*{extracted} from ingested_events as e\n"
        f"      where {selector(contract, version)}) as e"
    )


def unjudged(versions: Sequence[tuple[EventContract, EventVersion]], identifiers: Sequence[str] = ()) -> str:
    """A SELECT over `ingested_events` of the events that no version judges, with the columns of `judgement`, empty."""
    judged = " or ".join(f"coalesce({selector(*pair)}, false)" for pair in versions) or "false"
    named = "".join(f", null::varchar as id_{kind}" for kind in identifiers)
    return (
        f"select {BASE}, null::varchar as contract, null::varchar as contract_version, null::varchar as violations, "
        f"null::varchar as used_properties, null::bigint[] as measured{named}, e.fault\n"
        f"from ingested_events as e where not ({judged})"
    )
