"""Proposing contracts from the command line: a new signal takes minutes, nothing is overwritten, nobody is named."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from activation_dagster.cli import app
from activation_dagster.domain.contracts import PropertyType, judge
from activation_dagster.errors import WrongUse
from activation_dagster.registry.loading import load_contracts

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation whose contracts a test may add to."""
    copied = tmp_path / "contracts"
    shutil.copytree(REPOSITORY / "contracts", copied)
    monkeypatch.setenv("ACTIVATION_CONTRACTS", str(copied))
    monkeypatch.setenv("ACTIVATION_HOME", str(tmp_path / "home"))
    return copied


def run(*words: str, fine: bool = True) -> Result:
    """`activation contracts …`; what a person must mend stands in `exception`."""
    ended = CliRunner().invoke(app, ["contracts", *words])
    assert (ended.exit_code == 0) is fine, ended.output + repr(ended.exception)
    return ended


def signals(count: int = 400) -> list[dict[str, Any]]:
    """Events of a signal that nobody has promised."""
    return [
        {
            "type": "track",
            "event": "Size Guide Opened",
            "userId": f"user-{number % 37}",
            "properties": {
                "garment": ("shirt", "shoe", "trousers")[number % 3],
                "contact_email": f"person{number}@shop.example",
                "opened_at": f"2026-03-01T10:{number % 60:02d}:00Z",
                "height": 150.5 + number % 50,
                "steps": number % 7,
                "seller": {"shop": {"city": f"Town {number}", "email": f"seller{number}@x"}, f"key{number}": {"a": 1}},
                "looks": [{"look_id": f"L{number}", "score": 0.5}, 7],
                **({"note": f"told {number}"} if number % 2 else {"note": None}),
            },
        }
        for number in range(count)
    ]


@pytest.fixture
def traffic(tmp_path: Path) -> Path:
    """A file of the new signal, with a broken line and one that has a contract."""
    file = tmp_path / "traffic.ndjson"
    known = {"type": "track", "event": "Product Purchased", "userId": "u", "properties": {"price": 1}}
    file.write_text("\n".join([*map(json.dumps, [*signals(), known]), '{"type": "tra', ""]), encoding="utf-8")
    return file


def test_a_new_signal_is_proposed_with_types_enumeration_and_personal_data(contracts: Path, traffic: Path) -> None:
    printed = run("infer", "--from", str(traffic), "--json")
    (slug, files), *others = json.loads(printed.stdout)["proposals"].items()
    assert (slug, others) == ("size_guide_opened", [])
    found = yaml.safe_load(files["v1.yaml"])
    kinds = {name: rule["type"] for name, rule in found["properties"].items()}
    assert kinds == {
        "contact_email": "string", "garment": "string", "height": "number", "opened_at": "timestamp",
        "steps": "integer", "note": "string", "seller": "object", "looks": "array",
    }  # fmt: skip
    assert sorted(found["properties"]["garment"]["enum"]) == ["shirt", "shoe", "trousers"]
    assert found["properties"]["contact_email"] == {"type": "string", "format": "email", "pii": True}
    assert found["required"] == [
        "contact_email", "garment", "height", "looks", "opened_at", "seller", "steps",
    ]  # fmt: skip
    assert "inside seller (400 objects): shop object 100 % and rarer keys" in files["v1.yaml"]
    assert "inside seller.shop (400 objects): city string 100 %, email string 100 % pii?" in files["v1.yaml"]
    assert "inside looks[] (400 objects): look_id string 100 %, score number 100 %" in files["v1.yaml"]


def messy(count: int = 300) -> list[dict[str, Any]]:
    """Traffic as it comes: lists of objects and of scalars, kinds that vary, dirt of under half a per cent."""
    return [
        {
            "type": "track",
            "event": "Basket Shared",
            "anonymousId": f"a{number % 41}",
            "properties": {
                "items": [
                    {
                        "sku": f"S{number}", "price": 9.5, "sizes": ["s", "m"][: number % 3],
                        "buyer": {"email": f"b{number}@x.example"},
                    }
                    for _ in range(1 + number % 3)
                ],
                "tags": ["new", "sale"],
                "counts": [1, 2, 3],
                "mixed": [1, "two"][number % 2],
                "grab bag": [1, "two", None, [3]],
                "address": {"country": "DE", "lines": [["a", "b"]], "varying": number if number % 2 else "text"},
                "currency": "EUR",
                "link": f"https://shop.example/{number}",
                "is_gift": number != 7 if number % 100 else "yes" if number == 100 else True,
                "empty": {}, "nothing": None, "none": [],
                **({"naïve": 1, "a.b": 2} if number % 5 else {}),
            },
        }
        for number in range(count)
    ]  # fmt: skip


