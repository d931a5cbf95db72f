"""Keeps a client under an endpoint's promised calls per second."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Pacer:
    """A token bucket that holds one call, for each endpoint by name: calls are spaced evenly, never in bursts.

    `clock` gives seconds and never goes back; `sleep` waits so many seconds. Safe to share between threads.
    """

    def __init__(self, *, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._next_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, endpoint: str, calls_per_second: float) -> None:
        """Returns when the next call may go; a rate of 0 or less means no limit."""
        if calls_per_second <= 0:
            return
        with self._lock:
            now = self._clock()
            at = max(now, self._next_at.get(endpoint, now))
            self._next_at[endpoint] = at + 1.0 / calls_per_second
        if at > now:
            self._sleep(at - now)
