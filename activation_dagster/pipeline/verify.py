"""Verify: the lake is a copy of what state says; what is missing or different is found and written again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from activation_dagster.domain.batches import Batch, Phase, TableCopy
from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.errors import LeaseHeld, MendTheEnvironment
from activation_dagster.lake.damage import Held, held, make_writable, mend_checkpoints
from activation_dagster.lake.delta import hour_key
from activation_dagster.lake.tables import QUARANTINED, SENDS, TABLES
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.copy_sends import copy_sends
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.watch import owner_of
from activation_dagster.pipeline.work import VERBS
from activation_dagster.state.batches import closed_phases, load_batches
from activation_dagster.state.incidents import open_incident, resolve
from activation_dagster.state.purges import not_done
from activation_dagster.state.send_copies import closed_copies


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Rows that state says one phase of one batch wrote to a lake table, and that the lake does not hold so.

    `phase` is None for rows copied from the ledger, which no phase writes.
    `is_rebuilt`: they were written again and are what they were; `obstacle` says why they could not be.
    """

    table: str
    arrival_hour: str
    batch_id: str
    phase: Phase | None
    expected_rows: int
    found_rows: int
    is_rebuilt: bool = False
    obstacle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeReport:
    """What comparing the lake with state found.

    `copies` is how many copies were compared, one a batch and table. `mended_logs` are empty last log entries that were
    moved away, as `<table>/<entry>`. `orphan_rows` belong to phases that are not closed (readers do not see them, and
    the batch replaces them when it goes on), to a copy of sends that was broken off, which the next delivery
    replaces, or to a purge that was broken off, which the next one finishes. `is_sound`: the lake now holds what state
    says.
    """

    copies: int
    mended_logs: tuple[str, ...]
    unreadable_files: int
    orphan_rows: int
    damaged: tuple[Damage, ...]
    incidents: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return all(damage.is_rebuilt for damage in self.damaged)


_Copies = dict[tuple[str, str, str], tuple[Phase | None, TableCopy]]
"""(table, arrival hour, batch) → the phase that wrote the copy (None: a delivery), and what it says of it."""


def verify(places: Places, *, rebuild: bool, now: datetime) -> LakeReport:
    """Compare every closed phase's rows with the lake; with `rebuild`, write again what is missing or different.

    Rebuilding carries the phase out again, as it was known then, and sends nothing: its batch was closed before. Each
    damaged table has one open incident, which is resolved when all of it could be rebuilt. Nothing here deletes: what
    cannot be read is renamed.
    """
    import duckdb

    with duckdb.connect(":memory:") as connection:
        before = _expected(places)
        mended: list[str] = []
        found: dict[str, Held] = {}
        for table in TABLES.values():
            entries = [*places.lake.mend_log(table), *mend_checkpoints(places.lake, table)]
            mended += [f"{table.name}/{entry}" for entry in entries]
            found[table.name] = held(places.lake, connection, table)
        damaged = _compare(before, found)
        if any(damage.table == QUARANTINED.name for damage in damaged):  # retention may have gone on since
            today = _expected(places)
            damaged = [d for d in damaged if d.table != QUARANTINED.name or today.get(_key(d)) == before[_key(d)]]
        noted = {table: _note(places, of_table, now=now) for table, of_table in _by_table(damaged).items()}
        if rebuild and damaged:
            for name in noted:
                make_writable(places.lake, TABLES[name], found[name])
            obstacles = _rebuild(places, damaged)
            again = {name: held(places.lake, connection, TABLES[name]) for name in noted}
            # the ledger may have gone on since: its copy is now what the ledger is
            today = before | {key: copy for key, copy in _expected(places).items() if key[0] == SENDS.name}
            damaged = [_after(damage, today, again, obstacles) for damage in damaged]
    incidents = _left(places, damaged, noted, now=now)
    return LakeReport(
        copies=len(before),
        mended_logs=tuple(mended),
        unreadable_files=sum(len(table.unreadable) for table in found.values()),
        orphan_rows=sum(
            rows
            for table, holding in found.items()
            for (hour, batch), (rows, _) in holding.rows.items()
            if (table, hour, batch) not in before
        ),
        damaged=tuple(damaged),
        incidents=incidents,
    )


def _expected(places: Places) -> _Copies:
    with places.state.read() as connection:
        being_purged = not_done(connection)
        of_phases: _Copies = {
            (table, hour_key(hour), batch_id): (phase, copy)
            for batch_id, hour, phase, _, copies in closed_phases(connection)
            for table, copy in copies.items()
            if table != QUARANTINED.name or batch_id not in being_purged
        }
        return of_phases | {
            (SENDS.name, hour_key(hour), batch_id): (None, copy) for batch_id, hour, copy in closed_copies(connection)
        }