def test_a_proposal_of_messy_traffic_says_what_stands_inside_and_passes_the_check(
    contracts: Path, tmp_path: Path
) -> None:
    file = tmp_path / "messy.ndjson"
    file.write_text("\n".join(map(json.dumps, messy())), encoding="utf-8")
    run("infer", "--from", str(file), "--write", "--owner", "growth")
    folder = contracts / "events" / "basket_shared"
    found = yaml.safe_load((folder / "v1.yaml").read_text())["properties"]
    assert found["items"]["items"] == {
        "type": "object",
        "properties": {
            "buyer": {
                "type": "object",
                "properties": {"email": {"type": "string", "format": "email", "pii": True}},
                "required": ["email"],
            },
            "price": {"type": "number"},
            "sizes": {"type": "array", "items": {"type": "string"}},
            "sku": {"type": "string"},
        },
        "required": ["buyer", "price", "sizes", "sku"],
    }
    assert (found["tags"], found["counts"]) == (
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "integer"}},
    )
    assert found["grab bag"] == {"type": "array"}
    assert found["address"]["properties"]["lines"] == {"type": "array", "items": {"type": "array"}}
    assert set(found["address"]["properties"]) == {"country", "lines"}
    assert found["link"]["format"] == "uri"
    told = (folder / "v1.yaml").read_text()
    assert "without a rule: varying" in told
    assert "items of grab bag: 300 string, 300 number, 300 array; MIXED, so no rule for items" in told
    assert run("check").exit_code == 0
    contract = load_contracts(contracts, environment="demo").events["basket_shared"]
    waiting = [one for one in messy() if judge(contract, contract.newest, one["properties"])]
    assert len(waiting) == 150, "only what is of two types by halves"
    assert all(isinstance(one["properties"]["mixed"], int) for one in waiting)


def test_no_value_of_a_person_is_printed(contracts: Path, traffic: Path) -> None:
    printed = run("infer", "--from", str(traffic)).output
    assert "shirt" in printed
    for secret in ("person", "@shop", "told", "user-", "150.5", "199.5", "seller1", "Town", "key1", "L1"):
        assert secret not in printed


def test_what_is_written_is_sound_and_its_own_traffic_keeps_it(contracts: Path, traffic: Path) -> None:
    run("infer", "--from", str(traffic), "--write", "--owner", "growth")
    loaded = load_contracts(contracts, environment="demo", needs_examples=False).events["size_guide_opened"]
    assert loaded.owner == "growth"
    assert {rule.type for rule in loaded.newest.properties} >= {PropertyType.TIMESTAMP, PropertyType.INTEGER}
    assert {judge(loaded, loaded.newest, signal["properties"]) for signal in signals()} == {()}


def test_nothing_is_written_over_or_without_an_owner(contracts: Path, traffic: Path) -> None:
    before = {path: path.read_bytes() for path in contracts.rglob("*") if path.is_file()}
    refused = [
        run("infer", "--from", str(traffic), "--write", fine=False),
        run("infer", "--from", str(traffic), "--write", "--owner", "nobody", fine=False),
        run("infer", "--from", str(traffic), "--event", "Product Purchased", "--write", "--owner", "shop", fine=False),
    ]
    assert all(isinstance(ended.exception, WrongUse) for ended in refused)
    run("infer", "--from", str(traffic), "--write", "--owner", "growth")
    written = contracts / "events" / "size_guide_opened" / "v1.yaml"
    kept = written.read_bytes()
    run("infer", "--from", str(traffic), "--event", "Size Guide Opened", "--write", "--owner", "shop", fine=False)
    assert written.read_bytes() == kept
    assert {path: path.read_bytes() for path in before} == before


def test_landing_and_a_compressed_file_propose_the_same(contracts: Path, traffic: Path, tmp_path: Path) -> None:
    packed = tmp_path / "traffic.ndjson.gz"
    packed.write_bytes(gzip.compress(traffic.read_bytes()))
    landed = CliRunner().invoke(app, ["events", "land", str(traffic), "--source", "web"])
    assert landed.exit_code == 0
    of_file = run("infer", "--from", str(packed), "--json").stdout
    assert run("infer", "--json").stdout == of_file
    assert run("infer", "--json", "--source", "web").stdout == of_file
    assert json.loads(run("infer", "--json", "--source", "other").stdout)["proposals"] == {}


