"""One batch being worked on: its contracts, its relations in memory, its leases, and how a phase is carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from activation_dagster.domain.batches import ONE_AT_A_TIME, PHASES, Batch, Phase, PhaseReport, TableCopy
from activation_dagster.errors import LeaseHeld, WrongUse
from activation_dagster.lake.delta import hour_key
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.tables import LakeTable
from activation_dagster.pipeline.contracts_in_force import contracts_of
from activation_dagster.pipeline.places import Places
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.state import batches
from activation_dagster.state.adjudications import open_adjudication
from activation_dagster.state.fencing import FencedState
from activation_dagster.state.former import adjudicated_since
from activation_dagster.state.leases import Lease, acquire, release, renew

if TYPE_CHECKING:
    import duckdb


class BatchRun:
    """A batch in hand. Use it as a context manager: leaving it gives back leases and memory.

    Relations computed by one phase stay on `engine` for the next; a phase asked for alone has those before it computed
    again from landing and state, without effects. Relations are made on `connection` where one is given, else on a
    connection of the run's own, `beside` another one of the same DuckDB database where that is given.
    """

    def __init__(
        self,
        places: Places,
        batch: Batch,
        *,
        connection: duckdb.DuckDBPyConnection | None = None,
        beside: duckdb.DuckDBPyConnection | None = None,
    ) -> None:
        self.places = places
        self.batch = batch
        self.contracts: ContractSet = contracts_of(places, batch)
        self.engine = (
            Engine.in_memory(places.sql_root, beside=beside)
            if connection is None
            else Engine(connection, places.sql_root)
        )
        self._leases: dict[str, Lease] = {}
        self.state = FencedState(places.state, leases=lambda: self._leases.values(), clock=places.clock)
        self.hour = hour_key(batch.arrival_hour)

    def __enter__(self) -> BatchRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the leases and the memory."""
        with self.places.state.write() as connection:
            for lease in self._leases.values():
                release(connection, lease)
        self._leases.clear()
        self.engine.close()

    @property
    def is_superseded(self) -> bool:
        """Whether history was adjudicated again since this batch ended: then what it wrote stands, or was ended."""
        if self.batch.position is None:
            return False
        with self.places.state.read() as connection:
            return adjudicated_since(connection, self.batch.position)

    @property
    def position(self) -> int:
        """The state sequence of this batch; it has one from the moment it begins to resolve."""
        if self.batch.position is None:
            raise WrongUse(f"Batch {self.batch.batch_id} has not begun to resolve, so it has no position in state.")
        return self.batch.position

    def hold(self, phase: Phase) -> int:
        """Take or prolong the leases a phase needs; the batch's fence.

        Raises LeaseHeld, and WrongUse where the phase before it is not closed: a verb would build on nothing.
        """
        names = [f"batch:{self.batch.batch_id}"]
        if phase in ONE_AT_A_TIME:
            names.append("environment")
        taken: dict[str, Lease] = {}
        batch = self.batch
        with self.places.state.write() as connection:
            now = self.places.clock()
            for name in names:
                held = self._leases.get(name)
                taken[name] = (
                    acquire(connection, name, self.places.holder, now=now, seconds=self.places.lease_seconds)
                    if held is None
                    else renew(connection, held, now=now, seconds=self.places.lease_seconds)
                )
            ground = PHASES[PHASES.index(phase) - 1]
            if ground is not Phase.PLANNED and batches.closed_phase(connection, batch.batch_id, ground) is None:
                raise WrongUse(
                    f"The batch {batch.batch_id} cannot be {phase} before it is {ground}, in the phases of state. "
                    "Carry out its phases in order: select the assets before this one too, or run `activation work`."
                )
            if phase in ONE_AT_A_TIME:
                if open_adjudication(connection) is not None:
                    raise LeaseHeld(
                        f"Batch {batch.batch_id} cannot be {phase}, because history is being adjudicated again and "
                        "that is not finished, in the adjudications of state. `activation work` finishes it; try again."
                    )
                position = batches.take_position(connection, self.batch)
                if position is None:
                    raise LeaseHeld(
                        f"Batch {self.batch.batch_id} cannot begin to resolve, because an earlier batch of this "
                        "environment is not finished. Finish that one first; the sensor does so by itself."
                    )
                batch = replace(self.batch, position=position)
        # Only now: what a refused transaction took was rolled back, and who waits for LeaseHeld to pass asks again.
        self._leases |= taken
        self.batch = batch
        return self._leases[names[0]].fence

    def carry_out(
        self,
        phase: Phase,
        *,
        effects: Callable[[], None] = lambda: None,
        copies: Mapping[LakeTable, str],
        counts: Callable[[], Mapping[str, int]],
    ) -> PhaseReport:
        """One phase: note it, write its effects to state, replace its rows in the lake, make them durable, close it.

        `effects` are keyed by this batch, so that doing them again adds nothing; `copies` maps lake tables to the
        SELECT that gives their rows; both may read relations on `engine`. Dying between any two steps leaves a batch
        that can simply be run again.
        """
        point = self.places.at
        fence = self.hold(phase)
        with self.state.write() as connection:
            may_exist = batches.was_opened(connection, self.batch.batch_id, phase)
            ran_before = batches.open_phase(
                connection, self.batch.batch_id, phase, fence=fence, now=self.places.clock()
            )
        point(f"{phase}.opened")
        if not self.is_superseded:
            effects()
        point(f"{phase}.effects")
        written: dict[str, TableCopy] = {}
        for table, select in copies.items():
            written[table.name] = self.places.lake.replace(
                self.engine.connection,
                table,
                select=select,
                arrival_hour=self.hour,
                batch_id=self.batch.batch_id,
                may_exist=may_exist,
                before_commit=self.require_leases,
                on_written=lambda: point(f"{phase}.written"),
            )
        point(f"{phase}.durable")
        counted = dict(counts())
        with self.state.write() as connection:
            batches.close_phase(
                connection, self.batch.batch_id, phase, counts=counted, tables=written, now=self.places.clock()
            )
        point(f"{phase}.closed")
        return PhaseReport(
            batch_id=self.batch.batch_id, phase=phase, counts=counted, tables=written, ran_before=ran_before
        )

    def require_leases(self) -> None:
        """Raise LeaseLost where somebody else took over: what we would add to the lake stands there already."""
        with self.state.write():
            pass

    def was_closed(self, phase: Phase) -> bool:
        """Whether a phase of this batch was closed at any time before."""
        with self.places.state.read() as connection:
            return batches.closed_phase(connection, self.batch.batch_id, phase) is not None
