"""Landing a stream: no line is lost, cut or moved, segments keep their size and their order, and the pace is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.errors import WrongUse
from activation_dagster.sources.land import Landed, land_in_segments, numbered_suffixes
from activation_dagster.sources.landing import Landing

TEN = datetime(2026, 3, 1, 10, 59, 59, 998_500, tzinfo=UTC)
LINES = [f'{{"number":{number}}}'.encode() for number in range(200)]


def standing_clock() -> datetime:
    return TEN


@given(
    lines=st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), min_size=1, max_size=40),
    segment_bytes=st.integers(min_value=1, max_value=100),
)
def test_lines_come_back_in_order_and_segments_keep_their_size(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], segment_bytes: int
) -> None:
    landing = Landing(tmp_path_factory.mktemp("landing"))
    sealed = land_in_segments(
        landing, "shop", lines, segment_bytes=segment_bytes, clock=standing_clock, suffixes=numbered_suffixes("s")
    )
    assert landing.segments() == sealed
    assert b"".join(landing.read(segment) for segment in sealed) == b"".join(line + b"\n" for line in lines)
    for segment in sealed:
        assert segment.size_bytes <= segment_bytes or landing.read(segment).count(b"\n") == 1


def test_under_a_clock_that_stands_still_or_goes_back_segments_are_sealed_ever_later(tmp_path: Path) -> None:
    ticks = iter([TEN, TEN, TEN - timedelta(hours=3), TEN - timedelta(days=1), *[TEN] * 50])
    sealed = land_in_segments(
        Landing(tmp_path), "shop", LINES, segment_bytes=500, clock=lambda: next(ticks), suffixes=numbered_suffixes("s")
    )
    assert len(sealed) > 4
    assert all(before.sealed_at < after.sealed_at for before, after in pairwise(sealed))
    # The second segment's millisecond is the hour's last; what follows belongs to the next hour.
    assert sealed[0].arrival_hour.hour == 10
    assert sealed[-1].arrival_hour.hour == 11


def test_it_rests_between_segments_and_tells_how_far_it_is(tmp_path: Path) -> None:
    rests: list[float] = []
    told: list[Landed] = []
    sealed = land_in_segments(
        Landing(tmp_path),
        "shop",
        LINES,
        segment_bytes=1000,
        clock=standing_clock,
        suffixes=numbered_suffixes("s"),
        compressed=True,
        seconds_between=0.25,
        sleep=rests.append,
        progress=told.append,
    )
    assert rests == [0.25] * (len(sealed) - 1)
    assert [landed.segment for landed in told] == sealed
    assert [landed.segments for landed in told] == list(range(1, len(sealed) + 1))
    assert (told[-1].events, told[-1].bytes) == (len(LINES), sum(len(line) + 1 for line in LINES))
    assert all(segment.path.endswith(".ndjson.gz") for segment in sealed)


def test_no_lines_make_no_segment(tmp_path: Path) -> None:
    none = land_in_segments(
        Landing(tmp_path), "shop", [], segment_bytes=10, clock=standing_clock, suffixes=numbered_suffixes("s")
    )
    assert none == []


def test_a_size_of_nothing_and_too_few_names_are_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="segment_bytes"):
        land_in_segments(Landing(tmp_path), "shop", LINES, segment_bytes=0, clock=standing_clock, suffixes=["a"])
    with pytest.raises(WrongUse, match="Names ran out after 1 segment"):
        land_in_segments(Landing(tmp_path), "shop", LINES, segment_bytes=9, clock=standing_clock, suffixes=["a"])
