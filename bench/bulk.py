"""Bulk: landing → decisions without Dagster, against DuckDB reading the same NDJSON once and writing it as Parquet."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import deltalake  # noqa: F401 - what the pipeline would otherwise import under the clock; so with the next two
import duckdb
import pyarrow.dataset  # noqa: F401

from activation_dagster.domain.batches import PhaseReport
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.work import drain
from activation_dagster.settings import Settings
from activation_dagster.sources.land import land_in_segments
from activation_dagster.wiring import open_places

DECLARED = (
    "columns = {type: 'VARCHAR', event: 'VARCHAR', \"messageId\": 'VARCHAR', \"userId\": 'VARCHAR', "
    "\"anonymousId\": 'VARCHAR', \"timestamp\": 'VARCHAR', \"receivedAt\": 'VARCHAR', properties: 'JSON', "
    "traits: 'JSON', context: 'JSON'}, "
)
"""Ten columns told to DuckDB beforehand: it infers no type and leaves properties as text, and the rest unread."""
FLOOR_RUNS = 3
SEGMENT_BYTES = 16 << 20


def floor(files: list[Path], target: Path, *, declared: str = "") -> float:
    """Seconds in which DuckDB reads the files once and writes them once as Parquet (zstd), by its own defaults."""
    with duckdb.connect() as connection:
        began = time.perf_counter()
        connection.execute(
            f"copy (select * from read_ndjson($files, {declared}ignore_errors = true)) to '{target}' "
            "(format parquet, compression zstd)",
            {"files": [str(file) for file in files]},
        )
        return time.perf_counter() - began


def pipeline(places: Places) -> tuple[dict[str, float], int]:
    """Seconds by phase of working all that has landed (two phases may run at once), and the number of events."""
    seconds: dict[str, float] = defaultdict(float)
    events: Counter[str] = Counter()

    def heard(report: PhaseReport, spent: float) -> None:
        seconds[report.phase.value] += spent
        events[report.phase.value] += report.counts.get("received", 0)

    drain(places, now=lambda: datetime.now(UTC), on_phase=heard)
    return seconds, events["ingested"]


def run(data: Path | None) -> None:
    """Land everything once, measure the floor and the pipeline on it, print the ratio and the seconds by stage."""
    folder = Path(tempfile.mkdtemp(prefix="bench-bulk-"))
    try:
        with ExitStack() as stack:
            places = stack.enter_context(open_places(Settings(home=folder)))
            now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
            ticks = count()
            if data is not None:
                from activation_dagster.sources.real_data import convert

                lines = convert(data, now=now, everything=True)
            else:
                from activation_dagster.sources.simulator import simulate

                lines = iter(simulate(seed=1, people=20_000, events=250_000, now=now).lines)
            land_in_segments(
                places.landing,
                "shop",
                lines,
                segment_bytes=SEGMENT_BYTES,
                clock=lambda: now,
                suffixes=(f"bench{next(ticks)}" for _ in count()),
            )
            files = [places.landing.path_of(segment) for segment in places.landing.segments()]
            size = sum(file.stat().st_size for file in files)
            target = folder / "floor.parquet"
            floors = [floor(files, target) for _ in range(FLOOR_RUNS)]
            bare = [floor(files, target, declared=DECLARED) for _ in range(FLOOR_RUNS)]
            began = time.perf_counter()
            seconds, events = pipeline(places)
            total = time.perf_counter() - began
            floors.append(floor(files, target))
            bare.append(floor(files, target, declared=DECLARED))
        base, declared = sorted(floors)[len(floors) // 2], sorted(bare)[len(bare) // 2]
        print(f"{events:,} events, {size / 1e6:,.0f} MB of NDJSON in {len(files)} segments")
        for name, spent, runs in (
            ("floor (DuckDB: NDJSON → Parquet)", base, floors),
            ("  the same, told ten columns", declared, bare),
        ):
            spread = f"(of {len(runs)} runs {min(runs):.2f} to {max(runs):.2f})"
            print(f"{name:<33} {spent:7.2f} s   {events / spent:>10,.0f} events/s   {spread}")
        print(f"{'landing → decisions':<33} {total:7.2f} s   {events / total:>10,.0f} events/s")
        print(f"{'ratio':<33} {total / base:7.2f} ×   (must ≤ 6 now, ≤ 4 later; aim ≤ 2.5)")
        print(f"{'  to the same, told ten columns':<33} {total / declared:7.2f} ×")
        for stage, spent in seconds.items():
            print(f"  {stage:<24} {spent:7.2f} s   {spent / base:5.2f} ×")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    finally:
        shutil.rmtree(folder)
