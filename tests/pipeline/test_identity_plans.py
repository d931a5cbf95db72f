"""History adjudicated again: what a plan says is what apply does, and what was undone is as if it had never been."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from activation_dagster.domain.identifiers import Identifier, profile_id
from activation_dagster.pipeline.identity_unmerge import unmerge
from activation_dagster.pipeline.places import Places
from activation_dagster.state.tables import FORMER, READJUDICATED
from tests.pipeline.small_shop import NOW, Event, buyer, choice, event, land, places_at, purchase, work

DAY = timedelta(days=1)


def page(user: str = "", device: str = "", **more: Any) -> Event:
    whole = event("page", user, at=NOW - DAY, anonymousId=device, **{"properties": {"path": "/"}, **more})
    return {name: value for name, value in whole.items() if value not in ("", None)}


def held(places: Places) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that follows from who is who, without since when it is known."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with places.state.read() as connection:
        for table in READJUDICATED:
            columns = [column for column in table.columns if column.name not in ("known_seq", "decided_at")]
            found[table.name] = sorted((tuple(row) for row in connection.execute(select(*columns))), key=repr)
    return found


def test_a_link_that_was_undone_is_as_if_it_had_never_been(places: Places) -> None:
    land(places, *buyer("ann"), page(device="phone"))
    work(places)
    joined = page("ann", "phone")
    land(places, joined, {**purchase("", 900.0), "userId": None, "anonymousId": "phone"})
    work(places)
    before = held(places)
    ann = profile_id(Identifier("user_id", "ann"))
    phone = profile_id(Identifier("anonymous_id", "phone"))
    tried = unmerge(places, profile=phone, dry_run=True)
    print(tried)
    assert held(places) == before
    done = unmerge(places, profile=phone, by="bob", why="A tablet of two people.")
    print(done)
    after = held(places)
    for name in before:
        print(name, "-", [row for row in before[name] if row not in after[name]], "+", [row for row in after[name] if row not in before[name]])
    assert 0
