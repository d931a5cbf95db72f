"""Leases with a fence: who may work on a batch or an environment now, and how a late worker finds out that it may not.

The fence is a number that only grows. A worker that was paused past its lease reads another fence than its own in the
transaction that would have written, and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from activation_dagster.errors import LeaseHeld, LeaseLost
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.tables import leases

NOBODY = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of `holder` to work on `name` until `expires_at` (UTC), as long as the fence in state is `fence`."""

    name: str
    holder: str
    fence: int
    expires_at: datetime


def acquire(connection: Connection, name: str, holder: str, *, now: datetime, seconds: float) -> Lease:
    """Take the lease `name` for `seconds`; raises LeaseHeld while another holder's runs.

    A lease that is free, released or run out is taken with the next fence. Asked again by the holder of a running
    lease it is prolonged, with the same fence.
    """
    found = _locked(connection, name)
    expires_at = now + timedelta(seconds=seconds)
    if found is None:
        made = _insert_first(connection, name, holder, expires_at)
        if made is not None:
            return made
        found = _locked(connection, name)  # somebody else made the row while we looked; it exists for good now
        assert found is not None
    runs = found.expires_at > micros(now) and found.holder != NOBODY
    if runs and found.holder != holder:
        raise LeaseHeld(
            f"'{found.holder}' works on '{name}' until {instant(found.expires_at):%Y-%m-%dT%H:%M:%SZ}, in the leases "
            "of state. Try again after that."
        )
    fence: int = found.fence if runs else found.fence + 1
    connection.execute(
        update(leases).where(leases.c.name == name).values(holder=holder, fence=fence, expires_at=micros(expires_at))
    )
    return Lease(name=name, holder=holder, fence=fence, expires_at=expires_at)


def _insert_first(connection: Connection, name: str, holder: str, expires_at: datetime) -> Lease | None:
    """The lease with fence 1, or None where a row of that name appeared meanwhile."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    made = connection.execute(
        dialect.insert(leases)
        .values(name=name, holder=holder, fence=1, expires_at=micros(expires_at))
        .on_conflict_do_nothing()
    )
    return Lease(name=name, holder=holder, fence=1, expires_at=expires_at) if made.rowcount == 1 else None


def renew(connection: Connection, lease: Lease, *, now: datetime, seconds: float) -> Lease:
    """The same lease, running `seconds` from `now`; raises LeaseLost when somebody else took over."""
    check(connection, lease, now)
    expires_at = now + timedelta(seconds=seconds)
    connection.execute(update(leases).where(leases.c.name == lease.name).values(expires_at=micros(expires_at)))
    return replace(lease, expires_at=expires_at)


def release(connection: Connection, lease: Lease) -> None:
    """Give the lease back; does nothing when it was lost. The row stays, so that the fence goes on growing."""
    connection.execute(
        update(leases)
        .where(leases.c.name == lease.name, leases.c.fence == lease.fence, leases.c.holder == lease.holder)
        .values(holder=NOBODY, expires_at=0)
    )


def check(connection: Connection, lease: Lease, now: datetime) -> float:
    """Seconds that `lease` still runs (negative: it ran out, but nobody took over); raises LeaseLost when it is lost.

    To be called inside every writing transaction of the holder: the row is locked, so that nobody takes over before
    that transaction ended.
    """
    found = _locked(connection, lease.name)
    if found is None or found.fence != lease.fence or found.holder != lease.holder:
        raise LeaseLost(
            f"The lease on '{lease.name}' with fence {lease.fence} was lost, in the leases of state. "
            "Write nothing more; whoever holds it now goes on from what stands."
        )
    return (found.expires_at - micros(now)) / 1_000_000


def _locked(connection: Connection, name: str) -> Row[Any, Any, Any] | None:
    query = select(leases.c.holder, leases.c.fence, leases.c.expires_at).where(leases.c.name == name)
    return connection.execute(query.with_for_update()).one_or_none()
