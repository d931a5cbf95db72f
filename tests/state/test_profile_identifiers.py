"""What profiles were given, looked up in the order of profiles: the same rows that reading everything finds."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Table, create_engine, insert, select, text

from activation_dagster.domain.identifiers import Identifier
from activation_dagster.domain.links import IdentityChanges, Link, LinkDecision
from activation_dagster.domain.reasons import LinkRefusal
from activation_dagster.state import engine
from activation_dagster.state.engine import State, open_state
from activation_dagster.state.former import add_rows, end_rows, then
from activation_dagster.state.identity import add_changes, load_part
from activation_dagster.state.profile_identifiers import held_by, keep_order, keys_given, links_against, links_of
from activation_dagster.state.tables import FORMER, adjudications, identifiers, leases, links

PROFILES = tuple(f"p{number}" for number in range(12))
REFUSALS = (LinkRefusal.UNIQUE_ELSEWHERE, LinkRefusal.BLOCKED_VALUE, None, None, None)


def drawn(chance: random.Random, batch: int, free: list[Identifier]) -> IdentityChanges:
    """A batch's links, of which some accepted ones give their identifier a profile, and others merge."""
    changes = IdentityChanges()
    for number in range(40):
        event_id, profile = f"e{batch}-{number}", chance.choice(PROFILES)
        shown = chance.sample([Identifier("email", f"{value}@example.com") for value in range(60)], 2)
        for identifier in shown:
            refusal = chance.choice(REFUSALS)
            other = chance.choice(PROFILES) if refusal is LinkRefusal.UNIQUE_ELSEWHERE else ""
            link = Link(
                event_id=event_id, identifier=identifier, profile_id=profile, refusal=refusal, other_profile_id=other
            )
            changes.links.append(link)
            if refusal is None and identifier in free:
                free.remove(identifier)
                changes.attached.append((identifier, profile, event_id, number))
    return changes


def adjudicate_again(connection: Connection, chance: random.Random, *, seq: int) -> None:
    """Some links end, and identifiers with them; others take their place."""
    connection.execute(insert(adjudications).values(seq=seq, act="apply", contract_set="", started_at=0, finished_at=0))
    for row in chance.sample(connection.execute(select(*identifiers.c)).all(), 10):
        profile = chance.choice(PROFILES)
        end_rows(connection, identifiers, [(row.key,)], seq=seq)
        end_rows(connection, links, [(row.event_id, row.key)], seq=seq)
        keep_order(connection, [(profile, row.key, row.event_id)])
        told = (row.event_id, row.key, row.kind, profile, "accepted", "", "", "v2", row.seq, 0)
        add_rows(connection, links, [told], seq=seq)
        moved = (row.key, row.kind, row.value, profile, row.seq, row.event_id, row.seen_at)
        add_rows(connection, identifiers, [moved], seq=seq)


@pytest.fixture
def told(state: State, request: pytest.FixtureRequest) -> State:
    """Two batches at 1 and 2, and history adjudicated again at 5."""
    chance = random.Random(request.node.name)
    free = [Identifier("email", f"{value}@example.com") for value in range(60)]
    for position in (1, 2):
        add_changes(state, drawn(chance, position, free), position=position, rules_version="v1", decided_at=0)
    with state.write() as connection:
        adjudicate_again(connection, chance, seq=5)
    return state


def whole(c: Any) -> Sequence[Any]:
    return [column for column in c if column.name not in ("known_seq", "ended_seq")]


