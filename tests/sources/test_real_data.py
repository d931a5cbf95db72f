"""What converting real data refuses, which needs no real data."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from activation_dagster.errors import MendTheEnvironment, WrongUse
from activation_dagster.sources.real_data import convert

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_missing_files_are_all_named_at_once_and_before_the_first_line_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(MendTheEnvironment) as refused:
        convert(tmp_path, now=NOW)
    for file in ("online_retail/transactions", "open_ecommerce/survey", "open_ecommerce/purchases"):
        assert f"{file}.parquet" in str(refused.value)
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_that_is_no_part_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(WrongUse, match="over 0 and at most 1"):
        convert(tmp_path, now=NOW, share=share)


def test_contradicting_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="not with everything"):
        convert(tmp_path, now=NOW, share=0.5, everything=True)
    with pytest.raises(WrongUse, match="one or more"):
        convert(tmp_path, now=NOW, at_least=0)
    with pytest.raises(WrongUse, match="without a zone"):
        convert(tmp_path, now=NOW.replace(tzinfo=None))
