"""Calls over real HTTP, as Segment's Python SDK sends them: batches by `POST /v1/batch`, gzip, Basic authorization."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from activation_dagster.errors import RetryLater, StopTheDestination
from activation_dagster.sources.scenarios import Call, as_sent
from activation_dagster.sources.simulated_events import instant

MOST_EVENTS = 100
MOST_BYTES = 475_000
FLUSH_MS = 500
MOST_TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What has been sent so far: batches and events that were acknowledged, and tries that were not."""

    batches: int = 0
    events: int = 0
    failed_tries: int = 0


def send(
    calls: Iterable[Call],
    *,
    address: str,
    key: str,
    now_ms: Callable[[], int],
    sleep: Callable[[float], object],
    progress: Callable[[Sent], None] = lambda _: None,
    timeout_seconds: float = 15.0,
) -> Sent:
    """Send calls at the time at which they leave, in batches of at most 100 or of half a second.

    Raises RetryLater where a batch was not taken in ten tries, StopTheDestination where it is refused for good.
    """
    import httpx

    headers = {
        "Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode(),
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
        "User-Agent": "analytics-python/2.3.3",
    }
    told = Sent()
    with httpx.Client(base_url=address, headers=headers, timeout=timeout_seconds) as client:
        for batch in _batches(calls, now_ms=now_ms, sleep=sleep):
            body = b'{"batch":[' + b",".join(batch) + b'],"sentAt":"' + instant(now_ms()).encode() + b'"}'
            packed = gzip.compress(body, 1, mtime=0)
            for attempt in range(1, MOST_TRIES + 1):
                try:
                    status = client.post("/v1/batch", content=packed).status_code
                except httpx.RequestError:
                    status = 0
                if status == 200:
                    break
                told = Sent(batches=told.batches, events=told.events, failed_tries=told.failed_tries + 1)
                if 400 <= status < 500 and status != 429:
                    raise StopTheDestination(
                        f"Calls are refused with status {status}, by {address}. "
                        "Give the write key of one of its sources, in --key or SIMULATE_WRITE_KEY."
                    )
                if attempt == MOST_TRIES:
                    raise RetryLater(f"A batch was not taken in {attempt} tries, by {address}. Start the collector.")
                sleep(min(10.0, 0.1 * 2.0**attempt))
            told = Sent(batches=told.batches + 1, events=told.events + len(batch), failed_tries=told.failed_tries)
            progress(told)
    return told


def _batches(
    calls: Iterable[Call], *, now_ms: Callable[[], int], sleep: Callable[[float], object]
) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    first_ms = 0
    for call in calls:
        event = as_sent(call)
        full = len(batch) >= MOST_EVENTS or size + len(event) > MOST_BYTES
        if batch and (full or call.leaves_ms - first_ms >= FLUSH_MS):
            yield batch
            batch, size = [], 0
        early = call.leaves_ms - now_ms()
        if early > 0:
            sleep(early / 1000)
        if not batch:
            first_ms = call.leaves_ms
        batch.append(event)
        size += len(event) + 1
    if batch:
        yield batch
