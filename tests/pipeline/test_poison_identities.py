"""Poison through the pipeline: what names nobody, or everybody, makes no profile larger than the contract declares."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from activation_dagster.pipeline.people import person_named
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.watch import totals
from activation_dagster.state.engine import State
from activation_dagster.state.subjects import cluster_of
from activation_dagster.state.tables import batch_phases, identifiers, links
from tests.pipeline.small_shop import NOW, Event, land, places_at, work
from tests.pipeline.test_resolve import contracts_with, seen

MAXIMUM = 8
BLOCKED = {"blocked_values": ["null", "undefined", "-1"], "blocked_patterns": ["^[0-]*$"]}
KINDS: dict[str, Any] = {
    "user_id": {"paths": ["userId"], "normalise": ["trim"], "limit": 1, **BLOCKED},
    "email": {"paths": ["context.traits.email"], "normalise": ["email"], "limit": 3},
    "phone": {
        "paths": ["context.traits.phone"],
        "normalise": [{"phone": "DE"}],
        "shared": {"more_than": 3, "of": "user_id"},
    },
    "anonymous_id": {
        "paths": ["anonymousId"],
        "normalise": ["trim"],
        "shared": {"more_than": 3, "of": "user_id"},
        **BLOCKED,
    },
}
PEOPLE = 40
ZEROS = "00000000-0000-0000-0000-000000000000"


def poison() -> list[list[Event]]:
    """Two batches of people who share what nobody should: nothing, `null`, zeros, a tablet, a call centre, a robot."""
    told: list[list[Event]] = [[], []]
    for number in range(PEOPLE):
        who, mail = f"u{number}", f"m{number}@shop.test"
        told[number % 2] += [
            seen(who, email=mail, anonymousId=ZEROS),
            seen(who, anonymousId="null"),
            seen("  ", anonymousId=f"d{number}"),
            seen("null", anonymousId=f"d{number}", email=mail),
            seen("0000", anonymousId="-1", email="null"),
            seen(who, anonymousId="tablet"),
            seen(who, phone="030 1234567"),
            seen(phone="030 1234567", anonymousId=f"d{number}"),
            seen("robot", email=f"r{number}@shop.test", anonymousId=f"r{number}"),
            seen("robot", anonymousId="tablet"),
        ]
    return told


def sizes(places: Places) -> list[Counter[str]]:
    """Of each person, how many identifiers of each kind they have."""
    with places.state.read() as connection:
        rows = connection.execute(select(identifiers.c.profile_id, identifiers.c.kind)).all()
        today = cluster_of(connection, {row[0] for row in rows})
    found: dict[str, Counter[str]] = {}
    for profile, kind in rows:
        found.setdefault(today[profile].canonical, Counter())[kind] += 1
    return list(found.values())


def test_a_poison_set_makes_no_profile_larger_than_declared_and_every_check_passes(
    tmp_path: Path, state: State
) -> None:
    places = places_at(tmp_path, state, contracts=contracts_with(tmp_path, KINDS, maximum_cluster=MAXIMUM))
    for number, batch in enumerate(poison()):
        land(places, *batch, at=NOW - timedelta(minutes=9 - number))
        work(places)
    people = sizes(places)
    assert max(known.total() for known in people) <= MAXIMUM
    assert max(known["user_id"] for known in people) == 1
    assert max(known["email"] for known in people) <= 3
    assert max(known["anonymous_id"] for known in people) <= 5
    assert len(people) >= PEOPLE
    names = {person_named(places, f"user_id:u{number}").canonical for number in range(PEOPLE)}
    assert len(names) == PEOPLE
    counted = totals(places)
    assert (counted.accepted, counted.conserved) == (10 * PEOPLE, True)
    with state.read() as connection:
        closed = connection.execute(select(batch_phases.c.counts).where(batch_phases.c.phase == "intended")).scalars()
        assert all('"failed_checks": 0' in counts for counts in closed)
        reasons = set(connection.execute(select(links.c.reason)).scalars())
    assert reasons >= {"blocked_value", "shared_value", "limit_reached"}
