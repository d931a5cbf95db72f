"""What the collector says of itself in Prometheus' format: of one worker, or of all where they share a folder."""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Where the library keeps what several workers count; `activation collector --workers` sets it before they start."""
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Figures:
    """Counters, gauges and one histogram. Labels name sources, answers and verdicts; never a person."""

    def __init__(
        self, *, waiting_bytes: Callable[[], float], is_ready: Callable[[], float], pressure: Callable[[], float]
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
        }

    def _gauge(self, name: str, words: str) -> Gauge:
        return Gauge(name, words, registry=self._registry, multiprocess_mode="livesum")

    def text(self) -> bytes:
        """All of it, of all workers where they share a folder."""
        for gauge, read in self._live.items():
            gauge.set(read())
        if SHARED in os.environ:
            shared = CollectorRegistry()
            MultiProcessCollector(shared)
            return generate_latest(shared)
        return generate_latest(self._registry)
