"""Promise 5: backfills recompute, they never send.

Events of three hours go the live way once. Then a person backfills through Dagster's own API, in every way there is,
and after each nothing more has reached the far end, and every table of lake and state is what it was.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import delete, select

from activation_dagster.defs.scope import BATCH_TAG
from activation_dagster.domain.sends import SendStatus
from activation_dagster.lake.delta import hour_key
from activation_dagster.lake.tables import TABLES
from activation_dagster.pipeline.places import Places
from activation_dagster.sources.simulator import simulate
from activation_dagster.state.tables import leases, metadata, sends
from activation_dagster.wiring import utc_now
from tests.databases import DIALECTS
from tests.defs.installation import Installation, far_end_under, installed, settings_under, this_hour
from tests.defs.web import Web, opened_web, succeeded
from tests.destinations.far_end import FarEnd

# Dagster's backfills call it themselves.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources` is deprecated")

EVERY_ASSET = (
    "ingested_events",
    "validated_events",
    "quarantined_events",
    "duplicate_events",
    "resolved_identities",
    "consented_audiences",
    "send_decisions",
    "sends",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """An installation after its live work, its web interface, its far end, and the three partitions, oldest first."""

    installation: Installation
    web: Web
    far_end: FarEnd
    hours: tuple[str, str, str]

    def stands(self) -> dict[str, Any]:
        """Everything that must not change: lake, state and far end."""
        with self.installation.places() as places:
            return {
                **{f"lake.{name}": rows for name, rows in lake_rows(places).items()},
                **{f"state.{name}": rows for name, rows in state_rows(places).items()},
                "far_end.events": self.far_end.rows("events"),
                "far_end.workflow_entries": self.far_end.rows("workflow_entries"),
                "far_end.users": self.far_end.rows("users"),
            }

    @contextmanager
    def unchanged(self) -> Generator[None]:
        """Whatever happens inside, and whatever is delivered afterwards, nothing is sent and no table changes."""
        before = self.stands()
        yield
        assert self.installation.work() == []  # neither a batch to work on nor a send that is due
        after = self.stands()
        assert [name for name in before if before[name] != after[name]] == []


def lake_rows(places: Places) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every lake table, sorted."""
    with duckdb.connect(":memory:") as connection:
        return {
            name: connection.execute(f"select * from {places.lake.source(table)} as t order by all").fetchall()
            for name, table in TABLES.items()
        }


def state_rows(places: Places) -> dict[str, list[Any]]:
    """Every row of every state table, sorted; only who holds which lease, and which copy is which file, may differ."""
    found: dict[str, list[Any]] = {}
    with places.state.read() as connection:
        for table in metadata.sorted_tables:
            rows = [dict(row._mapping) for row in connection.execute(select(table))]
            for row in rows:
                if table is leases:
                    row.clear()
                row.pop("fence", None)
                if "tables" in row:
                    row["tables"] = {name: copy[1:] for name, copy in json.loads(row["tables"]).items()}
            found[table.name] = sorted(rows, key=repr)
    return found


@pytest.fixture(scope="module", params=DIALECTS)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("house")
    state_url = None
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        state_url = postgres.url(postgres.create())
    newest = this_hour() - timedelta(hours=1)
    hours: list[datetime] = [newest - timedelta(hours=2), newest - timedelta(hours=1), newest]
    with far_end_under(folder) as far_end:
        settings = settings_under(folder, address=far_end.address, state_url=state_url)
        with installed(settings, clock=utc_now, has_history_on_disk=True) as installation:
            lines = simulate(seed=5, people=24, events=400, now=utc_now()).lines
            # Four segments, four batches; the hour in the middle has two: they are worked on again in their order.
            for number, hour in enumerate((hours[0], hours[1], hours[1], hours[2])):
                part = lines[100 * number : 100 * (number + 1)]
                installation.land(part, at=hour + timedelta(minutes=number), suffix=f"s{number}")
                installation.cursors.clear()  # a tick looks into old hours at first, and then now and again
                assert all(result.success for result in installation.work())
            with opened_web(installation.instance, settings, folder=folder) as web:
                oldest, middle, last = (hour_key(hour) for hour in hours)
                yield House(installation=installation, web=web, far_end=far_end, hours=(oldest, middle, last))


