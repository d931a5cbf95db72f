"""Resources: what assets and sensors are handed; the workbench holds the open places and the batch in hand of one run.

The in-process executor makes resources once for a whole run, so the relations of a batch stay in memory from one asset
to the next. The workbench is no ConfigurableResource: that is rebuilt from its configuration, which Dagster shows and
stores, and ours holds the address of the state database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from dagster import InitResourceContext, ResourceDefinition
from dagster_duckdb import DuckDBResource

from activation_dagster.defs.partitions import is_partition
from activation_dagster.defs.scope import Scope
from activation_dagster.domain.batches import PHASES, Batch, Phase, PhaseReport
from activation_dagster.errors import LeaseHeld, WrongUse
from activation_dagster.lake.tables import LakeTable
from activation_dagster.settings import Settings

if TYPE_CHECKING:
    from activation_dagster.defs.findings import Worked
    from activation_dagster.pipeline.batch_run import BatchRun
    from activation_dagster.pipeline.places import Places
    from activation_dagster.pipeline.send import DeliveryReport
    from activation_dagster.pipeline.watch import BatchSums

Clock = Callable[[], datetime]

PATIENCE_SECONDS = 120.0
"""How long a run waits for somebody else's lease before it fails."""

PAUSE_SECONDS = 0.2

YIELD_SECONDS = 1.0
"""How long work on several batches stands back after each one while a batch of the sensor waits."""


