"""How many events a second a source may send: a bucket of tokens a source, in each worker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Throttle:
    """Buckets by source. A worker of several gets its share of the rate, because a load balancer spreads requests."""

    def __init__(self, *, workers: int = 1) -> None:
        self._workers = workers
        self._buckets: dict[str, _Bucket] = {}

    def room(self, source: str, *, per_second: float | None, now: float) -> int | None:
        """How many events may come now; nothing is taken. None where there is no limit."""
        if per_second is None:
            return None
        return max(0, int(self._bucket(source, per_second, now).tokens + 1e-9))

    def wait_for(self, source: str, events: int, *, per_second: float | None, now: float) -> float:
        """Take tokens for `events`: 0 where they may come, else the seconds after which they may (nothing is taken).

        `now` is in seconds of a clock that never goes back. A bucket holds two seconds' worth, and a request may take
        more than is in it where it is full: a large batch comes in, and those after it wait.
        """
        if per_second is None or events == 0:
            return 0.0
        rate = per_second / self._workers
        bucket = self._bucket(source, per_second, now)
        needed = min(float(events), 2 * rate)
        if bucket.tokens + 1e-9 < needed:
            return (needed - bucket.tokens) / rate
        bucket.tokens -= events
        return 0.0

    def _bucket(self, source: str, per_second: float, now: float) -> _Bucket:
        rate = per_second / self._workers
        bucket = self._buckets.get(source)
        if bucket is None:
            bucket = self._buckets[source] = _Bucket(tokens=2 * rate, filled_at=now)
        bucket.tokens = min(2 * rate, bucket.tokens + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        return bucket