def sorted_rows(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return sorted(tuple(bytes(value) if isinstance(value, memoryview) else value for value in row) for row in rows)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("up_to_seq", [0, 1, 2, 5, None])
def test_identifiers_are_found_as_they_were_known(told: State, up_to_seq: int | None, seed: int) -> None:
    asked = set(random.Random(seed).sample(PROFILES, 5))
    with told.read() as connection:
        then_held = then(connection, identifiers, up_to_seq)
        everything = connection.execute(select(*whole(then_held.c))).all()
        wanted = [row for row in everything if row[3] in asked and (up_to_seq is None or row[4] <= up_to_seq)]
        found = list(held_by(connection, asked, whole, up_to_seq=up_to_seq))
    assert sorted_rows(found) == sorted_rows(wanted)
    assert wanted or up_to_seq == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("up_to_seq", [0, 1, 2, 5])
def test_a_batch_loads_all_that_its_people_had_by_then(told: State, up_to_seq: int, seed: int) -> None:
    chance = random.Random(seed)
    wanted = [Identifier("email", f"{value}@example.com") for value in chance.sample(range(80), 8)]
    keys = {identifier.key for identifier in wanted}
    with told.read() as connection:
        everything = connection.execute(select(*whole(then(connection, identifiers, up_to_seq).c))).all()
        by_then = [row for row in everything if row[4] <= up_to_seq]
        owners = {row[3] for row in by_then if bytes(row[0]) in keys}
        part = load_part(connection, wanted, up_to_seq=up_to_seq)
    found = sorted((one.identifier.value, one.profile_id, one.seen_at) for one in part.identifiers)
    assert found == sorted((row[2], row[3], row[6]) for row in by_then if row[3] in owners)
    assert part.members == owners


@pytest.mark.parametrize("table", [links, FORMER[links.name]], ids=["holding", "former"])
@pytest.mark.parametrize("seed", range(4))
def test_links_are_found_by_profile_and_by_who_had_the_identifier(told: State, table: Table, seed: int) -> None:
    asked = set(random.Random(seed).sample(PROFILES, 5))
    with told.read() as connection:
        everything = connection.execute(select(*whole(table.c))).all()
        of, against = (sorted_rows(look_up(connection, asked, whole, table)) for look_up in (links_of, links_against))
    assert of == sorted_rows(row for row in everything if row[3] in asked)
    assert against == sorted_rows(row for row in everything if row[6] in asked)
    assert of


LOOKUPS: dict[str, Callable[[Connection], Generator[tuple[Any, ...]]]] = {
    "held_by": lambda connection: held_by(connection, PROFILES[:3], whole),
    "held_by then": lambda connection: held_by(connection, PROFILES[:3], whole, up_to_seq=2),
    "links_of": lambda connection: links_of(connection, PROFILES[:3], whole),
    "links_against": lambda connection: links_against(connection, PROFILES[:3], whole),
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_no_lookup_reads_a_whole_table(told: State, name: str) -> None:
    """However long the history: what the database plans for each statement goes by an index."""
    if told.dialect == "sqlite":
        plans = sqlite_plans(told, LOOKUPS[name])
        assert plans
        assert not [plan for plan in plans if re.search(r"SCAN (identifiers|links|profile_|former)", plan)], plans
    else:
        assert "Seq Scan" not in postgres_plans(told, LOOKUPS[name])


def sqlite_plans(state: State, look_up: Callable[[Connection], Iterable[Any]]) -> list[str]:
    statements: list[str] = []
    with state.read() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(statements.append)
        list(look_up(connection))
        driver.set_trace_callback(None)
        asked = [statement for statement in statements if statement.startswith("SELECT") and "json_each" in statement]
        return [row[3] for statement in asked for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}")]


def postgres_plans(state: State, look_up: Callable[[Connection], Iterable[Any]]) -> str:
    """Of tables of 30,000 rows more, where reading all of one would cost more than an index."""
    with state.write() as connection:
        connection.execute(
            text(
                "INSERT INTO links SELECT 'x' || n, '\\x00', 'email', 'q' || n, CASE n % 2 WHEN 0 THEN 'accepted' "
                "ELSE 'refused' END, '', 'r' || n, 'v1', 1, 0, 0 FROM generate_series(1, 30000) AS n"
            )
        )
        connection.execute(
            text(
                "INSERT INTO identifiers SELECT decode(md5(n::text), 'hex'), 'email', 'v' || n, 'q' || n, 1, 'x' || n, "
                "0, 0 FROM generate_series(1, 30000) AS n"
            )
        )
        connection.execute(
            text(
                "INSERT INTO profile_identifiers SELECT profile_id, key, event_id FROM identifiers "
                "ON CONFLICT DO NOTHING"
            )
        )
        for table in ("links", "identifiers", "profile_identifiers"):
            connection.execute(text(f"ANALYZE {table}"))
    asked: list[tuple[str, Any]] = []

    class Keeping(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
            asked.append((str(query), params))
            return super().execute(query, params, **more)

    with state.read() as connection:
        driver: Any = connection.connection.driver_connection
        driver.cursor_factory = Keeping
        try:
            list(look_up(connection))
        finally:
            driver.cursor_factory = psycopg.Cursor
        of_profiles = [one for one in asked if "ANY" in one[0]]
        assert of_profiles
        return "\n".join(
            row[0]
            for statement, parameters in of_profiles
            for row in driver.execute(f"EXPLAIN {statement}", parameters)
        )


def test_what_was_accepted_is_in_the_order_of_profiles(told: State) -> None:
    with told.read() as connection:
        accepted = connection.execute(
            select(links.c.profile_id, links.c.key, links.c.event_id).where(
                links.c.decision == LinkDecision.ACCEPTED.value
            )
        ).all()
        kept = connection.execute(text("SELECT profile_id, key, event_id FROM profile_identifiers")).all()
    assert set(sorted_rows(accepted)) <= set(sorted_rows(kept))


def test_what_an_earlier_release_wrote_is_found_by_profile(empty_url: str) -> None:
    """Its schema had indexes by profile in the place of the table."""
    config = Config()
    config.set_main_option("script_location", str(Path(engine.__file__).parent / "migrations"))
    held = {"key": b"a" * 16, "kind": "email", "value": "ann", "profile_id": "p1", "seq": 1, "event_id": "e1"}
    offered = {
        "event_id": "e1",
        "key": b"a" * 16,
        "kind": "email",
        "profile_id": "p1",
        "decision": "accepted",
        "reason": "",
        "other_profile_id": "",
        "rules_version": "v1",
        "seq": 1,
    }
    merging = offered | {"event_id": "e2", "profile_id": "p2"}
    refused = offered | {"event_id": "e3", "decision": "refused", "reason": "limit_reached", "other_profile_id": "p2"}
    before = create_engine(empty_url.replace("postgresql://", "postgresql+psycopg://"))
    if before.dialect.name == "sqlite":
        Path(str(before.url.database)).parent.mkdir(parents=True)
    with before.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
        connection.execute(insert(identifiers).values(held))
        for row in (offered, merging, refused):
            connection.execute(insert(links).values(row))
        gone = held | {"key": b"b" * 16, "value": "phone", "event_id": "e0", "known_seq": 0, "seen_at": 0}
        connection.execute(insert(FORMER[identifiers.name]).values(gone | {"ended_seq": 5}))
        adjudicated = {"seq": 5, "act": "apply", "contract_set": "", "started_at": 0, "finished_at": 0}
        connection.execute(insert(adjudications).values(adjudicated))
        held_lease = {"name": "environment", "holder": "an old run", "fence": 7, "expires_at": 10**18}
        connection.execute(insert(leases).values(held_lease))
    before.dispose()
    state = open_state(empty_url)
    try:
        with state.read() as connection:
            assert list(held_by(connection, ["p1", "p2"], lambda c: (c.value, c.profile_id))) == [("ann", "p1")]
            found = links_of(connection, ["p1", "p2"], lambda c: (c.event_id, c.decision))
            assert sorted(found) == [("e1", "accepted"), ("e2", "accepted"), ("e3", "refused")]
            assert list(links_against(connection, ["p2"], lambda c: (c.event_id,))) == [("e3",)]
            assert keys_given(connection, ["p1"]) == {b"a" * 16, b"b" * 16}
            lease = connection.execute(select(leases.c.holder, leases.c.fence)).one()
            assert tuple(lease) == ("", 8)  # a run of that release writes nothing more
    finally:
        state.close()
