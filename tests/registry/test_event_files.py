"""The grown format of event contracts: what may be promised, what contract.yaml may say beside it, and examples."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from activation_dagster.domain.compatibility.changes import Mode
from activation_dagster.domain.contracts import (
    LateData,
    Lifecycle,
    LifecycleState,
    PropertyRule,
    PropertyType,
    Undeclared,
)
from activation_dagster.domain.formats import Format
from activation_dagster.errors import ContractsInvalid
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.registry.loading import load_contracts

CONTRACTS = Path(__file__).resolve().parent.parent.parent / "contracts"
FOLDER = "events/order_completed"

ABOUT: dict[str, Any] = {"owner": "shop", "criticality": "standard", "description": "An order was placed."}
VERSION: dict[str, Any] = {
    "event_name": "Order Completed",
    "version": "v1",
    "properties": {
        "order_id": {"type": "string", "min_length": 1, "max_length": 40, "pattern": "[A-Z]{2}[0-9]+", "owner": "shop"},
        "email": {"type": "string", "format": "email", "pii": True, "identifier": "email"},
        "channel": {"type": "enum", "values": ["web", "app"], "default": "web"},
        "coupon": {"type": "string", "nullable": False},
        "address": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "country": {"type": "string", "format": "country"}},
            "required": ["city"],
        },
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"price": {"type": "number", "minimum": 0}},
                "required": ["price"],
            },
        },
    },
    "required": ["order_id"],
}
EXAMPLES: dict[str, Any] = {
    "valid": [{"properties": {"order_id": "AB1", "address": {"city": "Cork"}, "items": [{"price": 1}]}}],
    "invalid": [
        {
            "event": {"properties": {"order_id": "AB1", "address": {}, "items": [{"price": 1}, {"price": -1}]}},
            "violates": ["properties.address.city: required", "properties.items[1].price: minimum 0"],
        }
    ],
}


def written(root: Path, *, about: Any = ABOUT, version: Any = VERSION, examples: Any = EXAMPLES) -> Path:
    """contracts/ with one more event."""
    folder = root / FOLDER
    folder.mkdir(parents=True)
    (folder / "contract.yaml").write_text(yaml.safe_dump(about))
    (folder / "v1.json").write_text(json.dumps(version))
    if examples is not None:
        (folder / "v1.examples.yaml").write_text(yaml.safe_dump(examples))
    return root


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A copy of the contracts that a test may add to."""
    copied = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, copied)
    return copied


def loaded(root: Path) -> ContractSet:
    return load_contracts(root, environment="demo")


def faults(root: Path) -> list[str]:
    """Every fault of the added event, without the folder that all of them name."""
    try:
        loaded(root)
    except ContractsInvalid as invalid:
        return [str(fault).removeprefix(f"{FOLDER}/") for fault in invalid.faults]
    return []


def with_property(name: str, **said: Any) -> dict[str, Any]:
    """The version with one more property."""
    return VERSION | {"properties": VERSION["properties"] | {name: said}}


def test_all_that_may_be_promised_of_a_property_is_read(contracts: Path) -> None:
    rules = {rule.name: rule for rule in loaded(written(contracts)).events["order_completed"].current.properties}
    assert rules["order_id"] == PropertyRule(
        name="order_id",
        type=PropertyType.STRING,
        is_required=True,
        min_length=1,
        max_length=40,
        pattern="[A-Z]{2}[0-9]+",
        owner="shop",
    )
    assert (rules["email"].format, rules["email"].identifier, rules["email"].is_pii) == (Format.EMAIL, "email", True)
    assert (rules["channel"].type, rules["channel"].enum) == (PropertyType.STRING, ("web", "app"))
    assert rules["channel"].default == "web"
    assert (rules["coupon"].is_nullable, rules["channel"].is_nullable) == (False, None)
    assert [(rule.name, rule.is_required) for rule in rules["address"].properties] == [
        ("city", True),
        ("country", False),
    ]
    assert rules["items"].items is not None
    assert [rule.minimum for rule in rules["items"].items.properties] == [0]


