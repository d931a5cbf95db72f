"""Validation: events of twenty contracts judged in bulk, against DuckDB parsing the same NDJSON, in one run.

ACTIVATION_BENCH_EVENTS says how many events (default 1,000,000); real data has fewer contracts, so none is asked for.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pyarrow  # noqa: F401 - what would otherwise be imported under the clock

from activation_dagster.domain.contracts import (
    Call,
    Criticality,
    EventContract,
    EventVersion,
    PropertyRule,
    PropertyType,
)
from activation_dagster.domain.formats import Format
from activation_dagster.domain.times import INSTANT_PATTERN
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.judging_sql import broken, judge_events, screened
from activation_dagster.lake.lines import landed_lines
from activation_dagster.lake.paths import text_at
from activation_dagster.lake.routing_sql import Asked, numbered
from bench.bulk import DECLARED

EVENTS = 1_000_000
CONTRACTS = 20
BROKEN = 0.01
RUNS = 3
IDENTIFIERS = {
    "user_id": text_at("userId"),
    "email": f"coalesce({text_at('traits.email')}, {text_at('context.traits.email')})",
    "anonymous_id": text_at("anonymousId"),
}
"""Which identifiers the pipeline reads in the same pass (contracts/identity.yaml)."""


def _rule(name: str, kind: PropertyType, *, required: bool = False, **more: Any) -> PropertyRule:
    return PropertyRule(name=name, type=kind, is_required=required, **more)


def contract(number: int) -> EventContract:
    """One of the contracts: what an order says, with an address in every second and lines in every fourth."""
    rules = [
        _rule("order_id", PropertyType.STRING, required=True, pattern="[A-Z]{2}[0-9]{6,8}"),
        _rule("product_id", PropertyType.STRING, required=True, min_length=1, max_length=40),
        _rule("name", PropertyType.STRING),
        _rule("price", PropertyType.NUMBER, required=True, minimum=0.0),
        _rule("quantity", PropertyType.INTEGER, required=True, minimum=1.0, maximum=1000.0),
        _rule("currency", PropertyType.STRING, required=True, format=Format.CURRENCY),
        _rule("channel", PropertyType.STRING, enum=("web", "app", "shop")),
        _rule("is_gift", PropertyType.BOOLEAN),
        _rule("ordered_at", PropertyType.TIMESTAMP, required=True),
        _rule("email", PropertyType.STRING, format=Format.EMAIL, is_pii=True),
    ]
    if number % 2 == 0:
        city = _rule("city", PropertyType.STRING, required=True)
        country = _rule("country", PropertyType.STRING, format=Format.COUNTRY)
        rules.append(_rule("address", PropertyType.OBJECT, properties=(city, country)))
    if number % 4 == 0:
        price = _rule("price", PropertyType.NUMBER, required=True, minimum=0.0)
        line = _rule("", PropertyType.OBJECT, properties=(_rule("sku", PropertyType.STRING, required=True), price))
        rules.append(_rule("lines", PropertyType.ARRAY, items=line))
    return EventContract(
        slug=f"order_{number}",
        call=Call.TRACK,
        name=f"Order {number}",
        owner="shop",
        criticality=Criticality.STANDARD,
        description="",
        versions=(EventVersion(version="v1", properties=tuple(rules)),),
    )


def lines(count: int) -> Iterator[bytes]:
    """Events of all contracts in turn; one in a hundred breaks its promise in one way or two."""
    random = Random(1)
    for number in range(count):
        which = number % CONTRACTS
        minute = f"{number // 60 % 60:02d}:{number % 60:02d}"
        properties: dict[str, Any] = {
            "order_id": f"AB{number:07d}",
            "product_id": f"SKU-{number % 997}",
            "name": "A white lantern with a heart",
            "price": number % 5000 / 100,
            "quantity": number % 12 + 1,
            "currency": ("GBP", "EUR", "USD")[number % 3],
            "channel": ("web", "app", "shop")[number % 3],
            "is_gift": number % 7 == 0,
            "ordered_at": f"2026-03-01T10:{minute}Z",
            "email": f"person{number % 20_000}@example.com",
        }
        if which % 2 == 0:
            properties["address"] = {"city": "Cork", "country": "IE", "street": "1 Long Street"}
        if which % 4 == 0:
            properties["lines"] = [{"sku": f"SKU-{item}", "price": 1.5 * item} for item in range(number % 4 + 1)]
        if random.random() < BROKEN:
            properties |= random.choice(
                [{"price": "12.0"}, {"currency": "XXX"}, {"quantity": 1.5, "email": "nobody"}, {"order_id": None}]
            )
        event = {
            "type": "track",
            "event": f"Order {which}",
            "messageId": f"m-{number:09d}",
            "userId": f"u-{number % 20_000}",
            "anonymousId": f"a-{number % 30_000}",
            "timestamp": f"2026-03-01T10:{minute}.123Z",
            "receivedAt": f"2026-03-01T11:{minute}.456Z",
            "properties": properties,
            "context": {"library": {"name": "analytics.js", "version": "2.1.0"}, "locale": "en-GB"},
        }
        yield json.dumps(event).encode()


def _seconds(what: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of CPU: on a shared machine only the second can be compared."""
    began, spent = time.perf_counter(), time.process_time()
    what()
    return time.perf_counter() - began, time.process_time() - spent


