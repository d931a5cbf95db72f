"""What the collector says of itself in Prometheus' format: of one worker, or of all where they share a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import multiprocess as several
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Where the library keeps what several workers count; `activation collector --workers` sets it before they start."""
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ALIVE = ".alive"
"""Ends the name of the file that a worker holds a lock on as long as it lives."""


class Forwarded(Protocol):
    """Where a source's forward stands (pipeline.forward_status.ForwardStatus)."""

    @property
    def source(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def begun(self) -> bool: ...
    @property
    def waiting_segments(self) -> int: ...
    @property
    def lag_seconds(self) -> float: ...
    @property
    def sent(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def withheld_by_reason(self) -> Mapping[str, int]: ...
    @property
    def is_stale(self) -> bool: ...


class Figures:
    """Counters, gauges and one histogram. Labels name sources, answers and verdicts; never a person."""

    def __init__(
        self,
        *,
        waiting_bytes: Callable[[], float],
        is_ready: Callable[[], float],
        pressure: Callable[[], float],
    ) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "collector_requests", "Requests by path and status.", ["path", "status"], registry=registry
        )
        self.events = Counter(
            "collector_events", "Events acknowledged by source and verdict.", ["source", "verdict"], registry=registry
        )
        self.bytes = Counter("collector_bytes", "Bytes of landing lines acknowledged.", ["source"], registry=registry)
        self.refused = Counter("collector_refusals", "Requests refused, by code.", ["code"], registry=registry)
        self.seconds = Histogram(
            "collector_request_seconds", "From the request's head to its answer.", registry=registry, buckets=BUCKETS
        )
        self._live = {
            self._gauge("collector_waiting_bytes", "Bytes that wait for the disk."): waiting_bytes,
            self._gauge("collector_ready", "1 where this worker takes events; the sum of all."): is_ready,
            self._gauge("collector_shedding", "1 where best effort is shed, 2 standard too; the sum of all."): pressure,
            self._gauge("collector_workers", "1 for each worker; the sum of all."): lambda: 1.0,
        }
        self._shared = Path(os.environ[SHARED]) if SHARED in os.environ else None
        self._held = None if self._shared is None else _held(self._shared / f"{os.getpid()}{ALIVE}")

    def _gauge(self, name: str, words: str) -> Gauge:
        return Gauge(name, words, registry=self._registry, multiprocess_mode="livesum")

    def refresh(self) -> None:
        """Write down how this worker stands, for whichever worker is asked next."""
        for gauge, read in self._live.items():
            gauge.set(read())

    def text(self, forwards: Sequence[Forwarded] | None = None) -> bytes:
        """All of it, of all workers where they share a folder; counters of workers that are gone stay, gauges do not.

        `forwards`: where each forward stands; None where that could not be read.
        """
        self.refresh()
        asked = CollectorRegistry()
        asked.register(_Forwards(forwards))
        if self._shared is None:
            return generate_latest(self._registry) + generate_latest(asked)
        _forget_the_gone(self._shared)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)
        return generate_latest(shared) + generate_latest(asked)


def _held(path: Path) -> int:
    """A lock that goes when this process ends, however it ends."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)  # between the two somebody took us for gone, and removed it


def _forget_the_gone(folder: Path) -> None:
    """Remove the gauges of workers that hold their lock no more. Two workers may do so at once."""
    for path in folder.glob(f"*{ALIVE}"):
        with path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            cast("Any", several).mark_process_dead(int(path.name.removesuffix(ALIVE)), str(folder))
            path.unlink(missing_ok=True)


class _Forwards(Collector):
    """Where forwards stand, as it was found a moment ago; nothing of it is counted in this process."""

    def __init__(self, seen: Sequence[Forwarded] | None) -> None:
        self._seen = seen

    def collect(self) -> Iterable[Metric]:
        """The figures of all targets."""
        yield GaugeMetricFamily(
            "forward_readable", "1 where it can be told how far forwards are.", value=float(self._seen is not None)
        )
        labels = ["source", "to"]
        lag = GaugeMetricFamily("forward_lag_seconds", "Age of the oldest segment that is not sent on.", labels=labels)
        waiting = GaugeMetricFamily("forward_waiting_segments", "Segments that are not sent on.", labels=labels)
        begun = GaugeMetricFamily("forward_begun", "1 where somebody has begun to send on.", labels=labels)
        stale = GaugeMetricFamily(
            "forward_stale", "1 where something waits and nobody has looked for two minutes.", labels=labels
        )
        sent = CounterMetricFamily("forward_sent_events", "Events that were taken there.", labels=labels)
        refused = CounterMetricFamily(
            "forward_refused_events", "Events that are refused there for good.", labels=labels
        )
        withheld = CounterMetricFamily(
            "forward_withheld_events", "Events that are not sent on, by reason.", labels=[*labels, "reason"]
        )
        for one in self._seen or ():
            where = [one.source, one.address]
            lag.add_metric(where, one.lag_seconds)
            waiting.add_metric(where, one.waiting_segments)
            begun.add_metric(where, float(one.begun))
            stale.add_metric(where, float(one.is_stale))
            sent.add_metric(where, one.sent)
            refused.add_metric(where, one.refused)
            for reason, events in one.withheld_by_reason.items():
                withheld.add_metric([*where, reason], events)
        yield from (lag, waiting, begun, stale, sent, refused, withheld)
