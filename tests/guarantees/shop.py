"""A shop under one folder: real landing, state, lake and far end, worked without Dagster; and all that it holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from sqlalchemy import MetaData, Table, inspect, select

from activation_dagster.destinations.protocol import Destination
from activation_dagster.destinations.standin.app import StandinSettings
from activation_dagster.destinations.standin.server import running_standin
from activation_dagster.domain.batches import Batch
from activation_dagster.domain.landing import Segment
from activation_dagster.lake.tables import TABLES
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.send import DeliveryReport, deliver
from activation_dagster.pipeline.watch import Totals, totals
from activation_dagster.pipeline.work import drain
from activation_dagster.settings import Settings
from activation_dagster.sources.landing import Landing
from activation_dagster.state.engine import State
from activation_dagster.state.tables import sends
from activation_dagster.wiring import open_destinations, open_places
from tests.destinations.far_end import API_KEY, FarEnd

NOW = datetime(2025, 9, 18, 10, 30, tzinfo=UTC)
JOURNEY = 4711
"""The journey that contracts/workflows/vip_journey.yaml names."""

Row = dict[str, Any]
Held = dict[str, list[Row]]
"""Rows by table, sorted."""

WHEN_AND_WHO = {
    # Read from the clock of whoever worked: when a phase was opened and closed, when the gate let a batch through.
    "batches": {"closed_at"},
    "batch_phases": {"opened_at", "closed_at", "fence"},
    "releases": {"released_at"},
    "incidents": {"opened_at"},
    # Which process had a send in hand, from when to when, at which try; when it was due again after a failure; and what
    # the far end answered to the whole call that it was in, which counts the others of that call.
    "sends": {"attempts", "claim_token", "claimed_at", "lease_until", "answered_at", "due_at", "answer"},
    "send_copies": {"table_version"},  # a commit more or less is no other content
}
"""Columns of state that say when and by whom the work was done: nothing decides by them, and they may differ."""

NOT_COMPARED = {
    "leases",  # who worked last
    "alembic_version",
}


@dataclass(slots=True, kw_only=True)
class Clock:
    """A clock that tests move; it stands still otherwise."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """One installation: `folder` holds everything but a PostgreSQL, which `state_url` names."""

    folder: Path
    address: str
    state_url: str | None = None
    contracts: Path | None = None
    batch_max_bytes: int = 1
    dedupe_window_hours: int = 24

    @property
    def settings(self) -> Settings:
        """A batch takes one segment, unless the shop was told otherwise."""
        more: dict[str, Any] = {} if self.contracts is None else {"contracts": self.contracts}
        return Settings(
            home=self.folder / "home",
            state_url=self.state_url,
            iterable_base_url=self.address,
            iterable_api_key=SecretStr(API_KEY),
            batch_max_bytes=self.batch_max_bytes,
            dedupe_window_hours=self.dedupe_window_hours,
            **more,
        )

    def land(self, lines: Iterable[bytes], *, at: datetime, compressed: bool = False) -> Segment:
        """Seal lines as one segment."""
        landing = Landing(self.settings.landing_root)
        return landing.seal("shop", lines, sealed_at=at, suffix="a", compressed=compressed)

    @contextmanager
    def places(
        self,
        *,
        clock: Callable[[], datetime] = lambda: NOW,
        at: Callable[[str], None] | None = None,
        holder: str | None = None,
    ) -> Generator[Places]:
        """The places, as a worker of this name has them."""
        with open_places(self.settings, clock=clock) as places:
            yield replace(places, at=at or places.at, holder=holder or places.holder)

    @contextmanager
    def destinations(self, places: Places) -> Generator[dict[str, Destination]]:
        with open_destinations(self.settings, places) as destinations:
            yield destinations

    def work(self, *, clock: Callable[[], datetime] = lambda: NOW) -> list[Batch]:
        """Work what has landed, under rules of the instant NOW unless the clock says otherwise."""
        with self.places(clock=clock) as places:
            return drain(places, now=clock)

    def deliver(self, *, clock: Callable[[], datetime] = lambda: NOW, claim_size: int = 500) -> DeliveryReport:
        """Deliver what is due."""
        with self.places(clock=clock) as places, self.destinations(places) as destinations:
            return deliver(places, destinations, clock=clock, claim_size=claim_size)

    def totals(self) -> Totals:
        with self.places() as places:
            return totals(places)

    def state(self) -> Held:
        """Every row of state, with all columns; `compared` takes out those that say when and who."""
        with self.places() as places:
            return every_row(places.state)

    def lake(self) -> Held:
        """Every row of the lake."""
        with self.places() as places:
            return lake_rows(places)

    def sends(self) -> dict[str, Row]:
        """The ledger by key, all columns."""
        with self.places() as places, places.state.read() as connection:
            return {row.send_key: dict(row._mapping) for row in connection.execute(select(sends))}

    def copied(self, folder: Path) -> Shop:
        """The same shop, as it stands, in another folder (SQLite only)."""
        assert self.state_url is None
        shutil.copytree(self.folder / "home", folder / "home")
        return replace(self, folder=folder)


def every_row(state: State) -> Held:
    """All tables of state, the buckets of message ids among them, with all their columns."""
    found: Held = {}
    with state.read() as connection:
        for name in sorted(inspect(connection).get_table_names()):
            if name not in NOT_COMPARED:
                table = Table(name, MetaData(), autoload_with=connection)
                found[name] = [_plain(dict(row._mapping)) for row in connection.execute(select(table))]
    return found


def compared(rows: Held) -> Held:
    """What must be equal: see WHEN_AND_WHO for what is left out, and why."""
    found: Held = {}
    for table, of_table in rows.items():
        left_out = WHEN_AND_WHO.get(table, set())
        kept = [{name: value for name, value in row.items() if name not in left_out} for row in of_table]
        for row in kept:
            if table == "batch_phases":  # [version, rows, checksum]: a commit more or less is no other content
                row["tables"] = {name: copy[1:] for name, copy in json.loads(row["tables"]).items()}
            if table == "sends":  # the instant at which the claim read what it read
                row["consent_evidence"] = {
                    name: value for name, value in json.loads(row["consent_evidence"]).items() if name != "checked_at"
                }
        found[table] = sorted(kept, key=repr)
    return found


def compared_lake(rows: Held) -> Held:
    """What must be equal in the lake: the copy of the ledger without the times at which somebody had a send in hand."""
    left_out = WHEN_AND_WHO["sends"]
    copied = [{name: value for name, value in row.items() if name not in left_out} for row in rows["sends"]]
    return rows | {"sends": sorted(copied, key=repr)}


def differences(found: Held, expected: Held) -> list[str]:
    """One sentence a row that only one of the two has."""
    said: list[str] = []
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            ours = [repr(row) for row in found.get(name, [])]
            theirs = [repr(row) for row in expected.get(name, [])]
            said += [f"only found in {name}: {row}" for row in ours if row not in theirs]
            said += [f"only expected in {name}: {row}" for row in theirs if row not in ours]
            said += [f"{name} holds {len(ours)} rows, not {len(theirs)}"] if len(ours) != len(theirs) else []
    return said


def lake_rows(places: Places) -> Held:
    """All tables of the lake with all their columns."""
    import duckdb

    found: Held = {}
    with duckdb.connect(":memory:") as connection:
        for table in TABLES.values():
            rows = connection.execute(f"select * from {places.lake.source(table)} as t")
            names = [column[0] for column in rows.description or ()]
            found[table.name] = sorted((dict(zip(names, row, strict=True)) for row in rows.fetchall()), key=repr)
    return found


def _plain(row: Row) -> Row:
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}


@contextmanager
def far_end_in(folder: Path) -> Generator[FarEnd]:
    """A stand-in for Iterable that knows our journey."""
    standin = StandinSettings(
        store=folder / "standin.sqlite", api_key=API_KEY, workflow_ids=(JOURNEY,), rate_scale=1_000.0
    )
    with running_standin(standin) as address, httpx.Client(base_url=address, headers={"Api-Key": API_KEY}) as client:
        yield FarEnd(address=address, client=client)


def every_event_is_in_one_place(shop: Shop, lake: Held) -> None:
    """Every landed line is in exactly one of accepted, quarantined and duplicate."""
    landing = Landing(shop.settings.landing_root)
    landed = [
        f"{segment.segment_id}:{number:07d}"
        for segment in landing.segments()
        for number, line in enumerate(landing.read(segment).split(b"\n"), start=1)
        if line.strip()
    ]
    placed = [row["event_id"] for name in PLACES_OF_EVENTS for row in lake[name]]
    assert sorted(placed) == sorted(landed)
    assert sorted(row["event_id"] for row in lake["ingested_events"]) == sorted(landed)


PLACES_OF_EVENTS: Sequence[str] = ("validated_events", "quarantined_events", "duplicate_events")


def the_far_end_has_what_the_ledger_says(ledger: Iterable[Row], far_end: FarEnd) -> None:
    """Sent sends are there, each once; unknown ones at most once; nothing else is."""
    rows = list(ledger)
    events = [row["event_id"] for row in far_end.rows("events")]
    sent = [row for row in rows if row["status"] == "sent"]
    assert sorted(events) == sorted(row["send_key"] for row in sent if row["endpoint"] == "track")
    entries = [row["user_id"] for row in far_end.rows("workflow_entries")]
    assert len(entries) == len(set(entries)), "somebody entered a journey twice"
    must = {row["profile_key"] for row in sent if row["endpoint"] == "trigger_workflow"}
    may = {row["profile_key"] for row in rows if row["status"] == "unknown"}
    assert must <= set(entries) <= must | may
