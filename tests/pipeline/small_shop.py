"""A small shop: hand-made events of a few people, the places they go through, and a file that messages go to."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from activation_dagster.destinations.file import FileDestination
from activation_dagster.destinations.protocol import Access
from activation_dagster.domain.batches import Batch
from activation_dagster.lake.delta import Lake
from activation_dagster.lake.tables import TABLES
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.send import DeliveryReport, deliver
from activation_dagster.pipeline.work import drain
from activation_dagster.sources.landing import Landing
from activation_dagster.state.batches import all_finished, load_batches
from activation_dagster.state.engine import State
from activation_dagster.state.sends import Send, list_sends

REPOSITORY = Path(__file__).resolve().parent.parent.parent
NOW = datetime(2025, 9, 18, 10, 12, tzinfo=UTC)

Event = dict[str, Any]


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def places_at(
    folder: Path,
    state: State,
    *,
    clock: Callable[[], datetime] | None = None,
    at: Callable[[str], None] = lambda _: None,
    contracts: Path = REPOSITORY / "contracts",
    holder: str = "test",
) -> Places:
    """The places of an environment below a folder."""
    return Places(
        environment="shop",
        landing=Landing(folder / "landing" / "shop"),
        lake=Lake(folder / "lake" / "shop"),
        state=state,
        contracts_root=contracts,
        sql_root=REPOSITORY / "sql",
        clock=clock or Clock(),
        holder=holder,
        dedupe_window=timedelta(hours=24),
        batch_max_bytes=1 << 20,
        lease_seconds=60,
        at=at,
    )


# -- what people do ---------------------------------------------------------------------------------------------------

_numbers = itertools.count(1)


def event(kind: str, user: str, *, at: datetime, **more: Any) -> Event:
    """One call of Segment's, with an id of its own."""
    return {
        "type": kind,
        "messageId": f"m-{next(_numbers):06d}",
        "userId": user,
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **more,
    }


def identify(user: str, *, at: datetime = NOW - timedelta(days=9), country: str = "US", **traits: Any) -> Event:
    """Somebody says who they are."""
    return event("identify", user, at=at, traits={"country": country, "first_name": f"Name of {user}", **traits})


def purchase(user: str, price: float = 20.0, *, at: datetime = NOW - timedelta(days=3), **more: Any) -> Event:
    """Somebody buys one thing."""
    properties = {"product_id": "sku-1", "price": price, "quantity": 1, "currency": "USD", **more}
    return event("track", user, at=at, event="Product Purchased", properties=properties)


def choice(user: str, *, at: datetime = NOW - timedelta(days=1), **categories: bool) -> Event:
    """Somebody chooses what their data may be used for."""
    return event(
        "track",
        user,
        at=at,
        event="Segment Consent Preference Updated",
        properties={"choice_text": "OK"},
        context={"consent": {"categoryPreferences": categories}},
    )


def buyer(
    user: str, *, allows: bool = True, price: float = 20.0, country: str = "US", now: datetime = NOW
) -> list[Event]:
    """Somebody who bought and then said yes, or no, to news, in the days before `now`."""
    return [
        identify(user, at=now - timedelta(days=9), country=country),
        purchase(user, price, at=now - timedelta(days=3)),
        choice(user, at=now - timedelta(days=1), marketing_email=allows, personalization=True),
    ]


def bad_price(user: str, *, at: datetime = NOW) -> Event:
    """A purchase that breaks its contract."""
    return purchase(user, at=at) | {
        "properties": {"product_id": "sku-1", "price": "dear", "quantity": 1, "currency": "USD"}
    }


def lines(*events: Event | bytes) -> list[bytes]:
    """Events as they stand in a segment; bytes stay as they are."""
    return [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]


def land(places: Places, *events: Event | bytes, at: datetime = NOW, source: str = "web") -> None:
    """Seal events as one segment of the hour of `at`."""
    places.landing.seal(source, lines(*events), sealed_at=at, suffix=f"t{next(_numbers)}")


def work(places: Places) -> list[Batch]:
    """Work all that has landed."""
    return drain(places, now=places.clock)


def three_batches(places: Places) -> list[Batch]:
    """Three batches in two hours: five people of every kind, and every kind of dirt."""
    repeated = purchase("u1")
    worked: list[Batch] = []
    for number, events in enumerate(
        (
            [*buyer("u1", price=700.0), *buyer("u2", allows=False), b'{"type": "track", "messa', repeated],
            [*buyer("u3"), identify("u4"), choice("u4", marketing_email=True), repeated, bad_price("u1")],
            [*buyer("u5", country="DE"), event("track", "u1", at=NOW, event="No Such Event", properties={})],
        )
    ):
        land(places, *events, at=NOW - timedelta(minutes=20 * (2 - number)))
        worked += work(places)
    assert len(worked) == 3
    return worked


# -- what became of it ------------------------------------------------------------------------------------------------


def send_out(places: Places, folder: Path, *, clock: Callable[[], datetime] | None = None) -> DeliveryReport:
    """Deliver what is due to a file."""
    contract = contracts_today(places).destinations["iterable"]
    file = FileDestination(contract, Access(address=str(folder / "sent.ndjson")))
    return deliver(places, {"iterable": file}, clock=clock or places.clock, claim_size=100)


def batches_of(places: Places) -> list[Batch]:
    """Every finished batch, in the order of their positions."""
    with places.state.read() as connection:
        return sorted(load_batches(connection, all_finished(connection)), key=lambda batch: batch.position or 0)


def ledger(places: Places) -> tuple[Send, ...]:
    """Every send, in the order of its key."""
    with places.state.read() as connection:
        return tuple(sorted(list_sends(connection, limit=10_000), key=lambda send: send.send_key))


def send_for(places: Places, workflow: str) -> Send:
    """The only send of a workflow."""
    (found,) = [send for send in ledger(places) if send.workflow_id == workflow]
    return found


def lake_rows(places: Places) -> Mapping[str, list[tuple[Any, ...]]]:
    """Every row of every table, sorted: equal where the tables are equal."""
    with duckdb.connect(":memory:") as connection:
        return {
            name: sorted(connection.execute(f"select * from {places.lake.source(table)} as r").fetchall(), key=repr)
            for name, table in TABLES.items()
        }
