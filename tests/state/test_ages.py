"""Ages of profiles, read when two of them become one: few reads however many ask, and never another answer."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from sqlalchemy import Connection

from activation_dagster.domain.identifiers import Identifier
from activation_dagster.domain.links import IdentityChanges
from activation_dagster.state.engine import State
from activation_dagster.state.identity import add_changes, ages_of

MADE = {f"p{number:03}": (1 + number % 3, number) for number in range(500)}


class Counting:
    """A state that counts how often it is read."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.reads = 0

    @contextmanager
    def read(self) -> Generator[Connection]:
        self.reads += 1
        with self._state.read() as connection:
            yield connection


def test_many_questions_are_few_reads_and_get_the_age_of_each(state: State) -> None:
    for position in (1, 2, 3):
        changes = IdentityChanges()
        changes.profiles += [
            (profile, Identifier("email", profile), "e", rank)
            for profile, (made, rank) in MADE.items()
            if made == position
        ]
        add_changes(state, changes, position=position, rules_version="v1", decided_at=0)
    counting = Counting(state)
    ages = ages_of(cast("State", counting), MADE, up_to_seq=3)
    assert counting.reads == 0
    in_order = list(MADE)
    random.Random(1).shuffle(in_order)
    for one, other in zip(in_order[::2], in_order[1::2], strict=True):
        assert ages([one, other]) == {one: MADE[one], other: MADE[other]}
    assert counting.reads <= 12
    assert ages([]) == {}
