"""Purge: quarantined events are kept as long as the contracts say for their reason, and then removed for good.

Events of one batch and reason go together, when the last of them is old enough; none goes that enters again and is not
worked to its end yet. What is marked in state never comes back: a batch that runs again leaves it out, and its counts,
and with them both sums, stay what they were. Landing and ingested_events keep what they keep of every event.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from activation_dagster.domain.batches import Batch, Phase, TableCopy
from activation_dagster.errors import LeaseHeld, WrongUse
from activation_dagster.lake.delta import checksum_of, hour_key
from activation_dagster.lake.rule_sql import literal
from activation_dagster.lake.tables import QUARANTINED
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.quarantine import EPOCH, kept_for, quarantine_read
from activation_dagster.state.batches import change_copy, closed_phase, load_batches
from activation_dagster.state.purges import (
    EVENTS_A_TRANSACTION,
    confirm_purged,
    events_entering,
    forget_closings,
    mark,
    not_done,
    purges_of,
)
from activation_dagster.state.quarantine import Act

PURGE = "purge"
SOON = timedelta(days=7)
HOUR = timedelta(hours=1)

FILES_KEPT_HOURS = 1
"""Files that a purge replaced are deleted by the first one so much later: whoever reads may have listed them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredGroup:
    """Events of one reason whose time is over: `waiting` of them nobody repaired, replayed or dismissed."""

    reason: str
    keep_days: int
    events: int
    waiting: int
    batches: int
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeReport:
    """What retention would remove, or with an `act_id` did.

    `groups` is what was found, `removed` how many events went. `entering` events were passed over because they enter
    again and are not worked to their end; `passed_over` batches because somebody works on them, or because the lake
    does not hold what state says of them. `soon` events follow within seven days. `files_deleted`: of earlier purges.
    """

    groups: tuple[ExpiredGroup, ...]
    soon: int
    removed: int = 0
    entering: int = 0
    passed_over: tuple[str, ...] = ()
    files_deleted: int = 0
    act_id: str = ""

    @property
    def events(self) -> int:
        return sum(group.events for group in self.groups)


def purge(places: Places, *, by: str | None = None) -> PurgeReport:
    """Look for what retention removes; with `by`, remove it in that name.

    Doing it again, also after a crash, finishes what was begun. Raises WrongUse for an empty name.
    """
    if by is not None and not by.strip():
        raise WrongUse("Events were to be removed in nobody's name, by a purge. Say who does it: --by NAME.")
    now = places.clock()
    kept = kept_for(places)
    groups, expired = _expired(places, kept, now=now)
    later = _expired(places, kept, now=now + SOON)[0]
    soon = sum(group.events for group in later) - sum(group.events for group in groups)
    if by is None:
        return PurgeReport(groups=groups, soon=soon)
    work = _Purging(places=places, by=by, days={reason: time.days for reason, time in kept.items()}, now=now)
    with places.state.read() as connection:
        begun = not_done(connection)
        batches = load_batches(connection, {*expired, *begun})
    for batch in batches:
        work.one(batch, expired.get(batch.batch_id, []))
    return PurgeReport(
        groups=groups,
        soon=soon,
        removed=work.removed,
        entering=work.entering,
        passed_over=tuple(work.passed_over),
        files_deleted=places.lake.vacuum(QUARANTINED, older_than_hours=FILES_KEPT_HOURS),
        act_id=work.act_id,
    )


def _expired(
    places: Places, kept: Mapping[str, timedelta], *, now: datetime
) -> tuple[tuple[ExpiredGroup, ...], dict[str, list[str]]]:
    """What is old enough, by reason; and the reasons by batch. An hour is over when its last minute is."""
    if not kept:
        return (), {}
    limits = ", ".join(f"({literal(reason)}, '{hour_key(now - time - HOUR)}')" for reason, time in kept.items())
    with quarantine_read(places) as connection:
        rows = connection.execute(
            f"""
            select
                q.batch_id, q.reason, count(*), count(*) filter (where c.event_id is null),
                min(substr(q.event_id, 1, 13)::bigint), max(substr(q.event_id, 1, 13)::bigint)
            from broken as q
            join (values {limits}) as l(reason, last_hour) on l.reason = q.reason and q.arrival_hour <= l.last_hour
            left join closings as c on c.event_id = q.event_id
            group by q.batch_id, q.reason
            order by q.reason, q.batch_id
            """
        ).fetchall()
    reasons: dict[str, list[str]] = {}
    of_reason: dict[str, list[tuple[int, int, int, int]]] = {}
    for batch_id, reason, events, waiting, first, last in rows:
        reasons.setdefault(batch_id, []).append(reason)
        of_reason.setdefault(reason, []).append((events, waiting, first, last))
    groups = [
        ExpiredGroup(
            reason=reason,
            keep_days=kept[reason].days,
            events=sum(row[0] for row in found),
            waiting=sum(row[1] for row in found),
            batches=len(found),
            first_seen_at=EPOCH + timedelta(milliseconds=min(row[2] for row in found)),
            last_seen_at=EPOCH + timedelta(milliseconds=max(row[3] for row in found)),
        )
        for reason, found in of_reason.items()
    ]
    return tuple(sorted(groups, key=lambda group: (-group.events, group.reason))), reasons