def _compare(expected: _Copies, found: Mapping[str, Held]) -> list[Damage]:
    damaged: list[Damage] = []
    for (table, hour, batch_id), (phase, copy) in expected.items():
        rows, checksum = found[table].rows.get((hour, batch_id), (0, "0"))
        if (rows, checksum) != (copy.rows, copy.checksum):
            damaged.append(
                Damage(
                    table=table,
                    arrival_hour=hour,
                    batch_id=batch_id,
                    phase=phase,
                    expected_rows=copy.rows,
                    found_rows=rows,
                )
            )
    return damaged


def _rebuild(places: Places, damaged: Sequence[Damage]) -> dict[str, str]:
    """Carry out the damaged phases again, batch by batch in their order, and copy sends; what stood in the way."""
    phases: dict[str, set[Phase]] = {}
    for damage in damaged:
        if damage.phase is not None:
            phases.setdefault(damage.batch_id, set()).add(damage.phase)
    with places.state.read() as connection:
        waiting = load_batches(connection, phases)
    obstacles: dict[str, str] = {}
    for batch in sorted(waiting, key=_place):
        try:
            with BatchRun(places, batch) as run:
                for phase, verb in VERBS.items():
                    if phase in phases[batch.batch_id]:
                        verb(run)
        except (LeaseHeld, MendTheEnvironment) as error:
            obstacles[batch.batch_id] = str(error)
    of_the_ledger = [damage.batch_id for damage in damaged if damage.phase is None]
    if of_the_ledger:
        obstacle = copy_sends(places, also=of_the_ledger).obstacle
        obstacles |= dict.fromkeys(of_the_ledger, obstacle) if obstacle else {}
    return obstacles


def _place(batch: Batch) -> tuple[bool, int]:
    return (batch.position is None, batch.position or batch.batch_no)


def _after(damage: Damage, before: _Copies, again: Mapping[str, Held], obstacles: Mapping[str, str]) -> Damage:
    """The damage once it was rebuilt: it must be what the phase said when it first closed, not what it says now."""
    key = _key(damage)
    copy = before[key][1]
    if again[damage.table].rows.get(key[1:], (0, "0")) == (copy.rows, copy.checksum):
        return replace(damage, is_rebuilt=True)
    return replace(damage, obstacle=obstacles.get(damage.batch_id, "Computed again, it gives other rows."))


def _key(damage: Damage) -> tuple[str, str, str]:
    return damage.table, damage.arrival_hour, damage.batch_id


def _by_table(damaged: Sequence[Damage]) -> dict[str, list[Damage]]:
    found: dict[str, list[Damage]] = {}
    for damage in damaged:
        found.setdefault(damage.table, []).append(damage)
    return found


def _note(places: Places, damaged: Sequence[Damage], *, now: datetime) -> str:
    """Open the incident of one damaged table."""
    table = damaged[0].table
    hours = sorted({damage.arrival_hour for damage in damaged})
    where = f"hour {hours[0]}" if len(hours) == 1 else f"hours {hours[0]} to {hours[-1]}"
    names = {damage.batch_id for damage in damaged}
    with places.state.write() as connection:
        return open_incident(
            connection,
            IncidentKind.LAKE_DAMAGED,
            about=table,
            owner=owner_of(places, IncidentKind.LAKE_DAMAGED),
            sentence=f"Rows of {len(names)} batch{'es' if len(names) != 1 else ''} are missing or different, in the "
            f"lake table '{table}', {where}. Run `activation lake verify --rebuild`, and find out what removed them.",
            now=now,
            batch_id=names.pop() if len(names) == 1 else "",
        )


def _left(places: Places, damaged: Sequence[Damage], noted: Mapping[str, str], *, now: datetime) -> tuple[str, ...]:
    """The incidents of damage that is left; those of tables that were rebuilt whole are resolved."""
    left: list[str] = []
    for table, of_table in _by_table(damaged).items():
        if not all(damage.is_rebuilt for damage in of_table):
            left.append(noted[table])
            continue
        with places.state.write() as connection:
            resolve(
                connection,
                noted[table],
                by="activation lake verify",
                resolution=f"The rows of {len(of_table)} batches were written again from landing and state.",
                now=now,
            )
    return tuple(left)
