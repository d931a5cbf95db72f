"""Each scenario shows in the pipeline's own verdicts what it says, and a calm day shows none of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from sqlalchemy import select

from activation_dagster.errors import WrongUse
from activation_dagster.lake.tables import DECISIONS, INGESTED, QUARANTINED, RESOLVED
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.watch import Totals, totals
from activation_dagster.pipeline.work import drain
from activation_dagster.sources.scenarios import BOTS, KIOSK, Call, Plan, Scenario, Trouble, as_sent, calls
from activation_dagster.sources.simulator import written
from activation_dagster.state.engine import open_state
from activation_dagster.state.tables import links
from tests.pipeline.small_shop import Clock, places_at

NOW = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
MINUTES = 10.0


def plan_of(scenario: Scenario, *, seed: int = 1) -> Plan:
    start_ms = (NOW - timedelta(minutes=MINUTES) - EPOCH) // MILLISECOND
    return Plan(scenario=scenario, seed=seed, rate=1.0, minutes=MINUTES, start_ms=start_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A scenario, and what the pipeline made of it."""

    calls: list[Call]
    places: Places
    totals: Totals

    def ids(self, *troubles: Trouble) -> set[str]:
        return {call.draft.message_id for call in self.calls if call.trouble in troubles}

    def rows(self, columns: str, table: Any, rest: str = "") -> list[tuple[Any, ...]]:
        """What the lake says."""
        with duckdb.connect(":memory:") as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(f"select {columns} from {self.places.lake.source(table)} as r {rest}").fetchall()

    def people(self, where: str) -> set[tuple[Any, ...]]:
        """(user_id, profile_id) of the events of which `where` is true."""
        with duckdb.connect(":memory:") as connection:
            ingested, resolved = self.places.lake.source(INGESTED), self.places.lake.source(RESOLVED)
            query = (
                f"select user_id, profile_id from {ingested} as i join {resolved} as r using (event_id) where {where}"
            )
            return set(connection.execute(query).fetchall())

    @property
    def refused_links(self) -> Counter[str]:
        with self.places.state.read() as connection:
            rows = connection.execute(select(links.c.reason).where(links.c.decision != "accepted")).scalars()
            return Counter(rows)


class Days:
    """Days worked so far; each scenario is worked once."""

    def __init__(self, folder: Path, migrated: Path) -> None:
        self.folder, self.migrated = folder, migrated
        self.worked: dict[Scenario, Day] = {}

    def __call__(self, scenario: Scenario) -> Day:
        if scenario not in self.worked:
            folder = self.folder / scenario.value
            folder.mkdir()
            (folder / "state.db").write_bytes(self.migrated.read_bytes())
            places = places_at(folder, open_state(f"sqlite:///{folder}/state.db"), clock=Clock(NOW))
            made = list(calls(plan_of(scenario)))
            for third in range(3):  # a batch for each third of the time
                here = [orjson.dumps(written(call.draft)) for call in made if call.third == third]
                sealed_at = NOW + (third - 3) * timedelta(seconds=30)
                if here:  # nothing leaves a device that is offline
                    places.landing.seal("shop", here, sealed_at=sealed_at, suffix=f"third{third}")
                    drain(places, now=lambda: NOW)
            self.worked[scenario] = Day(calls=made, places=places, totals=totals(places))
        return self.worked[scenario]


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Generator[Days]:
    made = Days(tmp_path_factory.mktemp("scenarios"), migrated_sqlite)
    yield made
    for day in made.worked.values():
        day.places.state.close()


@pytest.fixture
def calm(days: Days) -> Day:
    return days(Scenario.CALM)


def test_a_calm_day_is_accepted_whole_and_somebody_is_written_to(calm: Day) -> None:
    found = calm.totals
    assert found.conserved
    assert (found.received, found.accepted, found.duplicate, found.quarantined) == (600, 600, 0, 0)
    assert found.decisions > 0
    assert sum(found.audiences.values()) > 0
    assert calm.refused_links.total() <= 2  # two people mistyped their address to the same
    assert Counter(call.third for call in calm.calls) == {0: 200, 1: 200, 2: 200}


def test_schema_drift_breaks_the_contract_from_the_first_third_on(days: Days) -> None:
    day = days(Scenario.SCHEMA_DRIFT)
    drifted = day.ids(Trouble.DRIFTED)
    assert day.totals.quarantined_by_reason == {"contract_violation": len(drifted)}
    assert len(drifted) > 600 * 0.15
    first_third = {call.draft.message_id for call in day.calls if call.third == 0}
    assert not drifted & first_third
    waiting = day.rows("payload, violations", QUARANTINED)
    assert {json.loads(payload)["messageId"] for payload, _ in waiting} == drifted
    assert all("properties.price" in str(violations) for _, violations in waiting)


def test_a_duplicate_storm_is_counted_and_changes_nothing_else(days: Days) -> None:
    day = days(Scenario.DUPLICATE_STORM)
    repeated = sum(call.trouble is Trouble.REPEATED for call in day.calls)
    assert repeated == 4 * 200
    assert (day.totals.accepted, day.totals.duplicate, day.totals.quarantined) == (600, repeated, 0)
    assert len({call.draft.message_id for call in day.calls}) == 600
    assert day.totals.conserved


