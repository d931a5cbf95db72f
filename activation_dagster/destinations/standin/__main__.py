"""Starts the stand-in: python -m activation_dagster.destinations.standin --port 0 --store FILE.sqlite."""

from __future__ import annotations

import argparse
from pathlib import Path

from activation_dagster.destinations.standin.app import StandinSettings
from activation_dagster.destinations.standin.calls import Project
from activation_dagster.destinations.standin.limits import RATES
from activation_dagster.destinations.standin.server import serve


def _rate(text: str) -> tuple[str, float]:
    endpoint, _, rate = text.partition("=")
    return endpoint, float(rate)


def settings_from(arguments: list[str] | None = None) -> StandinSettings:
    """Reads the command line; a wrong one ends the process with status 2 and a sentence."""
    parser = argparse.ArgumentParser(prog="standin", description="A local stand-in for Iterable, on loopback only.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port; see --port-file")
    parser.add_argument("--store", type=Path, required=True, help="SQLite file that keeps what is received")
    parser.add_argument("--api-key", help="the only key that passes; without it any key does")
    parser.add_argument("--port-file", type=Path, help="written with the port once the server listens")
    parser.add_argument("--workflow-id", type=int, action="append", default=[], help="a journey that exists")
    parser.add_argument("--rate-scale", type=float, default=1.0, help="multiplies every endpoint's rate")
    parser.add_argument("--rate", type=_rate, action="append", default=[], metavar="ENDPOINT=CALLS_PER_SECOND")
    parser.add_argument("--disallow-event", action="append", default=[], help="an event name that is refused")
    parser.add_argument("--create-on-track", action="store_true", help="an event for an unknown user creates the user")
    parser.add_argument("--max-batch", type=int, help="items a bulk call; more answer BatchTooLarge")
    given = parser.parse_args(arguments)
    return StandinSettings(
        store=given.store,
        port=given.port,
        api_key=given.api_key,
        workflow_ids=tuple(given.workflow_id),
        rates={**RATES, **dict(given.rate)},
        rate_scale=given.rate_scale,
        project=Project(
            creates_on_track=given.create_on_track,
            disallowed_event_names=frozenset(given.disallow_event),
            max_batch=given.max_batch,
        ),
        port_file=given.port_file,
    )


if __name__ == "__main__":
    serve(settings_from())
