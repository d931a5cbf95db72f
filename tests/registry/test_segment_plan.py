"""Contracts in the words of other tools and back: nothing changes on the way, and nothing is lost in silence."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.contracts import (
    Call,
    Criticality,
    EventContract,
    EventVersion,
    Lifecycle,
    LifecycleState,
    PropertyRule,
    PropertyType,
    Undeclared,
    judge,
)
from activation_dagster.domain.envelope import ENVELOPE, EnvelopeContract, judge_envelope
from activation_dagster.domain.formats import Format
from activation_dagster.errors import WrongUse
from activation_dagster.registry.call_schemas import call_schema, read_json_schema
from activation_dagster.registry.contract_set import Owner
from activation_dagster.registry.data_contracts import data_contract, envelope_contract
from activation_dagster.registry.loading import load_contracts
from activation_dagster.registry.property_schemas import section_schema
from activation_dagster.registry.segment_plan import read_tracking_plan, tracking_plan

COMMITTED = load_contracts(Path(__file__).resolve().parent.parent.parent / "contracts", environment="demo")
OURS = tuple(COMMITTED.events.values())
NUMBERS = (PropertyType.INTEGER, PropertyType.NUMBER)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_ -]{0,20}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.none() | st.integers(-(10**6), 10**6) | st.floats(-1e9, 1e9, allow_nan=False)


@st.composite
def rules(draw: st.DrawFn, depth: int = 2) -> PropertyRule:
    """Any rule that a contract file can hold and that the judge does not pass over."""
    kind = draw(st.sampled_from(PropertyType))
    is_required = draw(st.booleans())
    is_text = kind is PropertyType.STRING
    inner = rules(depth=depth - 1)
    has_enum = kind in (PropertyType.STRING, PropertyType.DATE, PropertyType.TIMESTAMP)
    return PropertyRule(
        name=draw(names),
        type=kind,
        is_required=is_required,
        enum=tuple(draw(st.lists(texts, max_size=3, unique=True))) if has_enum else (),
        minimum=draw(numbers) if kind in NUMBERS else None,
        maximum=draw(numbers) if kind in NUMBERS else None,
        is_pii=draw(st.booleans()),
        owner=draw(st.sampled_from(["", "shop"])),
        identifier=draw(st.sampled_from([None, "email"])),
        description=draw(texts),
        format=draw(st.none() | st.sampled_from(Format)) if is_text else None,
        min_length=draw(st.none() | st.integers(0, 9)) if is_text else None,
        max_length=draw(st.none() | st.integers(9, 99)) if is_text else None,
        pattern=draw(st.none() | st.sampled_from(["a|b", "[A-Z]{2}.*"])) if is_text else None,
        is_nullable=draw(st.sampled_from([None, is_required])),  # the other way round is what None says anyway
        properties=tuple(draw(st.lists(inner, max_size=2, unique_by=lambda rule: rule.name)))
        if kind is PropertyType.OBJECT and depth
        else (),
        items=replace(draw(inner), name="", is_required=True, is_nullable=draw(st.sampled_from([None, True])))
        if kind is PropertyType.ARRAY and depth and draw(st.booleans())
        else None,
    )


@st.composite
def contracts(draw: st.DrawFn) -> EventContract:
    """Any contract, of one to three versions."""
    call = draw(st.sampled_from([call for call in Call if call is not Call.ALIAS]))
    sets = draw(st.lists(st.lists(rules(), max_size=5, unique_by=lambda rule: rule.name), min_size=1, max_size=3))
    return EventContract(
        slug=draw(st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)),
        call=call,
        name=draw(texts.filter(bool)) if call is Call.TRACK else call.value,
        owner=draw(st.from_regex(r"[a-z_]{1,10}", fullmatch=True)),
        criticality=draw(st.sampled_from(Criticality)),
        description=draw(texts),
        versions=tuple(
            EventVersion(version=f"v{number}", properties=tuple(found)) for number, found in enumerate(sets, 1)
        ),
    )


@st.composite
def envelopes(draw: st.DrawFn) -> EnvelopeContract:
    """Any contract of the envelope, of one to three versions, with names that calls have too."""
    held = rules() | st.builds(replace, rules(), name=st.sampled_from(["context", "properties", "traits", "type"]))
    sets = draw(
        st.lists(st.lists(held, min_size=1, max_size=5, unique_by=lambda rule: rule.name), min_size=1, max_size=3)
    )
    return EnvelopeContract(
        owner=draw(st.from_regex(r"[a-z_]{1,10}", fullmatch=True)),
        description=draw(texts),
        versions=tuple(
            EventVersion(version=f"v{number}", properties=tuple(found)) for number, found in enumerate(sets, 1)
        ),
    )


def envelope_comes_back(envelope: EnvelopeContract) -> None:
    """Assert that what judges every envelope says the same after it was a plan's common schema, and a JSON Schema."""
    plan, lost = tracking_plan([], envelope=envelope)
    assert [loss.path for loss in lost] == [f"{ENVELOPE}.{one.version}" for one in envelope.versions[:-1]]
    (planned,), losses = read_tracking_plan(json.loads(json.dumps(plan)))
    assert losses == []
    assert (planned.version, planned.owner) == (envelope.current.version, envelope.owner)
    schema = json.loads(json.dumps(call_schema(envelope, envelope.current)))
    schemed, losses = read_json_schema(schema, event="")
    assert losses == []
    for found in (planned, schemed):
        assert (found.slug, found.call, found.name) == (ENVELOPE, None, ENVELOPE)
        assert found.description == envelope.description
        assert tuple(one.rule for one in found.properties) == envelope.current.properties


