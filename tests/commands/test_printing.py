"""Tables for people: whatever the width, nothing is cut off without a word."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.commands.printing import counted, print_table

COLUMNS = ["event", "reason", "field", "events", "owner", "seen"]
GROUPS: list[tuple[object, ...]] = [
    ("user_profile_updated", "contract_violation", "properties.postcode", 1_234, "platform", "2026-03-01 10:00"),
    ("", "not_json", "", 2, "crm", "2026-03-01 10:00"),
]

words = st.text("abcdefgh_.", max_size=40)


def printed(width: int, rows: list[tuple[object, ...]], *, may_go: tuple[str, ...] = ()) -> list[str]:
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as output:
        patch.setenv("COLUMNS", str(width))
        print_table(COLUMNS, rows, may_go=may_go)
    return output.getvalue().splitlines()


@given(
    width=st.integers(60, 160),
    rows=st.lists(st.tuples(words, words, words, st.integers(0, 10**7), words, words), min_size=1, max_size=4),
)
def test_every_cell_is_there_and_every_line_fits(width: int, rows: list[tuple[object, ...]]) -> None:
    lines = printed(width, rows)
    cells = [f"{cell:,}" if isinstance(cell, int) else str(cell) for row in rows for cell in row]
    assert sorted("".join(lines).replace(" ", "").replace("─", "")) == sorted("".join([*COLUMNS, *cells]))
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "gone"), [(120, set[str]()), (90, {"seen"}), (72, {"seen", "owner"})])
def test_columns_that_may_go_are_left_out_one_by_one_and_named(width: int, gone: set[str]) -> None:
    lines = printed(width, GROUPS, may_go=("seen", "owner"))
    assert max(map(len, lines)) <= width
    heading = next(line for line in lines if line.startswith("event"))
    assert set(heading.split()) == set(COLUMNS) - gone
    assert any("user_profile_updated  contract_violation  properties.postcode" in line for line in lines)
    assert ("Left out for want of room" in "".join(lines)) == bool(gone)
    assert all(name in "".join(lines) for name in gone)


def test_without_room_for_what_must_stay_cells_are_broken_into_lines() -> None:
    lines = printed(50, GROUPS)
    assert max(map(len, lines)) <= 50
    assert "1,234" in "".join(lines)


def test_one_is_counted_in_the_singular() -> None:
    assert [counted(count, "event") for count in (0, 1, 2_000)] == ["0 events", "1 event", "2,000 events"]
