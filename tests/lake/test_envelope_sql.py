"""The envelope's contract means the same in bulk, plainly and at the boundary, for every event that comes to a judge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activation_dagster.domain.contracts import Call, EventVersion, PropertyRule, PropertyType
from activation_dagster.domain.envelope import EnvelopeContract, judge_envelope
from activation_dagster.domain.events import OBJECTS, TEXTS, TIMES, envelope_fault
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.envelope_sql import NOTHING, envelope_breaches, is_certain
from activation_dagster.registry.boundary import envelope_judged_at_boundary
from activation_dagster.registry.loading import load_contracts
from tests.lake.test_contract_sql import fitting, members, rules, scalars, values

SECTIONS = '{"context": "JSON", "properties": "JSON", "traits": "JSON"}'
NAMED = ["context", "properties", "traits", "channel", "version", *TIMES, *TEXTS]
SOURCES = ["web", "app"]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine.in_memory(Path("sql"))
    yield found
    found.close()


def in_bulk(engine: Engine, envelope: EnvelopeContract, said: Sequence[tuple[str, dict[str, Any]]]) -> list[list[str]]:
    """The violations of each event of a source, as the compiled SQL gives them; of those that ingest lets through."""
    engine.put(
        "landed_payloads",
        {"ordinal": "BIGINT", "source": "VARCHAR", "payload": "VARCHAR"},
        [(number, source, json.dumps(event, ensure_ascii=False)) for number, (source, event) in enumerate(said)],
    )
    engine.make(
        "ingested_events",
        "select ordinal, source, null::varchar as fault, e.* from "
        f"(select ordinal, source, json_transform(payload, '{SECTIONS}') as e from landed_payloads)",
    )
    engine.make("envelope_breaches", envelope_breaches(envelope))
    found = dict(engine.rows("select ordinal, string_split(violations, chr(10)) from envelope_breaches"))
    assert engine.one("select count(*) from envelope_breaches")[0] == len(found)
    return [sorted(found.get(number, [])) for number in range(len(said))]


def certain(name: str) -> PropertyRule:
    """What ingest holds a field to anyway."""
    kind: dict[str, PropertyType] = dict.fromkeys(OBJECTS, PropertyType.OBJECT)
    kind |= dict.fromkeys(TIMES, PropertyType.TIMESTAMP)
    return PropertyRule(name=name, type=kind.get(name, PropertyType.STRING), is_required=False)


@st.composite
def envelope_rules(draw: st.DrawFn, name: str) -> PropertyRule:
    if name in OBJECTS and draw(st.booleans()):
        inside = draw(st.lists(rules(1), max_size=3, unique_by=lambda one: one.name).map(tuple))
        return replace(certain(name), properties=inside, is_required=draw(st.booleans()))
    return draw(st.just(certain(name)) | rules(0, name))


@st.composite
def versions(draw: st.DrawFn, number: int) -> EventVersion:
    named = draw(st.lists(st.sampled_from(NAMED), unique=True, max_size=4))
    return EventVersion(version=f"v{number}", properties=tuple(draw(envelope_rules(name)) for name in named))


@st.composite
def events(draw: st.DrawFn, asked: Sequence[PropertyRule]) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "track", "event": "Thing Done", "userId": "u"}
    for rule in asked:
        if draw(st.integers(0, 3)):
            inside = members(rule.properties) if rule.name in OBJECTS else fitting(rule)
            said[rule.name] = draw(inside | inside | (st.none() if rule.name in OBJECTS else scalars) | values)
    return said


@settings(max_examples=200)
@given(st.data())
def test_all_judges_say_the_same_of_an_envelope(engine: Engine, data: st.DataObject) -> None:
    two = (data.draw(versions(1)), data.draw(versions(2)))
    pinned = data.draw(st.dictionaries(st.sampled_from(SOURCES), st.sampled_from(["v1", "v2"]), max_size=2))
    envelope = EnvelopeContract(owner="platform", description="", versions=two, pinned=pinned)
    asked = [*two[0].properties, *two[1].properties]
    drawn = [(data.draw(st.sampled_from(SOURCES)), data.draw(events(asked))) for _ in range(4)]
    said = [(source, event) for source, event in drawn if envelope_fault(event) is None]
    found = in_bulk(engine, envelope, said)
    for (source, event), violations in zip(said, found, strict=True):
        version = envelope.version(source)
        plainly = judge_envelope(version, event)
        assert tuple(violations) == plainly, (version, event)
        assert envelope_judged_at_boundary(version, event) == plainly


@given(st.sampled_from(["type", *NAMED]).flatmap(lambda name: st.tuples(st.just(name), values)))
def test_what_ingest_refuses_anyway_is_not_asked_again(said: tuple[str, Any]) -> None:
    name, value = said
    rule = certain(name) if name != "type" else replace(certain("type"), is_required=True, enum=tuple(Call))
    event = {"type": "track", "event": "Thing Done", "userId": "u", name: value}
    if is_certain(rule) and envelope_fault(event) is None:
        assert judge_envelope(EventVersion(version="v1", properties=(rule,)), event) == ()


@pytest.mark.parametrize(
    ("rule", "is_it"),
    [
        (replace(certain("messageId"), max_length=100), True),
        (replace(certain("messageId"), max_length=99), False),
        (replace(certain("messageId"), is_required=True), False),
        (replace(certain("type"), enum=(*Call,), is_required=True, description="x"), True),
        (replace(certain("type"), enum=("track",)), False),
        (certain("timestamp"), True),
        (replace(certain("timestamp"), is_nullable=False), False),
        (certain("context"), True),
        (certain("channel"), False),
    ],
)
def test_a_rule_is_left_out_only_where_ingest_is_as_strict(rule: PropertyRule, is_it: bool) -> None:
    assert is_certain(rule) is is_it


def test_the_committed_envelope_is_judged_by_its_context_alone_and_names_paths(engine: Engine) -> None:
    envelope = load_contracts(Path("contracts"), environment="demo").envelope
    assert envelope is not None
    assert "landed_payloads" not in envelope_breaches(envelope)
    said = [
        {"type": "track", "context": {"locale": 5, "ip": "x" * 101, "page": "x"}},
        {"type": "track", "context": {"locale": "en", "page": {"url": None}}},
        {"type": "track"},
    ]
    assert in_bulk(engine, envelope, [("web", one) for one in said]) == [
        ["context.ip: max_length 100", "context.locale: type string", "context.page: type object"],
        [],
        [],
    ]


def test_without_a_contract_of_the_envelope_nothing_is_asked() -> None:
    assert envelope_breaches(None) == NOTHING
