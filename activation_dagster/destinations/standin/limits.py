"""How often each endpoint may be called in a second: Iterable's stated rates, and ours where it states none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

RATES: Mapping[str, float] = {
    "/api/events/track": 2000.0,
    "/api/events/trackBulk": 10.0,
    "/api/users/update": 500.0,
    "/api/users/bulkUpdate": 5.0,
    "/api/users/byUserId": 100.0,
    "/api/users/getByEmail": 100.0,
    # Not stated by Iterable, which does not mean unlimited.
    "/api/workflows/triggerWorkflow": 100.0,
    "/api/journeys": 100.0,
}
"""Calls a second for each project."""


class TokenBuckets:
    """One bucket for each endpoint, holding at most one second's worth of calls.

    `scale` multiplies every rate; `clock` gives seconds and never goes back.
    """

    def __init__(self, rates: Mapping[str, float], *, scale: float, clock: Callable[[], float]) -> None:
        self._rates = {endpoint: rate * scale for endpoint, rate in rates.items()}
        self._clock = clock
        self._tokens: dict[str, tuple[float, float]] = {}

    def take(self, endpoint: str) -> bool:
        """Whether a call may pass now; an endpoint without a rate always may."""
        rate = self._rates.get(endpoint)
        if rate is None:
            return True
        capacity = max(1.0, rate)
        now = self._clock()
        tokens, since = self._tokens.get(endpoint, (capacity, now))
        tokens = min(capacity, tokens + (now - since) * rate)
        passes = tokens >= 1.0
        self._tokens[endpoint] = (tokens - 1.0 if passes else tokens, now)
        return passes
