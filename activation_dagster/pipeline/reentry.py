"""Entering again: what waits is mended or judged anew, and what keeps its promise now goes back to the front door.

Original and re-entry are two landing lines, so each is received once and no sum knows of the other: the original stays
quarantined in its batch for ever; the re-entry is accepted, a duplicate or quarantined in a batch of provenance
`repair` or `replay`. What links them is the closing in state, which also takes the original off the list of what waits.

A segment is written down in state together with its closings, then sealed, then confirmed. Dying in between leaves a
segment that is written down and not confirmed: whoever comes next seals it from the same originals and the same steps.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.landing import Segment, event_id, segment_from_path, segment_path
from activation_dagster.domain.lexical import read_event
from activation_dagster.domain.masking import masked
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.repairs import Change, Selection, Step, changes, mended, narrowed, reentering
from activation_dagster.errors import LakeDamaged
from activation_dagster.pipeline.conflicts import JudgedAgain
from activation_dagster.pipeline.contracts_in_force import contracts_in_force
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.quarantine import (
    EPOCH,
    EVERYTHING,
    WaitingEvent,
    quarantined,
    waiting,
)
from activation_dagster.pipeline.verdicts import Verdict, verdict_on
from activation_dagster.registry.repairs import ReadRepair, kept_steps
from activation_dagster.state.purges import hold_off_purges
from activation_dagster.state.quarantine import Act, Reentry, close, confirm_sealed, unsealed

MILLISECOND = timedelta(milliseconds=1)
ADDED = ("messageId", "receivedAt")
"""What an event that has none gets when it enters again; no repair changed it."""

SEGMENT_EVENTS = 5_000
"""So many events enter again in one segment, and are closed in one transaction (some 50 ms on SQLite)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One event tried: what changed in it (masked unless revealed), and today's verdict; no reason means it passes."""

    event_id: str
    changes: tuple[Change, ...]
    reason: str
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReentryReport:
    """What a repair or a replay would do, or with an `act_id` did.

    `selected = passing + sum(broken)`; `broken` counts by reason and first violation. Only what passes enters again.
    `finished` counts segments that an earlier one had not come to seal.
    """

    kind: str
    name: str
    selected: int
    passing: int
    broken: Mapping[str, int]
    samples: tuple[Sample, ...]
    act_id: str = ""
    segments: tuple[str, ...] = ()
    finished: int = 0


def repair(
    places: Places,
    read: ReadRepair,
    *,
    only: Selection = EVERYTHING,
    by: str | None = None,
    samples: int = 3,
    reveal: bool = False,
) -> ReentryReport:
    """Try a repair on all that it selects; with `by`, what passes today's contracts then enters again, in that name.

    `only` narrows what the file selects to some time, batches or events. Raises ContractsInvalid, and RetryLater where
    somebody else closes the same events meanwhile.
    """
    act = Act(
        act_id="",
        kind=Provenance.REPAIR.value,
        name=read.repair.repair_id,
        fingerprint=read.fingerprint,
        done_at=places.clock(),
        done_by=by or "",
        reason=read.repair.reason_for,
        content=read.content,
        narrowed_to="" if only == EVERYTHING else selection_text(only),
    )
    return _Entering(places=places, act=act, steps=read.repair.steps, samples=samples, reveal=reveal).run(
        narrowed(read.repair.select, only)
    )


def replay(
    places: Places, select: Selection, *, by: str | None = None, samples: int = 3, reveal: bool = False
) -> ReentryReport:
    """Judge what waits again under today's contracts; with `by`, what passes enters again. Raises as `repair`."""
    act = Act(
        act_id="",
        kind=Provenance.REPLAY.value,
        name="",
        fingerprint="",
        done_at=places.clock(),
        done_by=by or "",
        reason="judged again under today's contracts",
        content=selection_text(select),
    )
    return _Entering(places=places, act=act, steps=(), samples=samples, reveal=reveal).run(select)


