"""Sending on what has landed: a source's events to another Tracking API, at least once, beside everything else.

It reads sealed segments and writes its own progress, so ingestion never waits for it. How far a segment is, and what
became of its events, is one transaction after each batch: dying before it sends that batch again, under the same
messageIds, and the receiver knows them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

from activation_dagster.destinations.tracking_api import Answer, Receiver
from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.events import COLLECTOR
from activation_dagster.domain.forwarding import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MAX_EVENT_BYTES,
    Outgoing,
    back_off,
    in_batches,
    outgoing,
    said,
)
from activation_dagster.domain.landing import Segment, event_id
from activation_dagster.domain.lexical import read_event
from activation_dagster.domain.reasons import ForwardFailure, QuarantineReason
from activation_dagster.domain.times import read_instant
from activation_dagster.errors import RetryLater, StopTheDestination
from activation_dagster.pipeline.contracts_in_force import contracts_in_force
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import recent
from activation_dagster.registry.arrival import ArrivalJudge
from activation_dagster.state import archives, forwards
from activation_dagster.state.forwards import Step

LINES_AT_ONCE = 2_500
"""So many lines are judged before a batch goes; no more of a segment is done again after a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the events of a source go: the base address of a Tracking API."""

    source: str
    address: str

    @property
    def target_id(self) -> str:
        """Another address is another target, which begins anew."""
        return hashlib.sha256(f"{self.source}\x1f{self.address}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How trouble is waited out. `wait(seconds)` says whether to stop; `most_tries` of a batch, None for no end."""

    wait: Callable[[float], bool]
    most_tries: int | None = None
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardReport:
    """What one pass did: segments finished, and events by what became of them."""

    segments: int = 0
    sent: int = 0
    withheld: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardStatus:
    """Where a target stands: `lag_seconds` is the age of the oldest segment that is not done, 0 where all are.

    `begun` is False where nobody has ever sent anything on to it. Events are counted since then.
    """

    source: str
    address: str
    begun: bool
    waiting_segments: int
    lag_seconds: float
    sent: int
    withheld: int
    refused: int


def forward(
    places: Places,
    target: Target,
    receiver: Receiver,
    pace: Pace,
    *,
    since: datetime | None = None,
    is_full: bool = True,
) -> ForwardReport:
    """Send on everything that waits for a target, oldest first; returns when nothing waits or `pace` says to stop.

    A target begins with the segments sealed at or after `since`, or now. What breaks its contract waits in
    quarantine and is not sent on; nor is what an archive brought that was no live way in. With `is_full`, segments of
    any age are looked for, else those of the last hours. Raises LeaseHeld while another process does the same,
    RetryLater where a batch was tried `most_tries` times, StopTheDestination where the key or the address is refused.
    """
    with places.landing.held(f"forward-{target.target_id}"):
        with places.state.write() as connection:
            began = forwards.begin_target(
                connection,
                target_id=target.target_id,
                source=target.source,
                address=target.address,
                since=since or places.clock(),
            )
        work = _Forwarding(
            places=places,
            target=target,
            receiver=receiver,
            pace=pace,
            judge=ArrivalJudge(contracts_in_force(places).contracts),
        )
        look_from = began if is_full else max(began, recent(places.clock()))
        for segment, lines_done in _waiting(places, target, began=began, look_from=look_from):
            if not work.send_on(segment, lines_done):
                break
        return work.report


def forward_status(places: Places, target: Target) -> ForwardStatus:
    """Where a target stands, by state and landing."""
    with places.state.read() as connection:
        began = forwards.since_of(connection, target.target_id)
        sent, withheld, refused = forwards.counts_of(connection, target.target_id)
    waiting = (
        [] if began is None else [segment for segment, _ in _waiting(places, target, began=began, look_from=began)]
    )
    oldest = min((segment.sealed_at for segment in waiting), default=None)
    return ForwardStatus(
        source=target.source,
        address=target.address,
        begun=began is not None,
        waiting_segments=len(waiting),
        lag_seconds=0.0 if oldest is None else max(0.0, (places.clock() - oldest).total_seconds()),
        sent=sent,
        withheld=withheld,
        refused=refused,
    )


def _waiting(places: Places, target: Target, *, began: datetime, look_from: datetime) -> list[tuple[Segment, int]]:
    """Segments that are not done, in arrival order, each with the lines that are."""
    hour = look_from.replace(minute=0, second=0, microsecond=0)
    found = [
        segment
        for segment in places.landing.segments(since=hour)
        if segment.source == target.source and segment.sealed_at >= began - timedelta(milliseconds=1)
    ]
    with places.state.read() as connection:
        progress = forwards.progress_of(connection, target.target_id, [segment.segment_id for segment in found])
        told = archives.provenances(connection, found)
    return [
        (segment, progress.get(segment.segment_id, (0, False))[0])
        for segment in found
        if not progress.get(segment.segment_id, (0, False))[1]
        and told.get((segment.source, segment.segment_id)) is not Provenance.BACKFILL
    ]


