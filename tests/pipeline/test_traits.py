"""Traits are joined by their policies: in bulk, one by one and by the book alike, however the events are cut."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as some
from sqlalchemy import select

from activation_dagster.domain.traits import Said, TraitRules, chosen
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.consent import compute_consented
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.explain import explain
from activation_dagster.pipeline.identity.graph import graph_of
from activation_dagster.pipeline.people import person_named
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.traits import person_traits
from activation_dagster.pipeline.work import work_batch
from activation_dagster.state.engine import State, open_state
from activation_dagster.state.instants import micros
from activation_dagster.state.tables import trait_sayings
from tests.pipeline.small_shop import (
    NOW,
    REPOSITORY,
    batches_of,
    buyer,
    event,
    identify,
    land,
    places_at,
    send_for,
    work,
)

POLICIES: dict[str, Any] = {
    "first": "first",
    "most": "most_frequent",
    "best": {"source_priority": ["crm", "web"]},
    "newest": "latest",
}
FIRST = NOW - timedelta(days=1)
SOURCES = ("app", "crm", "web")
"""In the order in which their segments are sealed."""


def contracts_with(folder: Path, traits: dict[str, Any]) -> Path:
    """The contracts of this repository under some policies."""
    root = shutil.copytree(REPOSITORY / "contracts", folder / "contracts")
    content = yaml.safe_load((root / "identity.yaml").read_text())
    (root / "identity.yaml").write_text(yaml.safe_dump(content | {"traits": traits}, sort_keys=False))
    return root


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return contracts_with(tmp_path_factory.mktemp("promised"), {"default": "most_frequent", "policies": POLICIES})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Somebody says who they are: as a user, on a device, or both, which makes the two one."""

    ids: tuple[str, ...]
    traits: dict[str, Any]
    source: str
    hour: int


