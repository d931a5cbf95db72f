"""What the demo ends with: a table of what came in and went out, both sums, and the stand-in against the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from activation_dagster.domain.sends import SendStatus
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.watch import Totals
from activation_dagster.state.tables import sends


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the stand-in holds against the ledger; seconds from a trigger segment's sealing to its arrival there."""

    held_events: int
    held_entries: int
    missing: int
    unasked: int
    twice: int
    seconds: tuple[float, ...]

    @property
    def agrees(self) -> bool:
        """The stand-in has exactly the ledger's sent rows, each once (rows marked unknown may be there or not)."""
        return self.missing == 0 and self.unasked == 0 and self.twice == 0


def compare(places: Places, standin_url: str) -> Outcome:
    """Hold what the stand-in received against the ledger, send by send."""
    with places.state.read() as connection:
        rows = connection.execute(
            select(sends.c.send_key, sends.c.status, sends.c.endpoint, sends.c.landed_at, sends.c.profile_key)
        ).all()
    ledger = {row[0]: row for row in rows}
    sent = {row[0] for row in rows if row[1] == SendStatus.SENT.value and row[2] == "track"}
    doubtful = {row[0] for row in rows if row[1] == SendStatus.UNKNOWN.value and row[2] == "track"}
    seconds: list[float] = []
    received: set[str] = set()
    twice = 0
    for event in _pages(standin_url, "events"):
        received.add(event["event_id"])
        if event["event_id"] in ledger:
            seconds.append(event["received_at_ms"] / 1000 - ledger[event["event_id"]][3] / 1_000_000)
    journeys = [row for row in rows if row[2] == "trigger_workflow"]
    entered = sum(row[1] == SendStatus.SENT.value for row in journeys)
    unknown = sum(row[1] == SendStatus.UNKNOWN.value for row in journeys)
    entries = list(_pages(standin_url, "workflow_entries"))
    landed = {row[4]: row[3] for row in journeys}
    for entry in entries:
        twice += entry["entry_number"] > 1
        if entry["user_id"] in landed:
            seconds.append(entry["received_at_ms"] / 1000 - landed[entry["user_id"]] / 1_000_000)
    return Outcome(
        held_events=len(received),
        held_entries=len(entries),
        missing=len(sent - received) + max(0, entered - len(entries)),
        unasked=len(received - sent - doubtful) + max(0, len(entries) - entered - unknown),
        twice=twice,
        seconds=tuple(sorted(seconds)),
    )


def _pages(url: str, what: str) -> Iterator[dict[str, Any]]:
    import httpx

    after = 0
    with httpx.Client(timeout=30.0) as client:
        while True:
            page = client.get(f"{url}/_standin/{what}", params={"after": after, "limit": 5000}).json()
            yield from page[what]
            if not page[what] or page["next_after"] is None:
                return
            after = page["next_after"]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the ordered values lie (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def rows_of(totals: Totals, outcome: Outcome) -> list[tuple[str, str]]:
    """The demo's table, line by line."""
    rows: list[tuple[str, str]] = [
        ("events received", f"{totals.received:,}"),
        ("  accepted", f"{totals.accepted:,}"),
        ("  duplicate", f"{totals.duplicate:,}"),
        ("  quarantined", f"{totals.quarantined:,}"),
    ]
    rows += [(f"    {reason}", f"{count:,}") for reason, count in totals.quarantined_by_reason.items()]
    rows += [("  shed", f"{totals.shed:,}")]
    rows += [(f"    {reason}", f"{count:,}") for reason, count in totals.shed_by_reason.items()]
    rows += [("profiles", f"{totals.profiles:,}")]
    rows += [(f"audience {name}", f"{size:,}") for name, size in totals.audiences.items()]
    rows += [
        ("decisions", f"{totals.decisions:,}"),
        ("  sent", f"{totals.sent:,}"),
        ("  refused", f"{totals.refused:,}"),
    ]
    rows += [(f"    {reason}", f"{count:,}") for reason, count in totals.refused_by_reason.items()]
    rows += [
        ("  pending", f"{totals.pending:,}"),
        ("stand-in holds", f"{outcome.held_events:,} events, {outcome.held_entries:,} journey entries"),
        (
            "landed → received",
            f"p50 {percentile(outcome.seconds, 0.5):.1f} s, p95 {percentile(outcome.seconds, 0.95):.1f} s",
        ),
        ("received = accepted + duplicate + quarantined + shed", "holds" if totals.conserved else "BROKEN"),
        ("decisions = sent + refused + pending", "holds" if totals.conserved else "BROKEN"),
        ("stand-in = ledger's sent, each once", "holds" if outcome.agrees else "BROKEN"),
    ]
    return rows
