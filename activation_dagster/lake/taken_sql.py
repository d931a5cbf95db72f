"""What is read of an accepted event as SQL: defaults where nothing was said, and nothing that its contract drops.

`domain/contracts.kept` and `taken` are the readable meaning. A contract with neither costs nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from activation_dagster.domain.contracts import (
    EventContract,
    EventVersion,
    PropertyRule,
    PropertyType,
    Undeclared,
    has_default,
    with_defaults_inside,
)
from activation_dagster.lake.rule_sql import Place, is_there, literal

_ENTRIES = "'\"MAP(VARCHAR, JSON)\"'"
"""The structure under which `from_json` gives an object's members one by one."""


def _json(value: Any) -> str:
    return literal(json.dumps(value, ensure_ascii=False))


def _has_default_inside(rule: PropertyRule) -> bool:
    return any(map(has_default, rule.properties)) or (rule.items is not None and has_default(rule.items))


def _inside(text: str, rule: PropertyRule, depth: int = 0) -> str:
    """SQL for the JSON text `text` of a property's value with the defaults of what is absent inside it."""
    if not _has_default_inside(rule):
        return text
    one = f"d{depth}"
    if rule.items is not None:
        item = _inside(f"{one}::varchar", rule.items, depth + 1)
        each = f"list_transform(json_transform({text}, '[\"JSON\"]'), lambda {one}: coalesce({item}, 'null'))"
        return (
            f"(case when starts_with({text}, '[') then concat('[', array_to_string({each}, ','), ']') else {text} end)"
        )
    found = f"{one}.value::varchar"
    changed = " ".join(
        f"when {literal(member.name)} then {_inside(found, member, depth + 1)}"
        for member in rule.properties
        if _has_default_inside(member)
    )
    value = f"case {one}.key {changed} else {found} end" if changed else found
    said = f"lambda {one}: concat(to_json({one}.key)::varchar, ':', coalesce({value}, 'null'))"
    members = f"list_transform(map_entries(from_json({text}, {_ENTRIES})), {said})"
    missing = ", ".join(
        f"case when not list_contains(json_keys({text}), {literal(member.name)}) then "
        f"{literal(json.dumps(member.name, ensure_ascii=False) + ':')} || {_default(member)} end"
        for member in rule.properties
        if member.default is not None
    )
    given = f"list_filter([{missing}], lambda {one}: {one} is not null)" if missing else "[]::varchar[]"
    whole = f"concat('{{', array_to_string(list_concat({members}, {given}), ','), '}}')"
    return f"(case when starts_with({text}, '{{') then {whole} else {text} end)"


def _default(rule: PropertyRule) -> str:
    return _json(with_defaults_inside(rule, rule.default))


def taken_leaves(
    contract: EventContract, version: EventVersion, leaves: Mapping[str, str], top: Place
) -> dict[str, str]:
    """SQL for what is read of each property: from its leaf, which is what was said of it."""
    rules = {rule.name: rule for rule in version.properties}
    found: dict[str, str] = {}
    for name, leaf in leaves.items():
        rule = rules.get(name)
        if rule is None:
            found[name] = "null::varchar" if contract.undeclared is Undeclared.DROP else leaf
        elif has_default(rule):
            said = _inside(leaf, rule) if rule.type in (PropertyType.OBJECT, PropertyType.ARRAY) else leaf
            if rule.default is not None:
                place = top.inside(name, top.holder)
                said = (
                    f"(case when {leaf} is null and not {is_there(rule, place)} then {_default(rule)} else {said} end)"
                )
            found[name] = said
        else:
            found[name] = leaf
    return found


def drops(contract: EventContract, version: EventVersion, path: str) -> bool:
    """Whether a path (`traits.email`) leads to what a version does not declare and its contract drops."""
    section, _, rest = path.partition(".")
    declared = {rule.name for rule in version.properties}
    return contract.undeclared is Undeclared.DROP and section == contract.section and rest.split(".")[0] not in declared


def kept_section(section: str, contracts: Sequence[EventContract], contract: str, version: str) -> str:
    """SQL for a section of `e` with only what counts as said, by the contract and version that two columns name."""
    cases: list[str] = []
    for one in contracts:
        if one.undeclared is not Undeclared.DROP or one.section != section:
            continue
        for judged in one.versions:
            declared = ", ".join(literal(rule.name) for rule in judged.properties) or "null"
            entries = f"map_entries(from_json(e.{section}, {_ENTRIES}))"
            said = f"list_filter({entries}, lambda m: m.key in ({declared}))"
            member = "concat(to_json(m.key)::varchar, ':', coalesce(m.value::varchar, 'null'))"
            texts = f"list_transform({said}, lambda m: {member})"
            cases.append(
                f"when {contract} = {literal(one.slug)} and {version} = {literal(judged.version)} then "
                f"case when e.{section} is not null then concat('{{', array_to_string({texts}, ','), '}}')::json end"
            )
    return f"case {' '.join(cases)} else e.{section} end" if cases else f"e.{section}"
