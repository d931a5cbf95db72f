"""Group commit: requests hand in lines and are answered after one fsync that they share with all who came meanwhile."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Protocol

from activation_dagster.errors import LandingBusy, LandingUnwritable
from activation_dagster.sources.landing import Landing
from activation_dagster.sources.open_segments import OpenSegment, recover

log = logging.getLogger("activation.collector")
MILLISECOND = timedelta(milliseconds=1)
TRIAL = "_trial"
"""A source that no event comes from: its file is written to find out whether the disk is well, and removed."""


class DurableAppender(Protocol):
    """What a door needs that takes events: SDKs' calls here, a webhook elsewhere."""

    async def append(self, environment: str, source: str, lines: Sequence[bytes]) -> None:
        """Land lines (without their ends, in this order); they are on disk when this returns.

        Raises LandingBusy or LandingUnwritable; then nobody may be told that they were taken.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AppenderLimits:
    """When a segment is sealed, and how much may wait for the disk. Seconds and bytes."""

    seal_seconds: float = 1.0
    seal_bytes: int = 8 * 1024 * 1024
    linger_seconds: float = 0.002
    """Between two commits: whoever comes meanwhile shares the second one."""
    waiting_bytes: int = 32 * 1024 * 1024
    answer_seconds: float = 10.0
    """Who has waited so long for the disk is told to come again."""
    recover_seconds: float = 5.0
    retry_seconds: float = 0.5


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    environment: str
    source: str
    lines: bytes
    answer: asyncio.Future[None]
    since: float = field(default_factory=time.monotonic)
    failure: LandingUnwritable | None = None


@dataclass(slots=True, kw_only=True)
class AppenderFigures:
    """What the appender has done so far, for whoever measures it."""

    commits: int = 0
    failures: int = 0
    sealed: int = 0
    recovered: int = 0
    waiting_bytes: int = 0
    commit_seconds: float = 0.0
    last_failure: str = ""


@dataclass(slots=True, kw_only=True)
class _Open:
    segment: OpenSegment
    since: float = field(default_factory=time.monotonic)


class Appender:
    """One writing thread and one sealing thread a process; any number of processes share a landing.

    `landing_of` gives the landing of an environment, always the same one. Use it from one event loop.
    """

    def __init__(
        self,
        landing_of: Callable[[str], Landing],
        *,
        clock: Callable[[], datetime],
        limits: AppenderLimits,
        environments: Sequence[str] = (),
    ) -> None:
        self.figures = AppenderFigures()
        self.limits = limits
        self._landing_of = landing_of
        self._clock = clock
        self._environments = set(environments)
        self._word = uuid.uuid4().hex[:16]  # a name of this process's own; nothing is decided by it
        self._numbers = count()
        self._lock = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._to_seal: list[OpenSegment] = []
        self._open: dict[tuple[str, str], _Open] = {}
        self._busy_since: float | None = None
        self._sealed_at: datetime | None = None
        self._closing = False
        self._writer = threading.Thread(target=self._write, name="appender", daemon=True)
        self._sealer = threading.Thread(target=self._seal, name="sealer", daemon=True)
        self._written = False

    def start(self) -> None:
        """Recover what dead workers left, then take lines. A disk that fails now is tried again by itself."""
        self._recover()
        self._writer.start()
        self._sealer.start()

    def watch(self, environments: Sequence[str]) -> None:
        """Environments whose dead workers' files are looked for too."""
        self._environments |= set(environments)

    @property
    def trouble(self) -> str:
        """Why lines could not be landed just now, or nothing."""
        if not (self._writer.is_alive() and self._sealer.is_alive()):
            return "A thread of this worker has ended."
        return "The disk is slow." if self._is_stuck() else self.figures.last_failure

    def _is_stuck(self) -> bool:
        since = self._busy_since
        return since is not None and time.monotonic() - since > self.limits.answer_seconds / 2

    def waiting_bytes(self) -> int:
        """Bytes of lines that wait for the disk, or are being written."""
        return self.figures.waiting_bytes

    def waiting_seconds(self) -> float:
        """How long the oldest of what waits for the disk, or is being written, has waited."""
        began = [found for found in (self._busy_since, next((one.since for one in self._waiting), None)) if found]
        return max((time.monotonic() - since for since in began), default=0.0)

    async def append(self, environment: str, source: str, lines: Sequence[bytes]) -> None:
        """See DurableAppender."""
        blob = b"\n".join(lines) + b"\n"
        waiting = _Waiting(
            environment=environment,
            source=source,
            lines=blob,
            answer=asyncio.get_running_loop().create_future(),
        )
        with self._lock:
            if self._closing or self._is_stuck():
                raise LandingUnwritable(
                    "Landing takes no event, because this worker stops or its disk is slow. Send again."
                )
            if self.figures.waiting_bytes + len(blob) > self.limits.waiting_bytes:
                raise LandingBusy("More events wait for the disk than are kept in memory. Send again in a moment.")
            self._waiting.append(waiting)
            self.figures.waiting_bytes += len(blob)
            self._lock.notify_all()
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                await waiting.answer
        except TimeoutError:
            with self._lock:
                if waiting in self._waiting:  # not begun: so it will not be landed
                    self._waiting.remove(waiting)
                    self.figures.waiting_bytes -= len(blob)
            raise LandingUnwritable("Landing takes no event (the disk is slow). Send again in a moment.") from None

    def close(self) -> None:
        """Write what waits, seal what is open, stop. What cannot be sealed stays for whoever starts next."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        for thread in (self._writer, self._sealer):
            if thread.is_alive():
                thread.join(timeout=self.limits.answer_seconds)

    # -- the writing thread ---------------------------------------------------------------------------------------

    def _write(self) -> None:
        while True:
            with self._lock:
                if not self._waiting and not self._closing:
                    self._lock.wait(self._until_next_seal())
                group, self._waiting = self._waiting, []
                closing = self._closing
            if group:
                self._commit(group)
            self._retire(everything=closing and not group)
            if closing and not group:
                with self._lock:
                    if not self._waiting:
                        self._written = True
                        self._lock.notify_all()
                        return
            elif group and self.limits.linger_seconds:
                time.sleep(self.limits.linger_seconds)

    def _commit(self, group: list[_Waiting]) -> None:
        began = self._busy_since = time.monotonic()
        by_source: dict[tuple[str, str], list[_Waiting]] = {}
        for waiting in group:
            by_source.setdefault((waiting.environment, waiting.source), []).append(waiting)
        failure: LandingUnwritable | None = None
        for key, some in by_source.items():
            try:
                self._segment(*key).append(b"".join([waiting.lines for waiting in some]))
            except LandingUnwritable as error:
                failure = error
                for waiting in some:
                    waiting.failure = error
        self._busy_since = None
        with self._lock:
            self.figures.waiting_bytes -= sum(len(waiting.lines) for waiting in group)
            self.figures.commits += 1
            self.figures.commit_seconds += time.monotonic() - began
            self.figures.failures += failure is not None
        self._note("" if failure is None else str(failure))
        try:
            group[0].answer.get_loop().call_soon_threadsafe(_answer, group)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _segment(self, environment: str, source: str) -> OpenSegment:
        found = self._open.get((environment, source))
        if found is None or found.segment.is_spent:
            landing = self._landing_of(environment)
            if found is not None:
                self._hand_over(found.segment)
                del self._open[environment, source]
            self._environments.add(environment)
            suffix = f"c{self._word}{next(self._numbers):08x}"
            found = _Open(segment=OpenSegment.create(landing, source, suffix))
            self._open[environment, source] = found
        return found.segment

    def _until_next_seal(self) -> float | None:
        if not self._open:
            return None
        oldest = min(opened.since for opened in self._open.values())
        return max(0.0, oldest + self.limits.seal_seconds - time.monotonic())

    def _retire(self, *, everything: bool) -> None:
        """Hand over to the sealing thread what is old or large enough."""
        due = time.monotonic() - self.limits.seal_seconds
        for key, opened in list(self._open.items()):
            if everything or opened.since <= due or opened.segment.size >= self.limits.seal_bytes:
                del self._open[key]
                self._hand_over(opened.segment)

    def _hand_over(self, segment: OpenSegment) -> None:
        with self._lock:
            self._to_seal.append(segment)
            self._lock.notify_all()

    def _note(self, sentence: str) -> None:
        if sentence and sentence != self.figures.last_failure:
            log.error("landing_unwritable", extra={"why": sentence})
        if not sentence and self.figures.last_failure:
            log.info("landing_writable_again")
        self.figures.last_failure = sentence

    # -- the sealing thread ---------------------------------------------------------------------------------------

    def _seal(self) -> None:
        recovered = time.monotonic()
        while True:
            with self._lock:
                if not self._to_seal and not self._written:
                    troubled = bool(self.figures.last_failure)
                    self._lock.wait(self.limits.retry_seconds if troubled else self.limits.recover_seconds)
                taken, self._to_seal = self._to_seal, []
                last = self._written
            left = [one for one in taken if not self._seal_one(one)]
            if last:
                return  # what is left is sealed by whoever starts next
            if left:
                with self._lock:
                    self._to_seal = left + self._to_seal
                time.sleep(self.limits.retry_seconds)
            if self.figures.last_failure:
                self._try_the_disk()
            if time.monotonic() - recovered >= self.limits.recover_seconds:
                self._recover()
                recovered = time.monotonic()

    def _seal_one(self, segment: OpenSegment) -> bool:
        try:
            sealed = segment.seal(self._now())
        except LandingUnwritable as error:
            self._note(str(error))
            return False
        self.figures.sealed += sealed is not None
        return True

    def _recover(self) -> None:
        for environment in sorted(self._environments):
            try:
                found = recover(self._landing_of(environment), self._now)
            except LandingUnwritable as error:
                self._note(str(error))
                continue
            self.figures.recovered += len(found)
            for segment in found:
                log.warning("segment_recovered", extra={"segment": segment.path, "bytes": segment.size_bytes})

    def _try_the_disk(self) -> None:
        """Without traffic nobody else would find out that the disk is well again."""
        try:
            for environment in sorted(self._environments):
                tried = OpenSegment.create(self._landing_of(environment), TRIAL, f"t{self._word}")
                try:
                    tried.append(b"\0" * 4096)
                finally:
                    tried.discard()
        except LandingUnwritable:
            return
        self._note("")

    def _now(self) -> datetime:
        """The clock, and never the same millisecond twice: arrival order is the order of sealing."""
        now = self._clock()
        if self._sealed_at is not None:
            now = max(now, self._sealed_at + MILLISECOND)
        self._sealed_at = now
        return now


def _answer(group: Sequence[_Waiting]) -> None:
    for waiting in group:
        if waiting.answer.done():
            continue  # who waited has gone
        if waiting.failure is None:
            waiting.answer.set_result(None)
        else:
            waiting.answer.set_exception(waiting.failure)