def test_our_envelope_comes_back_from_a_plans_common_schema_and_from_a_json_schema() -> None:
    assert COMMITTED.envelope is not None
    envelope_comes_back(COMMITTED.envelope)


@given(envelopes())
def test_any_envelope_comes_back_from_a_plans_common_schema_and_from_a_json_schema(envelope: EnvelopeContract) -> None:
    envelope_comes_back(envelope)


@given(envelopes(), st.dictionaries(names | st.sampled_from(["type", "context"]), texts | st.none() | st.integers()))
def test_the_envelopes_json_schema_judges_whole_events_as_the_contract_does(
    envelope: EnvelopeContract, said: dict[str, Any]
) -> None:
    event = said | {rule.name: said.get(rule.name, "a text") for rule in envelope.current.properties[:1]}
    judged = jsonschema_rs.Draft202012Validator(call_schema(envelope, envelope.current))
    assert judged.is_valid(event) == (judge_envelope(envelope.current, event) == ())


def comes_back(contract: EventContract) -> None:
    """Assert that a contract says the same after it was a tracking plan."""
    plan, lost = tracking_plan([contract])
    proposals, losses = read_tracking_plan(json.loads(json.dumps(plan)))
    assert (lost, losses) == ([], [])
    assert (
        tuple(
            EventVersion(version=one.version, properties=tuple(proposed.rule for proposed in one.properties))
            for one in proposals
        )
        == contract.versions
    )
    for one in proposals:
        told = (one.slug, one.call, one.name, one.owner, one.criticality, one.description)
        assert told == (
            contract.slug, contract.call, contract.name, contract.owner, contract.criticality.value,
            contract.description,
        )  # fmt: skip


@pytest.mark.parametrize("contract", OURS, ids=lambda contract: contract.slug)
def test_our_contracts_come_back_from_a_tracking_plan(contract: EventContract) -> None:
    comes_back(contract)


@given(contracts())
def test_any_contract_comes_back_from_a_tracking_plan(contract: EventContract) -> None:
    comes_back(contract)


@given(contracts())
def test_any_section_comes_back_from_a_json_schema(contract: EventContract) -> None:
    schema = {**section_schema(contract.newest.properties), "title": contract.name}
    proposal, losses = read_json_schema(json.loads(json.dumps(schema)), event="")
    assert losses == []
    assert tuple(one.rule for one in proposal.properties) == contract.newest.properties


@given(contracts())
def test_any_contract_comes_back_from_its_own_json_schema(contract: EventContract) -> None:
    schema = json.loads(json.dumps(call_schema(contract, contract.newest)))
    proposal, losses = read_json_schema(schema, event=contract.name)
    assert losses == []
    assert tuple(one.rule for one in proposal.properties) == contract.newest.properties
    assert proposal.description == contract.description


TIMES = (PropertyType.TIMESTAMP, PropertyType.DATE)
values = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | texts | st.sampled_from([[], {}])
)


@given(rules().filter(lambda rule: rule.type not in TIMES), values)
def test_a_plans_schema_judges_as_the_contract_does(found: PropertyRule, value: Any) -> None:
    rule = replace(found, format=None)  # a format is a note in draft-07: whether it is asserted is its reader's choice
    version = EventVersion(version="v1", properties=(rule,))
    judged = jsonschema_rs.Draft7Validator(section_schema([rule]))
    for said in ({}, {rule.name: value}):
        assert judged.is_valid(said) == (judge(OURS[0], version, said) == ())


