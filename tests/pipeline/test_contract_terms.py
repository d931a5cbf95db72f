"""What contracts say beside their rules is carried out, from landing to the decision."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from activation_dagster.domain.repairs import Selection
from activation_dagster.domain.traits import TraitRules
from activation_dagster.lake.tables import TABLES
from activation_dagster.pipeline.explain import explain
from activation_dagster.pipeline.explanation import Explanation
from activation_dagster.pipeline.people import person_named
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.reentry import replay
from activation_dagster.pipeline.traits import person_traits
from activation_dagster.pipeline.verdicts import verdict_on
from activation_dagster.pipeline.watch import totals
from activation_dagster.registry.loading import load_contracts
from tests.pipeline.small_shop import (
    NOW,
    bad_price,
    buyer,
    choice,
    event,
    identify,
    lake_rows,
    land,
    ledger,
    purchase,
    work,
)


@pytest.fixture
def dialect() -> str:
    """What contracts say is carried out in the lake, and is the same whatever database holds state."""
    return "sqlite"


@pytest.fixture
def shop(places: Places, tmp_path: Path) -> Places:
    """An installation whose contracts are a copy that a test may change."""
    contracts = tmp_path / "contracts-of-its-own"
    shutil.copytree(places.contracts_root, contracts)
    return replace(places, contracts_root=contracts)


def changed(shop: Places, file: str, **said: Any) -> None:
    """Say more in a contract file."""
    path = shop.contracts_root / file
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | said, sort_keys=False))


def promised(
    shop: Places, slug: str, *, call: str = "track", name: str = "", properties: dict[str, Any], **terms: Any
) -> None:
    """Write a contract of one version."""
    folder = shop.contracts_root / "events" / slug
    folder.mkdir()
    about = {"owner": "shop", "criticality": "standard", "call": call, "description": "Made in a test."}
    (folder / "contract.yaml").write_text(yaml.safe_dump(about | terms))
    version = {"event_name": name or call, "version": "v1", "properties": properties}
    (folder / "v1.yaml").write_text(yaml.safe_dump(version, sort_keys=False))


def rows(shop: Places, table: str) -> list[dict[str, Any]]:
    names = [column.name for column in TABLES[table].columns]
    return [dict(zip(names, row, strict=True)) for row in lake_rows(shop)[table]]


def waiting(shop: Places) -> list[tuple[str, str, list[str]]]:
    """Of each quarantined event its reason, owner and violations."""
    return sorted((row["reason"], row["owner"], row["violations"]) for row in rows(shop, "quarantined_events"))


def traits_of(shop: Places, person: str) -> dict[str, Any]:
    members = person_named(shop, person).members
    with shop.state.read() as connection:
        return person_traits(connection, TraitRules(), members)


def of_user(shop: Places, user: str, workflow: str) -> Explanation:
    return explain(shop, profile=f"user_id:{user}", workflow=workflow)


# -- too late ---------------------------------------------------------------------------------------------------------


def test_what_comes_too_late_counts_for_the_person_and_triggers_nothing(shop: Places) -> None:
    """The same yes is heard of both people; only who said it in time is written to."""
    changed(shop, "events/consent_preference_updated/contract.yaml", late_data="state_only", late_after_hours=48)
    late, soon = NOW - timedelta(hours=49), NOW - timedelta(hours=48)
    for user, at in (("late", late), ("soon", soon)):
        land(shop, identify(user), purchase(user), choice(user, at=at, marketing_email=True, personalization=True))
    work(shop)
    counted = totals(shop)
    assert (counted.received, counted.accepted, counted.conserved) == (6, 6, True)
    decided = {row["reason"] for row in rows(shop, "send_decisions") if row["workflow_id"] == "welcome_back"}
    assert decided == {"", "too_late"}
    told = of_user(shop, "late", "welcome_back")
    assert told.decision is not None
    assert (told.decision.reason, told.decision.owner) == ("too_late", "crm")
    assert "state_only" in told.sentence
    assert told.consent is not None
    assert [one.found for one in told.consent.requires] == ["granted"]  # what was said late is known
    assert told.audience is not None
    assert told.audience.is_match
    sent = of_user(shop, "soon", "welcome_back").decision
    assert sent is not None
    assert sent.outcome == "send"


def test_traits_and_identifiers_of_what_comes_too_late_are_known(shop: Places) -> None:
    changed(shop, "events/identify/contract.yaml", late_data="state_only", late_after_hours=1)
    land(shop, identify("u1", at=NOW - timedelta(days=9), country="GB", email="ann@example.com"))
    work(shop)
    assert traits_of(shop, "email:ann@example.com")["country"] == "GB"


# -- undeclared properties --------------------------------------------------------------------------------------------


def test_what_is_dropped_reaches_nothing_and_the_event_is_accepted(shop: Places) -> None:
    changed(shop, "events/identify/contract.yaml", undeclared="drop")
    changed(shop, "events/product_purchased/contract.yaml", undeclared="drop")
    land(
        shop,
        identify("u1", country="US", favourite="secret-colour"),
        *buyer("u2", price=700.0),
        purchase("u1", gift="secret-gift"),
    )
    work(shop)
    assert totals(shop).quarantined == 0
    traits = traits_of(shop, "user_id:u1")
    assert set(traits) == {"country", "first_name", "$country"}
    assert traits["country"] == "US"
    kept = json.dumps([rows(shop, name) for name in TABLES if name != "ingested_events"], default=str)
    assert "secret" not in kept
    assert ledger(shop)


def test_an_identifier_that_is_not_declared_names_nobody_where_it_is_dropped(shop: Places) -> None:
    promised(shop, "group_joined", call="group", properties={"plan": {"type": "string"}}, undeclared="drop")
    for user in ("u1", "u2"):
        land(shop, event("group", user, at=NOW, traits={"plan": "pro", "email": "both@example.com"}))
    work(shop)
    assert len({row["profile_id"] for row in rows(shop, "resolved_events")}) == 2


# -- defaults ---------------------------------------------------------------------------------------------------------

GIFT = {
    "amount": {"type": "number", "minimum": 0, "default": 300},
    "channel": {"type": "enum", "values": ["web", "app"], "default": "web"},
    "card": {"type": "object", "properties": {"colour": {"type": "string", "default": "red"}}, "default": {}},
    "note": {"type": "string"},
}


def test_a_default_is_read_where_nothing_was_said_and_never_where_null_was(shop: Places) -> None:
    promised(shop, "gift_given", name="Gift Given", properties=GIFT)
    changed(
        shop,
        "audiences/recent_buyers.yaml",
        conditions=[{"sum": "amount", "of": "Gift Given", "within_days": 30, "at_least": 300}],
    )
    changed(
        shop,
        "workflows/welcome_back.yaml",
        trigger={"event": "gift_given", "where": {"channel": "web"}},
        data_fields={"card": "properties.card", "note": "properties.note", "channel": "properties.channel"},
    )
    for user, said in (("silent", {}), ("null", {"channel": None, "amount": None}), ("app", {"channel": "app"})):
        land(shop, *buyer(user), event("track", user, at=NOW, event="Gift Given", properties=said))
    work(shop)
    used = [
        json.loads(row["used_properties"]) for row in rows(shop, "validated_events") if row["contract"] == "gift_given"
    ]
    assert {"amount": 300, "card": {"colour": "red"}, "channel": "web", "note": None} in used
    assert {"amount": None, "card": {"colour": "red"}, "channel": None, "note": None} in used
    decided = [row for row in rows(shop, "send_decisions") if row["workflow_id"] == "welcome_back"]
    assert [row["outcome"] for row in decided] == ["send"]  # of the silent one alone: the other two are not of the web
    (sent,) = [one for one in ledger(shop) if one.workflow_id == "welcome_back"]
    assert {name: sent.data_fields.get(name) for name in GIFT} == {
        "amount": None,
        "card": {"colour": "red"},
        "channel": "web",
        "note": None,
    }


# -- unknown events ---------------------------------------------------------------------------------------------------


def test_an_unknown_event_waits_unless_its_source_is_declared_to_be_kept(shop: Places) -> None:
    line = {"sources": ["app"], "calls": ["track", "screen"], "environments": ["shop"], "why": "They are on their way."}
    changed(shop, "unknown_events.yaml", keep=[line])
    said = [
        event("track", "u1", at=NOW, event="No Such Event", properties={"a": 1}),
        event("screen", "u1", at=NOW, name="Home"),
        event("alias", "u1", at=NOW, previousId="a1"),
        purchase("u1") | {"context": {"protocols": {"event_version": "v77"}}},
    ]
    land(shop, *said, source="app")
    land(shop, *[one | {"messageId": f"web-{one['messageId']}"} for one in said], source="web")
    work(shop)
    accepted = rows(shop, "validated_events")
    assert {(row["source"], row["contract"], row["contract_version"], row["event_type"]) for row in accepted} == {
        ("app", "unknown_event", None, "track"),
        ("app", "unknown_event", None, "screen"),
    }
    assert [row["unresolved_reason"] for row in rows(shop, "resolved_events")] == [None, None]
    assert [reason for reason, _, _ in waiting(shop)] == ["unknown_event"] * 4 + ["unknown_version"] * 2
    assert (totals(shop).conserved, totals(shop).profiles, totals(shop).decisions) == (True, 1, 0)


def test_what_was_unknown_enters_again_once_it_is_declared_to_be_kept(shop: Places) -> None:
    land(shop, event("track", "u1", at=NOW, event="No Such Event"), source="app")
    work(shop)
    assert waiting(shop)[0][0] == "unknown_event"
    changed(shop, "unknown_events.yaml", keep=[{"sources": ["app"], "why": "Kept from now on."}])
    assert replay(shop, Selection(), by="ann").passing == 1
    work(shop)
    assert [row["contract"] for row in rows(shop, "validated_events")] == ["unknown_event"]


# -- the envelope -----------------------------------------------------------------------------------------------------


def test_every_event_is_judged_by_the_envelopes_contract_beside_its_own(shop: Places) -> None:
    changed(shop, "unknown_events.yaml", keep=[{"sources": ["web"], "why": "Kept."}])
    changed(shop, "envelope/contract.yaml", owner="research")
    bad = {"context": {"locale": ["en"], "library": "analytics.js"}}
    said = ["context.library: type object", "context.locale: type string"]
    land(
        shop,
        purchase("u1") | bad,
        bad_price("u1") | bad,
        event("page", "u1", at=NOW, properties={}) | bad,
        event("track", "u1", at=NOW, event="No Such Event") | bad,
        purchase("u1") | {"context": {"locale": "en-GB", "library": {"name": "analytics.js", "version": "2"}}},
    )
    work(shop)
    assert waiting(shop) == [
        ("contract_violation", "shop", [*said, "properties.price: type number"]),
        *[("envelope_violation", "research", said)] * 3,
    ]
    assert len(rows(shop, "validated_events")) == 1


def test_a_source_may_be_pinned_to_an_older_envelope(shop: Places) -> None:
    folder = shop.contracts_root / "envelope"
    newer = yaml.safe_load((folder / "v1.yaml").read_text()) | {"version": "v2", "required": ["type", "context"]}
    (folder / "v2.yaml").write_text(yaml.safe_dump(newer))
    changed(shop, "envelope/contract.yaml", pinned={"old_app": "v1"})
    land(shop, purchase("u1"), source="web")
    land(shop, purchase("u1"), source="old_app")
    work(shop)
    assert waiting(shop) == [("envelope_violation", "platform", ["context: required"])]
    assert [row["source"] for row in rows(shop, "validated_events")] == ["old_app"]


# -- every call -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "section", "owned"),
    [("group", "traits", {"plan": 5}), ("screen", "properties", {"plan": 5}), ("page", "properties", {"url": 5})],
)
def test_a_contract_of_any_call_judges_its_own_section_and_triggers_what_waits_for_it(
    shop: Places, call: str, section: str, owned: dict[str, Any]
) -> None:
    if call != "page":
        promised(shop, f"{call}_seen", call=call, properties={"plan": {"type": "string"}})
    slug = "page" if call == "page" else f"{call}_seen"
    changed(shop, "workflows/welcome_back.yaml", trigger={"event": slug}, data_fields={})
    land(
        shop,
        *buyer("u1"),
        event(call, "u1", at=NOW, **{section: {"plan": "pro"}}),
        event(call, "u1", at=NOW, **{section: owned}),
        event(call, "u1", at=NOW),
    )
    work(shop)
    name = next(iter(owned))
    owner = "growth" if call == "page" else "shop"
    assert waiting(shop) == [("contract_violation", owner, [f"{section}.{name}: type string"])]
    judged = {row["contract_version"] for row in rows(shop, "validated_events") if row["contract"] == slug}
    assert judged == {"v1"}
    decided = [row["outcome"] for row in rows(shop, "send_decisions") if row["workflow_id"] == "welcome_back"]
    assert decided == ["send", "send"]


# -- one line ---------------------------------------------------------------------------------------------------------


def test_one_line_is_judged_as_its_batch_was(shop: Places) -> None:
    """What a repair tries first must be what its batch will say: terms, sources and the envelope included."""
    changed(shop, "unknown_events.yaml", keep=[{"sources": ["web"], "why": "Kept."}])
    changed(
        shop,
        "events/product_purchased/contract.yaml",
        late_data="quarantine",
        late_after_hours=100,
        sources=["web", "app"],
        undeclared="quarantine",
    )
    said = [
        purchase("u1"),
        purchase("u1", at=NOW - timedelta(days=30)),
        purchase("u1", at=NOW - timedelta(days=30)) | {"receivedAt": "2025-08-19T11:00:00Z"},
        purchase("u1", gift=True),
        purchase("u1") | {"context": {"ip": 5}},
        event("track", "u1", at=NOW, event="No Such Event"),
    ]
    for source in ("web", "app", "till"):
        land(shop, *[one | {"messageId": f"{source}-{one['messageId']}"} for one in said], source=source)
    work(shop)
    contracts = load_contracts(shop.contracts_root, environment="shop", needs_examples=False)
    became = {row["event_id"]: None for row in rows(shop, "validated_events")}
    became |= {row["event_id"]: (row["reason"], row["violations"]) for row in rows(shop, "quarantined_events")}
    assert len(became) == 18
    for row in rows(shop, "ingested_events"):
        line = row["payload"].encode()
        verdict = verdict_on(line, contracts, source=row["source"], landed_at=NOW)
        wanted = None if verdict.reason is None else (verdict.reason.value, list(verdict.violations))
        got = became[row["event_id"]]
        assert (got if got is None else (got[0], got[1] or [])) == wanted