def test_events_that_nobody_promised_are_proposed_from_quarantine(contracts: Path, traffic: Path) -> None:
    CliRunner().invoke(app, ["events", "land", str(traffic), "--source", "web"])
    assert CliRunner().invoke(app, ["work", "--no-deliver"]).exit_code in (0, 1)
    found = json.loads(run("infer", "--from", "quarantine", "--json").stdout)["proposals"]
    assert list(found) == ["size_guide_opened"]
    assert "400 of 400 events" in found["size_guide_opened"]["v1.yaml"]


def test_a_sample_is_the_same_each_time_and_says_its_size(contracts: Path, traffic: Path) -> None:
    first = run("infer", "--from", str(traffic), "--sample", "100").output
    assert "100 of 400 events" in first
    assert run("infer", "--from", str(traffic), "--sample", "100").output == first


def test_wrong_use_is_told_apart(contracts: Path, traffic: Path) -> None:
    for words in (
        ("--from", "/nowhere.ndjson"),
        ("--from", str(traffic), "--event", "Nobody Sent This"),
        ("--from", str(traffic), "--source", "web"),
    ):
        assert isinstance(run("infer", *words, fine=False).exception, WrongUse)


# -- from and to other tools ------------------------------------------------------------------------------------------


def test_contracts_come_back_from_a_tracking_plan_as_they_were(contracts: Path, tmp_path: Path) -> None:
    before = load_contracts(contracts, environment="demo", needs_examples=False).events
    for slug in ("page", "prescreen_submitted", "inventory_adjusted"):
        run("export", slug, "--as", "segment", "--to", str(tmp_path / slug))
        shutil.rmtree(contracts / "events" / slug)
        run("import", str(tmp_path / slug / "tracking_plan.json"), "--as", "segment", "--write")
    assert load_contracts(contracts, environment="demo", needs_examples=False).events == before


def test_an_import_writes_nothing_over(contracts: Path, tmp_path: Path) -> None:
    run("export", "user_profile_updated", "--as", "segment", "--to", str(tmp_path))
    before = {path: path.read_bytes() for path in contracts.rglob("*") if path.is_file()}
    refused = run("import", str(tmp_path / "tracking_plan.json"), "--as", "segment", "--write", fine=False)
    assert isinstance(refused.exception, WrongUse)
    assert {path: path.read_bytes() for path in contracts.rglob("*") if path.is_file()} == before