def finish_reentries(places: Places) -> int:
    """Seal what was written down and not sealed because whoever did it died; how many segments.

    Raises LakeDamaged where the lake no longer has the originals.
    """
    with places.state.read() as connection:
        found = unsealed(connection)
    for segment, act in found:
        sealed = _segment(segment)
        if not places.landing.path_of(sealed).exists():
            steps = kept_steps(act.content) if act.kind == Provenance.REPAIR.value else ()
            originals = quarantined(places, tuple(segment.events))
            missing = [original for original in segment.events if original not in originals]
            if missing:
                raise LakeDamaged(
                    f"{len(missing):,} quarantined events that were to enter again are gone, such as {missing[0]}, "
                    "in the table quarantined_events. Run `activation lake verify --rebuild`, and then try again."
                )
            in_order = sorted(segment.events.items(), key=lambda pair: pair[1])
            lines = [_line(originals[original], steps) for original, _ in in_order]
            _seal(places, sealed, lines)
        _confirm(places, segment)
    return len(found)


# -- one repair or replay at work -------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Entering:
    places: Places
    act: Act
    steps: Sequence[Step]
    samples: int
    reveal: bool
    groups: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    passing: int = 0
    broken: Counter[str] = field(default_factory=Counter[str])
    shown: list[Sample] = field(default_factory=list[Sample])
    ready: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict[str, list[tuple[str, bytes]]])
    sealed: list[str] = field(default_factory=list[str])
    sealed_at: datetime = EPOCH

    def run(self, select: Selection) -> ReentryReport:
        applies = bool(self.act.done_by)
        finished = finish_reentries(self.places) if applies else 0
        contracts = contracts_in_force(self.places).contracts
        again = JudgedAgain(self.places, contracts)
        for chunk in waiting(self.places, select):
            judged: list[tuple[WaitingEvent, bytes, Verdict]] = []
            for event in chunk:
                line = _line(event, self.steps)
                judged.append((event, line, verdict_on(line, contracts, source=event.source, landed_at=event.seen_at)))
            nobodys = again.verdicts(
                [
                    (event.event_id, line, verdict, event.seen_at)
                    for event, line, verdict in judged
                    if verdict.reason is None and event.reason == QuarantineReason.IDENTITY_CONFLICT
                ]
            )
            for event, line, by_contract in judged:
                verdict = nobodys.get(event.event_id, by_contract)
                self._count(event, line, verdict)
                if applies and verdict.reason is None:
                    self._enter(event, line)
        for source in sorted(self.ready):
            self._flush(source)
        return ReentryReport(
            kind=self.act.kind,
            name=self.act.name,
            selected=self.passing + self.broken.total(),
            passing=self.passing,
            broken=dict(self.broken.most_common()),
            samples=tuple(self.shown),
            act_id=self.act.act_id,
            segments=tuple(self.sealed),
            finished=finished,
        )

    def _count(self, event: WaitingEvent, line: bytes, verdict: Verdict) -> None:
        if verdict.reason is None:
            self.passing += 1
        else:
            self.broken[f"{verdict.reason.value} {verdict.violations[0] if verdict.violations else ''}".strip()] += 1
        alike = sum((not sample.reason) == (verdict.reason is None) for sample in self.shown)
        if alike < self.samples:
            self.shown.append(_sample(event, line, verdict, reveal=self.reveal))

    def _enter(self, event: WaitingEvent, line: bytes) -> None:
        if not self.act.act_id:
            derived = act_id_of(self.act.kind, self.act.fingerprint, event.event_id)
            self.act = replace(self.act, act_id=derived)
        entries = self.ready.setdefault(event.source, [])
        size = sum(len(entry) for _, entry in entries[-1:])  # a source's lines are of one size, more or less
        entries.append((event.event_id, line))
        self.groups.add((event.batch_id, event.reason))
        if len(entries) >= SEGMENT_EVENTS or len(entries) * size >= self.places.batch_max_bytes:
            self._flush(event.source)

    def _flush(self, source: str) -> None:
        entries = self.ready.pop(source, [])
        if not entries:
            return
        self.sealed_at = max(self.places.clock(), self.sealed_at + MILLISECOND)
        number = hashlib.sha256(f"{self.act.act_id}\x1f{len(self.sealed)}".encode()).hexdigest()[:16]
        milliseconds = (self.sealed_at - EPOCH) // MILLISECOND
        segment_id = f"{milliseconds:013d}-{self.act.kind}{number}"
        became = {original: event_id(segment_id, place) for place, (original, _) in enumerate(entries, start=1)}
        segment = Reentry(
            segment_id=segment_id,
            source=source,
            act_id=self.act.act_id,
            provenance=Provenance(self.act.kind),
            events=became,
        )
        with self.places.state.write() as connection:
            hold_off_purges(connection, self.groups)
            close(connection, self.act, became, segment=segment, now=self.places.clock())
        self.places.at("reentry.recorded")
        _seal(self.places, _segment(segment), [line for _, line in entries])
        self.places.at("reentry.sealed")
        _confirm(self.places, segment)
        self.places.at("reentry.confirmed")
        self.sealed.append(f"{source}/{segment_id}")