def test_yaml_and_json_say_the_same(contracts: Path) -> None:
    by_json = loaded(written(contracts)).events["order_completed"]
    file = contracts / FOLDER / "v1.json"
    file.with_suffix(".yaml").write_text(yaml.safe_dump(json.loads(file.read_text()), sort_keys=False))
    file.unlink()
    assert loaded(contracts).events["order_completed"] == by_json


def test_what_contract_yaml_says_beside_the_versions_is_read(contracts: Path) -> None:
    about = ABOUT | {
        "consumers": ["crm", "growth"],
        "environments": ["demo"],
        "sources": ["web", "app"],
        "pinned": {"app": "v1"},
        "late_data": "quarantine",
        "late_after_hours": 72,
        "undeclared": "quarantine",
        "compatibility": "backward_transitive",
        "lifecycle": "deprecated",
        "deprecated_until": date(2026, 12, 31),
    }
    found = loaded(written(contracts, about=about)).events["order_completed"]
    assert (found.consumers, found.environments, found.sources) == (("crm", "growth"), ("demo",), ("web", "app"))
    assert (found.late_data, found.late_after_hours) == (LateData.QUARANTINE, 72)
    assert (found.undeclared, found.compatibility) == (Undeclared.QUARANTINE, Mode.BACKWARD_TRANSITIVE)
    assert dict(found.pinned) == {"app": "v1"}
    assert found.current.lifecycle == Lifecycle(state=LifecycleState.DEPRECATED, until=date(2026, 12, 31))


def test_an_event_that_says_nothing_more_keeps_the_meaning_it_had(contracts: Path) -> None:
    found = loaded(written(contracts)).events["order_completed"]
    assert (found.consumers, found.environments, found.sources, dict(found.pinned)) == ((), (), (), {})
    assert (found.late_data, found.undeclared) == (LateData.ACCEPT, Undeclared.KEEP)
    assert (found.compatibility, found.current.lifecycle) == (Mode.FULL, Lifecycle())


