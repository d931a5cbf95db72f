"""What contract.yaml says of sources, environments, lateness, life and undeclared properties: SQL and the plain rules agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activation_dagster.domain.admission import admission, is_state_only
from activation_dagster.domain.contracts import (
    Call,
    Criticality,
    EventContract,
    EventVersion,
    LateData,
    Lifecycle,
    LifecycleState,
    PropertyRule,
    PropertyType,
    Undeclared,
)
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.envelope_sql import envelope_breaches
from activation_dagster.lake.judging_sql import judge_events, unjudged
from activation_dagster.lake.routing_sql import Asked, numbered

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOURCES = ["web", "app", "warehouse"]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine.in_memory(Path("sql"))
    yield found
    found.close()


lives = st.sampled_from(
    [
        Lifecycle(),
        Lifecycle(),
        Lifecycle(state=LifecycleState.DRAFT),
        Lifecycle(state=LifecycleState.RETIRED),
        Lifecycle(state=LifecycleState.DEPRECATED, until=date(2026, 2, 28)),
        Lifecycle(state=LifecycleState.DEPRECATED, until=date(2026, 3, 1)),
    ]
)


@st.composite
def contracts(draw: st.DrawFn) -> EventContract:
    versions = [f"v{number}" for number in range(1, draw(st.integers(1, 3)) + 1)]
    late_data = draw(st.sampled_from(LateData))
    rule = PropertyRule(name="a", type=PropertyType.INTEGER, is_required=False)
    return EventContract(
        slug="thing_done",
        call=Call.TRACK,
        name="Thing Done",
        owner="shop",
        criticality=Criticality.STANDARD,
        description="",
        versions=tuple(EventVersion(version=name, properties=(rule,), lifecycle=draw(lives)) for name in versions),
        environments=tuple(draw(st.sampled_from([(), (), ("demo",), ("production",)]))),
        sources=tuple(draw(st.sampled_from([(), (), ("web",), ("web", "app")]))),
        late_data=late_data,
        late_after_hours=None if late_data is LateData.ACCEPT else draw(st.integers(1, 3)),
        undeclared=draw(st.sampled_from(Undeclared)),
        pinned=draw(st.dictionaries(st.sampled_from(SOURCES), st.sampled_from(versions), max_size=2)),
    )


names = st.sampled_from(["a", "b", "c d", "ann@example.com", "é", "A", "x\ny", "_z"]) | st.from_regex(r"\A[b-z][0-9]\Z")
events = st.fixed_dictionaries(
    {
        "source": st.sampled_from(SOURCES),
        "version": st.sampled_from([None, None, "v1", "2"]),
        "minutes": st.integers(0, 200) | st.sampled_from([60, 120, 180]),
        "received": st.sampled_from([NOON, datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 1, 23, 59, tzinfo=UTC)]),
        "properties": st.none() | st.dictionaries(names, st.sampled_from([1, "x", None]), max_size=14),
    }
)


@settings(max_examples=150)
@given(contracts(), st.lists(events, min_size=1, max_size=10))
def test_terms_mean_the_same_in_bulk_and_plainly(
    engine: Engine, contract: EventContract, said: list[dict[str, Any]]
) -> None:
    columns = {
        "ordinal": "INTEGER", "source": "VARCHAR", "event_version": "VARCHAR", "occurred_at": "VARCHAR",
        "received_at": "VARCHAR", "properties": "VARCHAR",
    }  # fmt: skip
    engine.put(
        "given_events",
        columns,
        [
            (
                number,
                one["source"],
                one["version"],
                f"{one['received'] - timedelta(minutes=one['minutes']):%Y-%m-%d %H:%M:%S}",
                f"{one['received']:%Y-%m-%d %H:%M:%S}",
                None if one["properties"] is None else json.dumps(one["properties"], ensure_ascii=False),
            )
            for number, one in enumerate(said)
        ],
    )
    engine.make(
        "ingested_events",
        "select ordinal, null::varchar as event_id, source, null::timestamp as landed_at, 'track' as event_type, "
        "'Thing Done' as event_name, null::varchar as message_id, occurred_at::timestamp as occurred_at, "
        "received_at::timestamp as received_at, event_version, null::varchar as fault, "
        "json_transform('{\"p\":' || coalesce(properties, 'null') || '}', '{\"p\": \"JSON\"}').p as properties "
        "from given_events",
    )
    asked = numbered([Asked(contract=contract, version=version) for version in contract.versions])
    judge_events(engine, asked, environment="demo")
    engine.make("unjudged_events", unjudged(asked))
    engine.make("envelope_breaches", envelope_breaches(None))
    named = {"contract": "VARCHAR", "call": "VARCHAR", "name": "VARCHAR"}
    engine.put("contracts", named, [(contract.slug, "track", contract.name)])
    engine.view("validate/event_verdicts")
    rows = engine.rows(
        "select contract_version, reason, violations, is_state_only from event_verdicts order by ordinal"
    )
    assert len(rows) == len(said)
    for one, (version_name, reason, violations, only_state) in zip(said, rows, strict=True):
        version = contract.version(one["version"], one["source"])
        assert version_name == (None if version is None else version.version)
        if version is None:
            assert (reason, violations) == ("unknown_version", None)
            continue
        happened, received = one["received"] - timedelta(minutes=one["minutes"]), one["received"]
        wanted = admission(
            contract,
            version,
            one["properties"],
            environment="demo",
            source=one["source"],
            occurred_at=happened,
            received_at=received,
        )
        assert only_state == is_state_only(contract, occurred_at=happened, received_at=received)
        assert (reason, sorted((violations or "").split("\n")) if violations else []) == (wanted[0], list(wanted[1])), (
            one
        )
