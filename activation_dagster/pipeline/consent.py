"""Consent: what people chose is recorded; who belongs to an audience follows from its rule and from their consent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

from sqlalchemy import select

from activation_dagster.domain.audiences import MILLIONTH, MOST_MILLIONTHS, Measure, MeasureCondition
from activation_dagster.domain.batches import Phase, PhaseReport
from activation_dagster.domain.contracts import Call
from activation_dagster.lake.paths import json_at
from activation_dagster.lake.rule_sql import literal
from activation_dagster.lake.tables import MEMBERSHIPS
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.choices import choice_rows, make_new_choices, make_speaking_events
from activation_dagster.pipeline.resolve import compute_resolved
from activation_dagster.pipeline.traits import SAYINGS, known_sayings, make_new_sayings, put_policies
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.state import identity, memberships, profiles
from activation_dagster.state.batches import looked_at_until
from activation_dagster.state.bulk import select_in
from activation_dagster.state.consent import COLUMNS, insert_choices
from activation_dagster.state.instants import micros
from activation_dagster.state.tables import (
    consent_records,
    profile_redirects,
    suppressions,
)
from activation_dagster.state.tables import (
    profiles as profile_table,
)

CHOICES_AT_ONCE = 2_000
"""Consent choices in one transaction, so that SQLite's write lock is not held long."""

EPOCH_DAY = date(1970, 1, 1)

NOTHING = (None, None, None)
"""The columns of `audience_conditions` that belong to the other kind of condition."""


# -- what the batch adds ----------------------------------------------------------------------------------------------


def _compute_additions(run: BatchRun) -> None:
    """Make `new_traits`, `new_sayings`, `new_activity` and `new_choices`: what the batch's events say of profiles."""
    make_speaking_events(run, calls=(Call.IDENTIFY,))
    _new_traits(run)
    _new_activity(run)
    make_new_choices(run)
    run.engine.forget("speaking_events")


