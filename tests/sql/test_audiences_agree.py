"""Audiences judged for all profiles at once are what the plain judge says of each, whatever it was merged from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from activation_dagster.domain.audiences import (
    Audience,
    Comparison,
    DayOfActivity,
    Measure,
    MeasureCondition,
    TraitCondition,
    matches,
)
from activation_dagster.lake.engine import Engine
from tests.sql.promised import SQL, Promised

EPOCH = date(1970, 1, 1)
NOW = datetime(2026, 3, 1, 10, 15, 30, 123_456, tzinfo=UTC)
MEMBERS = [f"m{number}" for number in range(6)]
MEASURES = [
    Measure(event_name="Bought"),
    Measure(event_name="Bought", sum_of="price"),
    Measure(event_name="Bought", sum_of="price", times="quantity"),
    Measure(event_name="Seen"),
]
TRAITS = ["country", "age", "a b", "vip"]


@pytest.fixture(scope="module")
def promised() -> Iterator[Promised]:
    engine = Engine.in_memory(SQL)
    yield Promised(engine=engine)
    engine.close()


numbers = st.sampled_from([0, 1, 5, 5.0, 1.5, 0.1, 1e-7, 1e15, -0.5, 2**53 - 1, 100]) | st.integers(-3, 3)
texts = st.sampled_from(["", "US", "us", "é", "5", "true", "null", 'a"b', "\t", "\x1f", "\u2028"])
values = texts | numbers | st.booleans() | st.lists(numbers, max_size=2) | st.dictionaries(texts, texts, max_size=1)

measure_conditions = st.builds(
    MeasureCondition,
    measure=st.sampled_from(MEASURES),
    at_least=st.sampled_from([1, 2, 3, 0.5, 0.000001, 2.9999999, 100]).map(float),
    within_days=st.none() | st.sampled_from([1, 2, 7, 30]),
)
trait_conditions = st.one_of(
    st.builds(
        TraitCondition,
        trait=st.sampled_from(TRAITS),
        comparison=st.just(Comparison.IS_IN),
        values=st.lists(texts | numbers | st.booleans(), min_size=1, max_size=3, unique_by=repr).map(tuple),
    ),
    st.builds(
        TraitCondition,
        trait=st.sampled_from(TRAITS),
        comparison=st.sampled_from([Comparison.AT_LEAST, Comparison.AT_MOST]),
        values=st.tuples(numbers.map(float)),
    ),
)


@st.composite
def audience_lists(draw: st.DrawFn) -> list[Audience]:
    return [
        Audience(
            audience_id=f"a{number}",
            owner="crm",
            description="",
            purpose="marketing",
            channel="email",
            conditions=tuple(draw(st.lists(measure_conditions | trait_conditions, min_size=1, max_size=3))),
        )
        for number in range(draw(st.integers(1, 4)))
    ]


activity_rows = st.lists(
    st.tuples(
        st.sampled_from(MEMBERS),
        st.sampled_from(MEASURES),
        st.integers(-31, 1),  # days before today, and tomorrow
        st.integers(1, 3),  # seq
        st.integers(1, 4),
        st.integers(-3_000_000, 3_000_000),
    ),
    max_size=20,
    unique_by=lambda row: (row[0], row[1].name, row[2], row[3]),
)
trait_rows = st.lists(
    st.tuples(st.sampled_from(MEMBERS), st.sampled_from(TRAITS), st.integers(1, 3), values, st.integers(1, 3)),
    max_size=20,
    unique_by=lambda row: row[:3],
)
clusters = st.lists(st.sampled_from(MEMBERS), min_size=len(MEMBERS), max_size=len(MEMBERS)).map(
    lambda heads: {member: min(member, head) for member, head in zip(MEMBERS, heads, strict=True)}
)
"""Who stands for each member: somebody before it, or itself."""


def flat(heads: dict[str, str]) -> dict[str, str]:
    """Redirects followed to their end."""
    found = dict(heads)
    for member in MEMBERS:
        while found[found[member]] != found[member]:
            found[member] = found[found[member]]
    return found


def put_known(
    promised: Promised,
    heads: dict[str, str],
    activity: list[tuple[str, Measure, int, int, int, int]],
    traits: list[tuple[str, str, int, Any, int]],
) -> None:
    """What state knows, as the pipeline loads it; a trait's value is text as DuckDB writes JSON."""
    engine, today = promised.engine, (NOW.date() - EPOCH).days
    engine.put("cluster_members", {"member": "VARCHAR", "profile_id": "VARCHAR"}, list(heads.items()))
    engine.put(
        "known_activity",
        {
            **dict.fromkeys(("profile_id", "measure"), "VARCHAR"),
            "day": "INTEGER",
            **dict.fromkeys(("seq", "event_count", "total_millionths"), "BIGINT"),
        },
        [(who, measure.name, today + day, seq, count, total) for who, measure, day, seq, count, total in activity],
    )
    engine.put(
        "known_traits",
        {
            **dict.fromkeys(("profile_id", "trait"), "VARCHAR"),
            "seq": "BIGINT",
            "value": "VARCHAR",
            "set_at": "BIGINT",
            "event_id": "VARCHAR",
        },
        [(who, trait, seq, json.dumps(value), set_at, f"{seq}:{who}") for who, trait, seq, value, set_at in traits],
    )
    engine.put("chosen_traits", dict.fromkeys(("profile_id", "trait", "value"), "VARCHAR"), [])
    engine.make("known_traits", "select * replace (json(value)::varchar as value) from known_traits")
    engine.compute("consent/current_traits")


