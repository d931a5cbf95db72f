"""Who a person was and is, through redirects, and the locks on a person's rows."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.state.engine import State
from activation_dagster.state.subjects import Cluster, cluster_of, lock_cluster, lock_free_subjects, lock_subjects
from tests.state.examples import add_profiles, merge, until_waiting


def chain(state: State) -> None:
    """p1 → p2 → p3 and p4 → p3, in this order; p5 alone."""
    with state.write() as connection:
        add_profiles(connection, ["p1", "p2", "p3", "p4", "p5"])
        merge(connection, "p1", "p2", seq=1)
        merge(connection, "p2", "p3", seq=2)
        merge(connection, "p4", "p3", seq=3)


def test_everybody_in_a_chain_is_the_same_person(state: State) -> None:
    chain(state)
    with state.read() as connection:
        found = cluster_of(connection, ["p1", "p2", "p3", "p4", "p5", "never seen"])
    everybody = Cluster("p3", frozenset({"p1", "p2", "p3", "p4"}))
    assert found == {
        "p1": everybody,
        "p2": everybody,
        "p3": everybody,
        "p4": everybody,
        "p5": Cluster("p5", frozenset({"p5"})),
        "never seen": Cluster("never seen", frozenset({"never seen"})),
    }


@pytest.mark.parametrize(
    ("seq", "expected"),
    [
        (0, Cluster("p1", frozenset({"p1"}))),
        (1, Cluster("p2", frozenset({"p1", "p2"}))),
        (2, Cluster("p3", frozenset({"p1", "p2", "p3"}))),
        (3, Cluster("p3", frozenset({"p1", "p2", "p3", "p4"}))),
    ],
)
def test_a_person_is_known_as_it_was(state: State, seq: int, expected: Cluster) -> None:
    chain(state)
    with state.read() as connection:
        assert cluster_of(connection, ["p1"], up_to_seq=seq) == {"p1": expected}


def test_asking_for_nobody_answers_nobody(state: State) -> None:
    with state.read() as connection:
        assert cluster_of(connection, []) == {}


def test_a_circle_of_redirects_is_found_and_does_not_run_for_ever(state: State) -> None:
    with state.write() as connection:
        merge(connection, "p1", "p2")
        merge(connection, "p2", "p1")
        with pytest.raises(AssertionError, match="circle"):
            cluster_of(connection, ["p1"])


@given(
    merges=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=12),
    position=st.integers(0, 12),
)
def test_clusters_are_those_of_a_plain_union(merges: list[tuple[int, int]], position: int) -> None:
    # no database: the redirects are resolved in Python, and this is the part with a space of inputs
    from activation_dagster.state import subjects

    parents: dict[str, str] = {}
    groups = [{n} for n in range(8)]
    for loser, winner in merges[:position]:
        if groups[loser] is not groups[winner]:
            parents[subjects._root(str(loser), parents)] = subjects._root(str(winner), parents)
            groups[winner] |= groups[loser]
            for member in groups[loser]:
                groups[member] = groups[winner]
    for n in range(8):
        together = {m for m in range(8) if subjects._root(str(m), parents) == subjects._root(str(n), parents)}
        assert together == groups[n]


def test_locking_a_cluster_gives_it(state: State) -> None:
    chain(state)
    with state.write() as connection:
        assert lock_cluster(connection, "p1") == Cluster("p3", frozenset({"p1", "p2", "p3", "p4"}))


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_locked_subject_is_waited_for_or_passed_by(state: State, dialect: str) -> None:
    chain(state)
    locked = threading.Event()

    def lock() -> None:
        with state.write() as connection:
            lock_subjects(connection, ["p5", "p1"])
            locked.set()

    waiting = threading.Thread(target=lock)
    with state.write() as connection:
        lock_subjects(connection, ["p1"])
        waiting.start()
        until_waiting(state)
        assert not locked.is_set()
        with state.write() as other:
            assert lock_free_subjects(other, ["p1", "p2"]) == {"p2"}
    waiting.join()
    assert locked.is_set()


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_merge_that_comes_in_before_the_lock_is_noticed(state: State, dialect: str) -> None:
    with state.write() as connection:
        add_profiles(connection, ["p1", "p2"])
    outcome: list[Cluster | None] = []

    def lock() -> None:
        with state.write() as connection:
            outcome.append(lock_cluster(connection, "p1"))

    waiting = threading.Thread(target=lock)
    with state.write() as connection:
        lock_subjects(connection, ["p1", "p2"])
        waiting.start()
        until_waiting(state)  # it has read that p1 is alone, and asks for the row
        merge(connection, "p1", "p2")
    waiting.join()
    assert outcome == [None]
