"""Sending on what has landed: a source's events to another Tracking API, at least once, beside everything else.

It reads sealed segments and writes its own progress, so ingestion never waits for it. How far a segment is, and what
became of its events, is one transaction after each batch: dying before it sends that batch again, under the same
messageIds, and the receiver knows them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

from activation_dagster.destinations.tracking_api import Answer, Receiver, Replied
from activation_dagster.domain.events import COLLECTOR, shed_on_arrival
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
from activation_dagster.pipeline.forward_consent import ConsentOfSegment, consented_segments
from activation_dagster.pipeline.forward_status import Target, waiting_for
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import recent
from activation_dagster.registry.arrival import ArrivalJudge
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.state import forwards
from activation_dagster.state.forwards import Step

LINES_AT_ONCE = 2_500
"""So many lines are judged before a batch goes; no more of a segment is done again after a crash."""

LOOK_SECONDS = 30.0
"""While a receiver is waited for, so often it is written down that somebody looks after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How trouble is waited out. `wait(seconds)` says whether to stop; `most_tries` of a batch, None for no end."""

    wait: Callable[[float], bool]
    most_tries: int | None = None
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardReport:
    """What one pass did: segments finished, and events by what became of them; `withheld_by_reason` says why."""

    segments: int = 0
    sent: int = 0
    withheld: int = 0
    withheld_by_reason: Mapping[str, int] = field(default_factory=dict[str, int])
    refused: int = 0


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

    A target begins with the segments sealed at or after `since`, or now. What was shed, or breaks its contract and so
    waits in quarantine, is not sent on; nor is what an archive brought that was no live way in. Where the target names
    a purpose, a segment goes when its batch knows whose its events are, and only events of people go who allow it at
    that moment. With `is_full`, segments of any age are looked for, else those of the last hours. Raises LeaseHeld
    while another process does the same, RetryLater where a batch was tried `most_tries` times, StopTheDestination
    where the key or the address is refused.
    """
    with places.landing.held(target.work):
        places.landing.note(target.work, places.clock())
        with places.state.write() as connection:
            began = forwards.begin_target(
                connection,
                target_id=target.target_id,
                source=target.source,
                address=target.address,
                since=since or places.clock(),
            )
        contracts = contracts_in_force(places).contracts
        work = _Forwarding(
            places=places,
            target=target,
            receiver=receiver,
            pace=pace,
            contracts=contracts,
            judge=ArrivalJudge(contracts),
        )
        look_from = began if is_full else max(began, recent(places.clock()))
        waiting = waiting_for(places, target, began=began, look_from=look_from)
        for segment, lines_done, consent in work.ready(waiting):
            if not work.send_on(segment, lines_done, consent):
                break
        return work.report


