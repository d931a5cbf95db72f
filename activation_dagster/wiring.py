"""Wiring: from the settings of one installation to the places and destinations that verbs work on."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from activation_dagster.destinations.protocol import Access, Destination
from activation_dagster.domain.sources import Source
from activation_dagster.errors import SettingsInvalid
from activation_dagster.lake.delta import Lake
from activation_dagster.pipeline.contracts_in_force import contracts_serving
from activation_dagster.pipeline.places import Places
from activation_dagster.settings import Settings
from activation_dagster.sources.landing import Landing
from activation_dagster.state.engine import open_state

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from activation_dagster.destinations.tracking_api import TrackingApi
    from activation_dagster.pipeline.forward_status import ForwardStatus, Target
    from activation_dagster.sources.collector.app import Collector
    from activation_dagster.sources.webhook import WebhookSource

log = logging.getLogger("activation.collector")


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


def webhook_source(source: Source | None, environ: Mapping[str, str]) -> WebhookSource | None:
    """A source as Segment's webhook destination reaches it, with its secret; None where it has no webhook."""
    from activation_dagster.sources.webhook import WebhookSource

    if source is None or source.webhook is None:
        return None
    secret = environ.get(source.webhook.secret, "")
    if not secret:
        log.error("webhook_secret_missing", extra={"source": source.name, "variable": source.webhook.secret})
    return WebhookSource(
        name=source.name,
        environment=source.environment,
        secret=secret,
        trusts_first_event=source.webhook.trusts_first_event,
    )


def webhooks_of(collector: Collector) -> list[BaseRoute]:
    """Segment's webhook destination, for the collector to mount beside its own paths."""
    from activation_dagster.sources.webhook import webhook_routes

    desk = collector.desk
    return [*webhook_routes(lambda name: webhook_source(desk.source_named(name), os.environ), collector.appender)]


@contextmanager
def open_receivers(settings: Settings, environ: Mapping[str, str]) -> Generator[dict[Target, TrackingApi]]:
    """Where the sources of this environment are sent on, closed on leaving.

    Raises ContractsInvalid, and SettingsInvalid where a key is not in the environment.
    """
    from activation_dagster.destinations.tracking_api import TrackingApi
    from activation_dagster.registry.source_files import load_sources

    opened: dict[Target, TrackingApi] = {}
    try:
        for target, variable in forward_targets(load_sources(settings.contracts), settings.environment).items():
            if not environ.get(variable):
                raise SettingsInvalid(
                    f"The environment variable {variable} is not set, and sources.{target.source}.forward names it "
                    "in contracts/sources.yaml. Give it the write key of the receiver."
                )
            opened[target] = TrackingApi(target.address, environ[variable])
        yield opened
    finally:
        for receiver in opened.values():
            receiver.close()


def forward_targets(sources: Mapping[str, Source], environment: str) -> dict[Target, str]:
    """Where the sources of an environment are sent on, and the variable that holds the key there."""
    from activation_dagster.pipeline.forward_status import Target

    return {
        Target(
            source=source.name,
            address=source.forward.to,
            purpose=source.forward.purpose,
            channel=source.forward.channel,
        ): source.forward.key
        for source in sources.values()
        if source.environment == environment and source.forward is not None
    }


def collector_of(settings: Settings, *, workers: int = 1, clock: Callable[[], datetime] = utc_now) -> Collector:
    """The collector of an installation, for every environment that a source names. Raises ContractsInvalid."""
    from activation_dagster.domain.shedding import PressureLimits
    from activation_dagster.registry.front_desk import FrontDesk
    from activation_dagster.sources.collector.app import Collector, CollectorLimits
    from activation_dagster.sources.collector.appender import Appender, AppenderLimits

    landings: dict[str, Landing] = {}

    def landing_of(environment: str) -> Landing:
        return landings.setdefault(environment, Landing(settings.home / "landing" / environment))

    def receipt(source: Source, message_id: str) -> dict[str, object] | None:
        from activation_dagster.pipeline.receipts import event_receipt

        with open_places(settings.in_environment(source.environment), clock=clock) as places:
            found = event_receipt(places, message_id, source=source.name)
        if found is None:
            return None
        return {"messageId": found.message_id, "status": found.status, "reason": found.reason}

    def forwards() -> list[ForwardStatus]:
        from activation_dagster.pipeline.forward_status import forward_status
        from activation_dagster.registry.source_files import load_sources

        found: list[ForwardStatus] = []
        sources = load_sources(settings.contracts)
        for environment in sorted({one.environment for one in sources.values() if one.forward is not None}):
            if settings.state_url is not None and environment != settings.environment:
                continue  # a named state database belongs to one environment
            with open_places(settings.in_environment(environment), clock=clock) as places:
                found += [forward_status(places, target) for target in forward_targets(sources, environment)]
        return found

    return Collector(
        appender=Appender(
            landing_of,
            clock=clock,
            limits=AppenderLimits(
                seal_seconds=settings.collector_seal_seconds, seal_bytes=settings.collector_seal_bytes
            ),
        ),
        desk=FrontDesk(settings.contracts),
        receipts=receipt,
        forwards=forwards,
        limits=CollectorLimits(
            max_event_bytes=settings.collector_max_event_bytes,
            max_batch_bytes=settings.collector_max_batch_bytes,
            max_batch_events=settings.collector_max_batch_events,
            client_address=settings.collector_client_address,
            workers=workers,
            pressure=PressureLimits(
                waiting_bytes=settings.collector_shed_bytes, waiting_seconds=settings.collector_shed_seconds
            ),
        ),
        clock=clock,
    )
