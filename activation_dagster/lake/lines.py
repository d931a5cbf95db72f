"""Landing lines as an Arrow table: cut at line ends without a copy, with the lines that are not UTF-8 set aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SLAB = 1 << 22
ROWS_A_BATCH = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableLine:
    """A line that is not UTF-8, by segment number and line number, with its bytes."""

    segment_no: int
    line_no: int
    line: bytes


def landed_lines(segments: Sequence[tuple[int, Any]]) -> tuple[Any, list[UnreadableLine]]:
    """An Arrow table (segment_no, line_no, line) over buffers of NDJSON, and the lines that are not UTF-8.

    `segments` are (number, bytes or memory map); line numbers count from 1; blank lines are no events but keep their
    number; `line` still ends in its line end, and is null where the line is not UTF-8.
    """
    import numpy as np
    import pyarrow as pa

    schema = pa.schema([("segment_no", pa.int32()), ("line_no", pa.int64()), ("line", pa.large_string())])
    tables: list[Any] = []
    unreadable: list[UnreadableLine] = []
    for segment_no, content in segments:
        size = len(content)
        if size == 0:
            continue
        data = np.frombuffer(content, dtype=np.uint8)
        ends = np.concatenate([np.flatnonzero(data[at : at + SLAB] == 10) + at for at in range(0, size, SLAB)]) + 1
        if len(ends) == 0 or ends[-1] != size:
            ends = np.append(ends, size)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), ends]).astype(np.int64)
        count = len(offsets) - 1
        lines = pa.Array.from_buffers(pa.large_string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(content)])
        try:
            lines.validate(full=True)
        except pa.ArrowInvalid:
            bad = _not_utf8(np, data, offsets)
            unreadable.extend(
                UnreadableLine(
                    segment_no=segment_no,
                    line_no=int(at) + 1,
                    line=bytes(data[offsets[at] : offsets[at + 1]]).rstrip(b"\r\n"),
                )
                for at in bad
            )
            valid = np.ones(count, dtype=bool)
            valid[bad] = False
            bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
            lines = pa.Array.from_buffers(
                pa.large_string(), count, [bits, pa.py_buffer(offsets), pa.py_buffer(content)]
            )
        tables.append(
            pa.table(
                [
                    pa.array(np.full(count, segment_no, dtype=np.int32)),
                    pa.array(np.arange(1, count + 1, dtype=np.int64)),
                    lines,
                ],
                schema=schema,
            )
        )
    found = pa.concat_tables(tables) if tables else schema.empty_table()
    # In small batches, because DuckDB gives each of its threads one Arrow batch at a time.
    return pa.Table.from_batches(found.to_batches(max_chunksize=ROWS_A_BATCH), schema=schema), unreadable


def _not_utf8(np: Any, data: Any, offsets: Any) -> list[int]:
    """The places of lines that do not decode; only lines with a byte beyond ASCII are tried."""
    beyond = np.unique(np.searchsorted(offsets, np.flatnonzero(data >= 128), side="right") - 1)
    bad: list[int] = []
    for at in beyond:
        try:
            bytes(data[offsets[at] : offsets[at + 1]]).decode()
        except UnicodeDecodeError:
            bad.append(int(at))
    return bad