def test_colliding_identities_are_kept_apart(days: Days) -> None:
    day = days(Scenario.IDENTITY_COLLISION)
    named = {call.draft.body["userId"] for call in day.calls if "userId" in call.draft.body}
    colliding = [call for call in day.calls if call.trouble is Trouble.COLLIDING]
    assert {call.draft.body["anonymousId"] for call in colliding} == {KIOSK}
    colliding_people = {call.draft.body["userId"] for call in colliding}
    assert day.refused_links.total() >= len(colliding_people) - 1 > 10  # all but the first, who has the device
    owners = day.people("user_id is not null")
    assert len(owners) == len(named) == len({profile for _, profile in owners})
    assert day.totals.accepted == 600


def test_after_everybody_took_their_yes_back_nobody_is_written_to(days: Days, calm: Day) -> None:
    day = days(Scenario.CONSENT_REVOKED)
    revoked = [call.draft.body["userId"] for call in day.calls if call.trouble is Trouble.REVOKING]
    assert len(revoked) >= 5
    assert sum(day.totals.audiences.values()) == 0 < sum(calm.totals.audiences.values())
    assert day.totals.refused_by_reason["consent_denied"] >= len(revoked)
    revoking = day.ids(Trouble.REVOKING)
    triggers = {row[0] for row in day.rows("event_id", INGESTED, f"where message_id in {tuple(revoking)}")}
    assert len(triggers) == len(revoking)
    decided = day.rows("outcome, trigger_event_id", DECISIONS)
    assert {outcome for outcome, event in decided if event in triggers} == {"refuse"}
    assert {outcome for outcome, event in decided if "third0" in event} == {"refuse", "send"}  # before they did


def test_a_spike_is_ten_times_as_much_and_all_of_it_is_accepted(days: Days) -> None:
    day = days(Scenario.SPIKE)
    by_third = Counter(call.third for call in day.calls)
    assert by_third[1] == 10 * by_third[0] == 10 * by_third[2]
    assert (day.totals.received, day.totals.accepted) == (2_400, 2_400)
    assert day.totals.conserved
    (middle,) = day.rows("count(*)", INGESTED, "where event_id like '%third1:%'")
    assert middle == (2_000,)


def test_what_lags_is_received_hours_after_it_happened(days: Days, calm: Day) -> None:
    day = days(Scenario.LAG)
    where = "where received_at - occurred_at > interval 2 hour"
    late = {row[0] for row in day.rows("message_id", INGESTED, where)}
    assert late == day.ids(Trouble.LATE)
    assert len(late) == 200
    assert calm.rows("message_id", INGESTED, where) == []
    assert day.totals.accepted == 600


def test_bots_are_few_profiles_with_most_of_the_pages_and_nobody_writes_to_them(days: Days, calm: Day) -> None:
    day = days(Scenario.BOT_FLOOD)
    of_bots = day.ids(Trouble.OF_A_BOT)
    profiles = {profile for _, profile in day.people("anonymous_id like 'anon-bot-%'")}
    assert len(profiles) == BOTS
    assert len(of_bots) > 0.7 * day.totals.accepted
    written_to = {row[0] for row in day.rows("profile_id", DECISIONS)}
    assert not written_to & profiles


def test_a_wrong_clock_does_not_move_when_something_happened(days: Days) -> None:
    day = days(Scenario.CLOCK_SKEW)
    truth = {
        call.draft.message_id: EPOCH + call.draft.occurred_ms * MILLISECOND
        for call in day.calls
        if call.trouble is Trouble.SKEWED
    }
    assert len(truth) > 100
    found = {row[0]: row[1].replace(tzinfo=UTC) for row in day.rows("message_id, occurred_at", INGESTED)}
    assert all(abs(found[message_id] - at) < timedelta(seconds=1) for message_id, at in truth.items())
    said = [json.loads(as_sent(call))["timestamp"] for call in day.calls if call.trouble is Trouble.SKEWED]
    assert all(not at.startswith("2026-03-01T10:2") for at in said)
    assert day.totals.accepted == 600


@pytest.mark.parametrize("scenario", list(Scenario))
def test_the_same_plan_gives_the_same_calls_in_the_order_in_which_they_leave(scenario: Scenario) -> None:
    made = list(calls(plan_of(scenario)))
    assert [as_sent(call) for call in calls(plan_of(scenario))] == [as_sent(call) for call in made]
    assert [as_sent(call) for call in calls(plan_of(scenario, seed=2))] != [as_sent(call) for call in made]
    leaves = [call.leaves_ms for call in made]
    assert leaves == sorted(leaves)


def test_too_few_calls_to_show_anything_are_wrong_use() -> None:
    with pytest.raises(WrongUse, match="cannot show anything"):
        next(calls(Plan(scenario=Scenario.CALM, seed=1, rate=0.1, minutes=1, start_ms=0)))
