"""State as the holder of leases writes it: every writing transaction first finds out that the lease still stands."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection

from activation_dagster.state.engine import State
from activation_dagster.state.leases import Lease, check


class FencedState(State):
    """The same database; `write` raises LeaseLost before anything is written once somebody else took over."""

    __slots__ = ("_clock", "_leases")

    def __init__(self, state: State, *, leases: Callable[[], Iterable[Lease]], clock: Callable[[], datetime]) -> None:
        super().__init__(
            readers=state._readers,
            writers=state._writers,
            dialect=state.dialect,
            where=state.where,
        )
        self._leases = leases
        self._clock = clock

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A writing transaction under the leases held now."""
        with super().write() as connection:
            for lease in self._leases():
                check(connection, lease, self._clock())
            yield connection
