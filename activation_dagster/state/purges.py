"""What retention removed of the quarantine, by batch and reason: it never comes back, and no repair may want it.

A mark is written before the lake follows, in the transaction that says what is left; whoever reads what waits passes
marked events over, and whoever computes the batch again leaves them out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, or_, select, text, update

from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.errors import RetryLater
from activation_dagster.state.bulk import insert_new, select_in
from activation_dagster.state.control import record_act
from activation_dagster.state.instants import micros
from activation_dagster.state.quarantine import Act, keep_act
from activation_dagster.state.tables import (
    batch_segments,
    batches,
    quarantine_acts,
    quarantine_closings,
    quarantine_purges,
    reentry_segments,
)

EVENTS_A_TRANSACTION = 2_000
"""Closings that one transaction removes (some 20 ms on SQLite)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """All events of one batch and reason that retention removed; `is_done` when the lake no longer has them."""

    batch_id: str
    reason: QuarantineReason
    act_id: str
    events: int
    is_done: bool


def purges_of(connection: Connection, batch_id: str) -> list[Purge]:
    """What was purged of one batch, done or not, sorted by reason."""
    query = select(quarantine_purges).where(quarantine_purges.c.batch_id == batch_id)
    return [
        Purge(
            batch_id=row.batch_id,
            reason=QuarantineReason(row.reason),
            act_id=row.act_id,
            events=row.events,
            is_done=row.done_at is not None,
        )
        for row in connection.execute(query.order_by(quarantine_purges.c.reason))
    ]


def not_done(connection: Connection) -> set[str]:
    """Batches of which something was marked and the lake has not followed: somebody is at it, or died."""
    query = select(quarantine_purges.c.batch_id).where(quarantine_purges.c.done_at.is_(None))
    return set(connection.execute(query).scalars())


def purged_since(connection: Connection, since: datetime) -> list[tuple[str, str]]:
    """(batch, reason) of what is marked and not done, or was done after `since`: a reader's files may still have it."""
    query = select(quarantine_purges.c.batch_id, quarantine_purges.c.reason).where(
        or_(quarantine_purges.c.done_at.is_(None), quarantine_purges.c.done_at >= micros(since))
    )
    return [(row[0], row[1]) for row in connection.execute(query)]


def purged_events(connection: Connection) -> int:
    """How many events retention has removed until now."""
    return int(connection.execute(select(func.coalesce(func.sum(quarantine_purges.c.events), 0))).scalar_one())


def events_entering(connection: Connection) -> set[str]:
    """Originals of open repairs and replays: those whose segment is not sealed, or not worked to its end yet."""
    worked = (
        select(batches.c.batch_id)
        .join_from(batch_segments, batches, batches.c.batch_id == batch_segments.c.batch_id)
        .where(
            batch_segments.c.segment_id == reentry_segments.c.segment_id,
            batch_segments.c.source == reentry_segments.c.source,
            batches.c.closed_at.is_not(None),
        )
        .exists()
    )
    found: set[str] = set()
    segments = select(reentry_segments.c.segment_id, reentry_segments.c.act_id).where(~worked)
    for segment_id, act_id in connection.execute(segments).all():
        closed = select(quarantine_closings.c.event_id).where(
            quarantine_closings.c.act_id == act_id, quarantine_closings.c.became.startswith(f"{segment_id}:")
        )
        found.update(connection.execute(closed).scalars())
    return found


def hold_off_purges(connection: Connection, groups: Collection[tuple[str, str]]) -> None:
    """Keep purges away until this transaction ends. Raises RetryLater where one has marked any of `groups`.

    `groups` are the (batch, reason) of the events that the transaction is about to close.
    """
    if connection.dialect.name == "postgresql":  # on SQLite a writing transaction is alone anyway
        connection.execute(text("LOCK TABLE quarantine_purges IN ROW EXCLUSIVE MODE"))
    query = select(quarantine_purges.c.batch_id, quarantine_purges.c.reason)
    marked = select_in(connection, query, quarantine_purges.c.batch_id, {batch for batch, _ in groups})
    if any((batch, reason) in groups for batch, reason in marked):
        raise RetryLater(
            "Some of these events were removed by retention meanwhile, from the quarantine. "
            "Look again with `activation quarantine list`, and then try again."
        )


def mark(
    connection: Connection,
    act: Act,
    batch_id: str,
    events: Mapping[str, Collection[str]],
    *,
    days: Mapping[str, int],
    now: datetime,
) -> bool:
    """Mark a batch's events of some reasons as purged; False, and nothing done, where one of them is entering again.

    `events` maps each reason to its events' ids, `days` to how long they were kept. Closings wait meanwhile.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE quarantine_purges IN SHARE ROW EXCLUSIVE MODE"))
    entering = events_entering(connection)
    if any(not entering.isdisjoint(of_reason) for of_reason in events.values()):
        return False
    counts = {reason: len(of_reason) for reason, of_reason in events.items()}
    insert_new(
        connection,
        quarantine_purges,
        ("batch_id", "reason", "act_id", "events"),
        [(batch_id, reason, act.act_id, count) for reason, count in counts.items()],
    )
    detail = {"act_id": act.act_id, "batch": batch_id, "events": counts, "keep_days": dict(days), "why": act.reason}
    seq = record_act(connection, now=now, actor=act.done_by, act=f"quarantine.{act.kind}", detail=detail)
    keep_act(connection, act, seq)
    _add_purged(connection, act.act_id, sum(counts.values()))
    return True


def forget_closings(connection: Connection, event_ids: Sequence[str]) -> None:
    """Remove what became of some events; their acts go on counting them."""
    query = select(quarantine_closings.c.event_id, quarantine_closings.c.act_id)
    found = list(select_in(connection, query, quarantine_closings.c.event_id, event_ids))
    for start in range(0, len(found), 500):
        some = [row[0] for row in found[start : start + 500]]
        connection.execute(delete(quarantine_closings).where(quarantine_closings.c.event_id.in_(some)))
    of_act: dict[str, int] = {}
    for _, act_id in found:
        of_act[act_id] = of_act.get(act_id, 0) + 1
    for act_id, count in of_act.items():
        _add_purged(connection, act_id, count)


def confirm_purged(connection: Connection, batch_id: str, reasons: Iterable[str], *, now: datetime) -> None:
    """Say that the lake no longer has what was marked of a batch."""
    connection.execute(
        update(quarantine_purges)
        .where(
            quarantine_purges.c.batch_id == batch_id,
            quarantine_purges.c.reason.in_(list(reasons)),
            quarantine_purges.c.done_at.is_(None),
        )
        .values(done_at=micros(now))
    )


def _add_purged(connection: Connection, act_id: str, count: int) -> None:
    connection.execute(
        update(quarantine_acts)
        .where(quarantine_acts.c.act_id == act_id)
        .values(purged_events=quarantine_acts.c.purged_events + count)
    )
