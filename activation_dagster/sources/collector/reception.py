"""Taking one request's events: read, judged, written as landing lines, and on disk when it is done."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any, Literal

from starlette.types import Receive, Scope

from activation_dagster.domain.contracts import Criticality
from activation_dagster.domain.reasons import ShedReason
from activation_dagster.domain.shedding import Pressure, PressureLimits, is_shed, over_the_room
from activation_dagster.domain.sources import Source
from activation_dagster.errors import LandingBusy, LandingUnwritable
from activation_dagster.sources.collector.appender import Appender
from activation_dagster.sources.collector.bodies import Body, Unreadable, read_body
from activation_dagster.sources.collector.callers import basic_key, client_address
from activation_dagster.sources.collector.desk import Desk
from activation_dagster.sources.collector.figures import Figures
from activation_dagster.sources.collector.intake import Intake, Refused, header
from activation_dagster.sources.collector.lines import Arrival, landing_line, sound
from activation_dagster.sources.collector.throttle import Throttle

YIELD_EVERY = 100
"""Events of a batch after which others get their turn."""
LONGEST_AGENT = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorLimits:
    """What is taken, and how the client's address is kept. Bytes, events and seconds."""

    max_event_bytes: int = 32 * 1024
    max_batch_bytes: int = 500 * 1024
    max_batch_events: int = 2_500
    memory_bytes: int = 64 * 1024 * 1024
    body_seconds: float = 30.0
    refresh_seconds: float = 2.0
    client_address: Literal["off", "truncated", "full"] = "truncated"
    workers: int = 1
    pressure: PressureLimits = field(default_factory=PressureLimits)


class Reception:
    """Where events come in: one for all paths of a worker that take them."""

    def __init__(
        self,
        *,
        appender: Appender,
        desk: Desk,
        figures: Figures,
        limits: CollectorLimits,
        clock: Callable[[], datetime],
    ) -> None:
        self.limits = limits
        self.intake = Intake(
            max_bytes=limits.max_batch_bytes, memory_bytes=limits.memory_bytes, seconds=limits.body_seconds
        )
        self._appender = appender
        self._desk = desk
        self._figures = figures
        self._clock = clock
        self._throttle = Throttle(workers=limits.workers)

    async def take(self, scope: Scope, receive: Receive, *, call: str | None) -> str:
        """Land one request's events; the message id that was made for a single event, or nothing.

        Raises Refused or Gone.
        """
        body_bytes = await self.intake.read(scope, receive)
        try:
            return await self._land(scope, body_bytes, call=call)
        finally:
            self.intake.release(len(body_bytes))

    async def _land(self, scope: Scope, text: bytes, *, call: str | None) -> str:
        try:
            body = read_body(text, is_batch=call is None, basic_key=basic_key(scope))
        except Unreadable as unreadable:
            raise Refused(400, "invalid_json", str(unreadable)) from None
        received_at = self._clock()
        source = self.known(body.write_key, received_at)
        if not body.items:
            return ""
        over_rate = self._over_rate(source, body.items, call)
        arrival = self._arrival(scope, body, received_at, call, source.name)
        lines: list[bytes] = []
        verdicts: dict[str, int] = {}
        made = ""

        def verdict(event: dict[str, Any]) -> str | None:
            return self._desk.verdict(source, event, received_at)

        pressure = self.pressure()

        def shedding(event: dict[str, Any], place: int) -> ShedReason | None:
            if place in over_rate:
                return ShedReason.RATE_LIMIT
            if pressure is Pressure.NONE or not is_shed(self._criticality(source, event, call), source.shed, pressure):
                return None
            return ShedReason.OVERLOAD

        for position, item in enumerate(body.items):
            line = landing_line(item, arrival, position, verdict, shedding)
            lines.append(line.line)
            said = line.reason or "accepted"
            verdicts[said] = verdicts.get(said, 0) + 1
            if line.message_id is not None and line.message_id.startswith(arrival.made_id):
                made = line.message_id
            if position % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
        try:
            await self._appender.append(source.environment, source.name, lines)
        except LandingBusy as busy:
            raise Refused(429, "too_many_requests", str(busy), retry_after=1) from None
        except LandingUnwritable:
            sentence = "The events cannot be stored now. Send them again."  # where they are stored is nobody's business
            raise Refused(503, "unavailable", sentence, retry_after=5) from None
        for said, events in verdicts.items():
            self._figures.events.labels(source.name, said).inc(events)
        self._figures.bytes.labels(source.name).inc(sum(map(len, lines)) + len(lines))
        return made if call is not None else ""

    def pressure(self) -> Pressure:
        """How hard this worker is pressed, by what waits for its disk."""
        return self.limits.pressure.pressure(
            waiting_bytes=self._appender.waiting_bytes(), waiting_seconds=self._appender.waiting_seconds()
        )

    def _over_rate(self, source: Source, items: list[bytes], call: str | None) -> frozenset[int]:
        """The places of the events to shed because the source sends too much. Raises Refused where that is too few."""
        now, rate = time.monotonic(), source.events_per_second
        wait = self._throttle.wait_for(source.name, len(items), per_second=rate, now=now)
        if wait == 0:
            return frozenset()
        room = self._throttle.room(source.name, per_second=rate, now=now) or 0
        shed = over_the_room([self._criticality_of(source, item, call) for item in items], source.shed, room=room)
        if shed:
            wait = self._throttle.wait_for(source.name, len(items) - len(shed), per_second=rate, now=now)
        if wait > 0:
            raise Refused(429, "rate_limited", "This source sends more events than it may.", retry_after=ceil(wait))
        return shed

    def _criticality_of(self, source: Source, item: bytes, call: str | None) -> Criticality | None:
        event = sound(item.strip(b" \t\r\n"))
        return self._criticality(source, event, call) if isinstance(event, dict) else None

    def _criticality(self, source: Source, event: dict[str, Any], call: str | None) -> Criticality | None:
        told = event if call is None or event.get("type") is not None else {**event, "type": call}
        return self._desk.criticality(source, told)

    def known(self, key: str, now: datetime) -> Source:
        """The source that a key opens at `now`. Raises Refused."""
        source = self._desk.source_of(key, now) if key else None
        if source is None:
            what = "is unknown, or is taken no more" if key else "is missing"
            raise Refused(401, "invalid_write_key", f"The write key {what}.")
        return source

    def _arrival(self, scope: Scope, body: Body, received_at: datetime, call: str | None, source: str) -> Arrival:
        return Arrival(
            source=source,
            received_at=f"{received_at:%Y-%m-%dT%H:%M:%S}.{received_at.microsecond // 1000:03d}Z",
            made_id=f"made-{uuid.uuid4().hex}",
            call=call,
            sent_at=body.sent_at,
            address=client_address(scope, self.limits.client_address),
            agent=header(scope, b"user-agent")[:LONGEST_AGENT].decode("latin-1"),
            gpc=header(scope, b"sec-gpc").strip() == b"1",
            context=body.context,
            integrations=body.integrations,
            max_event_bytes=self.limits.max_event_bytes,
            max_events=self.limits.max_batch_events,
        )
