"""Leases: one holder at a time, and a late one finds out before it writes."""

from __future__ import annotations

import threading

import pytest

from activation_dagster.errors import LeaseHeld, LeaseLost
from activation_dagster.state.engine import State
from activation_dagster.state.leases import Lease, acquire, check, release, renew
from activation_dagster.state.sequence import next_seq
from tests.state.examples import NOW, after


def take(state: State, holder: str, seconds_later: float = 0, *, seconds: float = 60) -> Lease:
    with state.write() as connection:
        return acquire(connection, "batch:b1", holder, now=after(seconds_later), seconds=seconds)


def test_a_lease_is_held_by_one(state: State) -> None:
    assert take(state, "ann").fence == 1
    with pytest.raises(LeaseHeld, match="'ann' works on 'batch:b1' until 2025-09-18T10:13:00Z"):
        take(state, "ben", 59.999)


def test_a_lease_that_ran_out_is_taken_over_with_the_next_fence(state: State) -> None:
    late = take(state, "ann")
    taken = take(state, "ben", 60)
    assert taken.fence == late.fence + 1
    with state.write() as connection, pytest.raises(LeaseLost, match="fence 1 was lost"):
        check(connection, late, after(61))
    with state.write() as connection:
        assert check(connection, taken, after(61)) == 59.0


def test_a_lease_that_ran_out_but_that_nobody_took_over_is_still_ours(state: State) -> None:
    lease = take(state, "ann")
    with state.write() as connection:
        assert check(connection, lease, after(90)) == -30.0
        renewed = renew(connection, lease, now=after(90), seconds=60)
    assert renewed.fence == lease.fence
    with pytest.raises(LeaseHeld):
        take(state, "ben", 100)


def test_a_holder_that_asks_again_prolongs_its_lease(state: State) -> None:
    assert take(state, "ann").fence == take(state, "ann", 30).fence
    with pytest.raises(LeaseHeld):
        take(state, "ben", 89)


def test_a_holder_that_comes_back_after_its_lease_ran_out_gets_the_next_fence(state: State) -> None:
    # it may be another process under the same name, and the first may still be alive
    late, back = take(state, "ann"), take(state, "ann", 61)
    assert back.fence == late.fence + 1
    with state.write() as connection, pytest.raises(LeaseLost):
        renew(connection, late, now=after(62), seconds=60)


def test_a_released_lease_is_free_and_its_fence_goes_on_growing(state: State) -> None:
    lease = take(state, "ann")
    with state.write() as connection:
        release(connection, lease)
    assert take(state, "ben").fence == lease.fence + 1


def test_releasing_a_lost_lease_takes_nothing_from_its_new_holder(state: State) -> None:
    late = take(state, "ann")
    taken = take(state, "ben", 60)
    with state.write() as connection:
        release(connection, late)
        assert check(connection, taken, after(60)) == 60.0


def test_a_lease_that_never_was_is_lost(state: State) -> None:
    with state.write() as connection, pytest.raises(LeaseLost):
        check(connection, Lease(name="nothing", holder="ann", fence=1, expires_at=NOW), NOW)


def test_of_many_that_ask_at_once_one_gets_it(state: State) -> None:
    got: list[Lease] = []
    refused: list[LeaseHeld] = []

    def ask(holder: str) -> None:
        try:
            got.append(take(state, holder))
        except LeaseHeld as held:
            refused.append(held)

    threads = [threading.Thread(target=ask, args=(f"holder{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)


def test_nobody_takes_over_while_the_holder_is_writing(state: State) -> None:
    lease = take(state, "ann")
    taken: list[Lease] = []
    taking = threading.Thread(target=lambda: taken.append(take(state, "ben", 61)))
    with state.write() as connection:
        check(connection, lease, after(61))
        taking.start()
        taking.join(0.2)
        assert taken == []
        next_seq(connection)
    taking.join()
    assert taken[0].fence == lease.fence + 1
