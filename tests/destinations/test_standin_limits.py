"""The stand-in's token buckets let through what the rate allows and no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.destinations.standin.limits import RATES, TokenBuckets


@given(rate=st.floats(0.1, 100), pauses=st.lists(st.floats(0, 2), min_size=1, max_size=200))
def test_no_span_of_time_sees_more_calls_than_a_full_bucket_and_its_refill(rate: float, pauses: list[float]) -> None:
    now = 0.0
    buckets = TokenBuckets({"/x": rate}, scale=1.0, clock=lambda: now)
    passed = 0
    for pause in pauses:
        now += pause
        passed += buckets.take("/x")
    assert 1 <= passed <= max(1.0, rate) + now * rate + 1e-6


def test_a_bucket_refills_with_time_and_never_beyond_one_second() -> None:
    now = 0.0
    buckets = TokenBuckets({"/x": 2.0}, scale=1.0, clock=lambda: now)
    assert [buckets.take("/x") for _ in range(3)] == [True, True, False]
    now = 0.5
    assert [buckets.take("/x") for _ in range(2)] == [True, False]
    now = 100.0
    assert [buckets.take("/x") for _ in range(3)] == [True, True, False]


def test_the_scale_multiplies_every_rate_and_an_endpoint_without_one_is_free() -> None:
    buckets = TokenBuckets({"/x": 2.0}, scale=5.0, clock=lambda: 0.0)
    assert sum(buckets.take("/x") for _ in range(50)) == 10
    assert all(buckets.take("/free") for _ in range(50))


def test_iterables_stated_rates_are_the_defaults() -> None:
    assert (RATES["/api/events/trackBulk"], RATES["/api/users/bulkUpdate"]) == (10.0, 5.0)
