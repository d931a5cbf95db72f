"""Instants as state keeps them: whole microseconds since 1970-01-01 UTC, exact in both directions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime; a naive one raises TypeError, because its zone is a guess."""
    return (moment - EPOCH) // MICROSECOND


def instant(microseconds: int) -> datetime:
    """The aware datetime (UTC) of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=microseconds)
