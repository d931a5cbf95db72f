"""What is promised, as relations that the models read: audiences' conditions, what regions ask for, and the batch."""

from __future__ import annotations

import json
from datetime import date

from activation_dagster.domain.audiences import MILLIONTH, MeasureCondition
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.state.instants import micros

EPOCH_DAY = date(1970, 1, 1)

NOTHING = (None, None, None)
"""The columns of `audience_conditions` that belong to the other kind of condition."""


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


def put_promises(run: BatchRun) -> None:
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