@dataclass(slots=True, kw_only=True)
class _Forwarding:
    places: Places
    target: Target
    receiver: Receiver
    pace: Pace
    judge: ArrivalJudge
    report: ForwardReport = field(default_factory=ForwardReport)

    def send_on(self, segment: Segment, lines_done: int) -> bool:
        """Send on the rest of a segment; False where it was stopped before its end."""
        content = self.places.landing.read(segment)
        lines = content.removesuffix(b"\n").split(b"\n")
        for first in range(lines_done, len(lines), LINES_AT_ONCE):
            chunk = lines[first : first + LINES_AT_ONCE]
            step = self._chunk(segment, first, chunk)
            if step is None:
                return False
            step = replace(step, lines_done=first + len(chunk), is_last=first + len(chunk) >= len(lines))
            self.places.at("forward.sent")
            with self.places.state.write() as connection:
                forwards.advance(connection, self.target.target_id, segment.segment_id, step, now=self.places.clock())
            self.places.at("forward.recorded")
            self.report = replace(
                self.report,
                segments=self.report.segments + step.is_last,
                sent=self.report.sent + step.sent,
                withheld=self.report.withheld + step.withheld,
                refused=self.report.refused + len(step.refused),
            )
        return True

    def _chunk(self, segment: Segment, first: int, lines: list[bytes]) -> Step | None:
        """Send on some lines; what became of them, or None where it was stopped."""
        ready: list[Outgoing] = []
        refused: dict[str, tuple[str, int]] = {}
        withheld = 0
        for place, line in enumerate(lines, start=first + 1):
            if not line.strip():
                continue  # a blank line is no event
            found = self._read(segment, place, line)
            if found is None:
                withheld += 1
            elif len(found.body) > MAX_EVENT_BYTES:
                refused[found.event_id] = (ForwardFailure.TOO_LARGE_TO_FORWARD.value, 0)
            else:
                ready.append(found)
        sent = 0
        for batch in in_batches(ready, max_bytes=MAX_BATCH_BYTES, max_events=MAX_BATCH_EVENTS):
            told = self._deliver(batch)
            if told is None:
                return None
            sent += len(batch) - len(told)
            refused |= told
        return Step(lines_done=0, sent=sent, withheld=withheld, refused=refused, is_last=False)

    def _read(self, segment: Segment, place: int, line: bytes) -> Outgoing | None:
        """The event of a line, or None where it waits in quarantine."""
        event = read_event(line)
        if isinstance(event, QuarantineReason):
            return None
        received = event.get("receivedAt")
        received_at = (read_instant(received) if isinstance(received, str) else None) or segment.sealed_at
        if _refused_on_arrival(event) or self.judge(event, source=segment.source, received_at=received_at) is not None:
            return None
        return outgoing(event, event_id=event_id(segment.segment_id, place), received_at=received_at)

    def _deliver(self, batch: list[Outgoing]) -> dict[str, tuple[str, int]] | None:
        """Send a batch until it is taken; the events that are refused for good, or None where it was stopped.

        A batch that is refused is halved until the guilty events are alone: those beside them still go.
        """
        refused: dict[str, tuple[str, int]] = {}
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            status = self._until_answered(part)
            if status is None:
                return None
            if status and len(part) == 1:
                refused[part[0].event_id] = (ForwardFailure.REFUSED_BY_RECEIVER.value, status)
            elif status:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
        return refused

    def _until_answered(self, part: list[Outgoing]) -> int | None:
        """0 where a batch was taken, the status where it is refused for good, None where it was stopped."""
        for attempt in self._attempts():
            replied = self.receiver.post([event.body for event in part], sent_at=said(self.places.clock()))
            if replied.answer is Answer.TAKEN:
                return 0
            if replied.answer is Answer.REFUSED:
                return replied.status
            if replied.answer is Answer.STOPPED:
                raise StopTheDestination(
                    f"Events are refused with status {replied.status}, by {self.target.address}. "
                    f"Mend address or key under sources.{self.target.source}.forward; nothing is lost meanwhile."
                )
            if attempt == self.pace.most_tries:
                raise RetryLater(
                    f"Events could not be sent on after {attempt} tries (status {replied.status or 'none'}), to "
                    f"{self.target.address}. Try again later; nothing is lost meanwhile."
                )
            delay = back_off(attempt, jitter=self.pace.jitter(), retry_after=replied.retry_after_seconds)
            if self.pace.wait(delay.total_seconds()):
                return None
        return None

    def _attempts(self) -> Iterator[int]:
        attempt = 0
        while True:
            attempt += 1
            if self.pace.wait(0):
                return
            yield attempt


def _refused_on_arrival(event: Mapping[str, Any]) -> bool:
    """Whether the collector said that the event will wait; it speaks first in a line, or not at all."""
    mark: Any = event.get(COLLECTOR) if next(iter(event), None) == COLLECTOR else None
    return isinstance(mark, dict) and cast("dict[str, Any]", mark).get("verdict", "accepted") != "accepted"
