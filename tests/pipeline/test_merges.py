"""When two profiles become one, a *no* of either stays, however the events that say so are cut into batches.

What state ends with is held against the plain job, which looks at one event after the other and knows no batches.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as some
from sqlalchemy import select

from activation_dagster.domain.consent import current_choice
from activation_dagster.pipeline import merges
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.work import work_batch
from activation_dagster.state.consent import records_of
from activation_dagster.state.engine import open_state
from activation_dagster.state.subjects import cluster_of
from activation_dagster.state.tables import consent_records, profile_redirects, profiles
from tests.domain.plain_job import PlainJob
from tests.pipeline.small_shop import NOW, REPOSITORY, Event, batches_of, event, land, places_at, work

HOUR = timedelta(hours=1)
FIRST = NOW - timedelta(days=2)
LANDED_AT = NOW - timedelta(minutes=10)

Choices = dict[tuple[str, str, str], tuple[str, datetime]]
"""By profile, purpose and channel: what counts, and from when on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One event: who was seen together, and what they chose (True, False, or None for nothing) at which hour."""

    user: str | None = None
    device: str | None = None
    email: str | None = None
    news: bool | None = None
    personal: bool | None = None
    hour: int = 0


def as_event(seen: Seen) -> Event:
    """The event that a sender writes: a choice where something is chosen, a page where not."""
    at = FIRST + seen.hour * HOUR
    context: dict[str, Any] = {} if seen.email is None else {"traits": {"email": seen.email}}
    wishes = {"marketing_email": seen.news, "personalization": seen.personal}
    said = {name: wish for name, wish in wishes.items() if wish is not None}
    if said:
        context["consent"] = {"categoryPreferences": said}
        call = {"type": "track", "event": "Segment Consent Preference Updated", "properties": {}}
    else:
        call = {"type": "page", "properties": {"path": "/"}}
    whole = event("", seen.user or "", at=at, anonymousId=seen.device, context=context) | call
    return {name: value for name, value in whole.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """The pipeline, and the plain job on the very same batches."""

    places: Places
    plain: PlainJob

    def work(self, *seen: Seen) -> None:
        """Land and work one batch."""
        land(self.places, *map(as_event, seen), at=LANDED_AT)
        for batch in work(self.places):
            self.plain.work(
                [(segment.sealed_at, self.places.landing.read(segment)) for segment in batch.segments],
                arrival_hour=batch.arrival_hour,
                as_of=batch.as_of,
            )

    def assert_same(self) -> None:
        found, wanted = choices_in_state(self.places), choices_by_hand(self.plain)
        names = {person.profile_id: person.first.value for person in self.plain.people}
        assert {(names[key[0]], *key[1:]) for key, _ in found.items() ^ wanted.items()} == set()
        assert len(found) > len(names) > 0


def both(places: Places) -> Both:
    return Both(places=places, plain=PlainJob(contracts_today(places), dedupe_window=places.dedupe_window))


def choices_in_state(places: Places) -> Choices:
    """What counts for everybody, silence as an empty word, so that people are compared too."""
    found: Choices = {}
    with places.state.read() as connection:
        everybody = list(connection.execute(select(profiles.c.profile_id)).scalars())
        for canonical, members in set(cluster_of(connection, everybody).values()):
            found[canonical, "", ""] = ("", NOW)
            records = [one for of_member in records_of(connection, members).values() for one in of_member]
            found |= counting(canonical, records)
    return found


def choices_by_hand(plain: PlainJob) -> Choices:
    found: Choices = {}
    for person in plain.persons():
        found[person.profile_id, "", ""] = ("", NOW)
        found |= counting(person.profile_id, person.choices)
    return found


def counting(profile: str, records: Sequence[Any]) -> Choices:
    found: Choices = {}
    for purpose, channel in {(one.purpose, one.channel) for one in records}:
        choice = current_choice(records, purpose=purpose, channel=channel)
        assert choice is not None
        found[profile, purpose, channel] = (choice.status.value, choice.decided_at)
    return found


# -- whatever is seen, however it is cut -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's contracts, but a person has at most two devices, so that limits are met."""
    folder = tmp_path_factory.mktemp("promised") / "contracts"
    shutil.copytree(REPOSITORY / "contracts", folder)
    rules = (folder / "identity.yaml").read_text(encoding="utf-8")
    before, devices = rules.split("  anonymous_id:")
    (folder / "identity.yaml").write_text(f"{before}  anonymous_id:{devices.replace('limit: 5', 'limit: 2')}")
    return folder


