"""Identity rules through the pipeline: what state keeps, what the ledger says, and that running again adds nothing."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from sqlalchemy import select

from activation_dagster.domain.identifiers import Identifier, profile_id
from activation_dagster.lake.tables import RESOLVED, VALIDATED
from activation_dagster.pipeline.people import person_named
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.work import work_batch
from activation_dagster.state.engine import State
from activation_dagster.state.tables import companions, identifiers, links, profile_redirects, profiles
from tests.pipeline.small_shop import NOW, REPOSITORY, Event, batches_of, event, lake_rows, land, places_at, work

KINDS: dict[str, Any] = {
    "user_id": {"paths": ["userId"], "normalise": ["trim"], "limit": 1, "blocked_values": ["null"]},
    "email": {
        "paths": ["context.traits.email"],
        "normalise": ["email"],
        "shared": {"more_than": 2, "of": "user_id"},
    },
    "phone": {"paths": ["context.traits.phone"], "normalise": [{"phone": "DE"}], "limit": {"most": 1, "per": "week"}},
    "anonymous_id": {"paths": ["anonymousId", "previousId"], "strength": "weak", "time_to_live_days": 30},
}


def contracts_with(folder: Path, kinds: dict[str, Any], **rules: Any) -> Path:
    """The contracts of this repository under other rules of identity, with alias calls and a marked property."""
    root = shutil.copytree(REPOSITORY / "contracts", folder / "contracts")
    content = {"version": "test", "owner": "platform", "kinds": kinds, "rules": rules}
    (root / "identity.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (root / "events" / "alias").mkdir()
    about = {
        "owner": "platform",
        "criticality": "standard",
        "call": "alias",
        "description": "Two ids are one person's.",
    }
    (root / "events" / "alias" / "contract.yaml").write_text(yaml.safe_dump(about))
    promised = {"event_name": "alias", "version": "v1", "properties": {}}
    (root / "events" / "alias" / "v1.yaml").write_text(yaml.safe_dump(promised))
    (root / "events" / "alias" / "v1.examples.yaml").write_text(yaml.safe_dump({"valid": [{"properties": {}}]}))
    page = root / "events" / "page" / "v1.yaml"
    said = yaml.safe_load(page.read_text())
    said["properties"]["contact"] = {"type": "string", "identifier": "email"}
    page.write_text(yaml.safe_dump(said))
    return root


def seen(user: str | None = None, *, at: datetime = NOW, **more: Any) -> Event:
    """A page looked at by somebody; `email` and `phone` are traits of the context."""
    traits = {name: more.pop(name) for name in ("email", "phone") if name in more}
    whole = event("page", user or "", at=at, properties={"path": "/", **more.pop("properties", {})}, **more)
    if traits:
        whole["context"] = {"traits": traits}
    return {name: value for name, value in whole.items() if value != ""}


def found_of(places: Places, events: list[Event]) -> list[str | None]:
    """Each event's profile today, or its reason for having none, by what the lake says."""
    with duckdb.connect(":memory:") as connection:
        rows = connection.execute(
            "select v.message_id, coalesce(r.profile_id, r.unresolved_reason) "
            f"from {places.lake.source(RESOLVED)} as r "
            f"join {places.lake.source(VALIDATED)} as v on v.event_id = r.event_id"
        ).fetchall()
    with places.state.read() as connection:
        moved = {
            row[0]: row[1]
            for row in connection.execute(select(profile_redirects.c.from_profile, profile_redirects.c.to_profile))
        }
    found = dict(rows)
    answers: list[str | None] = []
    for one in events:
        answer = found.get(one["messageId"])
        while answer in moved:
            answer = moved[answer]
        answers.append(answer)
    return answers


def name(kind: str, value: str) -> str:
    """The profile that an identifier made."""
    return profile_id(Identifier(kind, value))


