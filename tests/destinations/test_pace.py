"""The pacer spaces calls evenly and never lets an endpoint pass its rate."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.destinations.pace import Pacer


class Clock:
    """A clock that only sleeping and working move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(rate=st.floats(0.5, 500), work=st.lists(st.floats(0, 3), min_size=2, max_size=30))
def test_two_calls_are_never_closer_than_the_rate_allows(rate: float, work: list[float]) -> None:
    clock = Clock()
    pacer = Pacer(clock=clock, sleep=clock.sleep)
    calls: list[float] = []
    for seconds in work:
        pacer.wait("track", rate)
        calls.append(clock.now)
        clock.now += seconds
    gaps = [later - earlier for earlier, later in itertools.pairwise(calls)]
    assert min(gaps) >= 1 / rate - 1e-9


def test_endpoints_do_not_wait_for_each_other() -> None:
    clock = Clock()
    pacer = Pacer(clock=clock, sleep=clock.sleep)
    pacer.wait("track", 1)
    pacer.wait("trigger", 1)
    assert clock.now == 0
    pacer.wait("track", 1)
    assert clock.now == 1


def test_a_rate_of_zero_means_no_limit() -> None:
    clock = Clock()
    pacer = Pacer(clock=clock, sleep=clock.sleep)
    for _ in range(100):
        pacer.wait("track", 0)
    assert clock.now == 0