# -- what the other side looks like -----------------------------------------------------------------------------------


KINDS = {"enum": ["string", "integer", "number", "boolean", "object", "array", "null"]}
SECTION = {
    "type": "object",
    "properties": {
        "type": {"const": "object"},
        "properties": {
            "additionalProperties": {
                "required": ["type"],
                "properties": {"type": {"anyOf": [KINDS, {"type": "array", "items": KINDS, "minItems": 1}]}},
            }
        },
        "required": {"type": "array", "items": {"type": "string"}},
    },
}
PLAN = {
    "type": "object",
    "required": ["rules"],
    "additionalProperties": False,
    "properties": {
        "rules": {
            "type": "array",
            "items": {
                "required": ["type", "key", "version", "jsonSchema"],
                "additionalProperties": False,
                "properties": {
                    "type": {"enum": ["COMMON", "GROUP", "IDENTIFY", "PAGE", "SCREEN", "TRACK"]},
                    "key": {"type": "string", "minLength": 1},
                    "version": {"type": "integer", "minimum": 1},
                    "jsonSchema": {
                        "required": ["$schema", "type", "properties"],
                        "properties": {
                            "$schema": {"const": "http://json-schema.org/draft-07/schema#"},
                            "type": {"const": "object"},
                            "properties": {"required": ["context", "traits", "properties"]},
                        },
                    },
                },
                # A common schema is of the whole event, any other of its sections.
                "if": {"properties": {"type": {"const": "COMMON"}}},
                "else": {
                    "properties": {
                        "jsonSchema": {
                            "properties": {
                                "properties": {"additionalProperties": SECTION},
                                "required": {"items": {"enum": ["context", "traits", "properties"]}},
                            }
                        }
                    }
                },
            },
        }
    },
}
"""What Segment's Public API takes as the rules of a tracking plan, as far as we use it, in our own words."""

LOGICAL_TYPES = ["string", "date", "timestamp", "time", "number", "integer", "object", "array", "boolean"]
NUMBER, TEXT, LENGTH = {"type": "number"}, {"type": "string"}, {"type": "integer", "minimum": 0}
OPTIONS = {
    "minimum": NUMBER,
    "maximum": NUMBER,
    "minLength": LENGTH,
    "maxLength": LENGTH,
    "pattern": TEXT,
    "format": TEXT,
}
CUSTOM = {"type": "array", "items": {"required": ["property", "value"], "properties": {"property": {"type": "string"}}}}
DATA_CONTRACT = {
    "type": "object",
    "required": ["version", "apiVersion", "kind", "id", "status"],
    "properties": {
        "version": {"type": "string"},
        "apiVersion": {"type": "string", "pattern": "^v3[.][0-9]+[.][0-9]+$"},
        "kind": {"const": "DataContract"},
        "id": {"type": "string", "minLength": 1},
        "status": {"enum": ["proposed", "draft", "active", "deprecated", "retired"]},
        "description": {"type": "object", "properties": {"purpose": {"type": "string"}}},
        "team": {"type": "object", "properties": {"name": {"type": "string"}, "description": {"type": "string"}}},
        "customProperties": CUSTOM,
        "schema": {
            "type": "array",
            "items": {
                "required": ["name", "logicalType", "properties", "quality"],
                "properties": {
                    "name": {"type": "string"},
                    "logicalType": {"const": "object"},
                    "quality": {"type": "array", "maxItems": 0},
                    "properties": {
                        "type": "array",
                        "items": {
                            "required": ["name", "logicalType", "required"],
                            "additionalProperties": False,
                            "properties": {
                                "name": {"type": "string"},
                                "logicalType": {"enum": LOGICAL_TYPES},
                                "physicalType": {"type": "string"},
                                "required": {"type": "boolean"},
                                "description": {"type": "string"},
                                "logicalTypeOptions": {"additionalProperties": False, "properties": OPTIONS},
                                "classification": {"type": "string"},
                                "properties": {"type": "array"},
                                "items": {"type": "object", "required": ["logicalType"]},
                                "customProperties": CUSTOM,
                            },
                        },
                    },
                },
            },
        },
    },
}
"""The Open Data Contract Standard 3.1, as far as we use it, in our own words."""


