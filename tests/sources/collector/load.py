"""Load on a collector: threads that send numbered events as fast as they can, and remember what was acknowledged."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.sources.collector.running import KEY, basic


@dataclass(slots=True)
class Load:
    """What was sent and answered so far; `answers` counts by status, 0 where there was none."""

    acknowledged: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    answers: dict[int, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, status: int, messages: list[str]) -> None:
        with self.lock:
            self.answers[status] = self.answers.get(status, 0) + 1
            if status == 200:
                self.acknowledged.update(messages)

    def missing(self, landed: list[str]) -> set[str]:
        """What was acknowledged and has not landed."""
        return self.acknowledged - set(landed)


def thing(message: str) -> dict[str, Any]:
    """An event that no contract is about."""
    return {"type": "track", "event": "Thing Done", "userId": "u", "messageId": message, "properties": {}}


def batch_of(messages: list[str], *, padding: int = 0, make: Callable[[str], dict[str, Any]] = thing) -> bytes:
    events = [make(one) for one in messages]
    if padding:
        events = [{**one, "properties": {**one["properties"], "x": "y" * padding}} for one in events]
    return json.dumps({"batch": events}).encode()


@contextmanager
def under_load(
    port: int,
    load: Load,
    *,
    word: str,
    threads: int = 4,
    events: int = 5,
    padding: int = 100,
    make: Callable[[str], dict[str, Any]] = thing,
) -> Generator[None]:
    """Send until the block ends; a connection that breaks is opened again."""
    stopped = threading.Event()
    numbers = itertools.count()

    def send(seed: int) -> None:
        chance = random.Random(seed)
        connection: Any = None
        while not stopped.is_set():
            messages = [f"{word}-{next(numbers)}" for _ in range(chance.randint(1, events))]
            with load.lock:
                load.sent.update(messages)
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request(
                    "POST", "/v1/batch", batch_of(messages, padding=padding, make=make), {"authorization": basic(KEY)}
                )
                answer = connection.getresponse()
                answer.read()
                load.note(answer.status, messages)
            except (OSError, http.client.HTTPException):
                load.note(0, messages)
                if connection is not None:
                    connection.close()
                connection = None
                stopped.wait(0.01)
        if connection is not None:
            connection.close()

    running = [threading.Thread(target=send, args=(seed,)) for seed in range(threads)]
    for one in running:
        one.start()
    try:
        yield
    finally:
        stopped.set()
        for one in running:
            one.join(timeout=60)