def _line(event: WaitingEvent, steps: Sequence[Step]) -> bytes:
    """The line that an event enters again with; what cannot be read stays as it is."""
    found = mended(event.payload, steps)
    if isinstance(found, QuarantineReason):
        return event.payload
    return reentering(found, event_id=event.event_id, landed_at=event.seen_at)


def _sample(event: WaitingEvent, line: bytes, verdict: Verdict, *, reveal: bool) -> Sample:
    before, after = read_event(event.payload), read_event(line)
    found: tuple[Change, ...] = ()
    if isinstance(after, dict):
        found = changes(before if isinstance(before, dict) else {}, after)
        found = tuple(change for change in found if change.has_before or change.path not in ADDED)
    if not reveal:
        found = tuple(replace(change, before=masked(change.before), after=masked(change.after)) for change in found)
    return Sample(
        event_id=event.event_id,
        changes=found,
        reason="" if verdict.reason is None else verdict.reason.value,
        violations=verdict.violations,
    )


def act_id_of(kind: str, fingerprint: str, first_event: str) -> str:
    """An event is closed once, so the first one that an act closes names it."""
    return "q" + hashlib.sha256(f"{kind}\x1f{fingerprint}\x1f{first_event}".encode()).hexdigest()[:16]


def _segment(reentry: Reentry) -> Segment:
    sealed_at = EPOCH + int(reentry.segment_id[:13]) * MILLISECOND
    path = segment_path(source=reentry.source, sealed_at=sealed_at, segment_id=reentry.segment_id, compressed=False)
    segment = segment_from_path(path, 0)
    assert segment is not None, path
    return segment


def _seal(places: Places, segment: Segment, lines: Sequence[bytes]) -> None:
    suffix = segment.segment_id.partition("-")[2]
    places.landing.seal(segment.source, lines, sealed_at=segment.sealed_at, suffix=suffix)


def _confirm(places: Places, segment: Reentry) -> None:
    with places.state.write() as connection:
        confirm_sealed(connection, segment, now=places.clock())


def selection_text(select: Selection) -> str:
    """What is named of a selection, as JSON with sorted keys."""
    said = {
        "event": select.event,
        "reason": select.reason,
        "field": select.field,
        "seen_from": None if select.seen_from is None else select.seen_from.isoformat(),
        "seen_before": None if select.seen_before is None else select.seen_before.isoformat(),
        "batches": list(select.batches),
        "event_ids": list(select.event_ids),
    }
    return json.dumps({name: value for name, value in said.items() if value}, sort_keys=True)
