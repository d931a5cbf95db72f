"""Copy sends: the ledger's rows that are settled go to the lake, batch by batch, where they can be analysed.

State is the truth and the lake follows: a delivery copies the batches whose sends have changed since the last copy, and
what a crash leaves behind is still marked as changed for the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from activation_dagster.errors import LeaseHeld, LeaseLost
from activation_dagster.lake.delta import hour_key
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.tables import SENDS
from activation_dagster.pipeline.places import Places
from activation_dagster.state import send_copies
from activation_dagster.state.fencing import FencedState
from activation_dagster.state.leases import acquire, release, renew

LEASE = "copy of sends"
"""Held by whoever copies: of two copies at once the one that read earlier could be written later."""

AS_READ = {
    "send_key": "VARCHAR",
    "workflow_id": "VARCHAR",
    "audience_id": "VARCHAR",
    "profile_id": "VARCHAR",
    "destination": "VARCHAR",
    "status": "VARCHAR",
    "reason": "VARCHAR",
    "claimed_micros": "BIGINT",
    "answered_micros": "BIGINT",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """How many batches were copied with how many rows; `obstacle` says why some were left to the next delivery."""

    batches: int = 0
    rows: int = 0
    obstacle: str = ""


def copy_sends(places: Places, *, also: Iterable[str] = ()) -> CopyReport:
    """Copy the settled sends of every batch that has changed since its last copy, and of those in `also`.

    Where somebody else copies at this moment, what is left is left to them and to the next delivery. Raises
    CommitConflict.
    """
    wanted = sorted({*also})
    if not (wanted or _changed(places)):
        return CopyReport()
    copied, rows = 0, 0
    try:
        with places.state.write() as connection:
            lease = acquire(connection, LEASE, places.holder, now=places.clock(), seconds=places.lease_seconds)
        state = FencedState(places.state, leases=lambda: [lease], clock=places.clock)
        engine = Engine.in_memory(places.sql_root)
        try:
            while wanted := [*wanted, *_changed(places)]:
                for batch_id in dict.fromkeys(wanted):
                    with places.state.write() as connection:
                        lease = renew(connection, lease, now=places.clock(), seconds=places.lease_seconds)
                    rows += _copy(places, state, engine, batch_id)
                    copied += 1
                wanted = []
        finally:
            engine.close()
            with places.state.write() as connection:
                release(connection, lease)
    except (LeaseHeld, LeaseLost) as held:
        return CopyReport(batches=copied, rows=rows, obstacle=str(held))
    return CopyReport(batches=copied, rows=rows)


def _changed(places: Places) -> list[str]:
    with places.state.read() as connection:
        return send_copies.changed_batches(connection)


def _copy(places: Places, state: FencedState, engine: Engine, batch_id: str) -> int:
    """One batch: note that it is copied, read it in one snapshot with its marks, replace its rows, note what stands."""
    with state.write() as connection:
        may_exist = send_copies.begin_copy(connection, batch_id)
    with places.state.read() as connection:
        marks = send_copies.marks_of(connection, batch_id)
        hour, settled = send_copies.settled_sends(connection, batch_id)
    if hour is None:
        return 0
    places.at("sends.copying")
    engine.put("settled_sends", AS_READ, settled)
    key = hour_key(hour)

    def require_lease() -> None:
        with state.write():
            pass

    copy = places.lake.replace(
        engine.connection,
        SENDS,
        select=(
            f"select '{key}' as arrival_hour, '{batch_id}' as batch_id, send_key, workflow_id, audience_id, "
            "profile_id, destination, status, reason, make_timestamp(claimed_micros) as claimed_at, "
            "make_timestamp(answered_micros) as answered_at from settled_sends"
        ),
        arrival_hour=key,
        batch_id=batch_id,
        may_exist=may_exist,
        before_commit=require_lease,
        on_written=lambda: places.at("sends.copy_written"),
    )
    places.at("sends.copy_durable")
    with state.write() as connection:
        send_copies.close_copy(connection, batch_id, marks=marks, copy=copy)
    places.at("sends.copied")
    return copy.rows