def test_the_newest_active_version_judges_what_names_none_and_a_pinned_source_has_its_own(contracts: Path) -> None:
    about = ABOUT | {
        "pinned": {"app": "v1"},
        "versions": {
            "v1": {"lifecycle": "deprecated", "deprecated_until": date(2026, 1, 1)},
            "v3": {"lifecycle": "draft"},
        },
    }
    written(contracts, about=about)
    for number in (2, 3):
        (contracts / FOLDER / f"v{number}.json").write_text(json.dumps(VERSION | {"version": f"v{number}"}))
        (contracts / FOLDER / f"v{number}.examples.yaml").write_text(yaml.safe_dump(EXAMPLES))
    found = loaded(contracts).events["order_completed"]
    assert [version.lifecycle.state.value for version in found.versions] == ["deprecated", "active", "draft"]
    chosen = [found.version(None), found.version(None, "web"), found.version(None, "app"), found.version("3", "app")]
    assert [version.version for version in chosen if version] == ["v2", "v2", "v1", "v3"]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"type": "enum"}, "is an enum, which says its strings once"),
        ({"type": "enum", "values": ["a"], "enum": ["b"]}, "is an enum, which says its strings once"),
        ({"type": "string", "values": ["a"]}, "properties.x.values: is for `type: enum`"),
        ({"type": "string", "enum": ["a\nb"]}, "properties.x.enum: holds a value with a control character"),
        ({"type": "integer", "enum": ["1"]}, "properties.x.enum: is promised of a property of type integer"),
        ({"type": "string", "minimum": 1}, "properties.x.minimum: is promised of a property of type string"),
        ({"type": "integer", "min_length": 1}, "properties.x.min_length: is promised of a property of type integer"),
        ({"type": "date", "format": "email"}, "properties.x.format: is promised of a property of type date"),
        ({"type": "string", "format": "mail"}, "properties.x.format: is 'mail', which is none of 'email'"),
        ({"type": "number", "minimum": 2, "maximum": 1}, "properties.x.minimum: is above maximum"),
        ({"type": "string", "min_length": 2, "max_length": 1}, "properties.x.min_length: is above max_length"),
        ({"type": "string", "min_length": -1}, "properties.x.min_length: "),
        ({"type": "string", "pattern": "^a$"}, "properties.x.pattern: '^a$' cannot be a pattern: '^' anchors"),
        ({"type": "string", "pattern": r"\d+"}, "is not read alike everywhere"),
        ({"type": "string", "pattern": "(?=a)"}, "only '(?:' may be written"),
        (
            {"type": "string", "items": {"type": "string"}},
            "properties.x.items: is promised of a property of type string",
        ),
        ({"type": "array", "properties": {"a": {"type": "string"}}}, "properties.x.properties: is promised of"),
        ({"type": "object", "properties": {"a": {"type": "strng"}}}, "properties.x.properties.a.type: "),
        ({"type": "object", "properties": {"a": {"type": "string", "pi": 1}}}, "Did you mean 'pii'?"),
        ({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["cty"]}, "Did you mean 'city'?"),
        ({"type": "object", "properties": {"a.b": {"type": "string"}}}, "properties.x.properties.a.b: has a name with"),
        ({"type": "array", "items": {"type": "string", "pattern": "("}}, "properties.x.items.pattern: "),
        ({"type": "string", "owner": "shp"}, "properties.x.owner: names owner 'shp', which is not in owners.yaml."),
        ({"type": "string", "identifier": "mail"}, "properties.x.identifier: names identifier 'mail'"),
        ({"type": "integer", "default": "1"}, "properties.x.default: breaks what its own property promises"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_a_mistake_with_its_path(
    contracts: Path, said: dict[str, Any], fault: str
) -> None:
    found = faults(written(contracts, version=with_property("x", **said)))
    assert any(fault in one for one in found), found


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (
            {"consumers": ["grwth"]},
            "consumers: names consumer 'grwth', which is not in owners.yaml. Did you mean 'growth'?",
        ),
        ({"sources": ["Web App"]}, "sources: names 'Web App', which no folder of landing could be called"),
        ({"environments": ["a/b"]}, "environments: names 'a/b'"),
        ({"pinned": {"app": "v7"}}, "pinned.app: names version 'v7', which has no file."),
        ({"sources": ["web"], "pinned": {"app": "v1"}}, "pinned.app: is a source that may not emit the event"),
        ({"late_data": "quarantine"}, "late_after_hours: goes with `late_data: quarantine`"),
        ({"late_after_hours": 3}, "late_after_hours: goes with `late_data: quarantine`"),
        ({"late_data": "state_only"}, "late_after_hours: goes with `late_data: quarantine` or `state_only`"),
        ({"late_data": "state-only", "late_after_hours": 3}, "late_data: is 'state-only', which is none of"),
        ({"undeclared": "dropp"}, "undeclared: is 'dropp', which is none of"),
        ({"lifecycle": "deprecated"}, "deprecated_until: goes with `lifecycle: deprecated`"),
        ({"deprecated_until": date(2026, 1, 1)}, "deprecated_until: goes with `lifecycle: deprecated`"),
        ({"versions": {"v2": {"lifecycle": "draft"}}}, "versions.v2: has no file."),
        ({"compatability": "full"}, "Did you mean 'compatibility'?"),
        ({"compatibility": "ful"}, "compatibility: "),
    ],
)
def test_terms_that_contradict_or_lead_nowhere_are_mistakes(contracts: Path, said: dict[str, Any], fault: str) -> None:
    found = faults(written(contracts, about=ABOUT | said))
    assert any(fault in one for one in found), found


def test_a_day_that_stands_in_no_quotes_is_the_text_that_json_has(contracts: Path) -> None:
    """YAML would make a date of it, and stop at a day that no calendar has, without saying where."""
    root = written(contracts, version=with_property("day", type="date"), examples=None)
    (root / FOLDER / "v1.examples.yaml").write_text(
        "valid: [{properties: {order_id: AB1, day: 2026-01-31}}]\n"
        "invalid: [{event: {properties: {order_id: AB1, day: 2026-02-30}}, violates: ['properties.day: type date']}]\n"
    )
    assert faults(root) == []


