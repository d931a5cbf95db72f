"""Nobody is sent twice because two profiles became one: keys and caps look through redirects, whatever asks for one."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from activation_dagster.pipeline.people import person_named
from activation_dagster.pipeline.places import Places
from activation_dagster.state.engine import State, open_state
from tests.pipeline.small_shop import (
    NOW,
    REPOSITORY,
    Clock,
    Event,
    choice,
    event,
    land,
    ledger,
    places_at,
    purchase,
    send_out,
    work,
)

KINDS = ["event", "entry"]
CAPS = [None, 30, "never_again"]
"""No cap, one message in thirty days, one message ever."""
UNCAPPED = {("sent", ""): 2}
CAPPED = {("sent", ""): 1, ("refused", "inside_reentry"): 1}


@pytest.fixture(params=[(kind, cap) for kind in KINDS for cap in CAPS], ids=lambda pair: f"{pair[0]}-{pair[1]}")
def asked(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """What asks for the message, and the workflow's cap."""
    return request.param


@pytest.fixture
def state(migrated_sqlite: Path, tmp_path: Path) -> Iterator[State]:
    """On one database: that the gate looks through redirects is tried on both, in tests/state."""
    shutil.copy(migrated_sqlite, tmp_path / "state.db")
    with closing(open_state(f"sqlite:///{tmp_path / 'state.db'}")) as opened:
        yield opened


@pytest.fixture
def shop(tmp_path: Path, state: State, asked: tuple[str, Any]) -> Places:
    """A shop with one workflow, which writes to people by their e-mail."""
    kind, cap = asked
    root = shutil.copytree(REPOSITORY / "contracts", tmp_path / "contracts")
    for file in (root / "workflows").iterdir():
        if file.stem != {"event": "welcome_back", "entry": "vip_journey"}[kind]:
            file.unlink()
            continue
        content = yaml.safe_load(file.read_text())
        content.pop("reentry_days", None)
        content["audience"] = "recent_buyers"
        file.write_text(yaml.safe_dump(content | ({} if cap is None else {"reentry_days": cap}), sort_keys=False))
    destination = root / "destinations" / "iterable.yaml"
    destination.write_text(destination.read_text().replace("profile_key: user_id", "profile_key: email"))
    return places_at(tmp_path, state, contracts=root, clock=Clock())


def of(who: str, story: str, written: Event) -> Event:
    """An event of Ann by her account, or of her telephone before she says whose it is; each has its address."""
    named = {"userId": f"ann.{story}"} if who == "ann" else {"anonymousId": f"phone.{story}"}
    context = written.get("context", {}) | {"traits": {"email": f"{who}.{story}@shop.test"}}
    return {key: value for key, value in written.items() if key != "userId"} | named | {"context": context}


def asks(who: str, story: str, *, hours: int = 24, allows: bool = True) -> Event:
    """Says yes (or no) to news so many hours ago: asks for the event's message and enters the audience."""
    return of(who, story, choice("", at=NOW - timedelta(hours=hours), marketing_email=allows, personalization=True))


def buys(who: str, story: str) -> Event:
    return of(who, story, purchase("", at=NOW - timedelta(days=3)))


def are_one(story: str) -> Event:
    """Ann says whose telephone it is."""
    return event("page", f"ann.{story}", at=NOW, properties={"path": "/"}, anonymousId=f"phone.{story}")


def arrive(shop: Places, *events: Event, minutes_ago: int) -> None:
    land(shop, *events, at=NOW - timedelta(minutes=minutes_ago))
    work(shop)


def told(shop: Places) -> dict[str, Counter[tuple[str, str]]]:
    """What became of the sends of each story."""
    found: dict[str, Counter[tuple[str, str]]] = {}
    for send in ledger(shop):
        story = send.profile_key.removesuffix("@shop.test").partition(".")[2]
        found.setdefault(story, Counter())[send.status.value, send.reason] += 1
    return found


def test_nobody_is_sent_twice_because_two_profiles_became_one(
    shop: Places, asked: tuple[str, Any], tmp_path: Path
) -> None:
    """Four stories: both wait for a message and become one; both got it and become one; one got it, becomes Ann and
    Ann asks again; and one asks, becomes Ann, and the same event comes again."""
    again = asks("phone", "again")
    both = [one for who in ("ann", "phone") for one in (buys(who, "got"), asks(who, "got"))]
    arrive(
        shop,
        *both,
        *(buys("phone", "asks"), asks("phone", "asks", hours=30)),
        *(buys("phone", "again"), again),
        minutes_ago=12,
    )
    send_out(shop, tmp_path)
    once = {("sent", ""): 1}
    assert told(shop) == {"got": {("sent", ""): 2}, "asks": once, "again": once}

    waits = [one for who in ("ann", "phone") for one in (buys(who, "waits"), asks(who, "waits"))]
    more = [buys("ann", "asks"), buys("ann", "again"), *map(are_one, ("got", "asks", "again"))]
    arrive(shop, *waits, *more, minutes_ago=11)
    assert told(shop)["waits"] == {("pending", ""): 2}

    leaves = [asks("ann", "asks", hours=20, allows=False)] if asked[0] == "entry" else []  # and then comes back
    arrive(shop, are_one("waits"), again, *leaves, minutes_ago=10)
    arrive(shop, asks("ann", "asks", hours=10), minutes_ago=9)
    for story in ("got", "asks", "again", "waits"):
        assert len(person_named(shop, f"user_id:ann.{story}").members) == 2
    for _ in range(3):
        send_out(shop, tmp_path)
    # without a cap each of two triggers is a message, as for one person who triggers twice
    twice = UNCAPPED if asked[1] is None else CAPPED
    assert told(shop) == {"got": UNCAPPED, "again": once, "waits": twice, "asks": twice}
