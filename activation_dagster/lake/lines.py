"""Landing lines as an Arrow table: cut at line ends without a copy, with the lines that are not UTF-8 set aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SLAB = 1 << 22
ROWS_A_BATCH = 16_384
INLINE = 12
"""Bytes up to which an Arrow string view holds the text itself."""
REACH = 1 << 30
"""Bytes that one batch of lines may span: a view's offset and length have 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableLine:
    """A line that is not UTF-8, by segment number and line number, with its bytes."""

    segment_no: int
    line_no: int
    line: bytes


def landed_lines(segments: Sequence[tuple[int, Any]]) -> tuple[Any, list[UnreadableLine]]:
    """An Arrow table (segment_no, line_no, line) over buffers of NDJSON, and the lines that are not UTF-8.

    `segments` are (number, bytes or memory map); line numbers count from 1; blank lines are no events but keep their
    number; `line` is without its line end, and is null where the line is not UTF-8 or longer than 1 GiB. Join it by
    an expression: Arrow cannot filter string views, and DuckDB hands it the bounds of a join by a bare column.
    """
    import numpy as np
    import pyarrow as pa

    schema = pa.schema([("segment_no", pa.int32()), ("line_no", pa.int64()), ("line", pa.string_view())])
    batches: list[Any] = []
    unreadable: list[UnreadableLine] = []
    for segment_no, content in segments:
        size = len(content)
        if size == 0:
            continue
        data = np.frombuffer(content, dtype=np.uint8)
        ends = np.concatenate([np.flatnonzero(data[at : at + SLAB] == 10) + at for at in range(0, size, SLAB)])
        starts = np.concatenate([np.zeros(1, dtype=np.int64), ends + 1])
        if starts[-1] == size:
            starts = starts[:-1]
        else:
            ends = np.append(ends, size)
        ends = ends - ((ends > starts) & (data[np.maximum(ends - 1, 0)] == 13))  # the other half of a CRLF
        valid = np.ones(len(starts), dtype=bool)
        bad = _not_utf8(np, pa, content, data, starts, ends)
        valid[bad] = False
        unreadable.extend(
            UnreadableLine(segment_no=segment_no, line_no=at + 1, line=bytes(data[starts[at] : ends[at]])) for at in bad
        )
        for first, last in _cuts(np, starts, ends):
            batches.append(
                pa.record_batch(
                    [
                        pa.array(np.full(last - first, segment_no, dtype=np.int32)),
                        pa.array(np.arange(first + 1, last + 1, dtype=np.int64)),
                        _views(np, pa, content, data, starts[first:last], ends[first:last], valid[first:last]),
                    ],
                    schema=schema,
                )
            )
    return pa.Table.from_batches(batches, schema=schema), unreadable


def _cuts(np: Any, starts: Any, ends: Any) -> Iterator[tuple[int, int]]:
    """Ranges of lines: small, because DuckDB gives each of its threads one Arrow batch at a time, and within reach."""
    first = 0
    while first < len(starts):
        within = int(np.searchsorted(ends, starts[first] + REACH, side="right"))
        last = max(first + 1, min(first + ROWS_A_BATCH, within))
        yield first, last
        first = last


def _views(np: Any, pa: Any, content: Any, data: Any, starts: Any, ends: Any, valid: Any) -> Any:
    """An Arrow array of string views into `content`: length, first four bytes, buffer, offset; short texts inline."""
    base = int(starts[0])
    lengths = np.where(valid, ends - starts, 0)
    views = np.zeros((len(starts), 4), dtype="<i4")
    views[:, 0] = lengths
    letters = views[:, 1:].view(np.uint8)
    long = np.flatnonzero(lengths > INLINE)
    letters[long, :4] = data[starts[long, None] + np.arange(4)]
    views[long, 3] = starts[long] - base
    short = np.flatnonzero((lengths > 0) & (lengths <= INLINE))
    places = starts[short, None] + np.arange(INLINE)
    inside = places < ends[short, None]
    letters[short] = np.where(inside, data[np.where(inside, places, 0)], 0)
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    reached = pa.py_buffer(content).slice(base, int(ends[-1]) - base)
    return pa.Array.from_buffers(pa.string_view(), len(starts), [bits, pa.py_buffer(views), reached])


def _not_utf8(np: Any, pa: Any, content: Any, data: Any, starts: Any, ends: Any) -> list[int]:
    """The places of lines that do not decode or are out of reach; only lines with a byte beyond ASCII are tried."""
    far = [int(at) for at in np.flatnonzero(ends - starts > REACH)]
    bounds = pa.py_buffer(np.append(starts, len(data)))
    text = pa.Array.from_buffers(pa.large_string(), len(starts), [None, bounds, pa.py_buffer(content)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        pass
    else:
        return far
    beyond = np.unique(np.searchsorted(starts, np.flatnonzero(data >= 128), side="right") - 1)
    bad: set[int] = set(far)
    for at in beyond:
        try:
            bytes(data[starts[at] : ends[at]]).decode()
        except UnicodeDecodeError:
            bad.add(int(at))
    return sorted(bad)
