"""Traits as the identity contract joins them: what a batch's events say, and what is known of people by policy."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection

from activation_dagster.domain.traits import Said, TraitPolicy, TraitRules, chosen
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.rule_sql import literal
from activation_dagster.state.profiles import SayingRow, TraitRow, sayings_of, traits_of

NO_LIMIT = (1 << 63) - 1
"""Beyond every state sequence."""

SAYINGS = {
    "profile_id": "VARCHAR",
    "trait": "VARCHAR",
    "seq": "BIGINT",
    "source": "VARCHAR",
    "value_key": "BLOB",
    "value": "VARCHAR",
    "times": "BIGINT",
    "first_at": "BIGINT",
    "first_event": "VARCHAR",
    "last_at": "BIGINT",
    "last_event": "VARCHAR",
}
"""Columns of `known_sayings`, with their DuckDB types."""


def make_new_sayings(engine: Engine, rules: TraitRules, *, position: int) -> None:
    """Make `new_sayings` of `identified_traits`: one row a profile, trait, source and value that a policy asks for."""
    named = ", ".join(literal(trait) for trait in sorted(rules.named) if rules.asks(trait))
    latest = ", ".join(literal(trait) for trait in sorted(rules.named) if not rules.asks(trait))
    asked = f"trait in ({named or literal('')})"
    if rules.asks(""):  # what is not named
        asked = f"not starts_with(trait, '$') and trait not in ({latest or literal('')})"
    engine.make(
        "new_sayings",
        f"""
        select profile_id, trait, {position}::bigint as seq, source, unhex(md5(value)) as value_key, value,
            count(*) as times,
            epoch_us(min(occurred_at)) as first_at, arg_min(event_id, (occurred_at, ordinal)) as first_event,
            epoch_us(max(occurred_at)) as last_at, arg_max(event_id, (occurred_at, ordinal)) as last_event
        from identified_traits
        where value is not null and value <> 'null' and {"false" if rules.ask_nothing else asked}
        group by profile_id, trait, source, value
        """,
    )


def known_sayings(
    connection: Connection, rules: TraitRules, members: Collection[str], newest: Iterable[TraitRow], *, up_to_seq: int
) -> list[SayingRow]:
    """What was said of traits whose policy asks for more than the newest value, which `newest` holds of each batch.

    What a batch said before a policy asked is known by its newest value alone: it counts as said once, by no source.
    """
    if rules.ask_nothing:
        return []
    said = [row for row in sayings_of(connection, sorted(members), up_to_seq=up_to_seq) if rules.asks(row[1])]
    told = {row[:3] for row in said}
    return said + [
        (profile, trait, seq, "", b"", value, 1, set_at, event_id, set_at, event_id)
        for profile, trait, seq, value, set_at, event_id in newest
        if rules.asks(trait) and (profile, trait, seq) not in told
    ]


def put_policies(engine: Engine, rules: TraitRules) -> None:
    """Make `trait_policies`, `default_trait_policy` and `trait_sources`, where the default's are of the empty trait."""
    engine.put(
        "trait_policies",
        {"trait": "VARCHAR", "policy": "VARCHAR"},
        [(trait, rule.policy.value) for trait, rule in sorted(rules.named.items())],
    )
    engine.put("default_trait_policy", {"policy": "VARCHAR"}, [(rules.default.policy.value,)])
    engine.put(
        "trait_sources",
        {"trait": "VARCHAR", "source": "VARCHAR", "place": "BIGINT"},
        [
            (trait, source, place)
            for trait, rule in [*sorted(rules.named.items()), ("", rules.default)]
            if rule.policy is TraitPolicy.SOURCE_PRIORITY
            for place, source in enumerate(rule.sources)
        ],
    )


def person_traits(
    connection: Connection, rules: TraitRules, members: Collection[str], up_to_seq: int | None = None
) -> dict[str, Any]:
    """Each trait of a person, by its policy over all profiles they ever were, as `sql/consent/current_traits.sql`."""
    limit = NO_LIMIT if up_to_seq is None else up_to_seq
    newest = traits_of(connection, sorted(members), up_to_seq=limit)
    said: dict[str, list[Said]] = {}
    for _, trait, seq, value, set_at, event_id in newest:
        if not rules.asks(trait):
            when = (set_at, seq, event_id)
            said.setdefault(trait, []).append(Said(value=value, source="", times=1, first=when, last=when))
    for row in known_sayings(connection, rules, members, newest, up_to_seq=limit):
        _, trait, seq, source, _, value, times, first_at, first_event, last_at, last_event = row
        said.setdefault(trait, []).append(
            Said(
                value=value,
                source=source,
                times=times,
                first=(first_at, seq, first_event),
                last=(last_at, seq, last_event),
            )
        )
    return {trait: json.loads(chosen(rules.of(trait), found)) for trait, found in said.items()}