@given(
    st.lists(contracts(), max_size=3), st.none() | envelopes().map(lambda one: replace(one, versions=one.versions[:1]))
)
def test_a_plan_has_the_shape_of_segments_public_api(
    found: list[EventContract], envelope: EnvelopeContract | None
) -> None:
    plan, lost = tracking_plan(found, envelope=envelope)
    assert lost == []
    assert [error.message for error in jsonschema_rs.Draft202012Validator(PLAN).iter_errors(plan)] == []
    for rule in plan["rules"]:
        section = "traits" if rule["type"] in ("IDENTIFY", "GROUP") else "properties"
        promised = rule["jsonSchema"] if rule["type"] == "COMMON" else rule["jsonSchema"]["properties"][section]
        assert set(promised["required"]) <= set(promised["properties"])
        jsonschema_rs.Draft7Validator(rule["jsonSchema"])  # raises where it is no schema


@given(contracts())
def test_a_data_contract_has_the_shape_of_the_standard(contract: EventContract) -> None:
    document, lost = data_contract(contract, Owner(slug="shop", name="Shop", contact="team:shop"))
    assert lost == []
    assert yaml.safe_load(yaml.safe_dump(document)) == document
    assert [error.message for error in jsonschema_rs.Draft202012Validator(DATA_CONTRACT).iter_errors(document)] == []
    (schema,) = document["schema"]
    told = [(one["name"], one["required"]) for one in schema["properties"]]
    assert told == [(rule.name, rule.is_required) for rule in contract.newest.properties]


@given(envelopes())
def test_an_envelopes_data_contract_has_the_shape_of_the_standard(envelope: EnvelopeContract) -> None:
    document, lost = envelope_contract(envelope, Owner(slug="shop", name="Shop", contact="team:shop"))
    assert lost == []
    assert [error.message for error in jsonschema_rs.Draft202012Validator(DATA_CONTRACT).iter_errors(document)] == []
    assert (document["id"], document["version"]) == (ENVELOPE, envelope.current.version)
    told = [(one["name"], one["required"]) for one in document["schema"][0]["properties"]]
    assert told == [(rule.name, rule.is_required) for rule in envelope.current.properties]


def test_a_data_contract_says_the_terms_and_the_state_of_what_judges() -> None:
    owner = Owner(slug="shop", name="Shop", contact="team:shop")
    draft = Lifecycle(state=LifecycleState.DRAFT)
    old = Lifecycle(state=LifecycleState.DEPRECATED, until=date(2027, 1, 1))
    versions = (
        EventVersion(version="v1", properties=(), lifecycle=old),
        EventVersion(version="v2", properties=(), lifecycle=draft),
    )
    document, _ = data_contract(
        replace(OURS[0], versions=versions, consumers=("crm",), undeclared=Undeclared.DROP), owner
    )
    assert (document["version"], document["status"]) == ("v1", "deprecated")
    terms = {one["property"]: one["value"] for one in document["customProperties"]}
    assert terms == {
        "call": "track",
        "criticality": OURS[0].criticality.value,
        "consumers": ["crm"],
        "late_data": "accept",
        "undeclared": "drop",
        "compatibility": "full",
    }


def test_a_rule_of_an_event_never_becomes_the_envelope() -> None:
    comment = "contract=envelope; owner=shop; criticality=standard"
    rule = {"type": "TRACK", "key": "Envelope", "version": 1, "jsonSchema": {"$comment": comment}}
    (proposal,), _ = read_tracking_plan({"rules": [rule]})
    assert (proposal.slug, proposal.call) == ("event_envelope", Call.TRACK)


def test_a_call_of_which_segment_has_no_rules_is_told() -> None:
    alias = replace(OURS[0], call=Call.ALIAS, name="alias")
    plan, lost = tracking_plan([alias, OURS[1]])
    assert {rule["key"] for rule in plan["rules"]} == {OURS[1].name}
    assert [loss.path for loss in lost] == [alias.slug]


# -- what a contract cannot say ---------------------------------------------------------------------------------------


def lost(properties: dict[str, Any], *, required: tuple[str, ...] = ()) -> tuple[dict[str, PropertyRule], set[str]]:
    """The rules that a schema becomes, and the places of what is lost."""
    schema = {"title": "E", "type": "object", "properties": properties, "required": list(required)}
    proposal, losses = read_json_schema(schema, event="")
    return {one.rule.name: one.rule for one in proposal.properties}, {loss.path for loss in losses}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "string", "pattern": "^a"}, "pattern"),
        ({"type": "number", "exclusiveMinimum": 0}, "exclusiveMinimum"),
        ({"type": "number", "enum": [1, 2]}, "enum"),
        ({"type": "object", "properties": {"y": {}}}, "properties.y.type"),
        ({"type": "string", "format": "ipv4"}, "format"),
        ({"type": "number", "minLength": 3}, "minLength"),
        ({"type": "array", "items": {"type": "string", "contentEncoding": "base64"}}, "items.contentEncoding"),
        ({"type": "string", "minimum": 1}, "minimum"),
        ({"type": "string", "$comment": "see the wiki"}, "$comment"),
        ({"type": "string", "$comment": "pii; pii"}, "$comment"),
        ({"type": "string", "$comment": "owner="}, "$comment"),
        ({"type": "string", "$comment": 5}, "$comment"),
        ({"type": "string", "allOf": [{"pattern": "^a"}]}, "allOf"),
    ],
)
def test_a_word_that_no_contract_has_is_told_and_the_rest_is_kept(schema: dict[str, Any], place: str) -> None:
    found, places = lost({"x": schema})
    assert found["x"].type == schema["type"]
    assert places == {f"$.properties.x.{place}"}