values = some.sampled_from([None, 1, "x", 1.5])
tellings = some.builds(
    Told,
    ids=some.sampled_from([("user",), ("device",), ("user",), ("device",), ("user", "device")]),
    traits=some.fixed_dictionaries(dict.fromkeys((*POLICIES, "unnamed"), values)),
    source=some.sampled_from(SOURCES),
    hour=some.integers(0, 2),
)
stories = some.lists(some.tuples(tellings, some.integers(0, 2)), min_size=2, max_size=9)
"""Each telling with the batch it comes in."""


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(some.lists(stories, min_size=20, max_size=40))
def test_what_counts_of_a_trait_is_what_its_policy_chooses_of_all_that_was_said_wherever_batches_end(
    tmp_path_factory: pytest.TempPathFactory,
    migrated_sqlite: Path,
    contracts: Path,
    told: list[list[tuple[Told, int]]],
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    shutil.copy(migrated_sqlite, folder / "state.db")
    state = open_state(f"sqlite:///{folder / 'state.db'}")
    places = places_at(folder, state, contracts=contracts)
    said: dict[tuple[int, str], list[Said]] = {}
    for batch in range(3):
        for number, source in enumerate(SOURCES):
            arriving = [
                (world, one)
                for world, story in enumerate(told)
                for one, comes in story
                if comes == batch and one.source == source
            ]
            events = [as_event(world, one) for world, one in arriving]
            if events:
                sealed_at = NOW - timedelta(minutes=40 - 5 * batch, seconds=-number)
                land(places, *events, at=sealed_at, source=source)
            for line, (world, one) in enumerate(arriving):
                when = (micros(FIRST) + one.hour, batch, f"{number}:{line:07d}")
                for trait, value in one.traits.items():
                    if value is not None:
                        found = Said(value=json.dumps(value), source=source, times=1, first=when, last=when)
                        for who in one.ids:
                            said.setdefault((world, f"{who} {trait}"), []).append(found)
        if batch == 2:  # everybody is touched once more, so that the last batch knows them all
            land(
                places,
                *(event("page", f"user{world}", at=NOW, properties={"path": "/"}) for world in range(len(told))),
                *(as_event(world, nothing("device")) for world in range(len(told))),
                at=NOW - timedelta(minutes=5),
            )
        work(places)
    rules = contracts_today(places).identity.traits
    wanted = {world: by_the_book(rules, world, story, said) for world, story in enumerate(told)}
    assert one_by_one(places, wanted) == wanted
    assert in_bulk(places, wanted) == wanted
    before = rows(places)
    assert bool(before) == any(rules.asks(key.split()[1]) for _, key in said)
    for batch in batches_of(places):
        work_batch(places, batch)
    assert rows(places) == before
    state.close()


def nothing(*ids: str) -> Told:
    return Told(ids=ids, traits={}, source="web", hour=0)


def as_event(world: int, one: Told) -> dict[str, Any]:
    ids = {"userId": f"user{world}", "anonymousId": f"device{world}"}
    named = {name: value for name, value in ids.items() if value.removesuffix(str(world)) in one.ids}
    whole = event("identify", "", at=FIRST, traits={k: v for k, v in one.traits.items() if v is not None})
    whole = {name: value for name, value in whole.items() if value != ""} | named
    return whole | {"timestamp": FIRST.strftime("%Y-%m-%dT%H:%M:%S.") + f"{one.hour:06d}Z"}


def by_the_book(
    rules: TraitRules, world: int, story: Sequence[tuple[Told, int]], said: dict[tuple[int, str], list[Said]]
) -> dict[str, dict[str, Any]]:
    """The traits of the user and of the device, who are one where any telling names both."""
    are_one = any(len(one.ids) == 2 for one, _ in story)
    found: dict[str, dict[str, Any]] = {"user": {}, "device": {}}
    for who, traits in found.items():
        for trait in (*POLICIES, "unnamed"):
            whose = ("user", "device") if are_one else (who,)
            of_trait = {id(one): one for name in whose for one in said.get((world, f"{name} {trait}"), [])}
            if of_trait:
                traits[trait] = json.loads(chosen(rules.of(trait), list(of_trait.values())))
    return found


def members_of(places: Places, world: int, who: str) -> frozenset[str]:
    kind = {"user": "user_id", "device": "anonymous_id"}[who]
    return person_named(places, f"{kind}:{who}{world}").members


def one_by_one(places: Places, worlds: dict[int, Any]) -> dict[int, dict[str, dict[str, Any]]]:
    rules = contracts_today(places).identity.traits
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for world in worlds:
        for who in ("user", "device"):
            members = members_of(places, world, who)
            with places.state.read() as connection:
                found.setdefault(world, {})[who] = person_traits(connection, rules, members)
    return found


def in_bulk(places: Places, worlds: dict[int, Any]) -> dict[int, dict[str, dict[str, Any]]]:
    with BatchRun(places, batches_of(places)[-1]) as run:
        compute_consented(run, record=False)
        known: dict[str, dict[str, Any]] = {}
        for profile, trait, value in run.engine.rows("select profile_id, trait, value from current_traits"):
            known.setdefault(profile, {})[trait] = json.loads(value)
    return {
        world: {
            who: next((known[member] for member in members_of(places, world, who) if member in known), {})
            for who in ("user", "device")
        }
        for world in worlds
    }


def rows(places: Places) -> list[tuple[Any, ...]]:
    with places.state.read() as connection:
        return sorted(tuple(row)[:-1] for row in connection.execute(select(trait_sayings)))


# -- where a trait is read --------------------------------------------------------------------------------------------


def test_a_policy_decides_in_audiences_messages_explanations_and_graphs(tmp_path: Path, state: State) -> None:
    root = contracts_with(tmp_path, {"policies": {"country": "first", "first_name": "most_frequent"}})
    audience = root / "audiences" / "recent_buyers.yaml"
    content = yaml.safe_load(audience.read_text())
    content["conditions"].append({"trait": "country", "is_in": ["US"]})
    audience.write_text(yaml.safe_dump(content, sort_keys=False))
    workflow = root / "workflows" / "welcome_back.yaml"
    promised = yaml.safe_load(workflow.read_text())
    promised["profile_fields"] = {"firstName": "traits.first_name", "country": "traits.country"}
    workflow.write_text(yaml.safe_dump(promised, sort_keys=False))
    places = places_at(tmp_path, state, contracts=root)
    land(
        places,
        *buyer("u1"),
        identify("u1", at=NOW - timedelta(days=2), country="GB", first_name="Nickname"),
        identify("u1", at=NOW - timedelta(days=8), country="GB"),
    )
    work(places)
    sent = send_for(places, "welcome_back")
    assert sent.profile_fields == {"firstName": "Name of u1", "country": "US"}
    told = explain(places, profile="user_id:u1", workflow="welcome_back")
    assert told.audience is not None
    assert told.audience.is_match
    assert 'country is_in "US" (by first)' in [one.condition for one in told.audience.conditions]
    graph = graph_of(places, "user_id:u1", reveal=True)
    assert {(one.trait, one.value, one.policy) for one in graph.traits} >= {
        ("country", '"US"', "first"),
        ("first_name", '"Name of u1"', "most_frequent"),
    }
    assert "Name of u1" not in repr(graph_of(places, "user_id:u1", reveal=False))


def test_what_was_said_before_a_policy_asked_counts_once_a_batch(tmp_path: Path, state: State) -> None:
    root = contracts_with(tmp_path, {})
    places = places_at(tmp_path, state, contracts=root)
    for number, name in enumerate(("Ann", "Ann", "Anna")):
        at = NOW - timedelta(days=3 - number)
        land(places, identify("u1", at=at, first_name=name), at=NOW - timedelta(minutes=9 - number))
        work(places)
    assert rows(places) == []
    content = yaml.safe_load((root / "identity.yaml").read_text())
    content |= {"version": "v2", "traits": {"policies": {"first_name": "most_frequent"}}}
    (root / "identity.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    rules = contracts_today(places).identity.traits
    members = person_named(places, "user_id:u1").members
    with places.state.read() as connection:
        assert person_traits(connection, rules, members)["first_name"] == "Ann"
        assert person_traits(connection, TraitRules(), members)["first_name"] == "Anna"