def test_the_live_way_sends_and_leaves_nothing_to_do(house: House) -> None:
    stands = house.stands()
    assert len(stands["far_end.events"]) > 5
    assert stands["far_end.workflow_entries"]
    assert all(stands[f"lake.{name}"] for name in TABLES)
    assert {row["status"] for row in stands["state.sends"]} <= {SendStatus.SENT, SendStatus.REFUSED}


def test_a_backfill_of_all_hours_with_every_asset_is_one_run_over_them_and_changes_nothing(house: House) -> None:
    with house.unchanged():
        runs = house.web.backfill(*EVERY_ASSET, partitions=house.hours)
        assert succeeded(runs)
        ranges = [run.tags.get("dagster/asset_partition_range_start") for run in runs]
        assert sorted(ranges, key=str) == [house.hours[0], None]  # the ledger has no hours: it has a run of its own


def test_a_backfill_of_an_hour_in_the_middle_with_later_hours_present_changes_nothing(house: House) -> None:
    with house.unchanged():
        assert succeeded(house.web.backfill(*EVERY_ASSET, partitions=[house.hours[1]]))


def test_a_partition_materialised_by_hand_changes_nothing(house: House) -> None:
    with house.unchanged():
        assert succeeded([house.web.materialise(*EVERY_ASSET, partition=house.hours[2])])


def test_each_asset_materialised_alone_changes_nothing(house: House) -> None:
    with house.unchanged():
        assert succeeded([house.web.materialise(asset, partition=house.hours[0]) for asset in EVERY_ASSET[:-1]])


def test_materialising_the_ledger_alone_sends_nothing_that_was_not_due(house: House) -> None:
    with house.unchanged():
        assert succeeded([house.web.materialise("sends")])


def test_an_hour_without_any_batch_is_materialised_empty(house: House) -> None:
    with house.unchanged():
        empty = hour_key(this_hour() - timedelta(hours=9))
        assert succeeded([house.web.materialise(*EVERY_ASSET, partition=empty)])
        assert house.installation.metadata("send_decisions")["dagster/row_count"] == 0


def test_a_backfill_neither_takes_what_has_landed_nor_finishes_what_was_begun(house: House) -> None:
    lines = simulate(seed=6, people=3, events=60, now=utc_now()).lines
    house.installation.land(lines[:30], at=this_hour() - timedelta(minutes=2), suffix="planned")
    house.installation.cursors.clear()
    (request,) = house.installation.tick("landing_sensor").run_requests or []
    house.installation.land(lines[30:], at=this_hour() - timedelta(minutes=1), suffix="waiting")
    before = house.stands()
    assert succeeded(house.web.backfill(*EVERY_ASSET, partitions=house.hours))
    after = house.stands()
    assert [name for name in before if before[name] != after[name]] == []
    house.installation.cursors.clear()
    first, second = house.installation.work()  # the sensor finishes the one and takes the other
    assert first.dagster_run.tags[BATCH_TAG] == request.tags[BATCH_TAG]
    assert second.success


def test_what_a_backfill_finds_missing_waits_for_a_named_person(house: House) -> None:
    stands = house.stands()
    lost = next(row for row in stands["state.sends"] if row["status"] == SendStatus.SENT)
    with house.installation.places() as places, places.state.write() as connection:
        connection.execute(delete(sends).where(sends.c.send_key == lost["send_key"]))
    assert succeeded(house.web.backfill(*EVERY_ASSET, partitions=house.hours))
    assert house.installation.work() == []
    after = house.stands()
    found = next(row for row in after["state.sends"] if row["send_key"] == lost["send_key"])
    assert (found["status"], found["reason"]) == (SendStatus.HELD, "closed_before")
    for name in ("far_end.events", "far_end.workflow_entries", "far_end.users"):
        assert after[name] == stands[name]
