"""What is shed goes in the declared order, no more of it than must, and never what is critical."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.contracts import Criticality
from activation_dagster.domain.shedding import Pressure, PressureLimits, Sheddable, is_shed, over_the_room, turn

CRITICALITIES = st.none() | st.sampled_from(Criticality)


@given(st.sampled_from(Sheddable), st.sampled_from(Pressure))
def test_what_is_critical_or_must_stay_is_never_shed(declared: Sheddable, pressure: Pressure) -> None:
    assert not is_shed(Criticality.CRITICAL, declared, pressure)
    assert not is_shed(None, declared, pressure)
    assert turn(Criticality.CRITICAL, declared) == turn(None, declared) == 0


@given(CRITICALITIES, st.sampled_from(Sheddable))
def test_nothing_is_shed_without_pressure_and_more_pressure_sheds_no_less(
    criticality: Criticality | None, declared: Sheddable
) -> None:
    shed = [is_shed(criticality, declared, pressure) for pressure in Pressure]
    assert shed == sorted(shed)
    assert not shed[0]


def test_standard_goes_after_best_effort_and_only_where_it_is_declared() -> None:
    assert is_shed(Criticality.BEST_EFFORT, Sheddable.BEST_EFFORT, Pressure.HIGH)
    assert not is_shed(Criticality.STANDARD, Sheddable.STANDARD, Pressure.HIGH)
    assert is_shed(Criticality.STANDARD, Sheddable.STANDARD, Pressure.SEVERE)
    assert not is_shed(Criticality.STANDARD, Sheddable.BEST_EFFORT, Pressure.SEVERE)
    assert not is_shed(Criticality.BEST_EFFORT, Sheddable.NONE, Pressure.SEVERE)


@given(st.lists(CRITICALITIES, max_size=30), st.sampled_from(Sheddable), st.integers(0, 40))
def test_a_request_is_cut_to_its_room_in_the_declared_order_and_no_further(
    criticalities: list[Criticality | None], declared: Sheddable, room: int
) -> None:
    shed = over_the_room(criticalities, declared, room=room)
    turns = [turn(criticality, declared) for criticality in criticalities]
    sheddable = sum(1 for its in turns if its)
    assert len(shed) == min(sheddable, max(0, len(criticalities) - room))
    assert all(turns[place] for place in shed)
    stayed = [its for place, its in enumerate(turns) if place not in shed and its]
    gone = [turns[place] for place in shed]
    assert not gone or not stayed or max(gone) <= min(stayed)
    for its in (1, 2):  # of one criticality the first ones stay
        places = [place for place, found in enumerate(turns) if found == its]
        assert [place in shed for place in places] == sorted(place in shed for place in places)


def test_pressure_counts_by_bytes_or_time_whichever_is_nearer_to_its_limit() -> None:
    limits = PressureLimits(waiting_bytes=100, waiting_seconds=2.0)
    said = [
        limits.pressure(waiting_bytes=size, waiting_seconds=seconds)
        for size, seconds in ((0, 0.0), (99, 1.9), (100, 0.0), (0, 2.0), (149, 0.1), (150, 0.1), (1, 3.0))
    ]
    assert said == [0, 0, 1, 1, 1, 2, 2]