def newest_traits(engine: Engine, heads: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The newest value of each trait over all that a profile ever was, by plain sorting."""
    found: dict[str, dict[str, Any]] = {head: {} for head in heads.values()}
    rows = engine.rows("select profile_id, trait, value, set_at, seq, event_id from known_traits")
    for who, trait, value, *_ in sorted(rows, key=lambda row: row[3:]):
        found[heads[who]][trait] = json.loads(value)
    return found


@settings(max_examples=60)
@given(audience_lists(), clusters.map(flat), activity_rows, trait_rows)
@example(
    [
        Audience(
            audience_id="a0",
            owner="",
            description="",
            purpose="marketing",
            channel="email",
            conditions=(TraitCondition(trait="age", comparison=Comparison.IS_IN, values=(1e-7,)),),
        )
    ],
    {member: member for member in MEMBERS},
    [],
    [("m0", "age", 1, 1e-7, 1)],
)
def test_matches_in_bulk_are_the_plain_matches(
    promised: Promised,
    audiences: list[Audience],
    heads: dict[str, str],
    activity: list[tuple[str, Measure, int, int, int, int]],
    traits: list[tuple[str, str, int, Any, int]],
) -> None:
    promised.with_contracts(audiences={audience.audience_id: audience for audience in audiences})
    promised.at(NOW)
    put_known(promised, heads, activity, traits)
    promised.engine.compute("consent/audience_matches")
    rows = promised.engine.rows("select audience_id, profile_id, review_day, measured from audience_matches")
    known = newest_traits(promised.engine, heads)
    done: dict[str, list[DayOfActivity]] = {head: [] for head in heads.values()}
    for who, measure, day, _, count, total in activity:
        done[heads[who]].append(
            DayOfActivity(
                measure=measure.name,
                day=NOW.date() + timedelta(days=day),
                event_count=count,
                total_millionths=total,
            )
        )
    wanted = {
        (audience.audience_id, profile)
        for audience in audiences
        for profile in set(heads.values())
        if matches(audience, activity=done[profile], traits=known[profile], today=NOW.date())
    }
    assert {row[:2] for row in rows} == wanted
    assert len(rows) == len(wanted)
    by_name = {audience.audience_id: audience for audience in audiences}
    for audience_id, profile, review_day, _ in rows:
        assert_nothing_changes_before(by_name[audience_id], done[profile], known[profile], review_day)


def assert_nothing_changes_before(
    audience: Audience, done: list[DayOfActivity], traits: dict[str, Any], review_day: int | None
) -> None:
    """With nothing new heard of it, a profile stays a member at least until its day of review."""
    for later in range(1, 40):
        today = NOW.date() + timedelta(days=later)
        if review_day is not None and (today - EPOCH).days >= review_day:
            return
        assert matches(audience, activity=done, traits=traits, today=today)


@settings(max_examples=60)
@given(clusters.map(flat), trait_rows)
def test_the_newest_value_of_a_trait_counts_whoever_it_was_said_of(
    promised: Promised, heads: dict[str, str], traits: list[tuple[str, str, int, Any, int]]
) -> None:
    put_known(promised, heads, [], traits)
    found: dict[str, dict[str, Any]] = {head: {} for head in heads.values()}
    for who, trait, value in promised.engine.rows("select profile_id, trait, value from current_traits"):
        found[who][trait] = json.loads(value)
    assert found == newest_traits(promised.engine, heads)
