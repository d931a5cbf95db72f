"""The envelope's contract compiled to SQL: one look at each event's context, of which only the broken ones are kept.

`domain/envelope.judge_envelope` is the readable meaning. What ingest refuses anyway is not asked again, so that a
contract of the context alone costs one extraction of it; rules on other fields read the line once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from activation_dagster.domain.contracts import Call, PropertyRule, PropertyType
from activation_dagster.domain.envelope import EnvelopeContract
from activation_dagster.domain.events import MAX_MESSAGE_ID, OBJECTS, TEXTS, TIMES
from activation_dagster.lake.rule_sql import Place, extractions, literal, name, structure
from activation_dagster.lake.soundness_sql import judged

NOTHING = "select null::bigint as ordinal, null::varchar as violations where false"


def is_certain(rule: PropertyRule) -> bool:
    """Whether every event that comes to a judge keeps a rule, because `envelope_fault` refuses what does not."""
    asked = replace(rule, description="", owner="", is_pii=False, identifier=None)
    if rule.name == "type":
        asked = replace(asked, is_required=False, enum=() if {*Call} <= set(rule.enum) else rule.enum)
    if rule.name == "messageId" and rule.max_length is not None and rule.max_length >= MAX_MESSAGE_ID:
        asked = replace(asked, max_length=None)
    kinds: dict[str, PropertyType] = dict.fromkeys(("type", *TEXTS), PropertyType.STRING)
    kinds |= dict.fromkeys(OBJECTS, PropertyType.OBJECT) | dict.fromkeys(TIMES, PropertyType.TIMESTAMP)
    kind = kinds.get(rule.name)
    return kind is not None and asked == PropertyRule(name=rule.name, type=kind, is_required=False)


def envelope_breaches(envelope: EnvelopeContract | None) -> str:
    """A SELECT over `ingested_events`, and `landed_payloads` where it must be, of the events that break the envelope.

    Gives `ordinal` and `violations` (one a line, sorted later).
    """
    if envelope is None:
        return NOTHING
    found: list[str] = []
    pinned = sorted(envelope.pinned)
    for version in envelope.versions:
        mine = ", ".join(literal(source) for source in pinned if envelope.pinned[source] == version.version)
        sources = [f"e.source in ({mine})"] if mine else []
        if version == envelope.current:
            others = ", ".join(map(literal, pinned))
            sources.append(f"coalesce(e.source not in ({others}), true)" if others else "true")
        rules = [rule for rule in version.properties if not is_certain(rule)]
        if sources and rules:
            found.append(_breaches(rules, f"e.fault is null and ({' or '.join(sources)})"))
    return "\nunion all\n".join(found) or NOTHING


def _breaches(rules: Sequence[PropertyRule], where: str) -> str:
    whole = [rule.name for rule in rules if rule.name not in OBJECTS or rule.is_nullable is not None]
    leaves = {rule.name: f"e.{rule.name}::varchar" for rule in rules if rule.name in OBJECTS}
    sections = "".join(f", e.{section}" for section in leaves)
    found = f"(select e.ordinal{sections} from ingested_events as e where {where})"
    if whole:
        parts = extractions([one for one in whole if one not in OBJECTS])
        said = "".join(f", json_transform(p.payload, {structure(part)}) as said_{n}" for n, part in enumerate(parts))
        leaves |= {one: f"e.said_{number}.{name(one)}::varchar" for number, part in enumerate(parts) for one in part}
        found = (
            f"(select e.ordinal{sections}, p.payload{said} from ingested_events as e "
            f"join landed_payloads as p on p.ordinal = e.ordinal where {where})"
        )
    inside: dict[str, dict[str, str]] = {}
    reached = [(rule, leaves[rule.name]) for rule in rules]
    level = 0
    while reached := [(rule, leaf) for rule, leaf in reached if rule.type is PropertyType.OBJECT and rule.properties]:
        columns: list[str] = []
        below: list[tuple[PropertyRule, str]] = []
        for rule, leaf in reached:
            members: dict[str, str] = {}
            for part in extractions([member.name for member in rule.properties]):
                column = f"inside_{level}_{len(columns)}"
                columns.append(f"json_transform({leaf}, {structure(part)}) as {column}")
                members |= {one: f"e.{column}.{name(one)}::varchar" for one in part}
            inside[leaf] = members
            below += [(member, members[member.name]) for member in rule.properties]
        found = f"(select e.*, {', '.join(columns)} from {found} as e)"
        reached, level = below, level + 1
    said = _judged(rules, leaves, inside)
    judged_events = f"select e.ordinal, {said} as violations from {found} as e"
    return f"select ordinal, violations from ({judged_events}) where violations is not null"


def _judged(rules: Sequence[PropertyRule], leaves: Mapping[str, str], inside: Mapping[str, dict[str, str]]) -> str:
    return judged(rules, dict(leaves), Place(path=(), holder="e.payload"), inside=inside.get)
