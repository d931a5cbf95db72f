"""A segment's name is read whole and exactly, or it is no segment's name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from activation_dagster.domain.landing import SEGMENT_ID, segment_from_path

PATH = "shop/2026/03/01/10/1772360130123-a.ndjson"


@given(st.integers(0, 9_999_999_999_999))
@example(9_999_999_999_995)
def test_the_time_of_sealing_is_the_names_to_the_millisecond(milliseconds: int) -> None:
    found = segment_from_path(f"shop/2026/03/01/10/{milliseconds:013d}-a.ndjson", 1)
    assert found is not None
    assert found.sealed_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize("path", [PATH, f"{PATH}.gz"])
def test_a_path_as_it_should_be_names_a_segment(path: str) -> None:
    found = segment_from_path(path, 7)
    assert found is not None
    assert (found.source, found.segment_id, found.path) == ("shop", "1772360130123-a", path)
    assert found.arrival_hour == datetime(2026, 3, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "path",
    [
        f"{PATH}\n",
        f"{PATH}.gz\n",
        f" {PATH}",
        f"{PATH}.part",
        PATH.replace("2026", "２０２６"),
        PATH.replace("1772360130123", "١٧٧٢٣٦٠١٣٠١٢٣"),
        PATH.replace("/03/", "/13/"),
        PATH.replace("-a.", "-A."),
    ],
    ids=ascii,
)
def test_a_path_that_is_nearly_a_segments_names_none(path: str) -> None:
    assert segment_from_path(path, 1) is None


def test_an_id_with_a_lines_end_or_with_other_digits_is_none() -> None:
    assert SEGMENT_ID.fullmatch("1772360130123-a") is not None
    assert SEGMENT_ID.fullmatch("1772360130123-a\n") is None
    assert SEGMENT_ID.fullmatch("١٧٧٢٣٦٠١٣٠١٢٣-a") is None