@dataclass(slots=True, kw_only=True)
class _Forwarding:
    places: Places
    target: Target
    receiver: Receiver
    pace: Pace
    contracts: ContractSet
    judge: ArrivalJudge
    report: ForwardReport = field(default_factory=ForwardReport)

    def ready(self, waiting: Sequence[tuple[Segment, int]]) -> list[tuple[Segment, int, ConsentOfSegment | None]]:
        """The segments that may go now, each with who asks about consent, where a purpose is named."""
        if self.target.purpose is None:
            return [(segment, lines_done, None) for segment, lines_done in waiting]
        with self.places.state.read() as connection:
            batches = consented_segments(connection, [segment for segment, _ in waiting])
        return [
            (
                segment,
                lines_done,
                ConsentOfSegment(
                    places=self.places,
                    rules=self.contracts.consent,
                    purpose=self.target.purpose,
                    channel=self.target.channel,
                    segment=segment,
                    batch_id=batches[segment.source, segment.segment_id],
                ),
            )
            for segment, lines_done in waiting
            if (segment.source, segment.segment_id) in batches
        ]

    def send_on(self, segment: Segment, lines_done: int, consent: ConsentOfSegment | None) -> bool:
        """Send on the rest of a segment; False where it was stopped before its end."""
        content = self.places.landing.read(segment)
        lines = content.removesuffix(b"\n").split(b"\n")
        for first in range(lines_done, len(lines), LINES_AT_ONCE):
            self.places.landing.note(self.target.work, self.places.clock())
            chunk = lines[first : first + LINES_AT_ONCE]
            step = self._chunk(segment, first, chunk, consent)
            if step is None:
                return False
            step = replace(step, lines_done=first + len(chunk), is_last=first + len(chunk) >= len(lines))
            self.places.at("forward.sent")
            with self.places.state.write() as connection:
                forwards.advance(connection, self.target.target_id, segment.segment_id, step, now=self.places.clock())
            self.places.at("forward.recorded")
            self._add(step)
        return True

    def _add(self, step: Step) -> None:
        withheld = Counter(self.report.withheld_by_reason)
        withheld.update(step.withheld)
        self.report = ForwardReport(
            segments=self.report.segments + step.is_last,
            sent=self.report.sent + step.sent,
            withheld=withheld.total(),
            withheld_by_reason=dict(withheld),
            refused=self.report.refused + len(step.refused),
        )

    def _chunk(self, segment: Segment, first: int, lines: list[bytes], consent: ConsentOfSegment | None) -> Step | None:
        """Send on some lines; what became of them, or None where it was stopped."""
        ready: list[Outgoing] = []
        refused: dict[str, tuple[str, int]] = {}
        withheld: Counter[str] = Counter()
        for place, line in enumerate(lines, start=first + 1):
            if not line.strip():
                continue  # a blank line is no event
            found = self._read(segment, place, line)
            if isinstance(found, str):
                withheld[found] += 1
            elif len(found.body) > MAX_EVENT_BYTES:
                refused[found.event_id] = (ForwardFailure.TOO_LARGE_TO_FORWARD.value, 0)
            else:
                ready.append(found)
        if consent is not None and ready:
            consent.look_up([found.event_id for found in ready])
        sent = 0
        for batch in in_batches(ready, max_bytes=MAX_BATCH_BYTES, max_events=MAX_BATCH_EVENTS):
            told = self._deliver(batch, consent)
            if told is None:
                return None
            sent += told.sent
            refused |= told.refused
            withheld.update(told.withheld)
        return Step(lines_done=0, sent=sent, withheld=withheld, refused=refused, is_last=False)

    def _read(self, segment: Segment, place: int, line: bytes) -> Outgoing | str:
        """The event of a line, or the reason for which it is not sent on: it was shed, or waits in quarantine."""
        event = read_event(line)
        if isinstance(event, QuarantineReason):
            return event.value
        received = event.get("receivedAt")
        received_at = (read_instant(received) if isinstance(received, str) else None) or segment.sealed_at
        why = (
            shed_on_arrival(event)
            or _refused_on_arrival(event)
            or self.judge(event, source=segment.source, received_at=received_at)
        )
        if why:
            return str(why)
        return outgoing(event, event_id=event_id(segment.segment_id, place), received_at=received_at)

    def _deliver(self, batch: list[Outgoing], consent: ConsentOfSegment | None) -> Step | None:
        """Send a batch until it is taken, or None where it was stopped.

        A batch that is refused is halved until the guilty events are alone: those beside them still go. Before each
        try consent is read again, because a *no* may have come while a receiver was waited for.
        """
        refused: dict[str, tuple[str, int]] = {}
        withheld: Counter[str] = Counter()
        sent = attempt = 0
        waiting = [batch]
        while waiting:
            if self.pace.wait(0):
                return None
            part = _allowed(waiting.pop(), consent, withheld)
            if not part:
                continue
            replied = self.receiver.post([event.body for event in part], sent_at=said(self.places.clock()))
            if replied.answer is Answer.LATER:
                attempt += 1
                if self._waited_out(replied, attempt):
                    return None
                waiting.append(part)
                continue
            attempt = 0
            if replied.answer is Answer.TAKEN:
                sent += len(part)
            elif replied.answer is Answer.STOPPED:
                raise StopTheDestination(
                    f"Events are refused with status {replied.status}, by {self.target.address}. "
                    f"Mend address or key under sources.{self.target.source}.forward; nothing is lost meanwhile."
                )
            elif len(part) == 1:
                refused[part[0].event_id] = (ForwardFailure.REFUSED_BY_RECEIVER.value, replied.status)
            else:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
        return Step(lines_done=0, sent=sent, withheld=withheld, refused=refused, is_last=False)

    def _waited_out(self, replied: Replied, attempt: int) -> bool:
        """Wait before the next try; whether it was stopped meanwhile."""
        if attempt == self.pace.most_tries:
            raise RetryLater(
                f"Events could not be sent on after {attempt} tries (status {replied.status or 'none'}), to "
                f"{self.target.address}. Try again later; nothing is lost meanwhile."
            )
        left = back_off(attempt, jitter=self.pace.jitter(), retry_after=replied.retry_after_seconds).total_seconds()
        while left > 0:
            self.places.landing.note(self.target.work, self.places.clock())
            if self.pace.wait(min(left, LOOK_SECONDS)):
                return True
            left -= LOOK_SECONDS
        return False


def _allowed(part: list[Outgoing], consent: ConsentOfSegment | None, withheld: Counter[str]) -> list[Outgoing]:
    """Those events that may go now; the others are counted as withheld."""
    if consent is None:
        return part
    why = consent.withheld(event.event_id for event in part)
    withheld.update(why.values())
    return [event for event in part if event.event_id not in why]


def _refused_on_arrival(event: Mapping[str, Any]) -> str | None:
    """Why the collector said that the event will wait, or None; it speaks first in a line, or not at all."""
    mark: Any = event.get(COLLECTOR) if next(iter(event), None) == COLLECTOR else None
    verdict: object = cast("dict[str, Any]", mark).get("verdict", "accepted") if isinstance(mark, dict) else "accepted"
    return None if verdict == "accepted" else str(verdict)
