"""An open segment: what `append` returned from is never lost, what it did not return from is never torn."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from activation_dagster.errors import LandingUnwritable
from activation_dagster.sources.landing import OPEN_FOLDER, Landing
from activation_dagster.sources.open_segments import OpenSegment, recover

TEN = datetime(2026, 3, 1, 10, 15, 30, 123_000, tzinfo=UTC)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "home" / "landing" / "demo")


def ticking() -> datetime:
    return TEN + timedelta(milliseconds=next(TICKS))


TICKS = count()


def opened(landing: Landing, suffix: str = "a") -> OpenSegment:
    return OpenSegment.create(landing, "shop", suffix)


def contents(landing: Landing) -> list[bytes]:
    return [landing.read(segment) for segment in landing.segments()]


def test_an_open_file_is_no_segment_until_it_is_sealed_and_then_holds_every_line(landing: Landing) -> None:
    segment = opened(landing)
    segment.append(b"one\n")
    segment.append(b"two\nthree\n")
    assert landing.segments() == []
    sealed = segment.seal(TEN)
    assert sealed is not None
    assert landing.segments() == [sealed]
    assert contents(landing) == [b"one\ntwo\nthree\n"]
    assert not segment.path.exists()


def test_an_empty_one_is_removed(landing: Landing) -> None:
    segment = opened(landing)
    assert segment.seal(TEN) is None
    assert (landing.segments(), segment.path.exists()) == ([], False)


def test_a_living_worker_s_file_is_left_alone_and_a_dead_one_s_is_sealed_at_its_last_whole_line(
    landing: Landing,
) -> None:
    segment = opened(landing)
    segment.append(b"one\ntwo\n")
    assert recover(landing, ticking) == []
    dead = landing.root / OPEN_FOLDER / "web" / "b.ndjson"
    dead.parent.mkdir(parents=True)
    dead.write_bytes(b"three\nfour\nfi")
    (found,) = recover(landing, ticking)
    assert (found.source, landing.read(found)) == ("web", b"three\nfour\n")
    segment.append(b"more\n")
    assert segment.seal(ticking()) is not None
    assert sorted(contents(landing)) == [b"one\ntwo\nmore\n", b"three\nfour\n"]


@pytest.mark.parametrize("left", [b"", b"no line's end", b"x" * 200_000])
def test_what_holds_no_whole_line_is_removed(landing: Landing, left: bytes) -> None:
    dead = landing.root / OPEN_FOLDER / "shop" / "b.ndjson"
    dead.parent.mkdir(parents=True)
    dead.write_bytes(left)
    assert recover(landing, ticking) == []
    assert not dead.exists()


def test_a_long_torn_tail_is_cut_whole(landing: Landing) -> None:
    dead = landing.root / OPEN_FOLDER / "shop" / "b.ndjson"
    dead.parent.mkdir(parents=True)
    dead.write_bytes(b"one\n" + b"x" * 200_000)
    recover(landing, ticking)
    assert contents(landing) == [b"one\n"]


def test_two_that_recover_at_once_seal_once(landing: Landing) -> None:
    dead = landing.root / OPEN_FOLDER / "shop" / "b.ndjson"
    dead.parent.mkdir(parents=True)
    dead.write_bytes(b"one\n")
    child = "import sys; from pathlib import Path; from datetime import UTC, datetime; from activation_dagster.sources."
    child += "landing import Landing; from activation_dagster.sources.open_segments import recover\n"
    child += "print(len(recover(Landing(Path(sys.argv[1])), lambda: datetime.now(UTC))))"
    both = [
        subprocess.Popen([sys.executable, "-c", child, str(landing.root)], stdout=subprocess.PIPE) for _ in range(2)
    ]
    assert sorted(int(one.communicate(timeout=60)[0]) for one in both) == [0, 1]
    assert contents(landing) == [b"one\n"]


def test_sealing_again_after_the_disk_failed_goes_well(landing: Landing) -> None:
    segment = opened(landing)
    segment.append(b"one\n")
    stands_in_the_way = landing.root / "shop"
    stands_in_the_way.write_text("a file where the source's folder should be")
    with pytest.raises(LandingUnwritable):
        segment.seal(TEN)
    stands_in_the_way.unlink()
    assert segment.seal(TEN) is not None
    assert contents(landing) == [b"one\n"]


LIMITED = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from activation_dagster.errors import LandingUnwritable
from activation_dagster.sources.landing import Landing
from activation_dagster.sources.open_segments import OpenSegment

landing = Landing(Path(sys.argv[1]))
segment = OpenSegment.create(landing, "shop", "a")
segment.append(b"one\\n")
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
try:
    segment.append(b"x" * 2000 + b"\\n")
except LandingUnwritable as error:
    print(error)
print(segment.path.read_bytes())
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
segment.append(b"two\\n")
segment.seal(datetime(2026, 3, 1, tzinfo=UTC))
"""


def test_a_write_that_fails_half_way_is_taken_back_and_the_next_one_goes_well(landing: Landing) -> None:
    said = subprocess.run(
        [sys.executable, "-c", LIMITED, str(landing.root)], check=True, capture_output=True, timeout=60, text=True
    ).stdout.splitlines()
    assert "the file may not grow" in said[0]
    assert said[1] == repr(b"one\n")
    assert contents(landing) == [b"one\ntwo\n"]


def test_where_nothing_can_be_opened_nothing_is_left_behind(landing: Landing) -> None:
    landing.root.mkdir(parents=True)
    (landing.root / OPEN_FOLDER).write_text("a file where the folder should be")
    with pytest.raises(LandingUnwritable):
        opened(landing)
    (landing.root / OPEN_FOLDER).unlink()
    segment = opened(landing)
    segment.append(b"one\n")
    assert segment.seal(TEN) is not None


def test_too_many_open_files_is_told_as_such(landing: Landing) -> None:
    opened(landing, "first").seal(TEN)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(LandingUnwritable, match="too many files"):
            opened(landing, "second")
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
