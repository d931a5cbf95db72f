"""Contracts are read as people wrote them: every mistake in every file is reported at once, with a way to mend it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from activation_dagster.domain.contracts import PropertyType
from activation_dagster.errors import ContractsInvalid, Fault
from activation_dagster.registry.contract_set import REPAIRS, fingerprint
from activation_dagster.registry.loading import load_contracts

CONTRACTS = Path(__file__).resolve().parent.parent.parent / "contracts"

EXAMPLE = (
    '{"event_name": "user_profile_updated", "version": "v2",\n'
    ' "properties": {"user_id": {"type": "string"}, "consent_status": {"type": "boolean"}, '
    '"updated_at": {"type": "timestamp"}},\n'
    ' "required": ["user_id", "updated_at"]}\n'
)
"""The contract as the first request for this platform wrote it."""

FILES = sorted(
    path.relative_to(CONTRACTS).as_posix()
    for path in CONTRACTS.rglob("*")
    if path.is_file() and REPAIRS not in path.relative_to(CONTRACTS).parts
)


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A copy of the contracts that a test may spoil."""
    copied = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, copied)
    return copied


def faults_of(root: Path) -> tuple[Fault, ...]:
    """Every fault, or none."""
    try:
        load_contracts(root, environment="demo")
    except ContractsInvalid as invalid:
        return invalid.faults
    return ()


