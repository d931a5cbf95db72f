"""Choices: what a batch's events say of consent, by the declared mappings, under the profile at the batch's end."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from datetime import UTC
from typing import Any

from activation_dagster.domain.consent import ConsentStatus
from activation_dagster.domain.contracts import Call
from activation_dagster.lake.paths import json_at
from activation_dagster.lake.rule_sql import literal
from activation_dagster.lake.taken_sql import kept_section
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.state.consent import record_id
from activation_dagster.state.instants import micros


def make_speaking_events(run: BatchRun, *, calls: Collection[Call] = (), among: str = "resolved_events") -> None:
    """Make `speaking_events`: the few that may choose something, or are such a call, with their text read once.

    `among` is the relation of the events to look at, with their profiles.
    """
    names = {mapping.event_name for mapping in run.contracts.consent.mappings}
    slugs = sorted(
        contract.slug for contract in run.contracts.events.values() if contract.name in names or contract.call in calls
    )
    run.engine.make(
        "speaking_ordinals",
        "select v.ordinal, v.event_id, v.source, v.contract, v.contract_version, v.event_type, v.occurred_at, "
        f"v.received_at, r.profile_id from validated_events as v join {among} as r on r.ordinal = v.ordinal "
        f"where r.profile_id is not null and v.contract in ({', '.join(map(literal, slugs)) or literal('')})",
    )
    speaking = [run.contracts.events[slug] for slug in slugs]
    sections = [
        f"{kept_section(section, speaking, 's.contract', 's.contract_version')} as {section}"
        for section in ("properties", "traits")
    ]
    run.engine.make(
        "speaking_events",
        f"select s.*, {', '.join(sections)}, e.context from ingested_events as e "
        "join speaking_ordinals as s on s.ordinal = e.ordinal",
    )
    run.engine.forget("speaking_ordinals")


def make_new_choices(run: BatchRun) -> None:
    """Make `new_choices`: what `speaking_events` choose."""
    parts: list[str] = []
    for mapping in run.contracts.consent.mappings:
        slug = next(
            contract.slug
            for contract in run.contracts.events.values()
            if contract.name == mapping.event_name and contract.call == mapping.event_type
        )
        channels = ", ".join(literal(channel) for channel in mapping.channels)
        parts.append(
            f"select e.profile_id, e.event_id, e.contract_version, {literal(mapping.purpose)} as purpose, "
            f"unnest([{channels}]) as channel, {json_at(mapping.path)} as choice, "
            f"least(e.occurred_at, e.received_at) as decided_at, {literal(mapping.mapping_id)} as mapping_id "
            f"from speaking_events as e where e.contract = {literal(slug)}"
        )
    run.engine.make(
        "new_choices",
        "select * from (\n"
        + "\nunion all\n".join(parts)
        + "\n) where choice in ('true', 'false') and profile_id is not null"
        if parts
        else "select '' as profile_id, '' as event_id, '' as contract_version, '' as purpose, '' as channel, "
        "'' as choice, now()::timestamp as decided_at, '' as mapping_id where false",
    )


def choice_rows(run: BatchRun) -> Iterator[tuple[Any, ...]]:
    """`new_choices` as rows for `insert_choices`, keyed so that writing them again adds nothing."""
    query = (
        "select profile_id, event_id, contract_version, purpose, channel, choice, decided_at, mapping_id "
        "from new_choices order by profile_id, event_id, purpose, channel"
    )
    for profile, event_id, version, purpose, channel, choice, decided_at, mapping_id in run.engine.rows(query):
        status = ConsentStatus.GRANTED if choice == "true" else ConsentStatus.DENIED
        decided = decided_at.replace(tzinfo=UTC)
        yield (
            record_id(
                source=event_id,
                profile_id=profile,
                purpose=purpose,
                channel=channel,
                status=status,
                decided_at=decided,
            ),
            profile,
            purpose,
            channel,
            status.value,
            micros(decided),
            run.position,
            event_id,
            json.dumps({"mapping": mapping_id, "contract_version": version}),
        )
