"""Which text is an instant or a date, and what instant it is: held against Python's own reading of ISO 8601."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.events import occurred_at
from activation_dagster.domain.times import read_date, read_instant
from tests.domain.spellings import INSTANTS, NO_INSTANTS, assembled_instants, dates

moments = st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30))  # noqa: DTZ001 - the zone is drawn beside it
zones = st.integers(-14 * 60 - 59, 14 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(moments, zones, st.sampled_from(["T", " "]))
def test_an_instant_is_the_one_that_python_reads(moment: datetime, zone: timezone, between: str) -> None:
    said = moment.replace(tzinfo=zone)
    assert read_instant(said.isoformat(between)) == said
    found = read_instant(said.isoformat(between))
    assert found is not None
    assert found.tzinfo is UTC


@given(assembled_instants)
def test_whatever_is_read_python_reads_alike_and_nothing_else_is_read(text: str) -> None:
    found = read_instant(text)
    if found is not None:
        assert found == datetime.fromisoformat(text)
        assert 1899 <= found.year <= 2200


@pytest.mark.parametrize("text", INSTANTS)
def test_a_spelling_of_rfc_3339_is_an_instant(text: str) -> None:
    assert read_instant(text) is not None


@pytest.mark.parametrize("text", NO_INSTANTS)
def test_any_other_spelling_is_none(text: str) -> None:
    assert read_instant(text) is None


def test_digits_beyond_a_microsecond_are_cut_and_not_rounded() -> None:
    found = read_instant("2026-03-01T10:15:30.1234569Z")
    assert found == datetime(2026, 3, 1, 10, 15, 30, 123_456, tzinfo=UTC)


@given(dates)
def test_a_date_is_the_one_that_python_reads(text: str) -> None:
    found = read_date(text)
    if found is not None:
        assert found == date.fromisoformat(text)
        assert text == found.isoformat()
        assert 1900 <= found.year <= 2199


@given(st.dates(date(1900, 1, 1), date(2199, 12, 31)))
def test_every_date_between_1900_and_2199_is_one(day: date) -> None:
    assert read_date(day.isoformat()) == day


@given(moments, st.timedeltas(timedelta(days=-3), timedelta(days=3)), st.timedeltas(timedelta(0), timedelta(hours=1)))
def test_a_wrong_device_clock_does_not_move_an_event(happened: datetime, skew: timedelta, travel: timedelta) -> None:
    """The device stamps by its own clock; we receive by ours, at once after it was sent."""
    true = happened.replace(tzinfo=UTC)
    sent = true + travel
    found = occurred_at(timestamp=true + skew, original=true + skew, sent=sent + skew, received=sent)
    assert found == true


def test_without_both_clocks_the_stated_time_counts_and_without_any_the_time_of_receipt() -> None:
    received = datetime(2026, 3, 1, tzinfo=UTC)
    stated, original = received - timedelta(hours=1), received - timedelta(hours=2)
    assert occurred_at(timestamp=stated, original=original, sent=None, received=received) == stated
    assert occurred_at(timestamp=None, original=original, sent=None, received=received) == original
    assert occurred_at(timestamp=None, original=None, sent=stated, received=received) == received
