"""Promise 6: every decision explains itself, for a send and for a non-send, from the event to the answer."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from activation_dagster.commands.printing import plain
from activation_dagster.domain.consent import ConsentStatus
from activation_dagster.domain.sends import SendStatus
from activation_dagster.errors import WrongUse
from activation_dagster.lake.tables import DECISIONS
from activation_dagster.pipeline.explain import explain
from activation_dagster.pipeline.explanation import Explanation
from activation_dagster.pipeline.people import consent_of, person_named
from activation_dagster.pipeline.places import Places
from activation_dagster.state.consent import record_choice
from activation_dagster.state.suppressions import suppress
from tests.pipeline.small_shop import (
    NOW,
    REPOSITORY,
    buyer,
    choice,
    event,
    identify,
    land,
    purchase,
    send_for,
    send_out,
    work,
)

SECRETS = ("u1", "u2", "u3", "u4", "u5", "Name of", "sku-1")


def of_user(places: Places, user: str, workflow: str, *, reveal: bool = False) -> Explanation:
    return explain(places, profile=f"user_id:{user}", workflow=workflow, reveal=reveal)


def test_a_send_is_explained_from_the_event_to_the_answer(worked: Places) -> None:
    found = of_user(worked, "u1", "welcome_back")
    assert found.decision is not None
    assert (found.decision.outcome, found.decision.reason) == ("send", "")
    assert found.batch is not None
    assert (found.batch.provenance, found.batch.as_of, found.batch.position) == ("live", NOW, 1)
    assert found.trigger is not None
    (asked,) = found.trigger.events
    assert (asked.event_name, asked.contract, asked.contract_version, asked.source) == (
        "Segment Consent Preference Updated",
        "consent_preference_updated",
        "v1",
        "web",
    )
    assert worked.landing.root.joinpath(asked.segment).is_file()
    assert found.person is not None
    assert [link.kind for link in found.person.links] == ["user_id"]
    assert found.consent is not None
    assert (found.consent.region, found.consent.is_default_region) == ("united_states", False)
    assert [(required.purpose, required.found) for required in found.consent.requires] == [("marketing", "granted")]
    (record,) = found.consent.records
    assert (record.source, record.mapping) == (asked.event_id, "marketing_email")
    assert record.basis == 'The category "marketing e-mail" of the consent banner.'
    assert found.audience is not None
    (condition,) = found.audience.conditions
    assert (condition.measured, condition.is_met) == ("2", True)
    assert condition.condition == "count(Product Purchased) at least 1 within 90 days"
    assert (found.audience.last_change, found.audience.entry_no) == ("entered", 1)
    assert found.workflow is not None
    assert [(rival.workflow_id, rival.reason) for rival in found.workflow.rivals] == [
        ("panel_invitation", "lost_to:welcome_back")
    ]
    assert found.gate is not None
    assert (found.gate.status, found.gate.claimed_at) == (SendStatus.SENT, NOW)
    assert [read.record_id for read in found.gate.records] == [record.record_id]
    assert found.answer is not None
    assert (found.answer.destination, found.answer.answered_at) == ("iterable", NOW)
    assert found.sentence.startswith("Workflow 'welcome_back' was asked for by an event, passed the gate and was sent")


def test_a_send_that_an_entry_triggered_shows_the_events_behind_the_entry(worked: Places) -> None:
    found = of_user(worked, "u1", "vip_journey")
    assert found.trigger is not None
    assert found.trigger.kind == "entry into its audience"
    assert "Product Purchased" in {seen.event_name for seen in found.trigger.events}
    assert found.audience is not None
    assert [(seen.measured, seen.is_met) for seen in found.audience.conditions] == [("720", True)]


@pytest.mark.parametrize(
    ("user", "workflow", "reason", "owner"),
    [
        ("u1", "panel_invitation", "lost_to:welcome_back", "crm"),
        ("u2", "welcome_back", "consent_denied", "privacy"),
        ("u4", "welcome_back", "not_in_audience", "crm"),
    ],
)
def test_a_refusal_is_explained_with_who_answers_for_its_reason(
    worked: Places, user: str, workflow: str, reason: str, owner: str
) -> None:
    found = of_user(worked, user, workflow)
    assert found.decision is not None
    assert (found.decision.outcome, found.decision.reason, found.decision.owner) == ("refuse", reason, owner)
    assert found.decision.response in found.sentence
    assert found.gate is None
    assert found.answer is None
    assert found.trigger is not None
    assert len(found.trigger.events) == 1


def test_what_was_missing_is_named(worked: Places) -> None:
    found = of_user(worked, "u4", "welcome_back")
    assert found.audience is not None
    assert [(seen.measured, seen.is_met) for seen in found.audience.conditions] == [("0", False)]
    assert (found.audience.last_change, found.audience.changed_at) == ("never entered", None)
    denied = of_user(worked, "u2", "welcome_back")
    assert denied.consent is not None
    assert [required.found for required in denied.consent.requires] == ["denied"]
    stricter = of_user(worked, "u5", "welcome_back")
    assert stricter.consent is not None
    assert [required.purpose for required in stricter.consent.requires] == ["marketing", "personalization"]


def test_where_nothing_was_ever_decided_the_rules_of_today_say_why(worked: Places) -> None:
    found = of_user(worked, "u3", "vip_journey")
    assert found.decision is None
    assert "there never was an entry into audience 'high_value_users'" in found.sentence
    assert found.audience is not None
    assert [(seen.measured, seen.is_met) for seen in found.audience.conditions] == [("20", False)]
    assert found.workflow is not None
    assert found.workflow.workflow_id == "vip_journey"


def test_a_send_is_found_by_its_key_by_its_decision_and_by_the_beginning_of_either(worked: Places) -> None:
    send = send_for(worked, "vip_journey")
    whole = explain(worked, send_key=send.send_key)
    assert whole.decision is not None
    assert whole.decision.send_key == send.send_key
    assert explain(worked, decision_id=send.decision_id) == whole
    assert explain(worked, send_key=send.send_key[:10]) == whole
    assert explain(worked, send_key=send.decision_id[:10], decision_id=send.decision_id[:10]) == whole


def test_a_refusal_is_found_by_its_decision_and_by_the_key_it_would_have_had(worked: Places) -> None:
    found = of_user(worked, "u2", "welcome_back")
    assert found.decision is not None
    by_decision = explain(worked, decision_id=found.decision.decision_id)
    assert replace(by_decision, others=()) == replace(found, others=())
    assert explain(worked, send_key=found.decision.send_key).decision == found.decision


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"send_key": "feedfeed"}, "No send and no decision is called 'feedfeed'"),
        ({"send_key": "'; drop table x; --"}, "No send and no decision is called"),
        ({"profile": "user_id:nobody", "workflow": "welcome_back"}, "Nobody is known by this user_id"),
        ({"profile": "user_id:null", "workflow": "welcome_back"}, "Nobody is known by this user_id"),
        ({"profile": "shoe_size:9", "workflow": "welcome_back"}, "neither by a profile id nor by KIND:VALUE"),
        ({"profile": "pffffffffffffffffffffffff", "workflow": "welcome_back"}, "No profile 'pffff"),
        ({"profile": "user_id:u1", "workflow": "welcome_bak"}, "No workflow 'welcome_bak' is promised"),
        ({"profile": "user_id:u1"}, "Nothing says what to explain"),
        ({}, "Nothing says what to explain"),
    ],
)
def test_what_is_named_wrongly_is_one_sentence(worked: Places, asked: dict[str, str], sentence: str) -> None:
    with pytest.raises(WrongUse, match=r".+") as wrong:
        explain(worked, **asked)  # pyright: ignore[reportArgumentType] (`asked` never holds `reveal`)
    assert sentence in str(wrong.value)
    assert "nobody" not in str(wrong.value)  # what was asked for may be personal data


def test_an_explanation_is_json_and_holds_no_personal_data_unless_revealed(worked: Places) -> None:
    for workflow in ("welcome_back", "panel_invitation", "vip_journey"):
        for user in ("u1", "u2", "u3", "u4", "u5"):
            text = json.dumps(plain(of_user(worked, user, workflow)))
            assert not [secret for secret in SECRETS if f'"{secret}' in text], text
    revealed = json.dumps(plain(of_user(worked, "u1", "welcome_back", reveal=True)))
    assert '"userId": "u1"' in revealed
    assert '"identifier": "u1"' in revealed


def test_a_no_after_the_decision_is_seen_at_the_gate_and_not_in_the_decision(places: Places, tmp_path: Path) -> None:
    land(places, *buyer("u1"))
    work(places)
    record_choice(
        places.state,
        profile_id=send_for(places, "welcome_back").profile_id,
        purpose="marketing",
        channel="email",
        status=ConsentStatus.DENIED,
        decided_at=NOW,
        source="person:desk",
        proof={"wording": "letter 7"},
        now=NOW,
        actor="desk",
    )
    send_out(places, tmp_path)
    found = of_user(places, "u1", "welcome_back")
    assert found.consent is not None
    assert [required.found for required in found.consent.requires] == ["granted"]
    assert found.gate is not None
    assert (found.gate.status, found.gate.reason, found.gate.owner) == (
        SendStatus.REFUSED,
        "consent_withdrawn",
        "privacy",
    )
    assert [(read.status, read.source) for read in found.gate.records] == [(ConsentStatus.DENIED, "person:desk")]
    assert "the gate ended it: consent_withdrawn" in found.sentence


def test_a_refusal_for_want_of_a_person_is_explained_without_one(places: Places) -> None:
    land(places, choice("null", marketing_email=True))  # a value that names nobody
    work(places)
    with duckdb.connect(":memory:") as connection:
        source = places.lake.source(DECISIONS)
        rows = connection.execute(f"select decision_id, reason from {source} as r").fetchall()
    assert {reason for _, reason in rows} == {"no_profile"}
    found = explain(places, decision_id=rows[0][0])
    assert found.trigger is not None
    assert len(found.trigger.events) == 1
    assert (found.person, found.consent, found.audience) == (None, None, None)
    assert "nobody to send to" in found.sentence


def test_a_suppression_is_part_of_the_decision_that_it_stopped(places: Places) -> None:
    land(places, identify("u1"), purchase("u1"))
    work(places)
    person = person_named(places, "user_id:u1")
    suppress(
        places.state,
        profile_id=person.canonical,
        channel="*",
        reason="complaint",
        source="person:desk",
        now=NOW,
        actor="desk",
    )
    land(places, choice("u1", marketing_email=True))
    work(places)
    found = of_user(places, "u1", "welcome_back")
    assert found.decision is not None
    assert found.decision.reason == "suppressed"
    assert found.consent is not None
    assert [hard.reason for hard in found.consent.suppressions] == ["complaint"]
    consent = consent_of(places, person, at=NOW)
    assert {verdict.reason for verdict in consent.verdicts} == {"suppressed"}
    assert not any(verdict.is_allowed for verdict in consent.verdicts)


def test_a_merged_person_is_explained_with_every_profile_it_ever_was(places: Places) -> None:
    browsed = event("page", "", at=NOW - timedelta(days=2), anonymousId="device-1", properties={"url": "/"})
    land(places, browsed, identify("u1"), purchase("u1"))
    work(places)
    land(places, identify("u1") | {"anonymousId": "device-1"}, choice("u1", marketing_email=True))
    work(places)
    by_user = of_user(places, "u1", "welcome_back")
    assert by_user == explain(places, profile="anonymous_id:device-1", workflow="welcome_back")
    assert by_user.person is not None
    assert len(by_user.person.members) == 2
    (moved,) = by_user.person.redirects
    assert moved.to_profile == by_user.person.profile_id


def test_the_newest_decision_is_explained_and_the_others_are_listed(places: Places) -> None:
    land(places, *buyer("u1"))
    work(places)
    again = choice("u1", at=NOW, marketing_email=False)
    land(places, again)
    work(places)
    found = of_user(places, "u1", "welcome_back")
    assert found.decision is not None
    assert found.decision.reason == "consent_denied"
    assert [(other.outcome, other.reason) for other in found.others] == [("send", "")]


def test_a_decision_is_explained_by_the_contracts_it_was_made_under(places: Places, tmp_path: Path) -> None:
    contracts = tmp_path / "contracts"
    shutil.copytree(REPOSITORY / "contracts", contracts)
    places = replace(places, contracts_root=contracts)
    land(places, *buyer("u1"))
    work(places)
    audience = contracts / "audiences" / "recent_buyers.yaml"
    audience.write_text(audience.read_text().replace("at_least: 1", "at_least: 7"))
    found = of_user(places, "u1", "welcome_back")
    assert found.audience is not None
    assert found.audience.conditions[0].condition == "count(Product Purchased) at least 1 within 90 days"


def test_a_send_whose_decision_the_lake_has_lost_is_explained_from_the_ledger(worked: Places) -> None:
    shutil.rmtree(worked.lake.path(DECISIONS))
    send = send_for(worked, "vip_journey")
    found = explain(worked, send_key=send.send_key)
    assert found.decision is not None
    assert (found.decision.outcome, found.decision.send_key) == ("send", send.send_key)
    assert found.gate is not None
    assert found.gate.status is SendStatus.SENT


def test_of_a_send_no_other_batch_is_read(worked: Places) -> None:
    with duckdb.connect(":memory:") as connection:
        source = worked.lake.source(DECISIONS)
        rows = connection.execute(f"select distinct batch_id from {source} as r").fetchall()
    send = send_for(worked, "vip_journey")
    for (batch_id,) in rows:
        if batch_id != send.batch_id:
            for file in worked.lake.path(DECISIONS).glob(f"arrival_hour=*/{batch_id}-*.parquet"):
                file.unlink()  # whoever read it would fail
    found = explain(worked, send_key=send.send_key)
    assert found.decision is not None
    assert found.decision.evidence