def in_state(places: Places) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the identity graph."""
    tables = (profiles, identifiers, profile_redirects, links, companions)
    with places.state.read() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr) for table in tables
        }


def story() -> list[Event]:
    """One event or more for each rule."""
    return [
        seen("u1", email="Box@Shop.test", anonymousId="tablet"),
        seen("u2", email="u2@shop.test", anonymousId="tablet"),
        seen("u3", email="box@shop.test"),
        seen("u3", phone="0151 12345678"),
        seen("u1", email="box@shop.test"),
        seen("u4", email="box@shop.test"),
        seen("u1", email="box@shop.test"),
        seen(anonymousId="tablet", email="box@shop.test"),
        seen("u5", phone="0151 12345678", at=NOW + timedelta(days=1)),
        seen("u3", phone="0151 12345679", at=NOW + timedelta(days=1)),
        seen("u3", phone="0151 12345679", at=NOW + timedelta(days=8)),
        seen("null", anonymousId="tablet", at=NOW + timedelta(days=31)),
        seen("u6", properties={"contact": "six@shop.test"}),
        seen(anonymousId="other", email="six@shop.test"),
        event("alias", "u7", at=NOW, previousId="laptop"),
        seen(anonymousId="laptop"),
        event("alias", "u7", at=NOW, previousId="u1"),
    ]


EXPECTED = [
    *[name("user_id", user) for user in ("u1", "u2", "u3", "u3", "u1", "u4", "u1", "u1", "u5", "u3", "u3")],
    "no_profile",
    *[name("user_id", user) for user in ("u6", "u6", "u7", "u7", "u7")],
]


@pytest.mark.parametrize("sizes", [[17], [1] * 17, [3, 4, 3, 7]], ids=["one batch", "seventeen", "four"])
def test_every_rule_holds_through_the_pipeline_however_its_batches_are_cut(
    tmp_path: Path, state: State, sizes: list[int]
) -> None:
    places = places_at(tmp_path, state, contracts=contracts_with(tmp_path, KINDS))
    events = story()
    first = 0
    for number, size in enumerate(sizes):
        land(places, *events[first : first + size], at=NOW - timedelta(minutes=20 - number))
        work(places)
        first += size
    assert found_of(places, events) == EXPECTED
    rows = in_state(places)
    told = Counter((row[5], row[4], row[2]) for row in rows["links"] if row[4] != "accepted")
    assert {key: count for key, count in told.items() if key[0] != "shared_value"} == {
        ("weak_elsewhere", "conflict", "anonymous_id"): 1,
        ("limit_reached", "conflict", "email"): 1,
        ("limit_reached", "conflict", "phone"): 1,
        ("limit_reached", "refused", "phone"): 1,
        ("blocked_value", "blocked", "user_id"): 1,
        ("outlived_value", "blocked", "anonymous_id"): 1,
    }
    assert told["shared_value", "blocked", "email"] == 3
    assert all(row[-2] > 0 for row in rows["links"])  # each says when it was decided


def test_a_closed_batch_that_runs_again_says_the_same_and_adds_nothing(tmp_path: Path, state: State) -> None:
    places = places_at(tmp_path, state, contracts=contracts_with(tmp_path, KINDS))
    events = story()
    for number in range(0, 17, 4):
        land(places, *events[number : number + 4], at=NOW - timedelta(minutes=20 - number))
        work(places)
    tables, rows = lake_rows(places), in_state(places)
    for batch in [*batches_of(places), *reversed(batches_of(places))]:
        work_batch(places, batch)
        assert in_state(places) == rows
    assert lake_rows(places) == tables


def test_an_event_of_two_people_is_nobodys_where_the_contract_says_so_and_the_ledger_names_both(
    tmp_path: Path, state: State
) -> None:
    kinds = {"user_id": KINDS["user_id"], "email": {"paths": ["context.traits.email"], "normalise": ["email"]}}
    places = places_at(tmp_path, state, contracts=contracts_with(tmp_path, kinds, on_conflict="quarantine"))
    events = [seen("u1", email="a@shop.test"), seen("u2"), seen("u2", email="a@shop.test"), seen("u2")]
    land(places, *events)
    work(places)
    assert found_of(places, events) == [
        name("user_id", "u1"),
        name("user_id", "u2"),
        "identity_conflict",
        name("user_id", "u2"),
    ]
    conflicts = [row for row in in_state(places)["links"] if row[4] == "conflict"]
    assert [(row[3], row[6], row[5]) for row in conflicts] == [
        (name("user_id", "u2"), name("user_id", "u1"), "limit_reached")
    ]


def test_somebody_is_found_by_a_telephone_number_in_any_spelling(tmp_path: Path, state: State) -> None:
    places = places_at(tmp_path, state, contracts=contracts_with(tmp_path, KINDS))
    land(places, seen("u1", phone="0151 12345678"))
    work(places)
    assert person_named(places, "phone:+49 (151) 123-45678").canonical == name("user_id", "u1")
