"""Watch: the numbers of an environment, and the two sums that must hold in every batch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Select, func, select

from activation_dagster.domain.accounting import DecisionSum, EventSum, event_sum
from activation_dagster.domain.batches import Phase
from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.domain.sends import NOT_SENT, STILL_OPEN, SendStatus
from activation_dagster.errors import ContractsInvalid
from activation_dagster.pipeline.contracts_in_force import contracts_serving
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import waiting_segments
from activation_dagster.state.bulk import select_in
from activation_dagster.state.identity import profile_count
from activation_dagster.state.incidents import NOBODY, open_incident
from activation_dagster.state.memberships import members_now
from activation_dagster.state.tables import batch_phases, batch_segments, batches, sends

# -- the two sums -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSums:
    """Both sums of one batch; `events` is None until it is validated, `decisions` until it has decided."""

    batch_id: str
    events: EventSum | None
    decisions: DecisionSum | None

    @property
    def hold(self) -> bool:
        return (self.events is None or self.events.holds) and (self.decisions is None or self.decisions.holds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What an environment has done until now.

    The sums are of batches, added up: a batch's events count from the moment it is validated, its decisions from the
    moment it has decided. `pending` holds what is held, due, claimed or unknown, and what was decided as a send by a
    batch whose last phase is not closed and is not in the ledger yet. So both sums hold in the middle of work too; in a
    finished batch nothing is assumed, and a send that the ledger lost breaks its sum. `conserved`: both sums hold in
    every batch, and every send belongs to one.

    `waiting_segments` have landed and belong to no batch; everything that was sealed at or before `watermark` (UTC,
    None: nothing yet) has gone through all phases. `audiences` maps an audience to its size now.
    """

    received: int
    accepted: int
    duplicate: int
    quarantined: int
    shed: int
    profiles: int
    audiences: Mapping[str, int]
    decisions: int
    sent: int
    refused: int
    pending: int
    unknown: int
    held: int
    quarantined_by_reason: Mapping[str, int]
    shed_by_reason: Mapping[str, int]
    refused_by_reason: Mapping[str, int]
    batches: int
    unfinished_batches: int
    waiting_segments: int
    conserved: bool
    watermark: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """What state says of one batch: the counts of its closed phases, and its sends by status and reason."""

    batch_id: str
    counts: Mapping[Phase, Mapping[str, int]]
    sends: Mapping[tuple[SendStatus, str], int]

    def in_ledger(self, statuses: Collection[SendStatus]) -> int:
        return sum(count for (status, _), count in self.sends.items() if status in statuses)

    def sums(self) -> BatchSums:
        validated, decided = self.counts.get(Phase.VALIDATED), self.counts.get(Phase.DECIDED)
        events = None
        if validated is not None:
            # What arrived is counted where it was read, not where it was judged: two phases must agree.
            ingested = self.counts.get(Phase.INGESTED, {})
            events = replace(event_sum(validated), received=ingested.get("received", 0))
        decisions = None
        if decided is not None or self.sends:
            decided = decided or {}
            total = sum(self.sends.values())
            awaited = 0 if Phase.INTENDED in self.counts else max(0, decided.get("send", 0) - total)
            decisions = DecisionSum(
                decisions=decided.get("decisions", 0),
                sent=self.in_ledger({SendStatus.SENT}),
                refused=decided.get("refuse", 0) + self.in_ledger(NOT_SENT),
                pending=self.in_ledger(STILL_OPEN) + awaited,
            )
        return BatchSums(batch_id=self.batch_id, events=events, decisions=decisions)


def batch_sums(places: Places, batch_ids: Collection[str]) -> tuple[BatchSums, ...]:
    """Both sums of some batches, by index: what a check of one run asks for, whatever the history."""
    with places.state.read() as connection:
        return tuple(batch.sums() for batch in _batches(connection, batch_ids))


def _batches(connection: Connection, only: Collection[str] | None = None) -> list[_Batch]:
    phases = select(batch_phases.c.batch_id, batch_phases.c.phase, batch_phases.c.counts)
    phases = phases.where(batch_phases.c.closed_at.is_not(None))
    ledger = select(sends.c.batch_id, sends.c.status, sends.c.reason, func.count())
    ledger = ledger.group_by(sends.c.batch_id, sends.c.status, sends.c.reason)
    counts: dict[str, dict[Phase, dict[str, int]]] = {}
    for batch_id, phase, counted in _rows(connection, phases, batch_phases.c.batch_id, only):
        counts.setdefault(batch_id, {})[Phase(phase)] = json.loads(counted)
    stands: dict[str, dict[tuple[SendStatus, str], int]] = {}
    for batch_id, status, reason, count in _rows(connection, ledger, sends.c.batch_id, only):
        stands.setdefault(batch_id, {})[SendStatus(status), reason] = count
    return [
        _Batch(batch_id=batch_id, counts=counts.get(batch_id, {}), sends=stands.get(batch_id, {}))
        for batch_id in sorted({*counts, *stands})
    ]


def _rows(
    connection: Connection, query: Select[*tuple[Any, ...]], column: Column[Any], only: Collection[str] | None
) -> Iterable[tuple[Any, ...]]:
    if only is None:
        return (tuple(row) for row in connection.execute(query))
    return select_in(connection, query, column, only)


