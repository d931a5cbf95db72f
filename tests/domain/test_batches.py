"""A batch takes what arrived first, of one hour, and its name says which segments it took."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.accounting import DecisionSum, event_sum
from activation_dagster.domain.batches import batch_id, coalesce
from activation_dagster.domain.landing import Segment, event_id, segment_from_path, segment_path

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)


def segment(number: int, hour: int, size: int, source: str = "shop") -> Segment:
    """A segment of the `hour`-th hour."""
    sealed_at = HOUR + timedelta(hours=hour, milliseconds=number)
    name = f"{int(sealed_at.timestamp() * 1000):013d}-s{number}"
    path = segment_path(source=source, sealed_at=sealed_at, segment_id=name, compressed=False)
    found = segment_from_path(path, size)
    assert found is not None
    return found


segments = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(0, 100)), max_size=12, unique_by=lambda one: one[0]
).map(lambda drawn: [segment(*one) for one in drawn])


@given(segments, st.integers(1, 200))
def test_batches_take_every_segment_once_in_arrival_order_and_one_hour_each(found: list[Segment], most: int) -> None:
    waiting = list(found)
    taken: list[Segment] = []
    while batch := coalesce(waiting, most):
        assert len({one.arrival_hour for one in batch}) == 1
        assert len(batch) == 1 or sum(one.size_bytes for one in batch) <= most
        taken += batch
        waiting = [one for one in waiting if one not in batch]
    assert taken == sorted(found)


@given(segments)
def test_a_batchs_name_knows_its_segments_and_not_their_order(found: list[Segment]) -> None:
    assert batch_id("demo", found) == batch_id("demo", found[::-1])
    assert batch_id("demo", found) != batch_id("production", found)
    if found:
        assert batch_id("demo", found) != batch_id("demo", found[1:])


def test_an_events_id_is_where_it_stands_in_landing() -> None:
    assert event_id("1772360130123-a", 7) == "1772360130123-a:0000007"
    assert segment(5, 0, 1).sealed_at == HOUR + timedelta(milliseconds=5)


counts = st.integers(0, 9)


@given(counts, counts, counts, counts, st.integers(0, 40))
def test_a_sum_holds_exactly_where_nothing_is_lost(a: int, b: int, c: int, d: int, received: int) -> None:
    said = {"received": received, "accepted": a, "duplicate": b, "quarantined": c, "shed": d}
    assert event_sum(said).holds is (received == a + b + c + d)
    assert DecisionSum(decisions=received, sent=a, refused=b, pending=c).holds is (received == a + b + c)