@pytest.mark.parametrize(
    ("examples", "fault"),
    [
        (None, "v1: has no examples; add v1.examples.yaml"),
        (
            {"valid": EXAMPLES["valid"]},
            "invalid: is empty; add one event that breaks the promise, with what it violates.",
        ),
        (EXAMPLES | {"valid": []}, "valid: "),
        (EXAMPLES | {"valid": [{"properties": {}}]}, "valid.0: breaks its promise (properties.order_id: required)."),
        (EXAMPLES | {"valid": [{"traits": {}}]}, "valid.0: has no `properties`"),
        (EXAMPLES | {"valid": [{"properties": {"order_id": float("nan")}}]}, "holds what JSON cannot say"),
        (
            EXAMPLES | {"invalid": [{"event": {"properties": {}}, "violates": ["properties.order_id: requird"]}]},
            "order_id: requird', which it does not violate. Did you mean 'properties.order_id: required'?",
        ),
        (
            EXAMPLES
            | {"invalid": [{"event": {"properties": {"email": "x"}}, "violates": ["properties.order_id: required"]}]},
            "invalid.0.violates: does not name 'properties.email: format email', which it violates; add it.",
        ),
    ],
)
def test_each_version_has_examples_that_are_what_they_say(contracts: Path, examples: Any, fault: str) -> None:
    root = written(contracts, examples=examples)
    found = faults(root)
    assert any(fault in one for one in found), found
    assert "order_completed" in load_contracts(root, environment="demo", needs_examples=False).events


def test_examples_of_a_version_that_does_not_exist_are_a_mistake(contracts: Path) -> None:
    written(contracts)
    shutil.copy(contracts / FOLDER / "v1.examples.yaml", contracts / FOLDER / "v2.examples.yaml")
    assert faults(contracts) == ["v2.examples.yaml: is of a version 'v2' that does not exist."]


@pytest.mark.parametrize("name", ["unknown_event", "envelope"])
def test_no_event_is_named_as_what_is_no_events_contract(contracts: Path, name: str) -> None:
    shutil.copytree(contracts / "events" / "page", contracts / "events" / name)
    assert any(one.startswith(f"events/{name}: has a name that means something else") for one in faults(contracts))


# -- defaults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"type": "string", "format": "email", "identifier": "email", "default": "a@b.example"}, "as one person"),
        ({"type": "array", "items": {"type": "string", "default": "a"}}, "x.items.default: would never be taken"),
        (
            {"type": "object", "properties": {"a": {"type": "string", "default": "b"}}, "required": ["a"]},
            "properties.x.properties.a.default: would never be taken, because the property is required",
        ),
        ({"type": "object", "properties": {"a": {"type": "number", "default": "b"}}}, "x.properties.a.default: breaks"),
    ],
)
def test_a_default_that_could_never_be_taken_is_a_mistake(contracts: Path, said: dict[str, Any], fault: str) -> None:
    found = faults(written(contracts, version=with_property("x", **said)))
    assert any(fault in one for one in found), found


def test_a_required_property_has_no_default(contracts: Path) -> None:
    version = with_property("x", type="string", default="a")
    found = faults(written(contracts, version=version | {"required": ["order_id", "x"]}))
    assert any("properties.x.default: would never be taken" in one for one in found), found


@pytest.mark.parametrize("call", ["identify", "group"])
def test_a_trait_has_no_default_because_silence_says_nothing_of_a_person(contracts: Path, call: str) -> None:
    """Else a call that does not mention a plan would set it back to what somebody starts with."""
    inner = {"type": "array", "items": {"type": "object", "properties": {"y": {"type": "string", "default": "a"}}}}
    version = {"event_name": call, "version": "v1", "properties": {"x": {"type": "string", "default": "a"}, "z": inner}}
    shutil.rmtree(contracts / "events" / "identify")
    found = faults(written(contracts, about=ABOUT | {"call": call}, version=VERSION | version | {"required": []}))
    told = [one for one in found if "is a default that nobody fills in" in one]
    assert [one.split(": ")[1] for one in told] == ["properties.x.default", "properties.z.items.properties.y.default"]
