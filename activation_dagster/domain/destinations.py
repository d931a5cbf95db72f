"""What is promised about a destination: its endpoints, which of them take an idempotency key, and their pace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One way to call a destination.

    `is_idempotent`: calling twice with the same send key has one effect; only then is a send in doubt repeated by
    itself. `batch_size` in messages a call, `calls_per_second` over all our processes' worth of one worker.
    """

    name: str
    path: str
    is_idempotent: bool
    batch_size: int
    calls_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationContract:
    """`contracts/destinations/<name>.yaml`: `profile_key` is the identifier kind that names a person there."""

    name: str
    owner: str
    kind: str
    profile_key: str
    endpoints: Mapping[str, Endpoint]
    profile_endpoint: Endpoint
