"""How a stream of lines becomes sealed segments: cut to size, in order, at a pace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

from activation_dagster.domain.landing import Segment
from activation_dagster.errors import WrongUse
from activation_dagster.sources.landing import Landing

MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What has been landed so far: events and bytes as given (uncompressed), and the segment that was just sealed."""

    segments: int
    events: int
    bytes: int
    segment: Segment


def numbered_suffixes(word: str) -> Iterator[str]:
    """`<word>000000`, `<word>000001`, …: one for each segment; give every landing process a word of its own."""
    return (f"{word}{number:06d}" for number in count())


def _silent(landed: Landed) -> None:
    """What happens after each segment where nobody asked to be told: nothing."""


def land_in_segments(
    landing: Landing,
    source: str,
    lines: Iterable[bytes],
    *,
    segment_bytes: int,
    clock: Callable[[], datetime],
    suffixes: Iterable[str],
    compressed: bool = False,
    seconds_between: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[Landed], None] = _silent,
) -> list[Segment]:
    """Seal `lines` (without newlines) as segments of at most `segment_bytes` (uncompressed), in their order.

    Only a single line that is longer than that makes a longer segment. Each segment is sealed under the hour of
    `clock()`, at least one millisecond after the one before, so that arrival order is the order of the lines.
    `sleep(seconds_between)` is called between two segments, `progress` after each. Raises WrongUse where
    `segment_bytes` is not positive or `suffixes` end before the lines do.
    """
    if segment_bytes <= 0:
        raise WrongUse(f"Segments of {segment_bytes} bytes were asked for, by segment_bytes. Give a positive number.")
    names = iter(suffixes)
    sealed: list[Segment] = []
    sealed_at: datetime | None = None
    events = size = 0
    for chunk in chunks(lines, segment_bytes):
        if sealed and seconds_between > 0:
            sleep(seconds_between)
        suffix = next(names, None)
        if suffix is None:
            raise WrongUse(
                f"Names ran out after {len(sealed)} segments, in suffixes. Give as many as there are segments to seal."
            )
        now = clock()
        sealed_at = now if sealed_at is None else max(now, sealed_at + MILLISECOND)
        segment = landing.seal(source, chunk, sealed_at=sealed_at, suffix=suffix, compressed=compressed)
        sealed.append(segment)
        events += len(chunk)
        size += sum(map(len, chunk)) + len(chunk)
        progress(Landed(segments=len(sealed), events=events, bytes=size, segment=segment))
    return sealed


def chunks(lines: Iterable[bytes], most: int) -> Iterator[list[bytes]]:
    """The lines in their order, in pieces of at most `most` bytes with their ends, or of one longer line."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        length = len(line) + 1
        if chunk and size + length > most:
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += length
    if chunk:
        yield chunk
