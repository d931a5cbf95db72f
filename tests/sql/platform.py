"""The platform worked as it is, without Dagster, and held against the plain job, number by number and name by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from sqlalchemy import select

from activation_dagster.demo.outcome import compare
from activation_dagster.destinations.standin.app import StandinSettings
from activation_dagster.destinations.standin.server import running_standin
from activation_dagster.domain.batches import Batch
from activation_dagster.domain.workflows import Workflow
from activation_dagster.lake.tables import DECISIONS, LakeTable
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.send import deliver
from activation_dagster.pipeline.watch import totals
from activation_dagster.pipeline.work import drain
from activation_dagster.settings import Settings
from activation_dagster.state.tables import membership_changes, profile_redirects, profiles, sends
from activation_dagster.wiring import open_destinations, open_places
from tests.destinations.far_end import API_KEY, FarEnd
from tests.domain.plain_job import Decision, PlainJob

JOURNEY = 4711
"""The one that contracts/workflows/vip_journey.yaml names."""


@dataclass(slots=True, kw_only=True)
class Platform:
    """One installation and its far end, with a clock that stands still until it is moved."""

    settings: Settings
    places: Places
    far_end: FarEnd
    now: datetime
    plain: PlainJob

    def land(self, lines: Iterable[bytes], *, segment_bytes: int) -> int:
        """Seal lines as segments, a millisecond after one another; how many segments."""
        count = 0
        for chunk in _chunks(lines, segment_bytes):
            self.places.landing.seal("shop", chunk, sealed_at=self.now, suffix=f"t{count:06d}")
            self.now += timedelta(milliseconds=1)
            count += 1
        return count

    def work(self) -> list[Batch]:
        """Drain landing, and give the plain job the very same batches."""
        worked = drain(self.places, now=lambda: self.now)
        for batch in worked:
            self.plain.work(
                [(segment.sealed_at, self.places.landing.read(segment)) for segment in batch.segments],
                arrival_hour=batch.arrival_hour,
                as_of=batch.as_of,
            )
        return worked

    def deliver(self) -> None:
        """Deliver all that is due, here and in the plain job."""
        with open_destinations(self.settings, self.places) as destinations:
            deliver(self.places, destinations, clock=lambda: self.now, claim_size=500)
        self.plain.deliver(self.now)


@contextmanager
def platform(folder: Path, *, now: datetime, **wishes: Any) -> Generator[Platform]:
    """A fresh installation under a folder; `wishes` are settings."""
    clock: list[Platform] = []
    with ExitStack() as stack:
        standin = StandinSettings(
            store=folder / "standin.sqlite", api_key=API_KEY, workflow_ids=(JOURNEY,), rate_scale=1_000.0
        )
        address = stack.enter_context(running_standin(standin))
        client = stack.enter_context(httpx.Client(base_url=address, headers={"Api-Key": API_KEY}))
        settings = Settings(
            home=folder / "home", iterable_base_url=address, iterable_api_key=SecretStr(API_KEY), **wishes
        )
        places = stack.enter_context(open_places(settings, clock=lambda: clock[0].now))
        plain = PlainJob(contracts_today(places), dedupe_window=places.dedupe_window)
        found = Platform(
            settings=settings, places=places, far_end=FarEnd(address=address, client=client), now=now, plain=plain
        )
        clock.append(found)
        yield found


def assert_as_received(found: Platform) -> None:
    """The counts of events, and of people, are those of the plain job."""
    counted, plain = totals(found.places), found.plain
    assert counted.received == plain.events["received"]
    assert counted.accepted == plain.events["accepted"]
    assert counted.duplicate == plain.events["duplicate"]
    assert counted.quarantined == plain.events["quarantined"]
    assert dict(counted.quarantined_by_reason) == dict(plain.quarantined)
    assert counted.profiles == len(plain.persons())
    assert counted.conserved
    assert counted.waiting_segments == counted.unfinished_batches == 0


def assert_same_people(found: Platform) -> None:
    """The profiles are those of the plain job, each with its name."""
    with found.places.state.read() as connection:
        lost = set(connection.execute(select(profile_redirects.c.from_profile)).scalars())
        known = set(connection.execute(select(profiles.c.profile_id)).scalars())
    assert known - lost == {person.profile_id for person in found.plain.persons()}


def assert_same_members(found: Platform) -> None:
    """Everybody who is in an audience is in it for the plain job too, and nobody else is."""
    changes = membership_changes.c
    with found.places.state.read() as connection:
        lost = set(connection.execute(select(profile_redirects.c.from_profile)).scalars())
        newest: dict[tuple[str, str], str] = {
            (row[0], row[1]): row[2]
            for row in connection.execute(
                select(changes.audience_id, changes.profile_id, changes.change).order_by(changes.seq)
            )
        }
    for audience in contracts_today(found.places).audiences:
        members = {
            profile
            for (name, profile), change in newest.items()
            if name == audience and change != "exited" and profile not in lost
        }
        assert members == found.plain.members(audience)


def assert_same_decisions(found: Platform) -> None:
    """Every candidate was decided as the plain job decides it, with the same reason."""
    ours = Counter(
        (row["workflow_id"], row["send_key"], row["outcome"], row["reason"])
        for row in lake_rows(found.places, DECISIONS)
    )
    assert ours == Counter((one.workflow_id, one.send_key, one.outcome, one.reason) for one in found.plain.decisions)


def assert_sent_once(found: Platform) -> None:
    """The ledger ends as the plain gate says, and the stand-in holds the ledger's sent rows with the declared fields."""
    with found.places.state.read() as connection:
        ledger = {
            row[0]: row[2] if row[1] == "refused" else row[1]
            for row in connection.execute(select(sends.c.send_key, sends.c.status, sends.c.reason))
        }
    assert ledger == found.plain.outcomes
    workflows = contracts_today(found.places).workflows
    wanted = {one.send_key: one for one in found.plain.sends() if found.plain.outcomes[one.send_key] == "sent"}
    tracked = {key: one for key, one in wanted.items() if workflows[one.workflow_id].endpoint == "track"}
    entries = [one for key, one in wanted.items() if key not in tracked]
    events = {event["event_id"]: event for event in found.far_end.rows("events")}
    assert set(events) == set(tracked)
    for key, event in events.items():
        assert event["user_id"] == user_id(tracked[key])
        assert event["event_name"] == workflows[tracked[key].workflow_id].subject
        assert event["body"]["dataFields"] == {**tracked[key].data_fields, **contract_fields(tracked[key], workflows)}
    held = Counter(entry["user_id"] for entry in found.far_end.rows("workflow_entries"))
    assert held == Counter(user_id(one) for one in entries)
    assert compare(found.places, found.far_end.address).agrees
    counted = totals(found.places)
    assert (counted.decisions, counted.sent) == (len(found.plain.decisions), len(wanted))
    assert counted.refused == counted.decisions - counted.sent
    assert counted.pending == 0
    assert counted.conserved


def user_id(decision: Decision) -> str | None:
    """Whom a decision means, as the destination names people."""
    return None if decision.person is None else decision.person.today().value("user_id")


def contract_fields(decision: Decision, workflows: Mapping[str, Workflow]) -> dict[str, Any]:
    """The execution input contract, which every message carries."""
    return {
        "audience_id": workflows[decision.workflow_id].audience_id,
        "validated_at": decision.decided_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "consent_checked": True,
    }


def lake_rows(places: Places, table: LakeTable) -> list[dict[str, Any]]:
    """All rows of a lake table, by deltalake's own reader."""
    from deltalake import DeltaTable

    if not places.lake.exists(table):
        return []
    return DeltaTable(str(places.lake.path(table))).to_pyarrow_table().to_pylist()


def _chunks(lines: Iterable[bytes], most: int) -> Iterable[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) + 1 > most:
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line) + 1
    if chunk:
        yield chunk
