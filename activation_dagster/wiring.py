"""Wiring: from the settings of one installation to the places and destinations that verbs work on."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from activation_dagster.destinations.protocol import Access, Destination
from activation_dagster.lake.delta import Lake
from activation_dagster.pipeline.contracts_in_force import contracts_serving
from activation_dagster.pipeline.places import Places
from activation_dagster.settings import Settings
from activation_dagster.sources.landing import Landing
from activation_dagster.state.engine import open_state


def utc_now() -> datetime:
    """The wall clock (UTC); doors hand it down, nothing below them reads it."""
    return datetime.now(UTC)


@contextmanager
def open_places(settings: Settings, *, clock: Callable[[], datetime] = utc_now) -> Generator[Places]:
    """The places of the environment that the settings name; state is closed on leaving. Raises StateUnusable."""
    state = open_state(settings.resolved_state_url)
    try:
        yield Places(
            environment=settings.environment,
            landing=Landing(settings.landing_root),
            lake=Lake(settings.lake_root),
            state=state,
            contracts_root=settings.contracts,
            sql_root=settings.sql,
            clock=clock,
            holder=f"{socket.gethostname()}:{os.getpid()}",
            dedupe_window=timedelta(hours=settings.dedupe_window_hours),
            batch_max_bytes=settings.batch_max_bytes,
            lease_seconds=settings.lease_seconds,
        )
    finally:
        state.close()


@contextmanager
def open_destinations(settings: Settings, places: Places) -> Generator[dict[str, Destination]]:
    """Every destination of today's contracts by name, closed on leaving."""
    from activation_dagster.destinations.catalogue import open_destination

    access = Access(address=settings.iterable_base_url, api_key=settings.iterable_api_key.get_secret_value())
    opened: dict[str, Destination] = {}
    try:
        for name, contract in contracts_serving(places).destinations.items():
            opened[name] = open_destination(contract, access)
        yield opened
    finally:
        for destination in opened.values():
            destination.close()