class Workbench:
    """The open places of one run, and its batch in hand; closed when the run ends, however it ends."""

    def __init__(self, settings: Settings, places: Places, duckdb: DuckDBResource) -> None:
        self.settings = settings
        self.places = places
        self._duckdb = duckdb
        self._chosen: dict[Scope, tuple[Batch, ...]] = {}
        self._hand = ExitStack()
        self._in_hand: BatchRun | None = None

    def uri_of(self, table: LakeTable) -> str:
        """Where a lake table stands."""
        return self.places.lake.path(table).as_uri()

    # -- batches ------------------------------------------------------------------------------------------------------

    def batches(self, scope: Scope) -> tuple[Batch, ...]:
        """The batches of a scope in order of position; every asset of a run sees the same.

        Raises WrongUse for a batch that does not exist or does not belong to the hour the run was started for.
        """
        if scope not in self._chosen:
            self._chosen[scope] = self._choose(scope)
        return self._chosen[scope]

    def _choose(self, scope: Scope) -> tuple[Batch, ...]:
        from activation_dagster.state.batches import finished_in, load_batch, load_batches

        with self.places.state.read() as connection:
            if scope.batch_id is None:
                names = finished_in(connection, scope.hours)
                found = {batch.batch_id: batch for batch in load_batches(connection, names)}
                return tuple(found[name] for name in names)
            batch = load_batch(connection, scope.batch_id)
        if batch is None:
            raise WrongUse(
                f"A run names the batch '{scope.batch_id}', which does not exist in the state of environment "
                f"'{self.places.environment}'. Leave batches to the landing sensor, or choose hours."
            )
        if scope.hours and batch.arrival_hour not in scope.hours and is_partition(batch.arrival_hour):
            raise WrongUse(
                f"A run names the batch '{scope.batch_id}' of the hour {batch.arrival_hour:%Y-%m-%d-%H}, and another "
                "partition. Start it for the batch's own hour."
            )
        return (batch,)

    # -- phases -------------------------------------------------------------------------------------------------------

    def carry_out(self, scope: Scope, *phases: Phase) -> tuple[Worked, ...]:
        """Carry out phases of every batch of a scope. Raises LeaseHeld after waiting in vain, and LeaseLost.

        One batch stays in hand for the next asset. Of several each is opened and closed in turn, so that memory is
        bound by the largest, and whoever waits for the environment gets it between two.
        """
        chosen = self.batches(scope)
        if len(chosen) == 1:
            return (self._work(self._take_up(chosen[0]), phases),)
        worked: list[Worked] = []
        for batch in chosen:
            with self._opened(batch) as run:
                worked.append(self._work(run, phases))
            self._stand_back()
        return tuple(worked)

    def _work(self, run: BatchRun, phases: Sequence[Phase]) -> Worked:
        from activation_dagster.defs.findings import look

        reports = [self._carry_out(run, phase) for phase in phases]
        worked = look(run, reports)
        if phases[-1] is PHASES[-1]:
            self.put_down()  # delivery is slow, and nobody should wait for this batch's leases meanwhile
        return worked

    def _carry_out(self, run: BatchRun, phase: Phase) -> PhaseReport:
        from activation_dagster.pipeline.work import VERBS

        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return VERBS[phase](run)
            except LeaseHeld:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(PAUSE_SECONDS)

    def _stand_back(self) -> None:
        """Let a batch of the sensor go first: its run holds its own lease and waits for the environment's."""
        from activation_dagster.defs.readings import lease_is_free
        from activation_dagster.state.batches import unfinished

        now = self.places.clock()
        with self.places.state.read() as connection:
            somebody_waits = any(not lease_is_free(connection, batch, now=now) for batch in unfinished(connection))
        if somebody_waits:
            time.sleep(YIELD_SECONDS)

    # -- the batch in hand --------------------------------------------------------------------------------------------

    def _take_up(self, batch: Batch) -> BatchRun:
        if self._in_hand is None or self._in_hand.batch.batch_id != batch.batch_id:
            self.put_down()
            self._in_hand = self._hand.enter_context(self._opened(batch))
        return self._in_hand

    def put_down(self) -> None:
        """Give back the leases and the memory of the batch in hand."""
        self._in_hand = None
        self._hand.close()

    @contextmanager
    def _opened(self, batch: Batch) -> Generator[BatchRun]:
        from activation_dagster.pipeline.batch_run import BatchRun

        with self._duckdb.get_connection() as connection:
            try:
                with BatchRun(self.places, batch, connection=connection) as run:
                    yield run
            finally:
                connection.close()  # its own context manager forgets to, when the block raises

    # -- delivery -----------------------------------------------------------------------------------------------------

    def deliver(self, *, rounds: int) -> DeliveryReport:
        """Send what is due, at most `rounds` claims for each endpoint."""
        from activation_dagster.pipeline.send import deliver
        from activation_dagster.wiring import open_destinations

        with open_destinations(self.settings, self.places) as destinations:
            return deliver(
                self.places,
                destinations,
                clock=self.places.clock,
                claim_size=self.settings.send_claim_size,
                rounds=rounds,
            )

    def sums(self, batch_id: str | None) -> tuple[BatchSums, ...]:
        """Both sums of one batch, or of each of the newest."""
        from activation_dagster.defs.readings import newest_batches
        from activation_dagster.pipeline.watch import batch_sums

        if batch_id is not None:
            return batch_sums(self.places, [batch_id])
        with self.places.state.read() as connection:
            newest = newest_batches(connection)
        return batch_sums(self.places, newest)


def workbench(settings: Settings, *, clock: Clock) -> ResourceDefinition:
    """The resource that opens the places which `settings` name and hands out a workbench over them."""

    def opened(context: InitResourceContext) -> Generator[Workbench]:
        from activation_dagster.wiring import open_places

        with open_places(settings, clock=clock) as places:
            bench = Workbench(settings, places, context.resources.duckdb)
            try:
                yield bench
            finally:
                bench.put_down()

    return ResourceDefinition(
        opened,
        required_resource_keys={"duckdb"},
        description="The open places of this installation, and the batch that a run has in hand.",
    )


def resources(settings: Settings, *, clock: Clock) -> dict[str, ResourceDefinition | DuckDBResource]:
    """Every resource by its key."""
    return {"workbench": workbench(settings, clock=clock), "duckdb": DuckDBResource(database=":memory:")}