@pytest.mark.parametrize(
    "schema",
    [True, {}, {"$ref": "#/definitions/y"}, {"type": ["string", "integer"]}, {"type": "null"}, {"type": "money"}],
)
def test_a_property_without_one_type_is_left_out_and_told(schema: Any) -> None:
    found, places = lost({"x": schema}, required=("x",))
    assert found == {}
    assert places


def test_a_name_that_no_contract_can_hold_is_told() -> None:
    assert lost({"a.b": {"type": "string"}}) == ({}, {"$.properties.a.b"})


def test_null_of_a_required_property_is_kept_and_a_required_property_without_a_schema_is_told() -> None:
    found, places = lost({"x": {"type": ["string", "null"]}}, required=("x", "y"))
    assert found["x"].is_nullable is True
    assert places == {"$.required"}


def test_rules_that_are_no_contract_and_words_of_a_rule_are_told() -> None:
    plan = {
        "data": {
            "rules": [
                {"type": "COMMON", "key": "common", "version": 1, "jsonSchema": {"type": "object"}},
                {"type": "TRACK", "version": 1, "jsonSchema": {}},
                {
                    "type": "TRACK",
                    "key": "Seen",
                    "version": 0,
                    "deprecatedAt": "2026-01-01",
                    "jsonSchema": {
                        "$comment": "by hand",
                        "additionalProperties": False,
                        "properties": {"context": {"required": ["ip"]}, "properties": {"additionalProperties": False}},
                        "required": ["properties", "context"],
                    },
                },
            ],
            "pagination": {},
        }
    }
    proposals, losses = read_tracking_plan(plan)
    assert [(one.name, one.version) for one in proposals] == [("Seen", "v1")]
    assert sorted({loss.path for loss in losses}) == [
        "rules.1",
        "rules.2.deprecatedAt",
        "rules.2.jsonSchema.$comment",
        "rules.2.jsonSchema.additionalProperties",
        "rules.2.jsonSchema.properties.context",
        "rules.2.jsonSchema.properties.properties.additionalProperties",
        "rules.2.jsonSchema.required",
        "rules.2.version",
    ]


def test_the_older_file_of_typewriter_is_read_too() -> None:
    seen = {"properties": {"properties": {"type": "object", "properties": {"x": {"type": "string"}}}}}
    plan = {
        "name": "workspaces/w/tracking-plans/rs_1",
        "rules": {
            "events": [
                {
                    "name": "Seen",
                    "description": "It was seen.",
                    "version": 2,
                    "rules": seen,
                }
            ],
            "identify": {"properties": {"traits": {"properties": {"plan": {"type": "string"}}}}},
            "global": {"properties": {"context": {"required": ["library"]}}},
        },
    }
    proposals, losses = read_tracking_plan(plan)
    assert [(one.call, one.name, one.version, len(one.properties)) for one in proposals] == [
        (Call.TRACK, "Seen", "v2", 1),
        (Call.IDENTIFY, "identify", "v1", 1),
    ]
    assert proposals[0].description == "It was seen."
    assert [loss.path for loss in losses] == ["name", "rules.global.jsonSchema.properties.context.type"]


@pytest.mark.parametrize("document", [None, [], {}, {"rules": 5}, "rules"])
def test_what_is_no_tracking_plan_is_refused(document: Any) -> None:
    with pytest.raises(WrongUse):
        read_tracking_plan(document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            texts
            | st.sampled_from(["type", "properties", "required", "enum", "rules", "jsonSchema", "key", "version"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_document_ends_in_a_traceback(document: Any) -> None:
    for read in (read_tracking_plan, lambda found: read_json_schema(found, event="E")):
        with suppress(WrongUse):
            read(document)
    read_tracking_plan({"rules": [{"type": "TRACK", "key": "E", "jsonSchema": document}]})