wishes = some.sampled_from([None, None, True, False])
sightings = some.builds(
    Seen,
    user=some.sampled_from([None, None, "ann", "bea", "cem", "none"]),
    device=some.sampled_from([None, "phone", "tablet", "laptop", "null"]),
    email=some.sampled_from([None, None, None, "a@shop.test", "b@shop.test"]),
    news=wishes,
    personal=wishes,
    hour=some.integers(0, 3),
).filter(lambda seen: seen.user or seen.device)
stories = some.lists(some.tuples(sightings, some.sampled_from([0, 0, 0, 1])), min_size=2, max_size=10)
"""Sightings in the order of arrival, each with how many batches later than the one before it comes."""


def elsewhere(seen: Seen, world: str) -> Seen:
    """The same among other people, so that many stories are told in one run and never meet."""

    def there(name: str | None) -> str | None:
        return name if name in (None, "none", "null") else f"{world}.{name}"

    return replace(seen, user=there(seen.user), device=there(seen.device), email=there(seen.email))


@settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(some.lists(stories, min_size=50, max_size=100))
def test_what_counts_at_the_end_is_what_event_by_event_makes_wherever_batches_end(
    tmp_path_factory: pytest.TempPathFactory,
    migrated_sqlite: Path,
    contracts: Path,
    told: list[list[tuple[Seen, int]]],
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    shutil.copy(migrated_sqlite, folder / "state.db")
    state = open_state(f"sqlite:///{folder / 'state.db'}")
    found = both(places_at(folder, state, contracts=contracts))
    cut: list[list[Seen]] = [[], [], []]
    for world, story in enumerate(told):
        number = 0
        for seen, later in story:
            number = min(number + later, len(cut) - 1)
            cut[number].append(elsewhere(seen, str(world)))
    for batch in filter(None, cut):
        found.work(*batch)
    found.assert_same()
    state.close()


# -- one by one --------------------------------------------------------------------------------------------------------

ANN_NO, ANN_YES = Seen(user="ann", news=False, hour=1), Seen(user="ann", news=True, hour=1)
PHONE_NO, PHONE_YES = Seen(device="phone", news=False, hour=2), Seen(device="phone", news=True, hour=2)
ONE = Seen(user="ann", device="phone")

STORIES: dict[str, list[list[Seen]]] = {
    "a no of the older": [[ANN_NO, PHONE_YES, ONE]],
    "a no of the younger": [[PHONE_YES, replace(ANN_NO, hour=1), ONE]],
    "a no of the older, known before": [[ANN_NO], [PHONE_YES, ONE]],
    "a yes of the older, known before": [[PHONE_YES], [ANN_NO, ONE]],
    "a no taken back before the two are one": [[ANN_NO], [PHONE_YES], [replace(ANN_YES, hour=1), ONE]],
    "a no taken back in the batch of a later yes": [
        [ANN_NO],
        [replace(ANN_YES, hour=2), replace(PHONE_YES, hour=3), ONE],
    ],
    "a no of long ago, taken back before a later yes of the other": [
        [replace(ANN_NO, hour=0), replace(PHONE_YES, hour=3)],
        [replace(ANN_YES, hour=1), ONE],
    ],
    "a yes after the two are one": [[ANN_NO, PHONE_YES, ONE, Seen(device="phone", news=True, hour=3)]],
    "an older yes that arrives after the two are one": [
        [ANN_NO, replace(PHONE_YES, hour=3), ONE, Seen(device="phone", news=True, hour=2)]
    ],
    "an older no that arrives after the two are one": [[ONE, replace(PHONE_YES, hour=3), ANN_NO]],
    "the event that makes them one says yes": [[ANN_NO, Seen(device="phone"), replace(ONE, news=True, hour=3)]],
    "the event that makes them one says yes for the one that had said yes": [
        [replace(ANN_YES, hour=0), PHONE_NO, replace(ONE, news=True, hour=3)]
    ],
    "the event that makes a silent one and a no one says yes": [
        [Seen(user="ann"), PHONE_NO, replace(ONE, news=True, hour=3)]
    ],
    "the event that makes them one says no": [[PHONE_YES, Seen(user="ann"), replace(ONE, news=False, hour=1)]],
    "three, one after the other": [
        [
            ANN_NO,
            PHONE_YES,
            Seen(device="null", email="a@shop.test", news=True, hour=3),
            ONE,
            Seen(user="ann", email="a@shop.test"),
        ]
    ],
    "three, the no last": [
        [
            Seen(device="null", email="a@shop.test", news=True, hour=3),
            PHONE_YES,
            ANN_NO,
            Seen(device="phone", email="a@shop.test"),
            ONE,
        ]
    ],
    "three at once": [
        [
            Seen(device="null", email="a@shop.test", news=True, personal=False, hour=3),
            replace(PHONE_YES, personal=True),
            replace(ANN_NO, personal=True),
            Seen(user="ann", device="phone", email="a@shop.test"),
        ]
    ],
    "a choice under a user and a device that is somebody else's": [
        [
            Seen(user="bea", device="phone", news=False, hour=0),
            Seen(user="ann", device="phone", news=True, hour=2),
            Seen(device="tablet", news=False, hour=1),
            Seen(user="ann", device="tablet"),
        ]
    ],
    "a choice under a name that names nobody": [
        [
            Seen(user="none", device="phone", news=False, hour=1),
            replace(ANN_YES, hour=2),
            Seen(user="none", device="phone", news=True, hour=0),
            ONE,
        ]
    ],
    "two noes and two yeses": [
        [replace(ANN_NO, personal=True), replace(PHONE_YES, personal=False), ONE],
        [
            Seen(device="null", email="a@shop.test", news=True, personal=True, hour=3),
            Seen(user="ann", email="a@shop.test"),
        ],
    ],
}


def test_a_no_of_either_stays_and_nothing_else_does(places: Places) -> None:
    found = both(places)
    for batch in zip_longest(*STORIES.values(), fillvalue=()):
        found.work(*(elsewhere(seen, name) for name, part in zip(STORIES, batch, strict=True) for seen in part))
    found.assert_same()


# -- dying on the way, and running again -------------------------------------------------------------------------------

MANY = [
    [ANN_NO, Seen(device="null", email="b@shop.test", news=True, hour=2)],
    [
        PHONE_YES,
        Seen(device="null", email="a@shop.test", news=True, personal=False, hour=3),
        Seen(device="phone", email="a@shop.test"),
        Seen(user="bea", device="tablet", news=False, hour=1),
        Seen(device="laptop", news=True, hour=2),
        Seen(user="ann", email="a@shop.test", personal=True, hour=3),
        Seen(user="bea", device="laptop", email="b@shop.test"),
    ],
]
"""Four merges in the second batch, two in a chain and two at once; a no that state knew and a no of the batch."""


class Died(Exception):
    """A worker is gone."""


def land_many(places: Places) -> None:
    """The same segments wherever this is called, each a batch."""
    for number, batch in enumerate(MANY):
        content = [
            json.dumps(as_event(seen) | {"messageId": f"{number}.{place}"}).encode() for place, seen in enumerate(batch)
        ]
        places.landing.seal("web", content, sealed_at=LANDED_AT + number * timedelta(minutes=1), suffix="many")


def written(places: Places) -> list[tuple[Any, ...]]:
    """Every choice and redirect in state, with all columns."""
    with places.state.read() as connection:
        return sorted(
            tuple(row) for table in (consent_records, profile_redirects) for row in connection.execute(select(table))
        )


@pytest.mark.parametrize(
    "point",
    [
        *(f"resolved.{point}" for point in ("opened", "links", "merges", "effects", "durable", "closed")),
        *("consented.facts", "consented.effects"),
    ],
)
def test_who_dies_on_the_way_leaves_what_is_finished_to_the_same_end(
    point: str, new_state_url: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merges, "MERGES_AT_ONCE", 1)
    deaths = iter([True, True])

    def die(passed: str) -> None:
        if passed == point and next(deaths, False):
            raise Died

    with opened(tmp_path / "whole", new_state_url()) as whole, opened(tmp_path / "cut", new_state_url()) as cut:
        for places in (whole, cut):
            land_many(places)
        work(whole)
        for _ in range(2):
            with pytest.raises(Died):
                work(replace(cut, at=die))
        work(cut)
        assert written(cut) == written(whole)
        assert len([row for row in written(whole) if len(row) == len(profile_redirects.columns)]) == 4
        for batch in batches_of(cut):
            work_batch(cut, batch)
        assert written(cut) == written(whole)


@contextmanager
def opened(folder: Path, url: str) -> Generator[Places]:
    """An environment of one batch a segment."""
    state = open_state(url)
    try:
        yield replace(places_at(folder, state), batch_max_bytes=1)
    finally:
        state.close()


def test_a_no_of_the_batch_stands_before_any_of_its_choices_does(places: Places) -> None:
    """A claim that comes between the two phases finds the no with the merge, or no yes at all."""
    found = both(places)
    found.work(PHONE_YES)

    def die(passed: str) -> None:
        if passed == "resolved.closed":
            raise Died

    land(places, as_event(ANN_NO), as_event(ONE), at=LANDED_AT)
    with pytest.raises(Died):
        work(replace(places, at=die))
    (counts,) = {status for key, (status, _) in choices_in_state(places).items() if key[1] == "marketing"}
    assert counts == "denied"
