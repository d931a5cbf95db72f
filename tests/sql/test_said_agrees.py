"""What events say of a person, read in bulk, is what stands in them: traits, country, consent choices, identifiers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from activation_dagster.lake.engine import Engine
from activation_dagster.lake.paths import json_at, text_at
from activation_dagster.pipeline.additions import make_new_traits
from activation_dagster.pipeline.choices import make_new_choices
from tests.domain.plain_job import at
from tests.sql.promised import SQL, Promised, contracts_today

NOW = datetime(2026, 3, 1, 10, 15, 30, tzinfo=UTC)
SECTIONS = '{"properties": "JSON", "traits": "JSON", "context": "JSON"}'


@pytest.fixture(scope="module")
def promised() -> Iterator[Promised]:
    engine = Engine.in_memory(SQL)
    yield Promised(engine=engine)
    engine.close()


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=4)
scalars = texts | st.integers(-5, 5) | st.booleans() | st.none() | st.sampled_from([1.5, 1e-7, 1e15])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2), max_leaves=3
)
names = texts | st.sampled_from(
    [
        "country",
        "email",
        "a.b",
        "a b",
        "*",
        "$",
        "$country",
        'a"b',
        "ab",
        "#1",
        "[0]",
        "0",
        "x" * 80,
        "x" * 81,
        "\\",
        "é",
        "a/b",
        "~1",
        "~",
    ]
)
traits = st.dictionaries(names, values, max_size=5)
locations = st.fixed_dictionaries(
    {}, optional={"location": st.fixed_dictionaries({}, optional={"country": values}) | values, "traits": traits}
)


def put_speaking(engine: Engine, events: Sequence[tuple[dict[str, Any], str, datetime]], *, contract: str) -> None:
    """The relation `speaking_events` of some (event, profile, time), in their order."""
    engine.put(
        "lines",
        {"ordinal": "INTEGER", "line": "VARCHAR", "profile_id": "VARCHAR", "occurred_at": "VARCHAR"},
        [(n, json.dumps(event), who, moment.isoformat()[:26]) for n, (event, who, moment) in enumerate(events)],
    )
    engine.make(
        "speaking_events",
        f"""
        select ordinal, ordinal::varchar as event_id, '{contract}' as contract, 'v1' as contract_version, profile_id,
            occurred_at::timestamp as occurred_at, timestamp '2026-03-01 10:15:30' as received_at, e.type as event_type,
            e.properties, e.traits, e.context
        from (select *, json_transform(line, '{{"type": "VARCHAR", {SECTIONS[1:-1]}}}') as e from lines)
        """,
    )


identified = st.lists(
    st.tuples(
        st.fixed_dictionaries(
            {"type": st.just("identify")}, optional={"traits": traits | st.none(), "context": locations}
        ),
        st.sampled_from(["p1", "p2"]),
        st.integers(0, 3).map(lambda seconds: NOW - timedelta(seconds=seconds)),
    ),
    max_size=6,
)


def plain_traits(events: Sequence[tuple[dict[str, Any], str, datetime]]) -> dict[tuple[str, str], Any]:
    """The newest value that is not null of each trait of each profile, and of its country."""
    found: dict[tuple[str, str], tuple[tuple[datetime, int], Any]] = {}
    for number, (event, who, moment) in enumerate(events):
        said = {name: value for name, value in (event.get("traits") or {}).items() if len(name) <= 80}
        said.pop("$country", None)  # the platform's own name
        paths = contracts_today().country_from
        said["$country"] = next((country for path in paths if (country := at(event, path)) is not None), None)
        for name, value in said.items():
            if value is not None:
                found[who, name] = max(
                    found.get((who, name), ((moment, number), value)), ((moment, number), value), key=lambda one: one[0]
                )
    return {key: value for key, (_, value) in found.items()}


HIDDEN_COUNTRY = {"type": "identify", "traits": {"country": None}, "context": {"location": {"country": "US"}}}
QUOTED_NAMES = {"type": "identify", "traits": {'a"b': 1, "ab": 2}}
OWN_NAME = {"type": "identify", "traits": {"$country": "US"}}


@settings(max_examples=120)
@given(identified)
@example([(HIDDEN_COUNTRY, "p1", NOW)])
@example([(QUOTED_NAMES, "p1", NOW)])
@example([(OWN_NAME, "p1", NOW)])
def test_traits_in_bulk_are_what_identify_calls_say(
    promised: Promised, events: list[tuple[dict[str, Any], str, datetime]]
) -> None:
    put_speaking(promised.engine, events, contract="identify")
    run: Any = promised
    make_new_traits(run)
    rows = promised.engine.rows("select profile_id, trait, value from new_traits")
    assert {(who, trait): json.loads(value) for who, trait, value in rows} == plain_traits(events)
    assert len(rows) == len({row[:2] for row in rows})


@settings(max_examples=150)
@given(
    st.lists(
        st.fixed_dictionaries({}, optional={"properties": traits, "traits": traits, "context": locations}),
        min_size=1,
        max_size=8,
    )
)
def test_a_path_reads_in_bulk_what_stands_at_it(promised: Promised, events: list[dict[str, Any]]) -> None:
    put_speaking(promised.engine, [(event, "p1", NOW) for event in events], contract="x")
    paths = ["traits.email", "traits.country", "properties.ab", "context.location.country", "context.traits.email"]
    columns = ", ".join(f"{json_at(path)}, {text_at(path)}" for path in paths)
    rows = promised.engine.rows(f"select {columns} from speaking_events as e order by ordinal")
    for event, row in zip(events, rows, strict=True):
        for place, path in enumerate(paths):
            wanted, as_json, as_text = at(event, path), row[place * 2], row[place * 2 + 1]
            assert (None if as_json is None else json.loads(as_json)) == wanted
            assert as_text == (wanted if isinstance(wanted, str) else None)


choices = st.sampled_from([True, False, None, "true", "false", 1, 0, "yes", [], {}])


@settings(max_examples=60)
@given(st.lists(st.tuples(choices, st.integers(-3, 3)), min_size=1, max_size=8))
def test_only_true_and_false_are_choices_and_none_is_made_later_than_it_was_received(
    promised: Promised, said: list[tuple[Any, int]]
) -> None:
    events = [
        (
            {"type": "track", "context": {"consent": {"categoryPreferences": {"marketing_email": choice}}}},
            "p1",
            NOW + timedelta(seconds=seconds),
        )
        for choice, seconds in said
    ]
    put_speaking(promised.engine, events, contract="consent_preference_updated")
    run: Any = promised
    make_new_choices(run)
    rows = promised.engine.rows(
        "select event_id, purpose, channel, choice, decided_at from new_choices order by event_id"
    )
    assert rows == [
        (str(number), "marketing", "email", json.dumps(choice), min(NOW, events[number][2]).replace(tzinfo=None))
        for number, (choice, _) in enumerate(said)
        if isinstance(choice, bool)
    ]
