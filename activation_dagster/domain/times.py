"""Which text is an instant or a date for us: RFC 3339 with a zone, between the years 1900 and 2199."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

INSTANT_PATTERN = (
    r"(19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"(Z|[+-](0[0-9]|1[0-4]):?[0-5][0-9])"
)
DATE_PATTERN = r"(19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}"

_RFC_3339 = re.compile(INSTANT_PATTERN, re.ASCII)
PLAIN_LENGTHS = (20, 24, 27)
"""2026-03-01T10:00:00Z, with milliseconds, and with microseconds."""

_INSTANT = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<time>[0-9:]{8})(?:\.(?P<fraction>[0-9]{1,9}))?"
    r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})"
)


def read_instant(text: str) -> datetime | None:
    """The instant (UTC, microseconds, further digits cut) that a text names, or None."""
    if _RFC_3339.fullmatch(text) is None:
        return None
    if len(text) in PLAIN_LENGTHS and text[-1] == "Z":  # as most are written; asked several times of every event
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return None
    found = _INSTANT.fullmatch(text)
    if found is None:
        return None
    zone = "+00:00" if found["zone"] == "Z" else found["zone"]
    fraction = (found["fraction"] or "")[:6].ljust(6, "0")
    try:
        return datetime.fromisoformat(f"{found['date']}T{found['time']}.{fraction}{zone}").astimezone(UTC)
    except ValueError:
        return None


def read_date(text: str) -> date | None:
    """The date that a text `YYYY-MM-DD` names, or None."""
    if re.fullmatch(DATE_PATTERN, text, re.ASCII) is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