def parsing(file: Path, *, declared: str = "") -> Callable[[], object]:
    """DuckDB reading the file into a table, by its own defaults or told its columns."""

    def parse() -> None:
        with duckdb.connect() as connection:
            connection.execute(
                f"create temp table parsed as select * from read_ndjson($file, {declared}ignore_errors = true)",
                {"file": str(file)},
            )

    return parse


def ingested(engine: Engine, content: bytes) -> None:
    """Make `ingested_events` of all lines, as the pipeline does."""
    columns = {"segment_no": "INTEGER", "segment_id": "VARCHAR", "source": "VARCHAR", "landed_at": "VARCHAR"}
    engine.put("given_segments", columns, [(0, "1772359200000-bench", "shop", "2026-03-01 11:00:00")])
    engine.make("segments", "select * replace (landed_at::timestamp as landed_at) from given_segments")
    engine.put("line_faults", {"segment_no": "INTEGER", "line_no": "BIGINT", "reason": "VARCHAR", "line": "BLOB"}, [])
    found, _ = landed_lines([(0, content)])
    engine.lend("landed_lines", found)
    engine.compute("ingest/ingested_events", instant_pattern=INSTANT_PATTERN)


def _print(seconds: dict[str, list[float]], count: int) -> None:
    medians = {name: sorted(runs)[len(runs) // 2] for name, runs in seconds.items()}
    floor = medians["DuckDB parses the NDJSON"]
    for name, runs in seconds.items():
        spent = medians[name]
        spread = f"(of {len(runs)} runs {min(runs):.2f} to {max(runs):.2f})"
        print(f"{name:<33} {spent:7.2f} s   {count / spent:>10,.0f} events/s   {spent / floor:5.2f} ×   {spread}")
    told = medians["judged_events"] / medians["  the same, told ten columns"]
    print(f"{'ratio':<33} {medians['judged_events'] / floor:7.2f} ×   (must ≤ 0.5)   told ten columns: {told:.2f} ×")


def run(_: Path | None) -> None:
    """Write the events, then parse and judge them in turn; print the medians and their ratio."""
    count = int(os.environ.get("ACTIVATION_BENCH_EVENTS", EVENTS))
    folder = Path(tempfile.mkdtemp(prefix="bench-validation-"))
    engine = Engine.in_memory(Path("sql"))
    try:
        file = folder / "events.ndjson"
        with file.open("wb") as out:
            out.writelines(line + b"\n" for line in lines(count))
        ingested(engine, file.read_bytes())
        contracts = [contract(number) for number in range(CONTRACTS)]

        asked = numbered([Asked(contract=one, version=one.current) for one in contracts])
        named = numbered([Asked(contract=one, version=one.current, identifiers=IDENTIFIERS) for one in contracts])

        def planning() -> None:
            engine.rows("explain " + screened(asked))
            engine.rows("explain " + broken(asked))

        measured = {
            "DuckDB parses the NDJSON": parsing(file),
            "  the same, told ten columns": parsing(file, declared=DECLARED),
            "judged_events": lambda: judge_events(engine, asked),
            "  of which planning, at any size": planning,
            "  with identifiers, as ingested": lambda: judge_events(engine, named),
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in measured}
        for _run in range(RUNS):
            for name, what in measured.items():
                seconds[name].append(_seconds(what))
        judged, refused = engine.one("select count(*), count(violations) from judged_events")
        size = file.stat().st_size / 1e6
        print(f"{judged:,} events judged by {CONTRACTS} contracts, {refused:,} broken, {size:,.0f} MB of NDJSON")
        for kind, which in (("by the clock", 0), ("of CPU", 1)):
            print(f"Seconds {kind}:")
            _print({name: [run[which] for run in runs] for name, runs in seconds.items()}, count)
    finally:
        engine.close()
        shutil.rmtree(folder)