def test_what_an_import_cannot_say_is_told_and_ends_with_1(contracts: Path, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    schema = {
        "title": "Size Guide Opened",
        "properties": {"garment": {"type": "string", "contentEncoding": "base64"}, "x": {}},
    }
    file.write_text(json.dumps(schema), encoding="utf-8")
    ended = run("import", str(file), "--as", "json-schema", "--write", "--owner", "growth", fine=False)
    assert ended.exit_code == 1
    assert "$.properties.garment.contentEncoding" in ended.stderr
    assert "$.properties.x.type" in ended.stderr
    found = load_contracts(contracts, environment="demo", needs_examples=False).events["size_guide_opened"]
    assert [rule.name for rule in found.newest.properties] == ["garment"]
    losses = json.loads(run("import", str(file), "--as", "json-schema", "--json", fine=False).stdout)["losses"]
    assert len(losses) == 2


@pytest.mark.parametrize("text", ["", "[", "{}", '{"rules": 1}', "\ufeff", "- a: [", "'"])
def test_a_file_that_is_no_plan_is_one_sentence(contracts: Path, tmp_path: Path, text: str) -> None:
    for suffix in ("json", "yaml"):
        file = tmp_path / f"plan.{suffix}"
        file.write_text(text, encoding="utf-8")
        assert isinstance(run("import", str(file), "--as", "segment", fine=False).exception, WrongUse)


def test_a_hostile_plan_stays_inside_its_comments(contracts: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    rule = {
        "type": "TRACK",
        "key": "../../etc\nowner: evil",
        "version": 1,
        "jsonSchema": {"properties": {"properties": {"properties": {"x": {"type": "string", "a\nrequired: [q]": 1}}}}},
    }
    file.write_text(json.dumps({"rules": [rule]}), encoding="utf-8")
    run("import", str(file), "--as", "segment", "--write", "--owner", "growth", fine=False)
    (folder,) = [path for path in (contracts / "events").iterdir() if "evil" in path.name]
    assert yaml.safe_load((folder / "v1.yaml").read_text(encoding="utf-8"))["required"] == []
    assert yaml.safe_load((folder / "contract.yaml").read_text(encoding="utf-8"))["owner"] == "growth"


def test_a_json_schema_comes_back_as_the_contract_it_was(contracts: Path, tmp_path: Path) -> None:
    before = load_contracts(contracts, environment="demo", needs_examples=False).events["prescreen_submitted"]
    run("export", "prescreen_submitted", "--as", "json-schema", "--to", str(tmp_path))
    shutil.rmtree(contracts / "events" / "prescreen_submitted")
    file = tmp_path / "prescreen_submitted.v1.schema.json"
    run("import", str(file), "--as", "json-schema", "--write", "--owner", before.owner)
    after = load_contracts(contracts, environment="demo", needs_examples=False).events["prescreen_submitted"]
    assert (after.name, after.newest, after.description) == (before.name, before.newest, before.description)


def test_one_version_of_one_event_is_one_document(contracts: Path) -> None:
    printed = run("export", "user_profile_updated", "--as", "json-schema", "--version", "v1")
    assert json.loads(printed.stdout)["required"] == ["user_id"]
    for form in ("segment", "odcs", "json-schema"):
        missing = run("export", "user_profile_updated", "--as", form, "--version", "v9", fine=False)
        assert isinstance(missing.exception, WrongUse)


def test_exporting_says_which_contract_it_does_not_know(contracts: Path) -> None:
    error = run("export", "Product Purchase", "--as", "odcs", fine=False).exception
    assert isinstance(error, WrongUse)
    assert "Product Purchased" in str(error)


def test_every_contract_becomes_an_odcs_document(contracts: Path, tmp_path: Path) -> None:
    run("export", "--as", "odcs", "--to", str(tmp_path))
    printed = list(yaml.safe_load_all(run("export", "--as", "odcs").stdout))
    written = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(tmp_path.glob("*.odcs.yaml"))]
    assert sorted(printed, key=lambda one: one["id"]) == sorted(written, key=lambda one: one["id"])
    assert len(written) == len(load_contracts(contracts, environment="demo", needs_examples=False).events) + 1
    assert [one["id"] for one in written if one["schema"][0]["dataGranularityDescription"].endswith("envelope")] == [
        "envelope"
    ]


def test_the_envelope_comes_back_from_a_tracking_plan_and_from_its_json_schema(contracts: Path, tmp_path: Path) -> None:
    before = load_contracts(contracts, environment="demo", needs_examples=False).envelope
    assert before is not None
    run("export", "envelope", "--as", "segment", "--to", str(tmp_path))
    run("export", "envelope", "--as", "json-schema", "--to", str(tmp_path))
    for file, form in (("tracking_plan.json", "segment"), ("envelope.v1.schema.json", "json-schema")):
        shutil.rmtree(contracts / "envelope")
        ended = run("import", str(tmp_path / file), "--as", form, "--write", "--owner", before.owner)
        assert f"{contracts}/envelope" in ended.stdout.replace("\n", "")
        after = load_contracts(contracts, environment="demo").envelope  # with its made-up examples, which are tried
        assert after == before


def test_an_envelope_that_is_promised_bars_no_event_of_a_plan(contracts: Path, tmp_path: Path) -> None:
    run("export", "--as", "segment", "--to", str(tmp_path))
    shutil.rmtree(contracts / "events" / "page")
    plan = json.loads((tmp_path / "tracking_plan.json").read_text())
    plan["rules"] = [rule for rule in plan["rules"] if rule["type"] in ("PAGE", "COMMON")]
    (tmp_path / "two.json").write_text(json.dumps(plan))
    before = {path: path.read_bytes() for path in (contracts / "envelope").iterdir()}
    ended = run("import", str(tmp_path / "two.json"), "--as", "segment", "--write", fine=False)
    assert ended.exit_code == 1
    assert "envelope: is promised already" in ended.stderr
    assert (contracts / "events" / "page" / "v1.yaml").exists()
    assert {path: path.read_bytes() for path in (contracts / "envelope").iterdir()} == before
    alone = run("import", str(tmp_path / "two.json"), "--as", "segment", "--event", "envelope", "--write", fine=False)
    assert isinstance(alone.exception, WrongUse)
    assert "There is a contract already for envelope" in str(alone.exception)
    printed = run("import", str(tmp_path / "two.json"), "--as", "segment", "--event", "envelope").stdout
    assert "# --- envelope/v1.yaml" in printed


def test_an_event_that_a_plan_does_not_have_is_told(contracts: Path, tmp_path: Path) -> None:
    run("export", "--as", "segment", "--to", str(tmp_path))
    ended = run(
        "import", str(tmp_path / "tracking_plan.json"), "--as", "segment", "--event", "Product Purchase", fine=False
    )
    assert isinstance(ended.exception, WrongUse)
    assert "Did you mean 'Product Purchased'?" in str(ended.exception)