def edit(file: Path, change: Callable[[Any], None]) -> None:
    """Change what a YAML file says."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def test_the_contracts_of_this_repository_are_sound() -> None:
    assert faults_of(CONTRACTS) == ()


def test_the_json_example_loads_as_it_stands(contracts: Path) -> None:
    (contracts / "events" / "user_profile_updated" / "v2.json").write_text(EXAMPLE)
    found = load_contracts(contracts, environment="demo").events["user_profile_updated"]
    assert found.newest.version == "v2"
    assert {(rule.name, rule.type, rule.is_required) for rule in found.newest.properties} == {
        ("user_id", PropertyType.STRING, True),
        ("consent_status", PropertyType.BOOLEAN, False),
        ("updated_at", PropertyType.TIMESTAMP, True),
    }
    assert json.loads(EXAMPLE) == json.loads((CONTRACTS / "events" / "user_profile_updated" / "v2.json").read_text())


def test_several_versions_live_at_once_and_the_newest_judges_events_that_name_none(contracts: Path) -> None:
    folder = contracts / "events" / "user_profile_updated"
    (folder / "v10.json").write_text(EXAMPLE.replace('"v2"', '"v10"'))
    found = load_contracts(contracts, environment="demo", needs_examples=False).events["user_profile_updated"]
    assert [version.version for version in found.versions] == ["v1", "v2", "v10"]  # by number, not by spelling
    assert found.version(None) == found.versions[-1]
    assert found.version("2") == found.version("v2") == found.versions[1]
    assert found.version("v9") is None


@pytest.mark.parametrize("file", FILES)
def test_the_fingerprint_changes_with_any_file(contracts: Path, file: str) -> None:
    before = fingerprint(contracts, "demo")
    assert fingerprint(CONTRACTS, "demo") == before
    path = contracts / file
    # Of the sources only what they say counts, and not how it is written.
    more = b"  another: {owner: shop, environment: demo}" if file == "sources.yaml" else b""
    path.write_bytes(path.read_bytes() + more + b"\n")
    changed = fingerprint(contracts, "demo")
    path.rename(path.with_name(f"renamed_{path.name}"))
    assert len({before, changed, fingerprint(contracts, "demo")}) == 3


def test_the_fingerprint_names_the_environment_and_ignores_what_is_no_contract(contracts: Path) -> None:
    before = fingerprint(contracts, "demo")
    assert fingerprint(contracts, "production") != before
    (contracts / "notes.txt").write_text("nothing")
    (contracts / REPAIRS / "another.yaml").write_text("nothing")  # a repair mends events, it promises nothing
    assert fingerprint(contracts, "demo") == before
    assert load_contracts(contracts, environment="demo").fingerprint == before


def test_a_mapping_counts_only_in_the_environments_it_names() -> None:
    def names(environment: str) -> set[str]:
        return {found.mapping_id for found in load_contracts(CONTRACTS, environment=environment).consent.mappings}

    assert "demo_data_sharing_marketing" in names("demo")
    assert names("demo") - names("production") == {"demo_data_sharing_marketing", "demo_data_sharing_research"}


def test_what_a_version_promises_is_read_whole() -> None:
    purchase = load_contracts(CONTRACTS, environment="demo").events["product_purchased"].newest
    assert {rule.name for rule in purchase.properties if rule.is_required} == {
        "product_id",
        "price",
        "quantity",
        "currency",
    }
    assert {rule.name for rule in purchase.properties if rule.enum} == {"currency"}


# -- mistakes ---------------------------------------------------------------------------------------------------------


def set_at(*path: str | int, to: Any) -> Callable[[Any], None]:
    """Sets one value of a file."""

    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = to

    return change


def without(key: str) -> Callable[[Any], None]:
    """Takes one key out of a file."""

    def change(content: Any) -> None:
        del content[key]

    return change


MISTAKES: list[tuple[str, Callable[[Any], None], str, str]] = [
    ("events/page/contract.yaml", set_at("owner", to="growht"), "owner", "Did you mean 'growth'?"),
    ("events/page/contract.yaml", set_at("criticality", to="vital"), "criticality", "critical"),
    ("events/page/contract.yaml", set_at("ownr", to="growth"), "ownr", "Did you mean 'owner'?"),
    ("events/page/contract.yaml", without("description"), "description", "is missing; add it"),
    ("events/page/contract.yaml", set_at("call", to="pageview"), "call", "page"),
    ("events/page/v1.yaml", set_at("properties", "url", "type", to="text"), "properties.url.type", "string"),
    ("events/page/v1.yaml", set_at("properties", "url", "typ", to="string"), "properties.url.typ", "'type'"),
    ("events/page/v1.yaml", set_at("required", to=["urll"]), "required", "Did you mean 'url'?"),
    ("events/page/v1.yaml", set_at("event_name", to="Page"), "event_name", "must be 'page'"),
    ("events/page/v1.yaml", set_at("version", to="v2"), "version", "make them equal"),
    ("events/page/v1.yaml", set_at("version", to="1"), "version", "pattern"),
    ("events/page/v1.yaml", set_at("properties", "a.b", to={"type": "string"}), "properties.a.b", "has a name with"),
    ("audiences/recent_buyers.yaml", set_at("owner", to="cmr"), "owner", "Did you mean 'crm'?"),
    ("audiences/recent_buyers.yaml", set_at("purpose", to="marketting"), "purpose", "Did you mean 'marketing'?"),
    ("audiences/recent_buyers.yaml", set_at("channel", to="emial"), "channel", "Did you mean 'email'?"),
    ("audiences/recent_buyers.yaml", set_at("conditions", to=[]), "conditions", "holds too little"),
    (
        "audiences/recent_buyers.yaml",
        set_at("conditions", 0, "count", to="Product Purchase"),
        "conditions.0",
        "Did you mean 'Product Purchased'?",
    ),
    ("audiences/recent_buyers.yaml", set_at("conditions", 0, "at_least", to=0), "conditions.0", "ask for more than 0"),
    ("audiences/recent_buyers.yaml", set_at("conditions", 0, "at_most", to=3), "conditions.0", "at_least alone"),
    ("audiences/recent_buyers.yaml", set_at("conditions", 0, "trait", to="age"), "conditions.0", "exactly one of"),
    ("audiences/recent_buyers.yaml", set_at("conditions", 0, to={"trait": "age"}), "conditions.0", "exactly one of"),
    ("audiences/recent_buyers.yaml", set_at("conditions", 0, "within_days", to=0), "conditions.0.within_days", "1"),
    ("audiences/recent_buyers.yaml", set_at("conditions", 0, "at_least", to="1"), "conditions.0.at_least", "number"),
    ("audiences/high_value_users.yaml", set_at("conditions", 0, "sum", to="prise"), "conditions.0", "'price'"),
    ("audiences/high_value_users.yaml", set_at("conditions", 0, "times", to="qty"), "conditions.0", "property 'qty'"),
    ("audiences/high_value_users.yaml", set_at("conditions", 0, "of", to=None), "conditions.0", "say which with `of`"),
    ("workflows/welcome_back.yaml", set_at("audience", to="recent_buyer"), "audience", "'recent_buyers'"),
    ("workflows/welcome_back.yaml", set_at("send", "destination", to="iterabel"), "send.destination", "'iterable'"),
    ("workflows/welcome_back.yaml", set_at("send", "endpoint", to="trak"), "send.endpoint", "Did you mean 'track'?"),
    ("workflows/welcome_back.yaml", set_at("trigger", "event", to="consent"), "trigger.event", "event 'consent'"),
    ("workflows/welcome_back.yaml", set_at("trigger", to={}), "trigger", "must be either"),
    ("workflows/welcome_back.yaml", set_at("trigger", "entered_audience", to=True), "trigger", "must be either"),
    ("workflows/welcome_back.yaml", set_at("data_fields", "x", to="properties.incentiv"), "data_fields", "'incentive'"),
    ("workflows/welcome_back.yaml", set_at("data_fields", "x", to="context.ip"), "data_fields.x", "can read only"),
    ("workflows/vip_journey.yaml", set_at("data_fields", "x", to="properties.a"), "data_fields.x", "can read only"),
    ("workflows/welcome_back.yaml", set_at("data_fields", "audience_id", to="traits.a"), "data_fields", "remove it"),
    ("workflows/welcome_back.yaml", set_at("reentry_days", to="never"), "reentry_days", ""),
    ("workflows/welcome_back.yaml", set_at("expires_after_hours", to=0), "expires_after_hours", "1"),
    ("workflows/welcome_back.yaml", set_at("priority", to="20"), "priority", "is no whole number"),
    ("destinations/iterable.yaml", set_at("profile_key", to="user"), "profile_key", "Did you mean 'user_id'?"),
    ("destinations/iterable.yaml", set_at("endpoints", "track", "batch_size", to=0), "endpoints.track.batch_size", "1"),
    (
        "destinations/iterable.yaml",
        set_at("endpoints", "track", "is_idempotent", to="yes"),
        "",
        "is neither true nor false",
    ),
    ("consent.yaml", set_at("default_region", to="rest"), "default_region", "region 'rest'"),
    (
        "consent.yaml",
        set_at("regions", "canada", "valid_for_days", to={"marketng": 3}),
        "regions.canada",
        "'marketing'",
    ),
    (
        "consent.yaml",
        set_at("purposes", "research", "channels", to=[]),
        "purposes.research.channels",
        "holds too little",
    ),
    ("consent_mappings/marketing_email.yaml", set_at("event", to="Consent"), "event", "promised under events/"),
    ("consent_mappings/marketing_email.yaml", set_at("channels", to=["sms"]), "channel", "channel 'sms'"),
    ("consent_mappings/marketing_email.yaml", without("basis"), "basis", "is missing; add it"),
    ("identity.yaml", set_at("kinds", "email", "blocked_patterns", to=["("]), "kinds.email", "is no pattern"),
    ("identity.yaml", set_at("kinds", "email", "limit", to=0), "kinds.email.limit", "1"),
    ("identity.yaml", set_at("kinds", "email", "normalise", to=["upper"]), "kinds.email.normalise", "lower"),
    ("owners.yaml", set_at("owners", "shop", "contact", to=None), "owners.shop.contact", "is no text"),
    (
        "failure_modes.yaml",
        set_at("gate", "expired", "owner", to="privcy"),
        "gate.expired.owner",
        "Did you mean 'privacy'?",
    ),
    ("failure_modes.yaml", set_at("gate", "expired", "response", to=""), "gate.expired.response", "is too short"),
]


@pytest.mark.parametrize(
    ("file", "change", "path", "sentence"),
    MISTAKES,
    ids=[f"{number}-{file.rpartition('/')[2]}-{path}" for number, (file, _, path, _) in enumerate(MISTAKES)],
)
def test_a_mistake_is_told_with_its_file_its_path_and_what_to_do(
    contracts: Path, file: str, change: Callable[[Any], None], path: str, sentence: str
) -> None:
    edit(contracts / file, change)
    # A mistake in one file may leave others without what they name; it is told first among them, and in its own words.
    own = [fault for fault in faults_of(contracts) if fault.file == file]
    assert own, "no fault was found"
    assert any(fault.path.startswith(path) and sentence in fault.sentence for fault in own), [*map(str, own)]
    assert all(fault.sentence.endswith((".", "?")) for fault in own), [*map(str, own)]


def test_every_mistake_of_every_kind_of_file_is_reported_at_once_and_in_order(contracts: Path) -> None:
    spoiled = {
        "audiences/recent_buyers.yaml": set_at("owner", to="nobody"),
        "consent.yaml": set_at("owner", to="nobody"),
        "consent_mappings/marketing_email.yaml": set_at("owner", to="nobody"),
        "destinations/iterable.yaml": set_at("owner", to="nobody"),
        "events/page/contract.yaml": set_at("owner", to="nobody"),
        "failure_modes.yaml": set_at("gate", "expired", "owner", to="nobody"),
        "identity.yaml": set_at("owner", to="nobody"),
        "workflows/vip_journey.yaml": set_at("owner", to="nobody"),
    }
    for file, change in spoiled.items():
        edit(contracts / file, change)
    found = faults_of(contracts)
    assert [fault.file for fault in found] == sorted(spoiled)
    assert all("nobody" in fault.sentence for fault in found)
    with pytest.raises(ContractsInvalid, match="8 mistakes in the contracts:") as invalid:
        load_contracts(contracts, environment="demo")
    assert str(invalid.value).count("\n") == len(spoiled)


def test_several_mistakes_in_one_file_are_all_reported(contracts: Path) -> None:
    file = contracts / "workflows" / "welcome_back.yaml"
    edit(file, set_at("audience", to="nobody"))
    edit(file, set_at("owner", to="nobody"))
    edit(file, set_at("send", "endpoint", to="nowhere"))
    assert [fault.path for fault in faults_of(contracts)] == ["audience", "owner", "send.endpoint"]


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("audiences/recent_buyers.yaml", b"owner: [", "is no sound YAML"),
        ("audiences/recent_buyers.yaml", b"owner: crm\nowner: shop\n", "the key 'owner' stands twice"),
        ("audiences/recent_buyers.yaml", b"owner: \xff\n", "cannot be read as UTF-8"),
        ("audiences/recent_buyers.yaml", b"- a list\n", "is no set of names and values"),
        ("audiences/recent_buyers.yaml", b"", "is no set of names and values"),
        ("events/user_profile_updated/v2.json", b'{"event_name": ', "is no sound JSON"),
        ("events/user_profile_updated/v2.json", b'{"version": "v2", "version": "v2"}', "stands twice"),
        ("owners.yaml", b"owners: {platform: Platform}\n", "is no set of names and values"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_mistake_with_its_place(
    contracts: Path, file: str, content: bytes, sentence: str
) -> None:
    (contracts / file).write_bytes(content)
    assert any(fault.file == file and sentence in fault.sentence for fault in faults_of(contracts))


@pytest.mark.parametrize("file", ["owners.yaml", "identity.yaml", "consent.yaml", "failure_modes.yaml"])
def test_a_file_that_must_be_there_and_is_not_is_a_mistake(contracts: Path, file: str) -> None:
    (contracts / file).unlink()
    assert [fault.file for fault in faults_of(contracts) if not fault.path][0] == file  # noqa: RUF015 - a tuple


def test_an_event_without_owner_or_without_version_is_a_mistake(contracts: Path) -> None:
    (contracts / "events" / "page" / "contract.yaml").unlink()
    (contracts / "events" / "inventory_adjusted" / "v1.yaml").unlink()
    assert [(fault.file, fault.sentence) for fault in faults_of(contracts)] == [
        ("events/inventory_adjusted", "has no version file; add v1.yaml."),
        ("events/inventory_adjusted/v1.examples.yaml", "is of a version 'v1' that does not exist."),
        ("events/page", "has no contract.yaml that names its owner; add one."),
    ]


def test_one_mistake_hides_no_other_in_its_file_nor_in_any(contracts: Path) -> None:
    page = contracts / "events" / "page"
    (page / "contract.yaml").write_text(
        "owner: grwth\ncritcality: standard\ncriticality: extreme\ncall: page\ndescription: 5\nconsumers: [nobody]\n"
        "pinned: {web: v9}\nlate_data: sometimes\n"
    )
    (page / "v1.yaml").write_text(
        "event_name: page\nversion: v3\npropertys: {}\nproperties:\n  url: {type: strnig}\n"
        "  n: {type: integer, minimum: 5, maximum: 1}\n  m: {type: string, pattern: '['}\n"
        "  q: {type: string, identifier: emial, format: emial, enum: [1]}\n"
        "required: [url, nowhere]\n"
    )
    (page / "v1.examples.yaml").write_text("valid: []\ninvalids: []\n")
    (contracts / "events" / "identify" / "v1.examples.yaml").unlink()
    told = [(fault.file.removeprefix("events/"), fault.path) for fault in faults_of(contracts)]
    assert told == [
        ("identify/v1", ""),
        *(
            ("page/contract.yaml", path)
            for path in ("consumers", "critcality", "criticality", "description", "late_data", "owner", "pinned.web")
        ),
        *(("page/v1.examples.yaml", path) for path in ("invalids", "valid")),
        *(
            ("page/v1.yaml", path)
            for path in (
                "properties.m.pattern", "properties.n.minimum", "properties.q.enum.0", "properties.q.format",
                "properties.q.identifier", "properties.url.type", "propertys", "required", "version",
            )
        ),
    ]  # fmt: skip


def test_nobody_is_told_that_a_name_is_missing_where_its_file_has_a_mistake(contracts: Path) -> None:
    owners = contracts / "owners.yaml"
    owners.write_text(owners.read_text() + "\n  broken: [\n")
    assert {fault.file for fault in faults_of(contracts)} == {"owners.yaml"}
    owners.write_text(owners.read_text().replace("growth", "grown"))
    told = [fault.sentence for fault in faults_of(contracts) if fault.file != "owners.yaml"]
    assert told
    assert all("names owner 'growth'" in sentence for sentence in told)


def test_two_contracts_of_one_event_are_a_mistake(contracts: Path) -> None:
    shutil.copytree(contracts / "events" / "page", contracts / "events" / "page_again")
    (fault,) = faults_of(contracts)
    assert fault.sentence == "is 'page', as in events/page; keep one."


def test_versions_of_two_events_in_one_folder_are_a_mistake(contracts: Path) -> None:
    path = contracts / "events" / "user_profile_updated" / "v3.json"
    path.write_text(EXAMPLE.replace('"v2"', '"v3"').replace("user_profile_updated", "user_updated"))
    assert any("differs between its versions" in fault.sentence for fault in faults_of(contracts))


def test_a_name_that_no_table_could_have_is_a_mistake(contracts: Path) -> None:
    (contracts / "audiences" / "recent_buyers.yaml").rename(contracts / "audiences" / "Recent-Buyers.yaml")
    assert any(
        fault.file == "audiences/Recent-Buyers.yaml" and "lower case with underscores" in fault.sentence
        for fault in faults_of(contracts)
    )


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("audience/young.yaml", "Did you mean 'audiences'?"),
        ("audiences/young.yml", "Name it .yaml."),
        ("identiy.yaml", "Did you mean 'identity'?"),
        ("events/v1.yaml", "Move it, or remove it."),
        ("drafts/idea.json", "Move it, or remove it."),
    ],
)
def test_a_contract_that_nobody_would_read_is_a_mistake(contracts: Path, file: str, advice: str) -> None:
    (contracts / file).parent.mkdir(exist_ok=True)
    shutil.copy(contracts / "audiences" / "recent_buyers.yaml", contracts / file)
    (fault,) = faults_of(contracts)
    assert (fault.file, fault.path) == (file, "")
    assert advice in fault.sentence
    (contracts / "README.md").write_text("A text is no contract.")
    assert len(faults_of(contracts)) == 1


def test_faults_sort_by_file_and_path() -> None:
    assert [field.name for field in fields(Fault)] == ["file", "path", "sentence"]
    assert str(Fault(file="a.yaml", path="owner", sentence="is wrong.")) == "a.yaml: owner: is wrong."
    assert str(Fault(file="a.yaml", path="", sentence="is wrong.")) == "a.yaml: is wrong."