@dataclass(slots=True, kw_only=True)
class _Purging:
    places: Places
    by: str
    days: Mapping[str, int]
    now: datetime
    act_id: str = ""
    removed: int = 0
    entering: int = 0
    passed_over: list[str] = field(default_factory=list[str])

    def one(self, batch: Batch, reasons: list[str]) -> None:
        """Mark what is to go of one batch, and let the lake follow; also what an earlier purge did not come to."""
        try:
            with BatchRun(self.places, batch) as run:
                run.hold(Phase.VALIDATED)
                self._let_lake_follow(run)
                if reasons and self._mark(run, reasons):
                    self._let_lake_follow(run)
        except LeaseHeld:
            self.passed_over.append(batch.batch_id)

    def _mark(self, run: BatchRun, reasons: list[str]) -> bool:
        """Write down what goes, and what is left; False where nothing may go now."""
        source, batch_id = self._source(run), run.batch.batch_id
        connection = run.engine.connection
        with self.places.state.read() as reading:
            closed = closed_phase(reading, batch_id, Phase.VALIDATED)
            entering = events_entering(reading)
        held = self.places.lake.fingerprint(connection, QUARANTINED, arrival_hour=run.hour, batch_id=batch_id)
        copy = None if closed is None else closed[1].get(QUARANTINED.name)
        if copy is None or held != (copy.rows, copy.checksum):  # `lake verify` comes first
            self.passed_over.append(batch_id)
            return False
        going: dict[str, list[str]] = {}
        for reason in reasons:
            ids = run.engine.texts(f"select event_id from {source} as q where reason = {literal(reason)}")
            if not entering.isdisjoint(ids):
                self.entering += len(ids)
            elif ids:
                going[reason] = ids
        if not going:
            return False
        left = f"(select * from {source} as q where reason not in ({', '.join(map(literal, going))}))"
        rows = run.engine.one(f"select count(*) from {left} as q")[0]
        after = TableCopy(version=copy.version, rows=rows, checksum=checksum_of(connection, QUARANTINED, left))
        act = self._act(batch_id)
        days = {reason: self.days[reason] for reason in going}
        with run.state.write() as writing:
            if not mark(writing, act, batch_id, going, days=days, now=self.places.clock()):
                self.entering += sum(map(len, going.values()))
                return False
            change_copy(writing, batch_id, Phase.VALIDATED, QUARANTINED.name, after)
        self.act_id = act.act_id
        self.removed += sum(map(len, going.values()))
        self.places.at("purge.marked")
        return True

    def _let_lake_follow(self, run: BatchRun) -> None:
        """Remove what is marked: first what became of it, then the rows, and then say so."""
        batch_id = run.batch.batch_id
        with self.places.state.read() as reading:
            found = purges_of(reading, batch_id)
            closed = closed_phase(reading, batch_id, Phase.VALIDATED)
        if all(one.is_done for one in found) or closed is None:
            return
        marked = ", ".join(literal(one.reason) for one in found)
        source = self._source(run)
        gone = run.engine.texts(f"select event_id from {source} as q where reason in ({marked})")
        for start in range(0, len(gone), EVENTS_A_TRANSACTION):
            with run.state.write() as writing:
                forget_closings(writing, gone[start : start + EVENTS_A_TRANSACTION])
        self.places.at("purge.forgotten")
        written = self.places.lake.replace(
            run.engine.connection,
            QUARANTINED,
            select=f"select * from {source} as q where reason not in ({marked})",
            arrival_hour=run.hour,
            batch_id=batch_id,
            may_exist=True,
            before_commit=run.require_leases,
        )
        self.places.at("purge.written")
        said = closed[1][QUARANTINED.name]
        with run.state.write() as writing:
            if (written.rows, written.checksum) == (said.rows, said.checksum):  # else it is damaged, and verify says so
                change_copy(writing, batch_id, Phase.VALIDATED, QUARANTINED.name, written)
            confirm_purged(writing, batch_id, [one.reason for one in found], now=self.places.clock())

    def _source(self, run: BatchRun) -> str:
        return self.places.lake.source(QUARANTINED, hours=[run.hour], batch_ids=[run.batch.batch_id])

    def _act(self, batch_id: str) -> Act:
        digest = hashlib.sha256(f"{PURGE}\x1f{batch_id}\x1f{self.now.isoformat()}".encode()).hexdigest()
        return Act(
            act_id=self.act_id or f"q{digest[:16]}",
            kind=PURGE,
            name="",
            fingerprint="",
            done_at=self.now,
            done_by=self.by,
            reason="kept as long as the contracts say",
            content=json.dumps({"keep_days": dict(self.days)}, sort_keys=True),
        )