def _new_traits(run: BatchRun) -> None:
    country = ", ".join([*(f"nullif({json_at(path)}, 'null')" for path in run.contracts.country_from), "null"])
    run.engine.make(
        "identified_traits",
        f"""
        with identified as (
            select e.profile_id, e.event_id, e.source, e.ordinal, e.occurred_at, e.traits,
                coalesce({country}) as country
            from speaking_events as e
            where e.event_type = 'identify'
        ),
        named as (
            -- read once: looking each key up reads all of them each time, and somebody sends forty thousand
            select profile_id, event_id, source, ordinal, occurred_at,
                unnest(map_entries(json_transform(traits, '"MAP(VARCHAR, JSON)"'))) as trait
            from identified
            where traits is not null
        )
        select profile_id, event_id, source, ordinal, occurred_at, trait.key as trait, trait.value::varchar as value
        from named
        where length(trait.key) <= 80 and trait.key <> '$country'
        union all
        select profile_id, event_id, source, ordinal, occurred_at, '$country', country
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
    make_new_sayings(run.engine, run.contracts.identity.traits, position=run.position)
    run.engine.forget("identified_traits")


def _new_activity(run: BatchRun) -> None:
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


def _write_additions(run: BatchRun) -> None:
    """Write what `_compute_additions` found, keyed by the batch's position: doing so again adds nothing."""
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
    profiles.add_sayings(
        run.state,
        run.engine.rows(f"select {', '.join(SAYINGS)} from new_sayings order by profile_id, trait, source, value_key"),
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


# -- what is known ----------------------------------------------------------------------------------------------------


def _load_known(run: BatchRun, *, with_new: bool) -> None:
    """Make the relations of all that state knows, at this batch's position, of the profiles that the batch touches.

    `with_new`: what the batch itself adds is taken from memory, where it has just been computed.
    """
    engine, position = run.engine, run.position
    facts_until = position - 1 if with_new else position
    met = [
        row[0] for row in engine.rows("select distinct profile_id from resolved_events where profile_id is not null")
    ]
    with run.places.state.read() as connection:
        due = memberships.due_for_review(
            connection,
            after=looked_at_until(connection, run.batch),
            until=run.batch.as_of,
            before_seq=position,
        )
        redirects, members = identity.clusters(connection, [*met, *due], up_to_seq=position)
        listed = sorted(members)
        touched = sorted({redirects.get(member, member) for member in listed})
        first_keys = [
            (row[0], bytes(row[1]))
            for row in select_in(
                connection,
                select(profile_table.c.profile_id, profile_table.c.first_key),
                profile_table.c.profile_id,
                touched,
            )
        ]
        merged = [
            (row[0],)
            for row in select_in(
                connection,
                select(profile_redirects.c.from_profile).where(profile_redirects.c.seq == position),
                profile_redirects.c.from_profile,
                listed,
            )
        ]
        traits = profiles.traits_of(connection, listed, up_to_seq=facts_until)
        rules = run.contracts.identity.traits
        sayings = known_sayings(connection, rules, listed, traits, up_to_seq=facts_until)
        activity = profiles.activity_of(connection, listed, up_to_seq=facts_until)
        before = memberships.last_changes(connection, listed, before_seq=position)
        choices = list(
            select_in(
                connection,
                select(*(consent_records.c[name] for name in COLUMNS[:-2])).where(consent_records.c.seq <= position),
                consent_records.c.profile_id,
                listed,
            )
        )
        hard_noes = list(
            select_in(
                connection,
                select(suppressions.c.profile_id, suppressions.c.channel).where(suppressions.c.seq <= position),
                suppressions.c.profile_id,
                listed,
            )
        )
    text, big = "VARCHAR", "BIGINT"
    engine.put("touched_profiles", {"profile_id": text, "first_key": "BLOB"}, first_keys)
    engine.put(
        "cluster_members",
        {"member": text, "profile_id": text},
        [(member, redirects.get(member, member)) for member in listed],
    )
    engine.put("merged_now", {"profile_id": text}, merged)
    engine.put("due_profiles", {"profile_id": text}, sorted({(redirects.get(found, found),) for found in due}))
    engine.put(
        "known_traits",
        {"profile_id": text, "trait": text, "seq": big, "value": text, "set_at": big, "event_id": text},
        traits,
    )
    engine.put("known_sayings", SAYINGS, sayings)
    engine.put(
        "known_activity",
        {
            "profile_id": text,
            "measure": text,
            "day": "INTEGER",
            "seq": big,
            "event_count": big,
            "total_millionths": big,
        },
        activity,
    )
    if with_new:
        engine.connection.execute(
            f"insert into known_traits select profile_id, trait, {position}, value, epoch_us(set_at), event_id "
            "from new_traits; insert into known_sayings select * from new_sayings; "
            f"insert into known_activity select profile_id, measure, day, {position}, event_count, total_millionths "
            "from new_activity"
        )
    engine.put(
        "known_choices",
        {
            "record_id": text,
            "profile_id": text,
            "purpose": text,
            "channel": text,
            "status": text,
            "decided_at": big,
            "seq": big,
        },
        choices,
    )
    engine.put("known_suppressions", {"profile_id": text, "channel": text}, hard_noes)
    engine.put(
        "known_memberships",
        {
            "profile_id": text,
            "audience_id": text,
            "seq": big,
            "change": text,
            "entry_no": "INTEGER",
            "entry_key": "BLOB",
        },
        before,
    )


def put_batch(run: BatchRun) -> None:
    """Make `batch`: one row of what every model may want to know of the batch itself."""
    as_of = run.batch.as_of
    run.engine.put(
        "batch",
        {"batch_id": "VARCHAR", "as_of_micros": "BIGINT", "today": "INTEGER"},
        [(run.batch.batch_id, micros(as_of), (as_of.date() - EPOCH_DAY).days)],
    )
    run.engine.make(
        "batch",
        "select batch_id, as_of_micros, today, make_timestamp(as_of_micros) as as_of, "
        "(select max(landed_at) from segments) as landed_at from batch",
    )


def _put_promises(run: BatchRun) -> None:
    """Make relations of the audiences' conditions and of what each region asks for."""
    engine, contracts = run.engine, run.contracts
    text = "VARCHAR"
    engine.put(
        "audiences",
        {"audience_id": text, "purpose": text, "channel": text, "condition_count": "INTEGER"},
        [
            (audience.audience_id, audience.purpose, audience.channel, len(audience.conditions))
            for audience in contracts.audiences.values()
        ],
    )
    conditions: list[tuple[object, ...]] = []
    values: list[tuple[object, ...]] = []
    for audience in contracts.audiences.values():
        for number, condition in enumerate(audience.conditions):
            name = audience.audience_id
            if isinstance(condition, MeasureCondition):
                measure, least = condition.measure, round(condition.at_least * MILLIONTH)
                conditions.append(
                    (
                        name,
                        number,
                        "measure",
                        measure.name,
                        bool(measure.sum_of),
                        least,
                        condition.within_days,
                        *NOTHING,
                    )
                )
                continue
            bound = condition.values[0] if not isinstance(condition.values[0], str) else None
            conditions.append(
                (
                    name,
                    number,
                    "trait",
                    None,
                    *NOTHING,
                    condition.trait,
                    condition.comparison.value,
                    None if bound is None else float(bound),
                )
            )
            values.extend((name, number, json.dumps(value, ensure_ascii=False)) for value in condition.values)
    engine.put(
        "audience_conditions",
        {
            "audience_id": text,
            "condition_no": "INTEGER",
            "kind": text,
            "measure": text,
            "is_sum": "BOOLEAN",
            "at_least_millionths": "BIGINT",
            "within_days": "INTEGER",
            "trait": text,
            "comparison": text,
            "bound": "DOUBLE",
        },
        conditions,
    )
    engine.put("audience_condition_values", {"audience_id": text, "condition_no": "INTEGER", "value": text}, values)
    as_written = "select * replace (json(value)::varchar as value) from"  # traits are compared as DuckDB writes JSON
    engine.make("audience_condition_values", f"{as_written} audience_condition_values")
    rules = contracts.consent
    asked = {(audience.purpose, audience.channel) for audience in contracts.audiences.values()}
    asked |= {(workflow.purpose, workflow.channel) for workflow in contracts.workflows.values()}
    engine.put("asked_purposes", {"purpose": text, "channel": text}, sorted(asked))
    engine.put(
        "consent_requirements",
        {"region": text, "purpose": text, "required_purpose": text, "valid_for_days": "BIGINT"},
        [
            (region.name, purpose, required, region.valid_for_days.get(required))
            for region in rules.regions.values()
            for purpose in rules.purposes
            for required in rules.required(purpose, region.name)
        ],
    )
    engine.put(
        "region_countries",
        {"region": text, "country": text},
        [  # one a country: of two regions that claim it, the first counts
            (rules.region_of(country), country)
            for country in sorted(set[str]().union(*(region.countries for region in rules.regions.values())))
        ],
    )
    engine.put("default_region", {"region": text}, [(rules.default_region,)])


# -- the phase --------------------------------------------------------------------------------------------------------


def compute_consented(run: BatchRun, *, record: bool) -> None:
    """Make `audience_memberships` (changes) and `memberships_now`; with `record`, write first what the batch adds."""
    if run.engine.has("audience_memberships"):
        return
    compute_resolved(run)
    put_batch(run)
    if record:
        _compute_additions(run)
        _write_additions(run)
    _load_known(run, with_new=record)
    run.engine.forget("new_traits", "new_sayings", "new_activity", "new_choices")
    _put_promises(run)
    put_policies(run.engine, run.contracts.identity.traits)
    for relation in (
        "chosen_traits",
        "current_traits",
        "profile_regions",
        "current_choices",
        "consent_verdicts",
        "audience_matches",
        "memberships_before",
        "memberships_now",
        "audience_memberships",
    ):
        run.engine.compute(f"consent/{relation}")
    run.engine.forget("known_traits", "known_sayings", "chosen_traits", "known_activity", "known_choices")


def consent(run: BatchRun) -> PhaseReport:
    """Carry out the phase `consented`: counts entries, exits and renewals by audience."""
    run.hold(Phase.CONSENTED)
    compute_consented(run, record=True)
    return run.carry_out(
        Phase.CONSENTED,
        effects=lambda: _write_changes(run),
        copies={
            MEMBERSHIPS: (
                f"select '{run.hour}' as arrival_hour, '{run.batch.batch_id}' as batch_id, change_id, audience_id, "
                "profile_id, change, entry_no, validated_at, consent_checked, evidence from audience_memberships"
            )
        },
        counts=lambda: _counts(run),
    )


def _write_changes(run: BatchRun) -> None:
    rows: Iterable[Sequence[Any]] = run.engine.rows(
        "select audience_id, profile_id, change, entry_no, entry_key, review_at, evidence from audience_memberships "
        "order by audience_id, profile_id"
    )
    memberships.add_changes(
        run.state,
        (
            (
                audience,
                profile,
                run.position,
                change,
                entry_no,
                entry_key,
                micros(run.batch.as_of),
                review_at,
                run.batch.batch_id,
                evidence,
            )
            for audience, profile, change, entry_no, entry_key, review_at, evidence in rows
        ),
    )


def _counts(run: BatchRun) -> dict[str, int]:
    counts = {"touched": run.engine.one("select count(*) from touched_profiles")[0]}
    for audience, change, count in run.engine.rows(
        "select audience_id, change, count(*) from audience_memberships group by all"
    ):
        counts[f"{change}:{audience}"] = count
    counts["members_without_consent"] = len(run.engine.rows(_check(run, "audience_memberships__without_consent")))
    return counts


def _check(run: BatchRun, name: str) -> str:
    return (run.places.sql_root / "checks" / f"{name}.sql").read_text(encoding="utf-8")
