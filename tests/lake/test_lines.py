"""Landing bytes become lines without a copy, exactly as splitting them by hand would make them."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activation_dagster.lake import lines as module
from activation_dagster.lake.lines import UnreadableLine, landed_lines

pieces = st.sampled_from(
    [
        b"a",
        b"{}",
        b"",
        b"\r",
        b"\xc3\xa9",
        b"\xf0\x9f\x98\x80",
        b"twelve bytes",
        b"thirteen byte",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
        b"\x00",
        b"\xe2\x80\xa8",
    ]
)
contents = st.lists(st.lists(pieces, max_size=3).map(b"".join), max_size=12).flatmap(
    lambda found: st.sampled_from([b"\n".join(found), b"\n".join(found) + b"\n"])
)


def by_hand(segment_no: int, content: bytes) -> tuple[list[tuple[int, int, str | None]], list[UnreadableLine]]:
    """Lines as `split` gives them, each without its end; null and set aside where it is not UTF-8."""
    found: list[tuple[int, int, str | None]] = []
    unreadable: list[UnreadableLine] = []
    for number, line in enumerate(split(content), start=1):
        try:
            found.append((segment_no, number, line.decode()))
        except UnicodeDecodeError:
            found.append((segment_no, number, None))
            unreadable.append(UnreadableLine(segment_no=segment_no, line_no=number, line=line))
    return found, unreadable


def split(content: bytes) -> list[bytes]:
    """Cut at each line feed and nowhere else; a carriage return before it belongs to the line's end."""
    parts = content.split(b"\n")
    return [part.removesuffix(b"\r") for part in (parts if parts[-1] else parts[:-1])]


@settings(max_examples=200)
@given(st.lists(contents, max_size=4))
def test_lines_are_those_of_a_plain_split(segments: list[bytes]) -> None:
    table, unreadable = landed_lines(list(enumerate(segments)))
    wanted = [by_hand(number, content) for number, content in enumerate(segments)]
    assert [tuple(row.values()) for row in table.to_pylist()] == [line for lines, _ in wanted for line in lines]
    assert unreadable == [one for _, bad in wanted for one in bad]
    table.validate(full=True)


@pytest.mark.parametrize("slab", [1, 2, 3, 7])
def test_a_line_may_cross_any_number_of_slabs(monkeypatch: pytest.MonkeyPatch, slab: int) -> None:
    monkeypatch.setattr(module, "SLAB", slab)
    content = b"first line\n\n\xc3\xa9\xff\nlast"
    table, unreadable = landed_lines([(3, content)])
    assert [tuple(row.values()) for row in table.to_pylist()] == by_hand(3, content)[0]
    assert [(one.segment_no, one.line_no, one.line) for one in unreadable] == [(3, 3, b"\xc3\xa9\xff")]


def test_a_mapped_file_is_read_where_it_lies(tmp_path: Path) -> None:
    file = tmp_path / "segment.ndjson"
    file.write_bytes(b"a\nb\n")
    with file.open("rb") as opened:
        content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    table, _ = landed_lines([(0, content)])
    assert table.column("line").to_pylist() == ["a", "b"]


def test_lines_come_in_small_batches_so_that_every_thread_has_some() -> None:
    table, _ = landed_lines([(0, b"x\n" * 40_000), (1, b"y\n")])
    assert table.num_rows == 40_001
    assert max(batch.num_rows for batch in table.to_batches()) <= module.ROWS_A_BATCH


def test_a_batch_of_lines_ends_where_its_reach_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REACH", 20)
    content = b"0123456789abcdef\n\nshort\nmuch longer than its reach\nlast of all lines"
    table, unreadable = landed_lines([(0, content)])
    assert table.column("line").to_pylist() == ["0123456789abcdef", "", "short", None, "last of all lines"]
    assert [one.line for one in unreadable] == [b"much longer than its reach"]


def test_no_segment_and_an_empty_one_have_no_line() -> None:
    assert landed_lines([])[0].num_rows == landed_lines([(0, b"")])[0].num_rows == 0
