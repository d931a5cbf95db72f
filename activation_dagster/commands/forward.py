"""`activation forward`: what has landed is sent on to other collectors, in a loop or once."""

from __future__ import annotations

import os
import signal
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from activation_dagster.commands.forward_loops import Forwarders, told
from activation_dagster.commands.installation import places_of, read_settings
from activation_dagster.commands.printing import AsJson, end, plain, print_json, say, warn
from activation_dagster.errors import RetryLater, StopTheDestination, WrongUse

if TYPE_CHECKING:
    from activation_dagster.destinations.tracking_api import TrackingApi
    from activation_dagster.pipeline.forward_status import Target
    from activation_dagster.pipeline.places import Places

TRIES_ONCE = 5


def forward(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Send what waits now, then end; 1 where some of it stays.")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%SZ"], help="Where a target begins (UTC), the first time; else now."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send the events of sources that name a `forward` in contracts/sources.yaml on, keeping their messageIds.

    A `forward` that is changed, added or taken away is seen without a restart.
    """
    from datetime import UTC

    from activation_dagster.wiring import open_receivers

    stopped = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    settings = read_settings()
    begins = None if since is None else since.replace(tzinfo=UTC)
    with places_of(settings) as places, open_receivers(settings, os.environ) as receivers:
        if not receivers:
            raise WrongUse(
                f"No source of environment '{places.environment}' is sent on, in contracts/sources.yaml. "
                "Write `forward: {to: https://…, key: VARIABLE}` under one."
            )
        if once:
            _once(places, receivers, stopped, since=begins, as_json=as_json)
    with places_of(settings) as places:
        Forwarders(places, os.environ, since=begins).run(stopped)


def _once(
    places: Places,
    receivers: dict[Target, TrackingApi],
    stopped: threading.Event,
    *,
    since: datetime | None,
    as_json: bool,
) -> None:
    from activation_dagster.pipeline.forward import ForwardReport, Pace
    from activation_dagster.pipeline.forward import forward as send_on

    answers: list[dict[str, object]] = []
    for target, receiver in receivers.items():
        trouble = ""
        report = ForwardReport()
        try:
            pace = Pace(wait=stopped.wait, most_tries=TRIES_ONCE)
            report = send_on(places, target, receiver, pace, since=since)
        except (RetryLater, StopTheDestination) as error:
            trouble = str(error)
        answers.append({"source": target.source, "to": target.address, **plain(report), "trouble": trouble})
        if not as_json:
            say(told(target, report))
            if trouble:
                warn(trouble)
    if as_json:
        print_json(answers)
    end(found=any(answer["trouble"] for answer in answers))
