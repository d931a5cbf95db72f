"""What a batch's events add to what is known of their profiles: traits, activity and choices of consent."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

from activation_dagster.domain.audiences import MOST_MILLIONTHS, Measure, MeasureCondition
from activation_dagster.domain.contracts import Call
from activation_dagster.lake.paths import json_at
from activation_dagster.lake.rule_sql import literal
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.choices import choice_rows, make_new_choices, make_speaking_events
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.state import profiles
from activation_dagster.state.consent import insert_choices
from activation_dagster.state.instants import micros

CHOICES_AT_ONCE = 2_000
"""Consent choices in one transaction, so that SQLite's write lock is not held long."""


def compute_additions(run: BatchRun) -> None:
    """Make `new_traits`, `new_activity` and `new_choices`: what the batch's events say of their profiles."""
    make_speaking_events(run, calls=(Call.IDENTIFY,))
    make_new_traits(run)
    _make_new_activity(run)
    make_new_choices(run)
    run.engine.forget("speaking_events")


def make_new_traits(run: BatchRun) -> None:
    """Make `new_traits` of `speaking_events`: of each profile and trait the latest value, whatever it was before."""
    country = ", ".join([*(f"nullif({json_at(path)}, 'null')" for path in run.contracts.country_from), "null"])
    run.engine.make(
        "identified_traits",
        f"""
        with identified as (
            select e.profile_id, e.event_id, e.ordinal, e.occurred_at, e.traits, coalesce({country}) as country
            from speaking_events as e
            where e.event_type = 'identify'
        ),
        named as (
            -- read once: looking each key up reads all of them each time, and somebody sends forty thousand
            select profile_id, event_id, ordinal, occurred_at,
                unnest(map_entries(json_transform(traits, '"MAP(VARCHAR, JSON)"'))) as trait
            from identified
            where traits is not null
        )
        select profile_id, event_id, ordinal, occurred_at, trait.key as trait, trait.value::varchar as value
        from named
        where length(trait.key) <= 80 and trait.key <> '$country'
        union all
        select profile_id, event_id, ordinal, occurred_at, '$country', country
        from identified
        where country is not null
        """,
    )
    run.engine.make(
        "new_traits",
        """
        select profile_id, trait, arg_max(value, (occurred_at, ordinal)) as value, max(occurred_at) as set_at,
            arg_max(event_id, (occurred_at, ordinal)) as event_id
        from identified_traits
        where value is not null and value <> 'null'
        group by profile_id, trait
        """,
    )
    run.engine.forget("identified_traits")


def _make_new_activity(run: BatchRun) -> None:
    parts: list[str] = []
    for measure in run.contracts.measures():
        contract = next(found for found in run.contracts.events.values() if found.name == measure.event_name)
        place = run.contracts.sums(contract).index(measure) + 1 if measure.sum_of else 0
        total = f"coalesce(sum(v.measured[{place}]), 0)" if measure.sum_of else "0"
        total = f"least(greatest({total}, {-MOST_MILLIONTHS}), {MOST_MILLIONTHS})"
        window = longest_window(run.contracts, measure)
        recent = "" if window is None else f" and (v.occurred_at::date - date '1970-01-01') > b.today - {window}"
        parts.append(
            f"select r.profile_id, {literal(measure.name)} as measure, "
            "(v.occurred_at::date - date '1970-01-01')::integer as day, "
            f"count(*) as event_count, {total}::bigint as total_millionths "
            "from validated_events as v join resolved_events as r on r.ordinal = v.ordinal cross join batch as b "
            f"where v.contract = {literal(contract.slug)} and r.profile_id is not null{recent} group by all"
        )
    run.engine.make(
        "new_activity",
        "\nunion all\n".join(parts)
        or "select '' as profile_id, '' as measure, 0 as day, 0::bigint as event_count, 0::bigint as total_millionths "
        "where false",
    )


def longest_window(contracts: ContractSet, measure: Measure) -> int | None:
    """How many days back any audience counts a measure; None where one counts it for ever.

    What is older can never count under these contracts, so it is not kept in state; the lake has it.
    """
    windows = [
        condition.within_days
        for audience in contracts.audiences.values()
        for condition in audience.conditions
        if isinstance(condition, MeasureCondition) and condition.measure == measure
    ]
    return None if None in windows else max(filter(None, windows), default=None)


def write_additions(run: BatchRun) -> None:
    """Write what `compute_additions` found, keyed by the batch's position: doing so again adds nothing."""
    position = run.position
    profiles.add_traits(
        run.state,
        (
            (profile, trait, position, value, micros(_utc(set_at)), event_id)
            for profile, trait, value, set_at, event_id in run.engine.rows(
                "select profile_id, trait, value, set_at, event_id from new_traits order by profile_id, trait"
            )
        ),
    )
    profiles.add_activity(
        run.state,
        (
            (profile, measure, day, position, event_count, total)
            for profile, measure, day, event_count, total in run.engine.rows(
                "select profile_id, measure, day, event_count, total_millionths from new_activity "
                "order by profile_id, measure, day"
            )
        ),
    )
    run.places.at("consented.facts")
    rows = choice_rows(run)
    while chunk := list(islice(rows, CHOICES_AT_ONCE)):
        with run.state.write() as connection:
            insert_choices(connection, chunk)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
