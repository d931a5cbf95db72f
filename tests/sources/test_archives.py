"""Reading an archive: every line comes as it is, whatever gzip cut it into, and damage is a word and not an end."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.errors import WrongUse
from activation_dagster.sources.archives import LONGEST_LINE, ArchiveObject, FolderArchive, Opened
from activation_dagster.sources.buckets import open_archive

LINE = st.binary(max_size=40).filter(lambda line: b"\n" not in line and not line.startswith(b"\x1f\x8b"))


class Dribbling:
    """A stream that gives what it holds in small pieces."""

    def __init__(self, content: bytes, piece: int) -> None:
        self.content, self.piece = content, piece

    def read(self, _size: int, /) -> bytes:
        found, self.content = self.content[: self.piece], self.content[self.piece :]
        return found

    def close(self) -> None:
        return


def read(content: bytes, piece: int = 1 << 20) -> tuple[list[bytes], str]:
    """The lines of a file, and its damage."""
    opened = Opened(identity="", stream=Dribbling(content, piece))
    lines = list(opened.lines())
    return lines, opened.damage


@given(lines=st.lists(LINE, max_size=20), cuts=st.lists(st.integers(0, 20), max_size=3), piece=st.integers(2, 50))
def test_lines_are_the_same_plain_in_one_gzip_and_in_several(lines: list[bytes], cuts: list[int], piece: int) -> None:
    content = b"".join(line + b"\n" for line in lines)
    bounds = sorted({0, len(content), *(min(cut * 7, len(content)) for cut in cuts)})
    members = [gzip.compress(content[low:high]) for low, high in pairwise(bounds)]
    packed = b"".join(members) or gzip.compress(b"")
    assert read(packed, piece) == (lines, "")
    if not content.startswith(b"\x1f\x8b"):
        assert read(content, piece) == (lines, "")


@given(lines=st.lists(LINE, min_size=1, max_size=20), kept=st.floats(0, 1))
def test_of_a_gzip_that_ends_too_early_whole_lines_come_first_and_it_is_said(lines: list[bytes], kept: float) -> None:
    packed = gzip.compress(b"".join(line + b"\n" for line in lines))
    found, damage = read(packed[: max(2, int(kept * (len(packed) - 1)))], 3)
    assert damage == "is gzip that ends too early"
    assert found[:-1] == lines[: max(0, len(found) - 1)]
    assert not found or lines[len(found) - 1].startswith(found[-1])


def test_a_wrong_checksum_is_damage_and_so_is_what_follows_a_gzip() -> None:
    packed = gzip.compress(b"one\ntwo\n")
    wrong = packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]
    assert read(wrong) == read(wrong, 3) == ([b"one", b"two"], "is broken gzip")
    assert read(packed + b"junk") == ([b"one", b"two"], "is gzip with something else behind it")
    assert read(packed + b"\0" * 512) == ([b"one", b"two"], "")


def test_a_last_line_without_an_end_and_blank_lines_are_lines_and_an_empty_file_has_none() -> None:
    assert read(b"one\n\ntwo\r\nthree") == ([b"one", b"", b"two\r", b"three"], "")
    assert read(b"") == ([], "")


def test_a_gzip_bomb_is_damage_and_takes_bounded_memory() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    megabyte = b"x" * (1 << 20)
    packed = packer.compress(b"first\n") + b"".join(packer.compress(megabyte) for _ in range(200)) + packer.flush()
    tracemalloc.start()
    lines, damage = read(packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lines == [b"first"]
    assert f"{LONGEST_LINE:,}" in damage
    assert peak < 4 * LONGEST_LINE


def test_a_folder_lists_files_of_events_by_name_and_counts_the_others(tmp_path: Path) -> None:
    for name in ("b/2.gz", "a/10.ndjson.gz", "a/1.ndjson", "a/_SUCCESS", ".git/x.json", "a/.part.gz", "readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listing = FolderArchive(root=tmp_path).listing()
    assert [Path(found.place).relative_to(tmp_path).as_posix() for found in listing.objects] == [
        "a/1.ndjson",
        "a/10.ndjson.gz",
        "b/2.gz",
    ]
    assert listing.passed_over == 4
    assert FolderArchive(root=tmp_path / "readme.txt").listing().objects == (
        ArchiveObject(place=str(tmp_path / "readme.txt"), size_bytes=1),
    )


def test_a_path_that_is_not_there_and_a_bucket_without_a_name_are_wrong_use(tmp_path: Path) -> None:
    for place in (str(tmp_path / "none"), "s3://", "s3:///prefix"):
        with pytest.raises(WrongUse):
            open_archive(place)