def totals(places: Places, *, since: datetime | None = None) -> Totals:
    """Everything counted, from one snapshot of state; landing folders before `since` are not looked into."""
    return _count(places, since)[0]


def _count(places: Places, since: datetime | None) -> tuple[Totals, tuple[BatchSums, ...]]:
    """The totals, and the batches whose sums do not hold."""
    waiting = waiting_segments(places, since=since)
    with places.state.read() as connection:
        known = _batches(connection)
        planned, unfinished = connection.execute(
            select(func.count(), func.count() - func.count(batches.c.closed_at)).select_from(batches)
        ).one()
        sums = [batch.sums() for batch in known]
        counted = _added_up(
            known,
            sums,
            profiles=profile_count(connection),
            audiences=dict(sorted(members_now(connection).items())),
            batches=planned,
            unfinished_batches=unfinished,
            waiting_segments=len(waiting),
            watermark=_watermark(connection, min((segment.segment_id for segment in waiting), default=None)),
        )
    return counted, tuple(found for found in sums if not found.hold)


def _added_up(known: Sequence[_Batch], sums: Sequence[BatchSums], **others: Any) -> Totals:
    events: Counter[str] = Counter()
    decisions: Counter[str] = Counter()
    quarantined: Counter[str] = Counter()
    shed: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for found in sums:
        if found.events is not None:
            events.update(asdict(found.events))
        if found.decisions is not None:
            decisions.update(asdict(found.decisions))
    for batch in known:
        quarantined.update(_named(batch.counts.get(Phase.VALIDATED, {}), "quarantined:"))
        shed.update(_named(batch.counts.get(Phase.VALIDATED, {}), "shed:"))
        refused.update(_named(batch.counts.get(Phase.DECIDED, {}), "refused:"))
        for (status, reason), count in batch.sends.items():
            if status in NOT_SENT:
                refused[reason or status.value] += count
    return Totals(
        **{field.name: events[field.name] for field in fields(EventSum)},
        **{field.name: decisions[field.name] for field in fields(DecisionSum)},
        unknown=sum(batch.in_ledger({SendStatus.UNKNOWN}) for batch in known),
        held=sum(batch.in_ledger({SendStatus.HELD}) for batch in known),
        quarantined_by_reason=_by_size(quarantined),
        shed_by_reason=_by_size(shed),
        refused_by_reason=_by_size(refused),
        conserved=all(found.hold for found in sums),
        **others,
    )


def _named(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}


def _by_size(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda found: (-found[1], found[0])))


def _watermark(connection: Connection, first_waiting: str | None) -> datetime | None:
    """When the newest segment was sealed before which nothing is open; segment ids begin with that time."""
    of_batch = batch_segments.join(batches, batches.c.batch_id == batch_segments.c.batch_id)
    segment = batch_segments.c.segment_id
    first_open = connection.execute(
        select(func.min(segment)).select_from(of_batch).where(batches.c.closed_at.is_(None))
    ).scalar_one()
    finished = select(func.max(segment)).select_from(of_batch).where(batches.c.closed_at.is_not(None))
    for bound in (first_open, first_waiting):
        if bound is not None:
            finished = finished.where(segment < bound)
    found = connection.execute(finished).scalar_one()
    return None if found is None else datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(found[:13]))


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchReport:
    """The numbers, the sums that do not hold, and the incidents that say so (opened now or before)."""

    totals: Totals
    broken: tuple[BatchSums, ...]
    incidents: tuple[str, ...]


def watch(places: Places, now: datetime, *, since: datetime | None = None) -> WatchReport:
    """Count everything, and open an incident for each batch whose sum is broken."""
    counted, broken = _count(places, since)
    incidents: list[str] = []
    owner = owner_of(places, IncidentKind.SUM_BROKEN)
    for sums in broken:
        with places.state.write() as connection:
            incidents.append(
                open_incident(
                    connection,
                    IncidentKind.SUM_BROKEN,
                    about=sums.batch_id,
                    owner=owner,
                    sentence=_sentence(sums),
                    now=now,
                    batch_id=sums.batch_id,
                )
            )
    return WatchReport(totals=counted, broken=broken, incidents=tuple(incidents))


def _sentence(sums: BatchSums) -> str:
    parts: list[str] = []
    if sums.events is not None and not sums.events.holds:
        e = sums.events
        parts.append(
            f"{e.received} events received are not {e.accepted} accepted + {e.duplicate} duplicate "
            f"+ {e.quarantined} quarantined + {e.shed} shed"
        )
    if sums.decisions is not None and not sums.decisions.holds:
        d = sums.decisions
        parts.append(f"{d.decisions} decisions are not {d.sent} sent + {d.refused} refused + {d.pending} pending")
    return (
        f"A sum is broken: {'; '.join(parts)}, in batch {sums.batch_id}. "
        "Halt sends (`activation sends halt '*'`), then compare the batch with the lake (`activation lake verify`)."
    )


def owner_of(places: Places, kind: IncidentKind) -> str:
    try:
        modes = contracts_serving(places).failure_modes
    except ContractsInvalid:
        return NOBODY  # an incident with no owner is better than none
    mode = modes.get(f"incident.{kind.value}")
    return NOBODY if mode is None else mode.owner
