"""`activation collector`: the front door for SDKs, in one process or several."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

LOOPBACK = "127.0.0.1"


def collector(
    *,
    host: Annotated[str, typer.Option(help="Where to listen; the loopback unless a proxy stands in front.")] = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one, and tells which.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the port and the landing.")] = 1,
) -> None:
    """Take events over HTTP as Segment's Tracking API does; each is on disk before it is acknowledged."""
    from activation_dagster.commands.installation import read_settings
    from activation_dagster.commands.printing import say
    from activation_dagster.registry.front_desk import FrontDesk
    from activation_dagster.sources.collector.figures import SHARED
    from activation_dagster.sources.collector.server import allow_open_files, configuration, log_as_json

    settings = read_settings()
    desk = FrontDesk(settings.contracts)  # a mistake in the contracts is told here, and not by each worker
    if not desk.environments:
        say("No source stands in contracts/sources.yaml, so every key is refused. See `activation sources create`.")
    allow_open_files()
    log_as_json()
    with tempfile.TemporaryDirectory(prefix="collector-figures-") as folder:
        if workers > 1:  # one alone counts in its memory
            os.environ[SHARED] = folder
        os.environ[WORKERS_SHARING] = str(workers)
        _serve(configuration(FACTORY, host=host, port=port, workers=workers, factory=True))


def _serve(config: uvicorn.Config) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from activation_dagster.errors import MendTheEnvironment
    from activation_dagster.sources.collector.server import SharedPort, bound

    try:
        held = bound(config.host, config.port)
    except OSError as error:
        raise MendTheEnvironment(
            f"The collector cannot listen ({error.strerror}), on {config.host}:{config.port}. Name another --port."
        ) from error
    port = held.getsockname()[1]
    typer.echo(f"Listening on http://{config.host}:{port} with {config.workers} worker(s).", err=True)
    if config.workers == 1:
        uvicorn.Server(config).run(sockets=[held])
    else:
        Multiprocess(config, sockets=[SharedPort(config.host, port)]).run()
    held.close()


FACTORY = "activation_dagster.commands.collector:application"
WORKERS_SHARING = "COLLECTOR_WORKERS_SHARING"
"""How many workers share a source's rate; told by the process that starts them."""


def application() -> Starlette:
    """One worker's application; each worker makes its own."""
    from activation_dagster.commands.installation import read_settings
    from activation_dagster.sources.collector.server import log_as_json
    from activation_dagster.wiring import collector_of, webhooks_of

    log_as_json()
    collector = collector_of(read_settings(), workers=int(os.environ.get(WORKERS_SHARING, "1")))
    return collector.application(webhooks_of(collector))
